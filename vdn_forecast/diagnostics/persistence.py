"""How long a unit remembers: autocorrelation of its posterior mean over consecutive windows."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .._compat import count_windows, window_batches
from ..models import VariationalModel
from ..models.autocorrelation import MeansPass, half_life
from ..models.observing import WINDOWS_PER_BATCH, watching


def persistence(model: VariationalModel, dataset: Any, step: str, max_windows: int = 2048) -> pd.DataFrame:
    """Autocorrelation of mu at lags 1 and h, within series, and the half-life.

    r_l is the correlation of mu_t - m and mu_t+l - m with the mean m of the series' windows, over all pairs of windows
    that far apart, all series and latents. Half-life: windows until an AR(1) with r_1 falls to a half,
    ln .5 / ln r_1, NaN where r_1 is not inside (0, 1). Trajectory models: the mean of the last patch.

    Args:
        model: fitted.
        dataset: in memory, without gaps.
        step: of `window_batches`.
        max_windows: about so many, as runs of consecutive windows, evenly spaced; a run has at least 4 h of them.

    Returns:
        layer, unit, lag_1, lag_h, half_life; NaN where no two windows lie that far apart.
    """
    indices = runs(count_windows(model, dataset, step), max_windows, max(4 * model.h, 64))
    means = MeansPass(model.layers)
    with watching(model) as states:
        for batch in window_batches(model, dataset, step, WINDOWS_PER_BATCH, indices):
            states.clear()
            model(batch["windows_batch"])
            means.add(states, batch)
    parts = []
    for number, (one, far) in enumerate(means.autocorrelations(1, model.h)):
        parts.append(
            pd.DataFrame(
                {"layer": number, "unit": np.arange(len(one)), "lag_1": one, "lag_h": far, "half_life": half_life(one)}
            )
        )
    return pd.concat(parts, ignore_index=True)


def runs(n: int, limit: int, length: int) -> Tensor:
    """Indices of about `limit` of n windows as evenly spaced runs of `length` consecutive ones."""
    if n <= limit or n <= length:
        return torch.arange(n)
    count = max(1, limit // length)
    first = torch.linspace(0, n - length, count, dtype=torch.float64).round().long()
    return (first.unsqueeze(1) + torch.arange(length)).flatten().unique()
