"""For `vdn_forecast.losses.LatentMixture`: checks of its arguments, and the parameters it passes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from vdn_forecast.mixture import window_quantiles

OBJECTIVES = ("elbo", "mixture", "crps")
EVAL_OBJECTIVES = ("crps", "mixture", "mse")
BASES = ("normal", "studentt")


class RawMixture(NamedTuple):
    """Mixture parameters as a network's head lays them out: no copy into NeuralForecast's layout.

    Attributes:
        raw: [B, S, 2, M, h], locations and raw scales of every sample.
        base: [B, h] or [B, 1], added to all locations; None for none.
        shift, scale: of the windows, [B, 1, 1], in the unit of y; None without a scaler.
    """

    raw: torch.Tensor
    base: torch.Tensor | None
    shift: torch.Tensor | None = None
    scale: torch.Tensor | None = None

    def standardize(self, y: torch.Tensor) -> torch.Tensor:
        """y [B, h, 1] in the window's unit, less the base: [B, h]."""
        if self.shift is not None and self.scale is not None:
            y = (y - self.shift) / self.scale
        return y.squeeze(-1)

    def components(self, scale_floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Locations and scales in the unit of y, [B, C, h] each with C = S M; `scale_floor` as in `LatentMixture`."""
        raw = self.raw.float() if self.raw.dtype in (torch.float16, torch.bfloat16) else self.raw  # under autocast
        loc = raw[:, :, 0].reshape(raw.shape[0], -1, raw.shape[-1]).clone()  # [B, C, h]
        scale = F.softplus(raw[:, :, 1].flatten(1, 2)).add_(scale_floor)
        if self.base is not None:
            loc = loc.add_(self.base.unsqueeze(1))
        if self.shift is not None and self.scale is not None:
            loc, scale = loc.mul_(self.scale).add_(self.shift), scale.mul_(self.scale)
        return loc, scale

    def forecast(self, levels: torch.Tensor, scale_floor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [B, h, 1] and quantiles [B, h, 1, Q] of Normal components, in the unit of y."""
        loc, scale = self.components(scale_floor)
        return loc.mean(1).unsqueeze(-1), window_quantiles(loc, scale, levels).unsqueeze(2)


class MixtureArgs(tuple):
    """(locations, scales) in the unit of y, [B, h, 1, C] each, as NeuralForecast passes them around.

    Carries the window's `shift` and `scale` ([B, 1, 1, 1], None without a scaler) and the parameters before
    they were put into the unit of y, `unit_loc` and `unit_scale`: training losses are computed in the
    window's own unit.
    """

    unit_loc: torch.Tensor
    unit_scale: torch.Tensor
    shift: torch.Tensor | None
    scale: torch.Tensor | None

    @classmethod
    def build(
        cls,
        unit_loc: torch.Tensor,
        unit_scale: torch.Tensor,
        shift: torch.Tensor | None,
        scale: torch.Tensor | None,
    ) -> MixtureArgs:
        """Put unit parameters [B, h, 1, C] into the unit of y."""
        if shift is None or scale is None:
            args = cls((unit_loc, unit_scale))
        else:
            args = cls((unit_loc * scale + shift, unit_scale * scale))
        args.unit_loc, args.unit_scale, args.shift, args.scale = unit_loc, unit_scale, shift, scale
        return args

    def standardize(self, y: torch.Tensor) -> torch.Tensor:
        """y [B, h, 1] in the window's unit."""
        if self.shift is None or self.scale is None:
            return y
        return (y - self.shift.squeeze(-1)) / self.scale.squeeze(-1)


def positive_int(name: str, value: Any) -> int:
    """`value` if it is an integer of at least 1, else ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    return value


def finite(name: str, value: Any, positive: bool = False) -> float:
    """`value` as a float if it is a finite number, not negative (or positive), else ValueError."""
    number = not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)
    if not number or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} must be a {'positive' if positive else 'non-negative'} finite number, got {value!r}.")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """`value` if it is a bool, else ValueError."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
    return value


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """`value` if it is allowed, else ValueError."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}.")
    return value


def numbers_between(name: str, values: Any, high: float) -> list[float]:
    """`values` as a list if all are numbers strictly between 0 and `high`, else ValueError."""
    sequence = isinstance(values, Iterable) and not isinstance(values, str)
    numbers = list(values) if sequence else []
    if not numbers or not all(isinstance(v, (int, float, np.number)) and 0 < v < high for v in numbers):
        raise ValueError(f"{name} must be a list of numbers strictly between 0 and {high:g}, got {values!r}.")
    return numbers


def objective_weights_of(objective: Any) -> dict[str, float]:
    """The objectives' weights by name; ValueError for an unknown name or a weight that is not positive."""
    weights = {objective: 1.0} if isinstance(objective, str) else objective
    if not isinstance(weights, dict) or not weights or any(name not in OBJECTIVES for name in weights):
        raise ValueError(
            f"objective must be one of {list(OBJECTIVES)} or a dict from these names to weights, got {objective!r}."
        )
    for value in weights.values():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ValueError(f"objective: every weight must be a positive finite number, got {objective!r}.")
    return dict(weights)
