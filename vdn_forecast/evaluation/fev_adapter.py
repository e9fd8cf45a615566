"""Forecasts of a fev task by any model of the runner, in the form that fev scores."""

import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from ..mixture import LEVELS_19
from . import fev_bridge
from .forecasts import gives_quantiles, point_block, predicted_block
from .models import build_model
from .naive import NaiveModel
from .quiet import quiet_lightning
from .scores import ForecastBlock

MEAN_METRICS = ("MSE", "RMSE", "RMSSE")
ENOUGH_WINDOWS = 20  # validation windows for a scale of every step of its own
Rows = dict[str, list[dict[str, list[float]]]]


@dataclass(frozen=True)
class TaskForecasts:
    """What fev scores.

    Attributes:
        model: its name in the summary.
        predictions: one mapping of target to rows per window; a row holds "predictions" and every quantile level.
        training_time_s, inference_time_s: wall time over all windows.
    """

    model: str
    predictions: list[Rows]
    training_time_s: float
    inference_time_s: float


def export_task(task: Mapping[str, Any], python: str | Path) -> dict[str, Any]:
    """Read a task's data with fev in an environment of its own.

    Args:
        task: arguments of `fev.Task`; `dataset_path` absolute, or relative to the working directory.
        python: the interpreter of an environment with fev.

    Raises:
        RuntimeError: fev refused.
    """
    return _in_fev(python, "export", task)


def score_task(task: Mapping[str, Any], forecasts: TaskForecasts, python: str | Path) -> dict[str, Any]:
    """fev's summary of forecasts, made in an environment of its own.

    Raises:
        RuntimeError: fev refused.
    """
    return _in_fev(python, "score", task, asdict(forecasts))


def forecast_task(
    task: Any,
    model: str,
    *,
    input_size: int | None = None,
    val_size: int | None = None,
    seed: int = 1,
    refit: bool = False,
    **arguments: Any,
) -> TaskForecasts:
    """Forecast every window of a task.

    A model trains on the first window's past, its last rows for validation, and forecasts the later windows from
    their own past. It sees every series standardised with mean and deviation of the rows that it was trained on.
    Covariates are not used. Missing values are masked.

    Args:
        task: a `fev.Task`, or what `export_task` gave.
        model: name of a file in `configs/models`.
        input_size: look-back; None for the larger of two horizons and a season.
        val_size: rows held out for early stopping and residual scales; None for the horizon, or up to four where a
            fifth of the shortest series allows.
        seed: of weights, windows and noise.
        refit: train anew on every window's past.
        **arguments: override the model's file.

    Raises:
        ValueError: an unknown model, quantile levels other than .05, .10 ... .95, a series too short, or other
            series in a later window without `refit`.
    """
    content = task if isinstance(task, Mapping) else fev_bridge.describe_task(task)
    told = content["task"]
    levels, h, season = list(told["quantile_levels"]), int(told["horizon"]), int(told["seasonality"])
    foreign = [level for level in levels if round(level, 6) not in LEVELS_19]
    if foreign:
        raise ValueError(f"quantile_levels={foreign} are not allowed; the runner's models give .05, .10, ..., .95")
    unused = [*told["known_dynamic_columns"], *told["past_dynamic_columns"], *told["static_columns"]]
    if unused:
        warnings.warn(f"columns {unused} of the task are not used", stacklevel=2)
    metric = told["eval_metric"]
    wants_mean = (metric if isinstance(metric, str) else metric["name"]).upper() in MEAN_METRICS
    input_size = max(2 * h, season) if input_size is None else input_size
    fitted: Any = None
    trained_on: list[str] = []
    training = inference = 0.0
    predictions: list[Rows] = []
    for number, spans in enumerate(content["windows"]):
        past = [_filled(content["items"][name][c][a:b]) for c in content["targets"] for name, a, b in spans]
        names = [name for name, _, _ in spans]
        started = time.perf_counter()
        if fitted is None or refit:
            moments = _moments(past)
            held_out = _validation_rows(past, h, val_size)
            fitted = build_model(model, h, input_size, season, n_series=len(past), random_seed=seed, **arguments)
            trained_on, residual = names, _train(fitted, _scaled(past, moments), h, held_out)
        elif names != trained_on:
            raise ValueError(f"window {number} has other series than the first one: refit=True trains on each")
        training += time.perf_counter() - started
        started = time.perf_counter()
        with quiet_lightning():
            block = _forecast(fitted, _scaled(past, moments), h, residual)
        block = block.restored(*map(torch.from_numpy, moments))
        inference += time.perf_counter() - started
        predictions.append(_rows(block, levels, content["targets"], wants_mean))
    return TaskForecasts(model, predictions, training, inference)


