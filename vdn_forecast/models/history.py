"""What was measured while a model trained: rows of figures, saved with the weights."""

import math
import warnings
from collections.abc import Mapping

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..control.statistics import is_distributed
from .unit_figures import UNIT_COLUMNS, UnitFigures

CHECK_COLUMNS = (
    *("step", "val_loss", "train_forecast", "train_kl", "train_band", "train_local", "train_ar", "train_lookback"),
    *("ar_share", "out_batch", "out_series", "windows", "val_size", "test_size"),
)
"""Figures of one check; NaN where a model has no such term. New ones are added at the end."""
TERMS = tuple(name.removeprefix("train_") for name in CHECK_COLUMNS if name.startswith("train_"))
MOST_CHECKS = 200
_FORMAT = 1
_HEADER = 6  # format, checks, layers, units, columns of a check, columns of a unit


class History(nn.Module):
    """Rows per validation check, kept beside the weights in the state dict.

    It is extra state, no buffer: its length changes with every check, and no process has to be sent it. At
    `MOST_CHECKS` every second check is dropped and from then on only every second one is kept, and so on.

    Attributes:
        checks: float32 [checks, len(CHECK_COLUMNS)].
        units: float32 [checks, layers, len(UNIT_COLUMNS), N].
    """

    def __init__(self, n_layers: int, n_units: int) -> None:
        super().__init__()
        self._shape = (n_layers, len(UNIT_COLUMNS), n_units)
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.checks = np.empty((0, len(CHECK_COLUMNS)), np.float32)
        self.units = np.empty((0, *self._shape), np.float32)
        self._every, self._seen = 1, 0
        self.forget_terms()

    def forget_terms(self) -> None:
        """Drop the terms since the last check."""
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def note(self, term: str, value: Tensor) -> None:
        """Add to a term of the loss, 0-d, on its device; "forecast" comes once a step, others once a layer."""
        value = value.detach()
        self._sums[term] = self._sums[term] + value if term in self._sums else value.clone()
        self._steps += term == "forecast"

    def wants_check(self) -> bool:
        """Whether the coming check is one to keep; called once per check."""
        self._seen += 1
        return self._seen % self._every == 0

    def add(self, row: Mapping[str, float], figures: UnitFigures) -> None:
        """Keep one check: what is known of it, the terms' means since the last one, and the units' figures."""
        row = {
            **row,
            **self._terms(),
            "out_batch": figures.out_batch,
            "out_series": figures.out_series,
            "windows": figures.windows,
        }
        checks = np.array([[row.get(name, math.nan) for name in CHECK_COLUMNS]], np.float32)
        self.checks = np.concatenate([self.checks, checks])
        self.units = np.concatenate([self.units, figures.units[None].astype(np.float32)])
        self.forget_terms()
        if len(self.checks) >= MOST_CHECKS:
            self.checks, self.units = self.checks[1::2].copy(), self.units[1::2].copy()
            self._every, self._seen = 2 * self._every, 0

    def _terms(self) -> dict[str, float]:
        """Means over steps, and over processes."""
        if not self._sums:
            return {}
        means = torch.stack([total.float() / max(self._steps, 1) for total in self._sums.values()])
        if is_distributed():
            dist.all_reduce(means)
            means = means / dist.get_world_size()
        return {f"train_{name}": value for name, value in zip(self._sums, means.tolist(), strict=True)}

    def get_extra_state(self) -> Tensor:
        """All rows as the bits of float32 numbers in int32, so that NaN equals itself where states are compared."""
        header = [_FORMAT, len(self.checks), self._shape[0], self._shape[2], len(CHECK_COLUMNS), len(UNIT_COLUMNS)]
        parts = [np.array(header, np.float32), self.checks.ravel(), self.units.ravel()]
        return torch.from_numpy(np.concatenate(parts).view(np.int32))

    def set_extra_state(self, state: Tensor) -> None:
        """Take rows over; those of a version that knew fewer columns get NaN in the others.

        Raises:
            ValueError: not what `get_extra_state` gives, or of a network of another size.
        """
        self.clear()
        values = state.detach().cpu().numpy().view(np.float32) if state.dtype == torch.int32 else np.empty(0)
        if len(values) == 0 and state.numel() == 0:
            return
        if len(values) < _HEADER:
            raise ValueError(f"history holds {state.numel()} numbers of {state.dtype}; it must be int32 with a header")
        layout, n, n_layers, n_units, of_check, of_unit = (int(value) for value in values[:_HEADER])
        if layout != _FORMAT:
            warnings.warn(f"history of format {layout} was left out; this version reads {_FORMAT}", stacklevel=2)
            return
        size = _HEADER + n * (of_check + n_layers * of_unit * n_units)
        if (n_layers, n_units) != (self._shape[0], self._shape[2]) or size != len(values):
            raise ValueError(
                f"history holds {len(values)} numbers for {n_layers} layers of {n_units} units; this network has "
                f"{self._shape[0]} of {self._shape[2]}, and {size} numbers were announced"
            )
        checks = values[_HEADER : _HEADER + n * of_check].reshape(n, of_check)
        units = values[_HEADER + n * of_check :].reshape(n, n_layers, of_unit, n_units)
        self.checks = _fitted(checks, 1, len(CHECK_COLUMNS))
        self.units = _fitted(units, 2, len(UNIT_COLUMNS))


def _fitted(values: np.ndarray, axis: int, columns: int) -> np.ndarray:
    """The first columns, NaN for those that are lacking."""
    lacking = [(0, max(columns - length, 0)) if at == axis else (0, 0) for at, length in enumerate(values.shape)]
    padded = np.pad(values, lacking, constant_values=np.nan)
    return np.take(padded, range(columns), axis=axis).copy()
