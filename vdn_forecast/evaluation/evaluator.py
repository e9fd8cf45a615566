"""Streaming evaluation: fit through NeuralForecast, forecast every rolling window in slices, keep sums only."""

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from neuralforecast import NeuralForecast
from torch import Tensor

from .data import PanelData
from .fev_scores import FevScores
from .forecasts import blocks, gives_quantiles, knows_series, residual_scale
from .interval_scale import IntervalScale
from .naive import NaiveModel
from .origin_errors import OriginErrors
from .path_forecasts import score_paths
from .path_scores import PathScores
from .protocols import Protocol
from .quiet import quiet_lightning
from .scores import ForecastBlock, ScoreSums
from .window_scores import WindowRatios


@dataclass(frozen=True)
class Evaluation:
    """What one fitted model scored.

    Attributes:
        test: scores over the test split.
        validation: scores over the validation split.
        fit_seconds, predict_seconds: wall time of training and of the test forecasts (without those for paths).
        n_parameters: trainable parameters.
        steps: optimiser steps done.
        model: the fitted model.
        peak_mb: highest resident memory of the process so far.
        windows: scores per test window, where the protocol has them.
        origins: errors per test origin, and per window where they were asked for.
        fev: MASE, WQL and SQL over the test split.
        paths: scores of joint paths, where they were asked for.
    """

    test: ScoreSums | None
    validation: ScoreSums
    fit_seconds: float
    predict_seconds: float
    n_parameters: int
    steps: int
    model: Any
    peak_mb: float
    windows: WindowRatios | None = None
    origins: OriginErrors | None = None
    fev: FevScores | None = None
    paths: PathScores | None = None


class _TestScores:
    """Everything that is summed over the test split, block by block."""

    def __init__(
        self, data: PanelData, protocol: Protocol, h: int, interval_scale: Tensor | None, keep_windows: bool
    ) -> None:
        scaled = protocol.prepare(data)
        n_train, n_val, n_test = scaled.borders
        self.first, self.last, n_series = n_train + n_val, n_train + n_val + n_test, len(scaled.series)
        self.n_origins = protocol.origins(n_test, h)
        self.restore = _moments(data) if protocol.scale == "restored" else None
        self.sums = ScoreSums(n_series, h, interval_scale)
        self.origins = OriginErrors(n_series, self.n_origins, windows=keep_windows)
        self.ratios = WindowRatios(self.n_origins) if protocol.has_window_ratios else None
        starts = self.first + protocol.stride * np.arange(self.n_origins)
        values = scaled.values if protocol.scale == "train" else data.values
        in_unit = _moments(data) if protocol.scale == "train" else None
        self.fev = FevScores(values, starts, data.info.season, in_unit)

    def update(self, block: ForecastBlock) -> None:
        block = block if self.restore is None else block.restored(*self.restore)
        errors = self.sums.update(block)
        self.origins.update(block, errors)
        self.fev.update(block, errors)
        if self.ratios is not None:
            self.ratios.update(block)


def evaluate(
    model: Any,
    data: PanelData,
    protocol: Protocol,
    h: int,
    *,
    test: bool = True,
    stride: int | None = None,
    windows: bool = False,
    paths: bool = False,
) -> Evaluation:
    """Fit one model on train rows, validation rows for its early stopping, and score all rolling windows.

    Args:
        model: an unfitted NeuralForecast model, or a `NaiveModel`.
        data: as published; the protocol scales it.
        protocol: which windows, which scale.
        h: horizon.
        test: whether to look at the test split.
        stride: of validation scores; None for the protocol's.
        windows: whether to keep the errors of every test window (12 bytes each).
        paths: whether to score joint paths, see `path_forecasts`.

    Raises:
        ValueError: a horizon longer than a split, a forecast that is not finite, data without the original scale
            that the protocol needs, or a model that takes the number of the series as no category.
    """
    scaled = protocol.prepare(data)
    n_train, n_val, n_test = scaled.borders
    for rows in (n_val, n_test):
        protocol.origins(rows, h)
    restore = _moments(data) if protocol.scale == "restored" else None
    started = time.perf_counter()
    with quiet_lightning():
        if isinstance(model, NaiveModel):
            fitted: Any = model
        else:
            forecaster = NeuralForecast(models=[model], freq=data.info.freq)
            static = scaled.static_frame() if knows_series(model) else None
            forecaster.fit(scaled.frame(n_train + n_val), static_df=static, val_size=n_val)
            fitted = forecaster.models[0]
        fit_seconds = time.perf_counter() - started
        residual = None
        if not gives_quantiles(fitted):
            residual = residual_scale(fitted, scaled, protocol, h, n_train, n_train + n_val)
        validation, stretch = ScoreSums(len(scaled.series), h), IntervalScale(h)
        for block in blocks(
            fitted, scaled, stride or protocol.stride, protocol.input_size, h, n_train, n_train + n_val, residual
        ):
            stretch.update(block)  # ratios of lengths: the same on every scale
            validation.update(block if restore is None else block.restored(*restore))
        started = time.perf_counter()
        scores, path_scores = None, None
        if test:
            scores = _TestScores(data, protocol, h, stretch.factors(), windows)
            where = (protocol.input_size, h, scores.first, scores.last, residual, scores.n_origins)
            for block in blocks(fitted, scaled, protocol.stride, *where):
                scores.update(block)
        predict_seconds = time.perf_counter() - started
        if scores is not None and paths:
            path_scores = score_paths(fitted, scaled, protocol.stride, *where)
    parameters: Any = getattr(fitted, "parameters", list)()
    return Evaluation(
        test=None if scores is None else scores.sums,
        validation=validation,
        fit_seconds=fit_seconds,
        predict_seconds=predict_seconds,
        n_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        steps=len(getattr(fitted, "train_trajectories", [])),
        model=fitted,
        peak_mb=peak_memory_mb(),
        windows=None if scores is None else scores.ratios,
        origins=None if scores is None else scores.origins,
        fev=None if scores is None else scores.fev,
        paths=path_scores,
    )


def _moments(data: PanelData) -> tuple[Tensor, Tensor]:
    mean, deviation = data.train_moments()
    return torch.from_numpy(mean), torch.from_numpy(deviation)


def peak_memory_mb() -> float:
    """Highest resident memory of this program so far, NaN where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists() and (known := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(known[1]) / 2**10  # Linux; getrusage's maximum is also that of the process which started this one
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
