"""One fitted model: energy and variogram score of its own paths and of their reorderings, origin by origin."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vdn_forecast.evaluation.cells import Cell
from vdn_forecast.evaluation.data import PanelData
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.path_forecasts import N_PATHS, PATH_SEED, origin_step
from vdn_forecast.evaluation.path_scores import energy_score, variogram_score
from vdn_forecast.evaluation.quiet import quiet_lightning
from vdn_forecast.evaluation.scores import ForecastBlock
from vdn_forecast.models.path_noise import factor
from vdn_forecast.models.paths import mixture_paths

from .orders import HOST, ORDERS, autoregressive_order, host_order, reordered, residual_correlation

OWN = "own"
WINDOWS_AT_ONCE = 64
VALIDATION_STRIDE = 8


def score_cell(cell: Cell, data: PanelData) -> pd.DataFrame:
    """Fit the cell's model and score paths on every k-th test origin (k by `origin_step`), all series of each.

    Returns:
        One row per origin and way of joining: origin (its number among all), paths, energy_score, variogram_score,
        means over series on the scale that the model sees.
    """
    with quiet_lightning():
        model = evaluate(
            cell.build(data.info.season, len(data.series)),
            data,
            cell.own_protocol,
            cell.h,
            test=False,
            stride=cell.h,  # its validation scores are of no use here
        ).model
        return score_model(model, cell.protocol.prepare(data), cell.own_protocol.input_size, cell.h)


def score_model(model: Any, data: PanelData, input_size: int, h: int) -> pd.DataFrame:
    """The same for a fitted model on data of its own scale; origins one step apart."""
    n_train, n_val, n_test = data.borders
    first, last = n_train + n_val, n_train + n_val + n_test
    n_series, n_origins = len(data.series), n_test - h + 1
    validation = blocks(model, data, VALIDATION_STRIDE, input_size, h, n_train, first, None)
    rho = residual_correlation(validation, n_series, model.loss.df)
    step = origin_step(n_origins, n_series, h)
    parts = []
    for block in blocks(model, data, step, input_size, h, first, last, None, -(-n_origins // step)):
        assert block.origin is not None
        starts = first + step * block.origin.numpy()
        for part in _parts(len(block.y)):
            for name, paths in _ensembles(model, block, part, starts[part], data, rho):
                scores = {
                    "origin": step * block.origin[part].numpy(),
                    "paths": name,
                    "energy_score": energy_score(paths, block.y[part]).numpy(),
                    "variogram_score": variogram_score(paths, block.y[part]).numpy(),
                }
                parts.append(pd.DataFrame(scores))
    table = pd.concat(parts, ignore_index=True)
    return table.groupby(["origin", "paths"], as_index=False, sort=True).mean()


def _parts(n: int) -> Iterator[slice]:
    for begin in range(0, n, WINDOWS_AT_ONCE):
        yield slice(begin, min(begin + WINDOWS_AT_ONCE, n))


def _ensembles(
    model: Any, block: ForecastBlock, part: slice, starts: np.ndarray, data: PanelData, rho: np.ndarray
) -> Iterator[tuple[str, Tensor]]:
    """The model's own paths [w, m, h] of some windows, then their reorderings."""
    assert block.mixture is not None
    loc, scale = (parameter[part].double().numpy() for parameter in block.mixture)
    series = block.series[part].numpy()
    seeds = [[PATH_SEED, int(s), int(start)] for s, start in zip(series, starts, strict=True)]
    root, df = factor(model.path_kernel, loc.shape[1]), model.loss.df
    own = torch.from_numpy(
        np.stack(
            [
                mixture_paths(mean, spread, root, df, N_PATHS, np.random.default_rng(seed))
                for mean, spread, seed in zip(loc, scale, seeds, strict=True)
            ]
        )
    )
    yield OWN, own
    h = own.shape[2]
    for name in ORDERS:
        rng = np.random.default_rng([1, *seeds[0]])
        if name in HOST:
            histories = [data.values[:start, s] for s, start in zip(series, starts, strict=True)]
            order = host_order(name, histories, N_PATHS, h, int(rng.integers(2**31)))
        else:
            correlations = np.zeros(len(series)) if name == "independent" else rho[series]
            order = autoregressive_order(correlations, N_PATHS, h, rng)
        yield name, reordered(own, order)
