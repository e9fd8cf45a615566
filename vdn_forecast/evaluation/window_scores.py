"""Scores that are ratios of one origin's sums over all steps and series, as the protocol `probts` has them."""

import math

import numpy as np
import torch

from ..mixture import LEVELS_19
from .scores import ForecastBlock

_MEDIAN = LEVELS_19.index(0.5)
BOOTSTRAP_DRAWS = 10_000


class WindowRatios:
    """CRPS and NMAE per window: sums over all steps and series of one origin, divided by its Σ|y|.

    A window's CRPS is the mean over the 19 levels of Σ 2·QL / Σ|y|, its NMAE is Σ|y − median| / Σ|y|; both have
    no unit. Unlike pooled sums, every window weighs the same.

    Args:
        n_origins: number of forecast origins.
    """

    def __init__(self, n_origins: int) -> None:
        self.absolute_y = torch.zeros(n_origins, dtype=torch.float64)
        self.absolute_error = torch.zeros(n_origins, dtype=torch.float64)
        self.twice_pinball = torch.zeros(n_origins, len(LEVELS_19), dtype=torch.float64)
        self.windows = torch.zeros(n_origins, dtype=torch.long)
        self._levels = torch.tensor(LEVELS_19, dtype=torch.float64)

    def update(self, block: ForecastBlock) -> None:
        """Add one block; a window's series may come in several blocks.

        Raises:
            ValueError: no origins, no quantiles, or a value that is not finite.
        """
        if block.origin is None:
            raise ValueError("the block has no origin; scores per window need to know which forecasts belong together")
        if block.quantiles is None:
            raise ValueError("the block has no quantiles; a point forecast needs a residual Gaussian first")
        y, quantiles = block.y.double(), block.quantiles.double()
        if not bool(torch.isfinite(quantiles).all() and torch.isfinite(y).all()):
            raise ValueError("the model returned a quantile that is not finite, or y is not finite")
        difference = y.unsqueeze(-1) - quantiles  # [W, h, 19]
        pinball = torch.maximum(self._levels * difference, (self._levels - 1) * difference)
        self.absolute_y.index_add_(0, block.origin, y.abs().sum(1))
        self.absolute_error.index_add_(0, block.origin, difference[..., _MEDIAN].abs().sum(1))
        self.twice_pinball.index_add_(0, block.origin, 2 * pinball.sum(1))
        self.windows += torch.bincount(block.origin, minlength=len(self.windows))

    def by_window(self) -> dict[str, np.ndarray]:
        """`crps_ratio` and `nmae` of every window, [n_origins] each.

        Raises:
            ValueError: windows without a forecast, with fewer series than others, or of zeros only.
        """
        if bool((self.windows == 0).any()) or self.windows.unique().numel() > 1:
            found = sorted(set(self.windows.tolist()))
            raise ValueError(f"every window needs the forecasts of all series; there are windows with {found} series")
        empty = (self.absolute_y == 0).nonzero().flatten()
        if len(empty):
            raise ValueError(f"y is zero everywhere in window {int(empty[0])}; its ratio to Σ|y| does not exist")
        return {
            "crps_ratio": (self.twice_pinball.mean(1) / self.absolute_y).numpy(),
            "nmae": (self.absolute_error / self.absolute_y).numpy(),
        }

    def summary(self, block_length: int) -> dict[str, float]:
        """Means over windows, and the block-bootstrap standard error of `crps_ratio` as `crps_ratio_se`.

        Args:
            block_length: neighbouring windows drawn together, see `window_block`.
        """
        ratios = self.by_window()
        means = {name: float(values.mean()) for name, values in ratios.items()}
        return means | {"crps_ratio_se": standard_error(ratios["crps_ratio"], block_length)}


def window_block(h: int, season: int, stride: int, n_origins: int) -> int:
    """Windows per bootstrap block: those of max(2 h, one season) rows, at most half of all.

    One block as long as the row of windows would give every draw the same mean, an error of zero.

    Args:
        h: horizon, rows.
        season: rows of one season.
        stride: rows between origins.
        n_origins: number of origins.
    """
    return max(1, min(math.ceil(max(2 * h, season) / stride), n_origins // 2))


def standard_error(values: np.ndarray, block_length: int, draws: int = BOOTSTRAP_DRAWS, seed: int = 0) -> float:
    """Standard error of a mean of serially dependent values by the circular block bootstrap.

    Args:
        values: [n], in the order of time.
        block_length: neighbours drawn together.
        draws: bootstrap samples.
        seed: of the draws; the same values always give the same error.

    Returns:
        In the unit of `values`; NaN for a single value.

    Raises:
        ValueError: a block length outside of 1 .. n.
    """
    n = len(values)
    if not 1 <= block_length <= n:
        raise ValueError(f"block_length={block_length} is not allowed; there are {n} values")
    if n == 1:
        return float("nan")
    starts = np.random.default_rng(seed).integers(n, size=(draws, math.ceil(n / block_length)))
    rows = (starts[..., None] + np.arange(block_length)).reshape(draws, -1)[:, :n] % n
    return float(values[rows].mean(1).std())
