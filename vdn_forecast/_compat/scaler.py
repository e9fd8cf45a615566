"""Window standardisation with a floor under the scale, in NeuralForecast's scaler slot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

_TINY = 1e-5  # an exogenous deviation below this share of its level is float32 noise


class FlooredNorm(nn.Module):
    """Standardise each window by its masked mean and sqrt(variance + floor^2).

    Takes `TemporalNorm`'s place in a `BaseModel`. Channel 0 is the target; the floor acts on it alone;
    without it a nearly constant window is divided by almost nothing. The floor carries the target's unit, so
    that rescaling the data rescales the forecasts.

    Args:
        share: the floor, as a share of the series' typical deviation.
        fixed: whether the floor is the target's scale for every window; the window's own deviation only while it is 0.

    Attributes:
        floor: 0-d float32 buffer, in units of y; 0 until `estimate_floor`.
        x_shift: [B, 1, C, 1] statistics of the last transformed windows, or None.
        x_scale: [B, 1, C, 1], likewise; neither holds a graph.
    """

    scaler_type = "floored"
    floor: Tensor
    x_shift: Tensor | None
    x_scale: Tensor | None

    def __init__(self, share: float = 0.1, fixed: bool = False) -> None:
        super().__init__()
        self.share, self.fixed = share, fixed
        self.register_buffer("floor", torch.zeros(()))
        self.x_shift = None
        self.x_scale = None

    def estimate_floor(self, temporal: Tensor, indptr: np.ndarray, y_idx: int, mask_idx: int, n_holdout: int) -> None:
        """Set `floor` from train rows, see `typical_deviation` for the arguments."""
        self.floor.fill_(self.share * typical_deviation(temporal, indptr, y_idx, mask_idx, n_holdout))

    def transform(self, x: Tensor, mask: Tensor) -> Tensor:
        """Standardise windows and keep the statistics for the way back.

        Args:
            x: [B, T, C, 1], the target in channel 0.
            mask: [B, T, 1, 1], > 0 where a row may enter the statistics.

        Returns:
            [B, T, C, 1]. Rows under mask 0 are scaled too (the horizon is one of them): a NaN there stays.
        """
        with torch.no_grad():
            shift, scale = self._statistics(x, mask > 0)
        self.x_shift, self.x_scale = shift, scale
        return (x - shift).div_(scale)

    def inverse_transform(self, z: Tensor, x_shift: Tensor | None = None, x_scale: Tensor | None = None) -> Tensor:
        """Scale back, with the last windows' statistics unless others are given (broadcast to `z`)."""
        x_shift = self.x_shift if x_shift is None else x_shift
        x_scale = self.x_scale if x_scale is None else x_scale
        if x_shift is None or x_scale is None:
            raise RuntimeError("FlooredNorm.inverse_transform needs statistics: call transform first")
        return z * x_scale + x_shift

    def _statistics(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        work = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        # deviations from one of the values: a constant window has no variance at all, whatever its level
        if (length := _complete(valid)) > 0:
            work = work[:, :length]
            anchor = work[:, :1]  # [B, 1, C, 1]
            deviation = work - anchor
            offset = deviation.mean(dim=1, keepdim=True)
            variance = deviation.sub_(offset).square_().mean(dim=1, keepdim=True)
        else:
            n = valid.sum(dim=1, keepdim=True).clamp(min=1)  # [B, 1, 1, 1]
            anchor = torch.where(valid, work, -torch.inf).amax(dim=1, keepdim=True)  # [B, 1, C, 1]
            anchor = torch.where(anchor == -torch.inf, 0.0, anchor)
            deviation = torch.where(valid, work - anchor, 0.0)
            offset = deviation.sum(dim=1, keepdim=True) / n
            variance = torch.where(valid, deviation - offset, 0.0).square().sum(dim=1, keepdim=True) / n
        shift, std = anchor + offset, variance.sqrt()  # [B, 1, C, 1]

        floor, y_scale = self.floor.to(std.dtype), std[:, :, :1]
        y_scale = torch.where(floor > 0, floor, y_scale) if self.fixed else torch.hypot(y_scale, floor)
        y_scale = torch.where(y_scale == 0, 1.0, y_scale)
        if x.shape[2] == 1:
            return shift.to(x.dtype), y_scale.to(x.dtype)
        exog_scale = torch.where(std <= _TINY * shift.abs(), 1.0, std)[:, :, 1:]
        return shift.to(x.dtype), torch.cat([y_scale, exog_scale], dim=2).to(x.dtype)


def _complete(valid: Tensor) -> int:
    """How many rows every window of a CPU batch may count, no further one in any: a look-back without gaps; else 0.

    Args:
        valid: [B, T, 1, 1] bool.
    """
    if valid.device.type != "cpu" or not len(valid):  # the answer would have to be waited for
        return 0
    length = int(valid[0].sum())
    alike = bool(valid[0, :length].all()) and torch.equal(valid, valid[:1].expand_as(valid))
    return length if alike else 0


def typical_deviation(temporal: Tensor, indptr: np.ndarray, y_idx: int, mask_idx: int, n_holdout: int) -> float:
    """Median over series of the standard deviation of their train rows, in units of y.

    Args:
        temporal: [R, C] rows of all series.
        indptr: [n_series + 1] where each series begins and ends.
        y_idx: column of the target.
        mask_idx: column of the availability mask.
        n_holdout: rows at the end of each series that are not train rows.

    Returns:
        The median over series that vary; 0.0 if none does. Rows that are masked or not finite do not count.
    """
    indptr = np.asarray(indptr, dtype=np.int64)
    sizes = np.diff(indptr)
    y = temporal[:, y_idx].numpy(force=True).astype(np.float64)
    to_end = np.repeat(indptr[1:], sizes) - np.arange(len(y))  # rows from here to the series' end
    train = (to_end > n_holdout) & (temporal[:, mask_idx].numpy(force=True) > 0) & np.isfinite(y)
    y, series = y[train], np.repeat(np.arange(len(sizes)), sizes)[train]
    if len(y) == 0:
        return 0.0
    first = np.flatnonzero(np.diff(series, prepend=-1))  # only series that have a row
    n = np.diff(first, append=len(y))
    y -= np.repeat(y[first], n)  # so that a constant series deviates by exactly 0
    mean = np.add.reduceat(y, first) / n
    std = np.sqrt(np.add.reduceat((y - np.repeat(mean, n)) ** 2, first) / n)
    return float(np.median(std[std > 0])) if (std > 0).any() else 0.0
