"""Which windows a right-aligned panel holds, and how to gather only those that are asked for.

Plain torch. A *panel* is a flat table of rows, series after series. NeuralForecast lays it out as a dense
[n_series, C, max_size] tensor with every series pushed to the right and zeros on its left, then unfolds it.
Here a window is only (series, start), `start` counted in rows of its own series: negative where the window
begins before the first row. Rows outside the series read as zeros, the availability mask included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_CHUNK = 1 << 20  # candidate windows checked against the mask at a time


@dataclass(frozen=True)
class WindowSpec:
    """What decides the windows of a model. All sizes are time steps; hashable, to serve as a cache key."""

    input_size: int
    h: int
    val_size: int = 0
    test_size: int = 0
    step_size: int = 1
    start_padding: bool = False
    min_insample_points: int = 1
    min_outsample_points: int = 1

    @property
    def width(self) -> int:
        """Rows of one window, look-back and horizon."""
        return self.input_size + self.h


@dataclass(frozen=True, eq=False)
class Panel:
    """Series stored one after the other.

    Attributes:
        temporal: [R, C], the rows of all series.
        first_row: [n_series] int64, where each series begins in `temporal`.
        sizes: [n_series] int64, rows of each series.
        max_size: columns of the dense layout, which fixes the phase of strided windows.
    """

    temporal: Tensor
    first_row: Tensor
    sizes: Tensor
    max_size: int

    @classmethod
    def from_flat(cls, temporal: Tensor, indptr: np.ndarray, max_size: int) -> Panel:
        """Wrap (not copy) flat rows [R, C] with `indptr` [n_series + 1]."""
        edges = torch.as_tensor(np.asarray(indptr, dtype=np.int64))
        return cls(temporal, edges[:-1], edges.diff(), max_size)

    @classmethod
    def from_dense(cls, temporal: Tensor) -> Panel:
        """Flatten a dense batch [B, C, T]; its zero padding stays, as rows whose mask is 0."""
        b, c, t = temporal.shape
        rows = temporal.detach().cpu().transpose(1, 2).reshape(b * t, c)
        return cls(rows, torch.arange(b) * t, torch.full((b,), t), t)

    def gather(self, series: Tensor, start: Tensor, width: int, end: Tensor | None = None) -> Tensor:
        """Copy windows out of the panel.

        Args:
            series: [n] int64 series ids.
            start: [n] first row of each window, relative to its series.
            width: rows of a window.
            end: [n_series] first row that must read as zero, default the series' own size.

        Returns:
            [n, width, C], zeros outside [0, end).
        """
        end = (self.sizes if end is None else end)[series]
        first, whole = self.first_row[series], (start >= 0) & (start + width <= end)
        if width > len(self.temporal):
            return self._gather_rows(first, start, width, end)
        view = self.temporal.unfold(0, width, 1).transpose(1, 2)  # [R - width + 1, width, C], no copy
        out = view.index_select(0, (first + start).clamp(0, len(view) - 1))  # copies whole windows
        if not whole.all():
            edge = ~whole
            out[edge] = self._gather_rows(first[edge], start[edge], width, end[edge])
        return out

    def _gather_rows(self, first: Tensor, start: Tensor, width: int, end: Tensor) -> Tensor:
        row = start[:, None] + torch.arange(width)  # [n, width]
        outside = (row < 0) | (row >= end[:, None])
        row = (row + first[:, None]).masked_fill_(outside, 0)
        out = self.temporal.index_select(0, row.flatten()).view(*row.shape, self.temporal.shape[1])
        return out.masked_fill_(outside.unsqueeze(-1), 0.0)


class PanelWindows:
    """The valid training windows of every series, found once.

    A window is valid when its look-back and its horizon hold enough available train rows. Each needs at least
    one, so only starts that overlap the series' own train rows are looked at.
    """

    def __init__(self, panel: Panel, mask_idx: int, spec: WindowSpec) -> None:
        """Index the windows; `mask_idx` is the column of the availability mask in `panel.temporal`."""
        self.panel, self.spec = panel, spec
        size, step = spec.input_size, spec.step_size
        self.n_train = (panel.sizes - spec.val_size - spec.test_size).clamp(min=0)  # [n_series]
        mask = panel.temporal[:, mask_idx]
        complete = bool((mask == 1).all())  # then the valid starts of a series are one strided range
        needed = (spec.min_insample_points, spec.min_outsample_points) if complete else (1, 1)

        # Column of row 0 in NeuralForecast's padded tensor: its strides count from column 0.
        lead = panel.max_size - panel.sizes + (size - 1 if spec.start_padding else 0)
        low = torch.clamp(-lead, min=needed[0] - size)
        self._low = low + (-(low + lead)) % step
        high = self.n_train - size - needed[1]
        self.count = ((high - self._low).div(step, rounding_mode="floor") + 1).clamp(min=0)  # [n_series]
        self._starts: Tensor | None = None  # int32, series after series; None: implied by _low and the stride
        if not complete:
            self._starts, self.count = self._check(mask)
        self._offset = self.count.cumsum(0) - self.count

    def _check(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the candidates whose mask sums suffice: their starts and how many each series has."""
        spec, panel = self.spec, self.panel
        total = torch.zeros(len(mask) + 1, dtype=torch.float64)
        torch.cumsum(mask.double(), 0, out=total[1:])
        ends = self.count.cumsum(0)
        kept = torch.zeros_like(self.count)
        starts = [torch.empty(0, dtype=torch.int32)]
        for begin in range(0, int(ends[-1]), _CHUNK):
            flat = torch.arange(begin, min(begin + _CHUNK, int(ends[-1])))
            series = torch.searchsorted(ends, flat, right=True)
            start = self._low[series] + spec.step_size * (flat - (ends - self.count)[series])
            base, end = panel.first_row[series], self.n_train[series]
            edges = [start, start + spec.input_size, start + spec.width]
            sums = [total[base + torch.minimum(edge.clamp(min=0), end)] for edge in edges]
            valid = (sums[1] - sums[0] >= spec.min_insample_points) & (sums[2] - sums[1] >= spec.min_outsample_points)
            starts.append(start[valid].int())
            kept += torch.bincount(series[valid], minlength=len(kept))
        return torch.cat(starts), kept

    def locate(self, series: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Series id and start of the windows `flat` [n] in the concatenated valid windows of `series` [B]."""
        ends = self.count[series].cumsum(0)
        slot = torch.searchsorted(ends, flat, right=True)
        chosen = series[slot]
        k = flat - (ends[slot] - self.count[chosen])  # the k-th valid window of its series
        if self._starts is None:
            return chosen, self._low[chosen] + self.spec.step_size * k
        return chosen, self._starts[self._offset[chosen] + k].long()

    def draw(self, series: Tensor, n: int | None, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw windows uniformly from the valid windows of some series.

        Args:
            series: [B] int64 ids; their order has no influence.
            n: how many; None takes every valid window once, in order.
            generator: CPU generator, default torch's global one.

        Returns:
            Series ids [n] and starts [n]: without repetition if there are n valid windows, else with.

        Raises:
            ValueError: if no window is valid.
        """
        series = series.sort().values
        total = int(self.count[series].sum())
        if total == 0:
            raise ValueError(self._no_windows(series))
        if n is None:
            flat = torch.arange(total)
        elif n > total:
            flat = torch.randint(total, (n,), generator=generator)
        elif 2 * n > total:
            flat = torch.randperm(total, generator=generator)[:n]
        else:
            flat = _distinct(total, n, generator)
        return self.locate(series, flat)

    def gather(self, series: Tensor, start: Tensor) -> Tensor:
        """Gather windows [n, L + h, C]; rows after a series' train part are zeros, so nothing leaks."""
        return self.panel.gather(series, start, self.spec.width, self.n_train)

    def _no_windows(self, series: Tensor) -> str:
        spec = self.spec
        return (
            f"No windows available for training: input_size={spec.input_size}, h={spec.h}, and the longest "
            f"of {len(series)} series has {int(self.n_train[series].max())} train rows (val_size="
            f"{spec.val_size}, test_size={spec.test_size}). A window needs {spec.min_insample_points} "
            f"available rows in its look-back and {spec.min_outsample_points} in its horizon. Lower "
            "input_size or h, set start_padding_enabled=True, or check available_mask."
        )


class LazyWindows:
    """Validation or prediction windows of some series, series-major and in time order, gathered on demand."""

    def __init__(
        self,
        panel: Panel,
        series: Tensor,
        layout: tuple[int, int, int],
        width: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Lay out the windows of `series` [B]; `layout` comes from `evaluation_layout`."""
        self.panel, self.series = panel, series
        self.first_column, self.stride, self.per_series = layout
        self.device, self.dtype = torch.device(device), dtype
        self.shape = (len(series) * self.per_series, width, panel.temporal.shape[1], 1)

    def __len__(self) -> int:
        return self.shape[0]

    def locate(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Series ids [n] and starts [n] of the windows `index` [n]."""
        index = index.cpu()
        series = self.series[index.div(self.per_series, rounding_mode="floor")]
        column = self.first_column + self.stride * (index % self.per_series)
        return series, column - (self.panel.max_size - self.panel.sizes[series])

    def __getitem__(self, index: Tensor) -> Tensor:
        """Gather the windows `index` [n]: [n, L + h, C, 1] on `device`."""
        windows = self.panel.gather(*self.locate(index), self.shape[1])
        return windows.unsqueeze(-1).to(self.device, self.dtype)


class RepeatedRows:
    """`table.repeat_interleave(repeats, 0)` [B * repeats, S] without the copy."""

    def __init__(self, table: Tensor, repeats: int) -> None:
        self.table, self.repeats = table, repeats

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.table[index.div(self.repeats, rounding_mode="floor")]


def at_most(n: int, limit: int) -> Tensor:
    """Indices below n: all, or `limit` (at least one) evenly spaced ones."""
    return torch.linspace(0, n - 1, min(n, max(1, limit)), dtype=torch.float64).round().long()


def evaluation_layout(
    max_size: int, spec: WindowSpec, step: str, stride: int, pad_horizon: bool = True
) -> tuple[int, int, int]:
    """Find the windows of a validation or prediction pass, the same for every series.

    Args:
        max_size: columns of the dense panel.
        spec: the model's sizes.
        step: "val" or "predict".
        stride: steps between two windows.
        pad_horizon: "predict" without a test part appends h empty columns (not if future inputs are needed).

    Returns:
        Column of the first window (may be negative: zeros), stride, windows per series.

    Raises:
        ValueError: if `step` is unknown or no window fits.
    """
    size = spec.input_size
    if step == "val":
        left = max(0, max_size - size - spec.val_size - spec.test_size)
        right = max(0, max_size - spec.test_size)
        if right - left < spec.width:  # short panel: the first window predicts the first validation row
            left = right - size - spec.val_size
    elif step == "predict":
        left = max_size - size - spec.test_size
        right = max_size + (spec.h if pad_horizon and spec.test_size == 0 else 0)
    else:
        raise ValueError(f"step must be 'val' or 'predict', got {step!r}")
    if right - left < spec.width:
        part = "val_size" if step == "val" else "test_size"
        raise ValueError(
            f"No windows available for step {step!r}: {part}={right - left - size} is less than h={spec.h}"
            + ("" if step == "val" else " (future exogenous inputs need h rows after the last observation)")
        )
    return left, stride, (right - left - spec.width) // stride + 1


def _distinct(total: int, n: int, generator: torch.Generator | None) -> Tensor:
    """Draw n different numbers below `total` >= 2n, uniformly over ordered draws, in O(n log n).

    The first occurrences in a row of independent uniform draws are such a draw, so repeats are dropped.
    """
    drawn = torch.empty(0, dtype=torch.long)
    while True:
        drawn = torch.cat([drawn, torch.randint(total, (n + n // 2 + 8,), generator=generator)])
        value, order = drawn.sort(stable=True)
        fresh = torch.ones_like(value, dtype=torch.bool)
        fresh[1:] = value[1:] != value[:-1]
        first = order[fresh].sort().values
        if len(first) >= n:
            return drawn[first[:n]]
