"""Sample paths of any model's rolling forecasts, from its own distribution where it has a joint one."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..losses import LatentMixture
from ..mixture import LEVELS_19
from ..models import VariationalModel
from ..models.path_noise import factor
from ..models.paths import mixture_paths
from .data import PanelData
from .forecasts import as_dataset, blocks, knows_series
from .naive import NaiveModel
from .path_scores import PathScores
from .scores import ForecastBlock

N_PATHS, PATH_SEED = 100, 0
PATH_ORIGINS, PATH_ORIGINS_AT_LEAST = 200, 10
"""Evenly spaced origins that are scored: fewer where series and horizon make them expensive."""
_PAIRS = 2 * 10**8  # pairs of steps over all scored windows: the variogram score's cost, for each path
_NUMBERS_AT_ONCE = 2**22  # of paths: 32 MiB of float64
OWN, HOST, INDEPENDENT = "own mixture", "NeuralForecast's Gaussian copula", "independent steps"


def score_paths(
    model: Any,
    data: PanelData,
    stride: int,
    input_size: int,
    h: int,
    first: int,
    last: int,
    residual: Tensor | None,
    n_origins: int,
) -> PathScores:
    """Energy and variogram score of 100 paths per window, on the scale that the model sees.

    Every model is scored on the same windows: all series of every k-th origin, k by `origin_step`. Noise is fresh,
    seeded by series and origin: no part of a model's training or of its fixed bank. The note of the result says
    where the paths came from: a model with a `LatentMixture` draws its own, one with another distribution loss
    NeuralForecast's `simulate` (its marginals, joined by an AR(1) copula that the look-back gives); the others, and
    point models with their residual Gaussian, get `independent_paths`: a baseline, since their forecasts say nothing
    about how steps move together.

    Args:
        model, data, stride, input_size, h, first, last, residual, n_origins: as of `forecasts.blocks`.
    """
    step = origin_step(n_origins, len(data.series), h)
    source = path_source(model)
    count = -(-n_origins // step)
    scores = PathScores(
        f"paths: {source}, {N_PATHS} each, {count} of {n_origins} origins (every {step}.), noise seed {PATH_SEED}"
    )
    for block in blocks(model, data, stride * step, input_size, h, first, last, residual, count):
        assert block.origin is not None
        starts = first + stride * step * block.origin.numpy()
        for paths, y in _ensembles(model, block, source, data, input_size, starts):
            scores.update(paths, y)
    return scores


def origin_step(n_origins: int, n_series: int, h: int) -> int:
    """Every how many origins one is scored: the same for every model of a task."""
    affordable = max(PATH_ORIGINS_AT_LEAST, _PAIRS // (n_series * h * h))
    return math.ceil(n_origins / min(n_origins, PATH_ORIGINS, affordable))


def path_source(model: Any) -> str:
    """Where a model's paths come from."""
    loss = getattr(model, "loss", None)
    if isinstance(model, VariationalModel) and isinstance(loss, LatentMixture):
        return OWN
    if not isinstance(model, NaiveModel) and bool(getattr(loss, "is_distribution_output", False)):
        return HOST
    return INDEPENDENT


def independent_paths(quantiles: Tensor, n_paths: int, generator: torch.Generator) -> Tensor:
    """Paths whose steps are independent, each from its step's quantiles.

    Quantiles are joined by lines over normal scores and the outermost lines go on, so that a Gaussian stays one
    beyond its .05 and .95 quantiles.

    Args:
        quantiles: [W, h, 19], ascending.
        n_paths: m.
        generator: of the noise.

    Returns:
        [W, m, h].
    """
    knots = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).float()
    z = torch.randn(*quantiles.shape[:2], n_paths, generator=generator)
    right = torch.searchsorted(knots, z).clamp(1, len(knots) - 1)
    low, high = quantiles.float().gather(2, right - 1), quantiles.float().gather(2, right)
    share = (z - knots[right - 1]) / (knots[right] - knots[right - 1])
    return (low + share * (high - low)).transpose(1, 2)


def _ensembles(
    model: Any, block: ForecastBlock, source: str, data: PanelData, input_size: int, starts: np.ndarray
) -> Iterator[tuple[Tensor, Tensor]]:
    """Paths [w, m, h] and y [w, h] of some of a block's windows at a time; `starts` [W] are their first rows."""
    if source == HOST and model.MULTIVARIATE:  # all series of an origin in one forecast
        for start in np.unique(starts):
            chosen = torch.from_numpy(np.flatnonzero(starts == start))  # in the order of series
            rows = data.values[start - input_size : start]
            yield _host_paths(model, rows, np.arange(rows.shape[1]), int(start)), block.y[chosen]
        return
    step = max(1, _NUMBERS_AT_ONCE // (N_PATHS * block.y.shape[1]))
    for begin in range(0, len(block.y), step):
        part = slice(begin, begin + step)
        seed = [PATH_SEED, int(block.series[begin]), int(starts[begin])]
        if source == OWN:
            paths = _own_paths(model, block, part, starts)
        elif source == HOST:
            rows = starts[part] - input_size + np.arange(input_size)[:, None]  # [L, w]
            paths = _host_paths(model, data.values[rows, number := block.series[part].numpy()], number, _one(seed))
        else:
            assert block.quantiles is not None
            generator = torch.Generator().manual_seed(_one(seed))
            paths = independent_paths(block.quantiles[part], N_PATHS, generator)
        yield paths, block.y[part]


def _own_paths(model: VariationalModel, block: ForecastBlock, part: slice, starts: np.ndarray) -> Tensor:
    assert block.mixture is not None
    loc, scale = (parameter[part].double().numpy() for parameter in block.mixture)
    root, df = factor(model.path_kernel, loc.shape[1]), model.loss.df
    # one stream per window: how windows are cut into pieces changes no path
    seeds = [[PATH_SEED, int(s), int(start)] for s, start in zip(block.series[part], starts[part], strict=True)]
    paths = [
        mixture_paths(mean, spread, root, df, N_PATHS, np.random.default_rng(seed))
        for mean, spread, seed in zip(loc, scale, seeds, strict=True)
    ]
    return torch.from_numpy(np.stack(paths))


def _host_paths(model: Any, lookback: np.ndarray, series: np.ndarray, seed: int) -> Tensor:
    """NeuralForecast forecasts from the end of what it is given; [L, w] of series [w] -> [w, m, h]."""
    dataset = as_dataset(lookback, series if knows_series(model) else None)
    before = model.get_test_size()
    model.set_test_size(0)
    try:
        return torch.from_numpy(model.simulate(dataset, n_paths=N_PATHS, random_seed=seed))
    finally:
        model.set_test_size(before)


def _one(seed: list[int]) -> int:
    """One number below 2^31 from several."""
    return int(np.random.default_rng(seed).integers(2**31))
