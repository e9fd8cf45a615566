"""MASE, WQL and SQL as fev defines them, summed per origin; nothing per forecast is kept."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .scores import ForecastBlock


class FevScores:
    """fev's three measures over rolling windows: each is computed per origin, then averaged over origins.

    MASE is the mean over series and steps of |y - median| over the series' seasonal error, SQL the same of the mean
    quantile loss; the seasonal error is the mean |y_t - y_{t - season}| over *all* rows before the origin, and a
    series without one (constant so far) is left out. WQL is the quantile loss over series and steps divided by the
    mean of |y|. Quantile losses are 2 QL, averaged over the levels .05, .10 ... .95. MASE and SQL have no unit; WQL
    is in the unit that the data file has, whatever the scale of the protocol.

    Args:
        values: [T, n_series] on the scale of the forecasts.
        origins: rows of the first forecast step of each origin, ascending.
        season: rows of one season.
        moments: mean and deviation [n_series] that map the forecasts' scale to the file's unit; None where they are
            in it already.

    Raises:
        ValueError: a season < 1.
    """

    def __init__(
        self, values: np.ndarray, origins: np.ndarray, season: int, moments: tuple[Tensor, Tensor] | None = None
    ) -> None:
        if season < 1:
            raise ValueError(f"season={season} is not allowed; give a number of rows >= 1")
        self.season, self.moments = season, moments
        self.seasonal = seasonal_errors(values, origins, season)  # [n_origins, n_series]
        n = len(origins)
        self.scaled = {name: torch.zeros(n, dtype=torch.float64) for name in ("mase", "sql")}
        self.counted = torch.zeros(n, dtype=torch.float64)
        self.loss, self.size = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)

    def update(self, block: ForecastBlock, errors: Mapping[str, Tensor]) -> None:
        """Add one block.

        Args:
            block: with the numbers of its origins.
            errors: of `ScoreSums.update` for that block.
        """
        assert block.origin is not None
        seasonal = self.seasonal[block.origin, block.series]  # [W]
        usable = seasonal > 0
        self.counted.index_add_(0, block.origin, usable.double())
        for name, error in (("mase", errors["mae"]), ("sql", errors["crps19"])):
            ratio = error.double().mean(1) / seasonal
            self.scaled[name].index_add_(0, block.origin, torch.where(usable, ratio, torch.zeros_like(ratio)))
        loss, y = errors["crps19"].double(), block.y.double()
        if self.moments is not None:
            mean, deviation = (part.double()[block.series].unsqueeze(1) for part in self.moments)
            loss, y = loss * deviation, mean + deviation * y
        self.loss.index_add_(0, block.origin, loss.sum(1))
        self.size.index_add_(0, block.origin, y.abs().sum(1))

    def by_origin(self) -> dict[str, np.ndarray]:
        """`mase`, `sql` and `wql` of each origin, [n_origins]; NaN where one does not exist."""
        found = {name: (total / self.counted).numpy() for name, total in self.scaled.items()}
        return found | {"wql": torch.where(self.size > 0, self.loss / self.size, torch.nan).numpy()}

    def summary(self) -> dict[str, float]:
        """Means over the origins that have a value."""
        means = {}
        for name, values in self.by_origin().items():
            known = values[np.isfinite(values)]
            means[name] = float(known.mean()) if len(known) else float("nan")
        return means


def seasonal_errors(values: np.ndarray, origins: np.ndarray, season: int) -> Tensor:
    """Mean |y_t - y_{t - season}| over the rows before each origin, [n_origins, n_series]; 0 with no such pair."""
    change = np.abs(values[season:] - values[:-season])  # row t of y is row t - season here
    running = np.concatenate([np.zeros((1, values.shape[1])), change.cumsum(0)])
    pairs = np.clip(np.asarray(origins) - season, 0, None)
    return torch.from_numpy(running[pairs] / np.maximum(pairs, 1)[:, None])
