"""Rolling forecasts of any model in slices of origins: one `ForecastBlock` at a time, nothing is kept."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast.losses.pytorch import BasePointLoss, HuberIQLoss, HuberMQLoss, IQLoss, MQLoss
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .. import mixture
from .._compat import window_batches
from .._loss_arguments import RawMixture
from ..losses import LatentMixture
from ..mixture import LEVELS_19
from ..mixture_scores import mixture_scores
from ..models import VariationalModel
from .data import SERIES, PanelData
from .naive import NaiveModel
from .protocols import Protocol
from .scores import ForecastBlock, ScoreSums

WINDOWS_PER_BLOCK = 1024


def gives_quantiles(model: Any) -> bool:
    """Whether a model emits a distribution or the 19 quantiles itself."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, MQLoss | HuberMQLoss):
        levels = tuple(round(float(level), 6) for level in loss.quantiles)
        if levels != LEVELS_19:
            raise ValueError(f"loss has quantiles {levels}; the evaluation needs the 19 levels .05, .10, ..., .95")
        return True
    return bool(getattr(loss, "is_distribution_output", False))


def residual_scale(model: Any, data: PanelData, protocol: Protocol, h: int, first: int, last: int) -> Tensor:
    """Root mean squared residual per series and step over a split, [n_series, h]: a point model's Gaussian."""
    sums = ScoreSums(len(data.series), h)
    # every origin, also where the protocol scores few: ILI's validation rows hold a single one at stride 96
    for block in blocks(model, data, 1, protocol.input_size, h, first, last, None):
        sums.update(block)
    return (sums.sums["mse"] / sums.count.unsqueeze(1)).sqrt().float()


def blocks(
    model: Any,
    data: PanelData,
    stride: int,
    input_size: int,
    h: int,
    first: int,
    last: int,
    residual: Tensor | None,
    n_origins: int | None = None,
) -> Iterator[ForecastBlock]:
    """Forecasts from all origins whose h steps lie in rows [first, last), series by series in each slice.

    Args:
        model: fitted.
        data: on the protocol's scale.
        stride: steps between origins.
        input_size: L.
        h: horizon.
        first, last: rows of the split.
        residual: [n_series, h] scales that turn a point forecast into Gaussian quantiles, or None.
        n_origins: leave out those after this many; None for all.
    """
    n_series = len(data.series)
    possible = (last - first - h) // stride + 1
    n_origins = possible if n_origins is None else min(n_origins, possible)
    per_slice = max(1, WINDOWS_PER_BLOCK // n_series)
    for begin in range(0, n_origins, per_slice):
        count = min(per_slice, n_origins - begin)
        start = first + begin * stride  # row of the first forecast step
        stop = start + (count - 1) * stride + h
        look_back = getattr(model, "input_size", input_size)  # recurrent models of NeuralForecast read L + 1 rows
        rows = data.values[max(0, start - look_back) : stop]  # [L + .. + h, n_series]
        series = torch.arange(n_series).repeat_interleave(count)  # [W], windows of a series together
        number = torch.arange(begin, begin + count).repeat(n_series)  # [W]
        if isinstance(model, NaiveModel):
            origin = start + stride * np.arange(count)
            mean = torch.from_numpy(model.forecast(data.values, origin, h)).float().flatten(0, 1)  # [W, h]
            y = _targets(data.values, origin, h)
            yield replace(point_block(series, y, mean, residual), origin=number)
            continue
        dataset = as_dataset(rows, np.arange(n_series) if knows_series(model) else None)
        if isinstance(model, VariationalModel) and isinstance(model.loss, LatentMixture):
            block = _mixture_block(model, dataset, stop - start, stride, series)
            yield replace(block, origin=number)
            continue
        if is_direct(model):
            yield replace(_direct_block(model, dataset, stop - start, stride, series, residual), origin=number)
            continue
        y = _targets(data.values, start + stride * np.arange(count), h)
        block = predicted_block(model, dataset, stop - start, stride, series, y, residual)
        yield replace(block, origin=number)


def knows_series(model: Any) -> bool:
    """Whether a model is told which series a window is of: the static categorical column `SERIES`.

    Raises:
        ValueError: the column is asked for, but not as a categorical one.
    """
    if SERIES not in (getattr(model, "stat_exog_list", None) or ()):
        return False
    if SERIES not in model.cat_exog_list:
        raise ValueError(f"stat_exog_list names {SERIES!r}; cat_exog_list={model.cat_exog_list} must name it too")
    return True


def as_dataset(rows: np.ndarray, series: np.ndarray | None = None) -> TimeSeriesDataset:
    """A NeuralForecast dataset of equally long series.

    Args:
        rows: [T, n].
        series: [n], which of the training data's series each is, for a model that `knows_series`; None for others.
    """
    n_rows, n_series = rows.shape
    temporal = np.stack([rows.T.ravel(), np.ones(rows.size)], axis=1).astype(np.float32)
    indptr = np.arange(n_series + 1, dtype=np.int32) * n_rows
    static = {} if series is None else {"static": series[:, None] + 1, "static_cols": pd.Index([SERIES])}  # 0: unseen
    return TimeSeriesDataset(temporal, pd.Index(["y", "available_mask"]), indptr, y_idx=0, **static)


def _targets(values: np.ndarray, origins: np.ndarray, h: int) -> Tensor:
    """[n_series * origins, h], windows of a series together."""
    windows = values[origins[:, None] + np.arange(h)]  # [origins, h, n_series]
    return torch.from_numpy(windows.transpose(2, 0, 1).reshape(-1, h)).float()


def point_block(series: Tensor, y: Tensor, mean: Tensor, residual: Tensor | None) -> ForecastBlock:
    """A point forecast, [W, h], with the Gaussian quantiles of its series' residual scales [n_series, h]."""
    if residual is None:
        return ForecastBlock(series, y, mean)
    scale = residual[series]  # [W, h]
    z = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).float()
    quantiles = mean.unsqueeze(-1) + scale.unsqueeze(-1) * z
    one = scale.clamp(min=1e-12).unsqueeze(-1)
    crps = mixture.mixture_crps(y, mean.unsqueeze(-1), one)
    nll = -mixture.mixture_log_prob(y, mean.unsqueeze(-1), one)
    return ForecastBlock(series, y, mean, quantiles, crps, nll)


