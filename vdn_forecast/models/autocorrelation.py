"""How much of a unit's posterior mean is still there a window later, or h windows later."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..neurons import TrajectoryLayer, UnitState


class MeansPass:
    """Keeps the posterior means of every layer's units over batches of windows.

    Args:
        layers: of variational neurons, first to last.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self._layers = list(layers)
        self._means: list[list[Tensor]] = [[] for _ in self._layers]
        self._where: list[tuple[Tensor, Tensor]] = []

    def add(self, states: Iterable[UnitState], batch: Mapping[str, Any]) -> None:
        """One batch of `window_batches`, and a state per layer."""
        for means, layer, state in zip(self._means, self._layers, states, strict=True):
            means.append(window_means(layer, state).double().cpu())
        self._where.append((batch["series"].cpu(), batch["start"].cpu()))

    def autocorrelations(self, *lags: int) -> np.ndarray:
        """Of every unit at every lag, [layers, lags, N]."""
        series, start = (torch.cat(part).numpy() for part in zip(*self._where, strict=True))
        found = []
        for means in self._means:
            mu = torch.cat(means).numpy()  # [W, N, k]
            found.append([autocorrelation(mu, series, start, lag) for lag in lags])
        return np.asarray(found)


def window_means(layer: nn.Module, state: UnitState) -> Tensor:
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


def half_life(lag_1: np.ndarray) -> np.ndarray:
    """Windows until an AR(1) with this autocorrelation falls to a half; NaN where it is not inside (0, 1)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((lag_1 > 0) & (lag_1 < 1), np.log(0.5) / np.log(lag_1), np.nan)


def spaced_with_successors(n: int, limit: int, h: int) -> Tensor:
    """Indices of at most `limit` of n consecutive windows; all where there are no more.

    Half of them evenly spaced, and beside every one a neighbour: 1 or h windows later in turn, earlier at the end.
    """
    if n <= limit:
        return torch.arange(n)
    spaced = torch.linspace(0, n - 1, max(limit // 2, 1), dtype=torch.float64).round().long()
    lag = torch.tensor([1, h])[torch.arange(len(spaced)) % 2]
    neighbour = torch.where(spaced + lag < n, spaced + lag, spaced - lag).clamp(min=0)
    return torch.cat([spaced, neighbour])[:limit].unique()
