"""Errors per forecast origin and, where asked for, per window: what paired tests need."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .scores import ForecastBlock

MEASURES = ("crps19", "mse", "mae")


class OriginErrors:
    """Means over steps and series of each origin; per window (one origin of one series) too with `windows`.

    Args:
        n_series: number of series.
        n_origins: number of forecast origins.
        windows: whether to keep 12 bytes per window.
    """

    def __init__(self, n_series: int, n_origins: int, *, windows: bool = False) -> None:
        self.sums = {name: torch.zeros(n_origins, dtype=torch.float64) for name in MEASURES}
        self.count = torch.zeros(n_origins, dtype=torch.float64)
        self.windows = {name: torch.full((n_origins, n_series), torch.nan) for name in MEASURES} if windows else None

    def update(self, block: ForecastBlock, errors: Mapping[str, Tensor]) -> None:
        """Add one block.

        Args:
            block: with the numbers of its origins.
            errors: of `ScoreSums.update` for that block.
        """
        assert block.origin is not None
        self.count += torch.bincount(block.origin, minlength=len(self.count))
        for name in MEASURES:
            mean = errors[name].double().mean(1)  # [W]
            self.sums[name].index_add_(0, block.origin, mean)
            if self.windows is not None:
                self.windows[name][block.origin, block.series] = mean.float()

    def by_origin(self, **more: np.ndarray) -> pd.DataFrame:
        """Columns origin and one per measure (float32); `more` adds further ones of [n_origins]."""
        table = {"origin": np.arange(len(self.count), dtype=np.int32)}
        table |= {name: (total / self.count).numpy().astype(np.float32) for name, total in self.sums.items()}
        return pd.DataFrame(table | {name: values.astype(np.float32) for name, values in more.items()})

    def by_window(self, series: Sequence[str]) -> pd.DataFrame:
        """Columns origin, series and one per measure (float32), origins together.

        Args:
            series: their names.

        Raises:
            ValueError: windows were not kept.
        """
        if self.windows is None:
            raise ValueError("errors per window were not kept; ask for them before the evaluation")
        number = np.arange(len(self.count), dtype=np.int32)
        codes = np.tile(np.arange(len(series)), len(number))
        table = {
            "origin": np.repeat(number, len(series)),
            "series": pd.Categorical.from_codes(codes, pd.Index(series)),
        }
        return pd.DataFrame(table | {name: values.flatten().numpy() for name, values in self.windows.items()})
