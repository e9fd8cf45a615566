"""What a network reads of NeuralForecast's windows, and how its raw outputs go back."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .._loss_arguments import RawMixture
from ..losses import LatentMixture
from .encoders import flatten_exogenous, last_observed
from .network import add_to_channels


@dataclass(frozen=True)
class WindowInputs:
    """One batch of windows as a network takes it.

    Attributes:
        y: standardised look-back relative to `level`, zero where masked, [B, L].
        seen: where it was observed, bool [B, L].
        level: what was taken off, [B, 1]; None for nothing.
        extra: exogenous features, flattened over time, [B, n_extra]; None where there are none.
    """

    y: Tensor
    seen: Tensor
    level: Tensor | None
    extra: Tensor | None


def read_window(windows_batch: Mapping[str, Tensor | None], input_size: int, h: int, anchor: str) -> WindowInputs:
    """Read a batch of windows.

    Args:
        windows_batch: argument of a NeuralForecast model's `forward`.
        input_size: L.
        h: the horizon that the network was built for; future columns beyond it are not read.
        anchor: "last" takes the last observed value off, "mean" nothing.
    """
    y, mask = windows_batch["insample_y"], windows_batch["insample_mask"]
    assert y is not None
    assert mask is not None
    y = y.reshape(-1, input_size)  # [B, L]
    seen = mask.reshape(y.shape) > 0
    level = last_observed(y, seen) if anchor == "last" else None  # [B, 1]
    y = torch.where(seen, y if level is None else y - level, 0.0)  # padding is not zero after scaling
    hist, futr = windows_batch["hist_exog"], windows_batch["futr_exog"]
    if hist is not None:
        hist = torch.where(seen.unsqueeze(-1), hist, 0.0)  # [B, L, X]
    if futr is not None:
        futr = futr[:, : input_size + h]
    return WindowInputs(y, seen, level, flatten_exogenous(hist, futr, windows_batch["stat_exog"]))


def arrange(
    raw: Tensor, base: Tensor | None, loss: nn.Module, location_channels: tuple[int, int], as_raw: bool
) -> Tensor | RawMixture:
    """Raw outputs of every latent sample, [B, S, outputs, h], as the loss takes them, [B, h, outputs].

    With a `LatentMixture` the samples' components stand side by side; with another loss raw outputs are averaged over
    samples.

    Args:
        raw: of the network.
        base: [B, h] or [B, 1], added to all locations; None for none.
        loss: what they feed.
        location_channels: of the outputs, where the loss is no mixture over samples.
        as_raw: whether a `LatentMixture` takes them as they are.
    """
    if isinstance(loss, LatentMixture):
        split = raw.unflatten(2, (2, -1))  # [B, S, 2, M, h]
        if as_raw:
            return RawMixture(split, base)
        outputs = split.permute(0, 4, 2, 1, 3).flatten(2)  # [B, h, 2 S M]
        first, last = 0, outputs.shape[-1] // 2
    else:
        outputs = raw.mean(1).transpose(1, 2)  # [B, h, outputs]
        first, last = location_channels
    return outputs if base is None else add_to_channels(outputs, base, first, last)
