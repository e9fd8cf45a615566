"""How long a unit remembers: autocorrelation of its posterior mean over consecutive windows."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .._compat import count_windows, window_batches
from ..models import VariationalModel
from ..models.observing import WINDOWS_PER_BATCH, watching
from ..neurons import TrajectoryLayer, UnitState


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
    means: list[list[Tensor]] = [[] for _ in model.layers]
    series, starts = [], []
    with watching(model) as states:
        for batch in window_batches(model, dataset, step, WINDOWS_PER_BATCH, indices):
            states.clear()
            model(batch["windows_batch"])
            for target, layer, state in zip(means, model.layers, states, strict=True):
                target.append(window_means(layer, state))
            series.append(batch["series"].cpu())
            starts.append(batch["start"].cpu())
    where, start = torch.cat(series).numpy(), torch.cat(starts).numpy()
    parts = []
    for number, collected in enumerate(means):
        mu = torch.cat(collected).double().cpu().numpy()  # [W, N, k]
        one, far = (autocorrelation(mu, where, start, lag) for lag in (1, model.h))
        with np.errstate(divide="ignore", invalid="ignore"):
            half = np.where((one > 0) & (one < 1), np.log(0.5) / np.log(one), np.nan)
        parts.append(
            pd.DataFrame(
                {"layer": number, "unit": np.arange(mu.shape[1]), "lag_1": one, "lag_h": far, "half_life": half}
            )
        )
    return pd.concat(parts, ignore_index=True)


def window_means(layer: torch.nn.Module, state: UnitState) -> Tensor:
    """Posterior means per window, [W, N, k]: of the last patch of a trajectory, averaged over samples of a context."""
    if state.mu.ndim == 3:
        return state.mu
    return state.mu[:, -1] if isinstance(layer, TrajectoryLayer) else state.mu.mean(1)


def autocorrelation(mu: np.ndarray, series: np.ndarray, start: np.ndarray, lag: int) -> np.ndarray:
    """Of every unit, [N]; NaN for a constant one, or without two windows that far apart.

    Args:
        mu: [W, N, k].
        series, start: of every window, [W].
        lag: difference of starts.
    """
    _, number = np.unique(series, return_inverse=True)
    total = np.zeros((number.max() + 1, *mu.shape[1:]))
    np.add.at(total, number, mu)
    centred = mu - (total / np.bincount(number)[:, None, None])[number]
    key = series.astype(np.int64) * (2 * (np.abs(start).max() + lag) + 2) + start
    order = np.argsort(key)
    place = np.searchsorted(key[order], key + lag).clip(max=len(key) - 1)
    later = order[place]
    pairs = key[later] == key + lag
    first, second = centred[pairs], centred[later[pairs]]  # [P, N, k]
    spread = np.sqrt(np.square(first).sum((0, 2)) * np.square(second).sum((0, 2)))
    # the rounding of a constant is no variation
    varies = spread > 1e-12 * np.square(mu[pairs]).sum((0, 2))
    return np.where(varies, (first * second).sum((0, 2)) / np.where(varies, spread, 1.0), np.nan)


def runs(n: int, limit: int, length: int) -> Tensor:
    """Indices of about `limit` of n windows as evenly spaced runs of `length` consecutive ones."""
    if n <= limit or n <= length:
        return torch.arange(n)
    count = max(1, limit // length)
    first = torch.linspace(0, n - length, count, dtype=torch.float64).round().long()
    return (first.unsqueeze(1) + torch.arange(length)).flatten().unique()