def _rows(block: ForecastBlock, levels: list[float], targets: list[str], wants_mean: bool) -> Rows:
    """fev's rows of one window: targets one after the other, the items of each in order."""
    assert block.quantiles is not None
    point = block.mean if wants_mean else block.quantiles[..., LEVELS_19.index(0.5)]
    columns = {"predictions": point.double()}
    for level in levels:
        columns[str(level)] = block.quantiles[..., LEVELS_19.index(round(level, 6))].double()
    n_items = len(point) // len(targets)
    rows = [{name: values[i].tolist() for name, values in columns.items()} for i in range(len(point))]
    return {target: rows[i * n_items : (i + 1) * n_items] for i, target in enumerate(targets)}


def _train(model: Any, past: list[np.ndarray], h: int, held_out: int) -> Tensor | None:
    """Fit, and give a point model's residual scales [n, h]."""
    with quiet_lightning():
        if not isinstance(model, NaiveModel):
            model.fit(_dataset(past), val_size=held_out)
        return None if gives_quantiles(model) else _residual_scale(model, past, h, held_out)


def _forecast(model: Any, past: list[np.ndarray], h: int, residual: Tensor | None) -> ForecastBlock:
    """The h steps after each series' last row."""
    series, unknown = torch.arange(len(past)), torch.zeros(len(past), h)
    if not isinstance(model, NaiveModel):
        return predicted_block(model, _dataset(past), 0, 1, series, unknown, residual)
    mean = np.stack([model.forecast(y[:, :1], np.array([len(y)]), h)[0, 0] for y in past])
    return point_block(series, unknown, torch.from_numpy(mean).float(), residual)


def _residual_scale(model: Any, past: list[np.ndarray], h: int, held_out: int) -> Tensor:
    """Root mean squared residual per series over the last rows, [n, h]; one for all steps where windows are few."""
    n_windows = held_out - h + 1
    origins = [len(y) - held_out + np.arange(n_windows) for y in past]
    y = np.stack([series[o[:, None] + np.arange(h), 0] for series, o in zip(past, origins, strict=True)])
    if isinstance(model, NaiveModel):
        mean = np.concatenate([model.forecast(series[:, :1], o, h) for series, o in zip(past, origins, strict=True)])
    else:
        number = torch.arange(len(past)).repeat_interleave(n_windows)
        targets = torch.from_numpy(y.reshape(-1, h)).float()
        mean = predicted_block(model, _dataset(past), held_out, 1, number, targets, None).mean.numpy().reshape(y.shape)
    squared = (y - mean) ** 2  # [n, windows, h]
    scale = squared.mean(1) if n_windows >= ENOUGH_WINDOWS else squared.mean((1, 2))[:, None].repeat(h, 1)
    return torch.from_numpy(np.sqrt(scale)).float()


def _validation_rows(past: list[np.ndarray], h: int, val_size: int | None) -> int:
    shortest = min(len(y) for y in past)
    rows = max(h, min(4 * h, shortest // 5)) if val_size is None else val_size
    if not h <= rows < shortest:
        raise ValueError(
            f"val_size={rows} is not allowed; give h={h} or more, and less than the shortest past, {shortest}"
        )
    return rows


def _filled(values: list[float | None]) -> np.ndarray:
    """[T, 2]: y with gaps filled from before (or after), and 1 where it was observed."""
    y = pd.Series(values, dtype=float)
    return np.stack([y.ffill().bfill().fillna(0.0), y.notna()], axis=1).astype(float)


def _moments(past: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each series' observed rows, [n] each; 1 in place of a deviation of 0."""
    observed = [y[y[:, 1] > 0, 0] if (y[:, 1] > 0).any() else np.zeros(1) for y in past]
    deviation = np.array([y.std() for y in observed])
    return np.array([y.mean() for y in observed]), np.where(deviation > 0, deviation, 1.0)


def _scaled(past: list[np.ndarray], moments: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    return [(y - [mean, 0.0]) / [deviation, 1.0] for y, mean, deviation in zip(past, *moments, strict=True)]


def _dataset(past: list[np.ndarray]) -> TimeSeriesDataset:
    """NeuralForecast's dataset of series of different lengths."""
    edges = np.cumsum([0, *map(len, past)]).astype(np.int32)
    return TimeSeriesDataset(np.concatenate(past).astype(np.float32), pd.Index(["y", "available_mask"]), edges, y_idx=0)


def _in_fev(python: str | Path, command: str, *contents: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.json" for number in range(len(contents) + 1)]
        for path, content in zip(files, contents, strict=False):
            fev_bridge.write_json(path, content)
        words = [str(python), str(Path(fev_bridge.__file__)), command, *map(str, files)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"fev failed in {python}: {done.stderr.strip()[-2000:]}")
        found: dict[str, Any] = json.loads(files[-1].read_text())
        return found