def is_direct(model: Any) -> bool:
    """Whether a model's forecasts are its outputs in the unit of y: no sampling, no recursion, one series a window."""
    loss = model.loss
    exact = isinstance(loss, BasePointLoss) and not isinstance(loss, IQLoss | HuberIQLoss)
    return bool(exact and not model.MULTIVARIATE and not model.RECURRENT)


@torch.no_grad()
def _outputs(
    model: Any, dataset: TimeSeriesDataset, test_size: int, stride: int, read: Callable[[Any, dict[str, Any]], Any]
) -> list[Tensor]:
    """What `read` makes of every batch of windows and the model's outputs for it, each part in one tensor."""
    before, mode = model.get_test_size(), model.training
    model.set_test_size(test_size)
    model.eval()
    try:
        parts = [
            read(model.loss.domain_map(model(batch["windows_batch"])), batch)
            for batch in window_batches(model, dataset, "predict", WINDOWS_PER_BLOCK, step_size=stride)
        ]
    finally:
        model.set_test_size(before)
        model.train(mode)
    if len(parts) == 1:
        return [part.cpu() for part in parts[0]]
    return [torch.cat(part).cpu() for part in zip(*parts, strict=True)]


def _direct_block(
    model: Any, dataset: TimeSeriesDataset, test_size: int, stride: int, series: Tensor, residual: Tensor | None
) -> ForecastBlock:
    """Points or quantiles straight from the network: NeuralForecast's `predict` without its trainer and windows."""

    def read(output: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        loc, scale = batch["loc"], batch["scale"]  # [W, 1, 1]
        if output.ndim > 3:
            loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
        return batch["y"].squeeze(-1), model.scaler.inverse_transform(z=output, x_shift=loc, x_scale=scale)

    y, forecast = _outputs(model, dataset, test_size, stride, read)
    return _block_of_outputs(model, series, y, forecast.reshape(len(series), model.h, -1), residual)


def _block_of_outputs(
    model: Any, series: Tensor, y: Tensor, forecast: Tensor, residual: Tensor | None
) -> ForecastBlock:
    """Points or quantiles [W, h, outputs] of a model as a block."""
    if isinstance(model.loss, MQLoss | HuberMQLoss):
        quantiles = forecast.sort(-1).values  # crossed quantiles are put in order
        return ForecastBlock(series, y, quantiles.mean(-1), quantiles)
    return point_block(series, y, forecast[..., 0], residual)


@torch.no_grad()
def _mixture_block(
    model: VariationalModel, dataset: TimeSeriesDataset, test_size: int, stride: int, series: Tensor
) -> ForecastBlock:
    """EVE's mixtures from their parameters: no table of forecasts, no sampling."""

    def read(output: Any, batch: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        found = model.loss.scale_decouple(output=output, loc=batch["loc"], scale=batch["scale"])
        if isinstance(found, RawMixture):
            loc, scale = found.components(model.loss.scale_floor)  # [W, C, h]
        else:
            loc, scale = (part.squeeze(2).transpose(1, 2).contiguous() for part in found)
        return batch["y"].squeeze(-1), loc, scale

    df = model.loss.df
    model.hands_raw = df is None
    try:
        y, loc, scale = _outputs(model, dataset, test_size, stride, read)
    finally:
        model.hands_raw = False
    last = loc.transpose(1, 2), scale.transpose(1, 2)  # [W, h, C]
    if df is None:
        found = mixture_scores(y, loc, scale)
        return ForecastBlock(series, y, loc.mean(1), found.quantiles, found.crps, found.nll, found.cdf, mixture=last)
    quantiles, nll = mixture.mixture_quantiles(*last, LEVELS_19, df), -mixture.mixture_log_prob(y, *last, df)
    return ForecastBlock(series, y, loc.mean(1), quantiles, None, nll, mixture=last)


def predicted_block(
    model: Any,
    dataset: TimeSeriesDataset,
    test_size: int,
    stride: int,
    series: Tensor,
    y: Tensor,
    residual: Tensor | None,
) -> ForecastBlock:
    """Any NeuralForecast model, through its own `predict`."""
    before = model.get_test_size()
    model.set_test_size(test_size)
    wanted = {"quantiles": list(LEVELS_19)} if model.loss.is_distribution_output else {}
    try:
        table = model.predict(dataset, step_size=stride, **wanted)
    finally:
        model.set_test_size(before)
    forecast = torch.from_numpy(np.asarray(table)).float().reshape(len(series), model.h, -1)
    if model.loss.is_distribution_output:
        return ForecastBlock(series, y, forecast[..., 0], forecast[..., 1:20])
    return _block_of_outputs(model, series, y, forecast, residual)
