"""Scores of rolling forecasts, summed in float64 per series and step; nothing per forecast is kept."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..mixture import LEVELS_19

LEVELS = torch.tensor(LEVELS_19, dtype=torch.float32)
_PIECE = 2**16  # numbers of one temporary: fits the processor's cache
_MEDIAN = LEVELS_19.index(0.5)
_LOW = {80: LEVELS_19.index(0.1), 90: LEVELS_19.index(0.05)}
_HIGH = {80: LEVELS_19.index(0.9), 90: LEVELS_19.index(0.95)}


@dataclass(frozen=True)
class ForecastBlock:
    """Forecasts of some windows beside what happened.

    Attributes:
        series: [W] series number of each window.
        y: [W, h].
        mean: [W, h].
        quantiles: [W, h, 19] at .05 .. .95; None for a point forecast.
        crps: exact CRPS [W, h] where a closed form exists.
        nll: negative log-density [W, h] where there is one.
        cdf: probability below y [W, h] where a closed form exists: coverage without the quantiles' rounding.
        origin: [W] number of each window's origin, counted from the first of the split.
        mixture: locations and scales [W, h, C] each, of a model that emits a mixture.
    """

    series: Tensor
    y: Tensor
    mean: Tensor
    quantiles: Tensor | None = None
    crps: Tensor | None = None
    nll: Tensor | None = None
    cdf: Tensor | None = None
    origin: Tensor | None = None
    mixture: tuple[Tensor, Tensor] | None = None

    def restored(self, loc: Tensor, scale: Tensor) -> "ForecastBlock":
        """The same forecasts of loc + scale · y, in float64 so that a large `loc` costs no digits.

        Args:
            loc, scale: [n_series] in the unit of the new scale; `scale` positive.
        """
        a, b = loc.double()[self.series].unsqueeze(1), scale.double()[self.series].unsqueeze(1)  # [W, 1]
        return replace(
            self,
            y=a + b * self.y,
            mean=a + b * self.mean,
            quantiles=None if self.quantiles is None else a.unsqueeze(-1) + b.unsqueeze(-1) * self.quantiles,
            crps=None if self.crps is None else b * self.crps,
            nll=None if self.nll is None else self.nll + b.log(),
            mixture=None,  # on the old scale
        )

    def interval(self, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Lower end, median and upper end of the central interval of 80 or 90 %, [W, h] each.

        Raises:
            ValueError: a point forecast has no interval.
        """
        if self.quantiles is None:
            raise ValueError("the block has no quantiles; a point forecast needs a residual Gaussian first")
        return self.quantiles[..., _LOW[level]], self.quantiles[..., _MEDIAN], self.quantiles[..., _HIGH[level]]


class ScoreSums:
    """Running sums over windows, per series and step; `summary` gives plain means.

    Args:
        n_series: number of series.
        h: horizon.
        interval_scale: [h] factors, see `IntervalScale`; with them coverage and width of the stretched intervals are
            summed as well, as `coverage80_cal` and so on.
    """

    def __init__(self, n_series: int, h: int, interval_scale: Tensor | None = None) -> None:
        self.n_series, self.h, self.interval_scale = n_series, h, interval_scale
        self.count = torch.zeros(n_series, dtype=torch.float64)
        self.sums: dict[str, Tensor] = {}
        self.pinball = torch.zeros(len(LEVELS), dtype=torch.float64)

    def update(self, block: ForecastBlock) -> dict[str, Tensor]:
        """Add one block.

        Returns:
            What was added: every measure of each window and step, [W, h].

        Raises:
            ValueError: a forecast that is not finite.
        """
        error = block.y - block.mean
        if not bool(torch.isfinite(error.sum(dtype=torch.float64))):
            raise ValueError("the model returned a forecast that is not finite")
        self.count += torch.bincount(block.series, minlength=self.n_series)
        found = {"mse": error.square(), "mae_mean": error.abs()}
        if block.quantiles is not None:
            found |= self._of_quantiles(block)
            found |= {
                name: value for name, value in (("crps_exact", block.crps), ("nll", block.nll)) if value is not None
            }
        for name, value in found.items():
            self._add(name, block.series, value)
        return found

    def _of_quantiles(self, block: ForecastBlock) -> dict[str, Tensor]:
        quantiles = block.quantiles
        assert quantiles is not None
        crps19, by_level = torch.empty_like(block.y), torch.zeros_like(self.pinball)
        rows = max(1, _PIECE // (len(LEVELS) * self.h))
        for start in range(0, len(crps19), rows):
            part = slice(start, start + rows)
            difference = block.y[part].unsqueeze(-1) - quantiles[part]  # [w, h, 19]
            pinball = torch.addcmul(difference.clamp(max=0).neg_(), difference, LEVELS)
            by_level += pinball.sum((0, 1), dtype=torch.float64)
            crps19[part] = 2 * pinball.mean(-1)
        if not bool(torch.isfinite(by_level).all()):
            raise ValueError("the model returned a quantile that is not finite")
        self.pinball += by_level
        found = {"crps19": crps19, "mae": (block.y - quantiles[..., _MEDIAN]).abs()}
        for level in (80, 90):
            low, median, high = block.interval(level)
            covered = (block.y >= low) & (block.y <= high)
            if block.cdf is not None:
                covered = (block.cdf - 0.5).abs() <= level / 200
            found[f"coverage{level}"] = covered.float()
            found[f"width{level}"] = high - low
            if self.interval_scale is not None:
                low, high = (median + self.interval_scale * (end - median) for end in (low, high))
                found[f"coverage{level}_cal"] = ((block.y >= low) & (block.y <= high)).float()
                found[f"width{level}_cal"] = high - low
        return found

    def _add(self, name: str, series: Tensor, value: Tensor) -> None:
        total = self.sums.setdefault(name, torch.zeros(self.n_series, self.h, dtype=torch.float64))
        total.index_add_(0, series, value.double())

    def by_step(self) -> dict[str, np.ndarray]:
        """Mean over windows and series per horizon step, [h] each."""
        return {name: (total.sum(0) / self.count.sum()).numpy() for name, total in self.sums.items()}

    def by_series(self) -> dict[str, np.ndarray]:
        """Mean over windows and steps per series, [n_series] each."""
        return {name: (total.mean(1) / self.count.clamp(min=1)).numpy() for name, total in self.sums.items()}

    def summary(self) -> dict[str, float]:
        """Plain means over windows, steps and series; `mae` is that of the median, `mae_mean` of the mean."""
        cells = float(self.count.sum()) * self.h
        means = {name: float(total.sum()) / cells for name, total in self.sums.items()}
        means.setdefault("mae", means["mae_mean"])  # a point forecast is its own median
        return means

    def pinball_by_level(self) -> dict[float, float]:
        """Mean pinball loss per level."""
        cells = float(self.count.sum()) * self.h
        return {level: float(v) / cells for level, v in zip(LEVELS_19, self.pinball, strict=True)}
