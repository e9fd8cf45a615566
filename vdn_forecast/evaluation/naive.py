"""Forecasts that need no training."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class NaiveModel:
    """Repeats the last season; a season of one step is the naive forecast.

    Attributes:
        season: steps of one season.
    """

    season: int = 1

    def __str__(self) -> str:
        return "Naive" if self.season == 1 else "SeasonalNaive"

    def forecast(self, values: np.ndarray, origins: np.ndarray, h: int) -> np.ndarray:
        """Forecasts from each origin.

        Args:
            values: [T, n_series].
            origins: rows of the first forecast step.
            h: horizon.

        Returns:
            [n_series, origins, h].

        Raises:
            ValueError: an origin with less than one season before it.
        """
        if origins.min() < self.season:
            raise ValueError(f"season={self.season} is not allowed; the first origin has {origins.min()} rows before")
        back = self.season - np.arange(h) % self.season  # steps back from the origin
        return values[origins[:, None] - back].transpose(2, 0, 1)
