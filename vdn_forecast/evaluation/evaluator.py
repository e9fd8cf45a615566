"""Streaming evaluation: fit through NeuralForecast, forecast every rolling window in slices, keep sums only."""

import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from neuralforecast import NeuralForecast

from .data import PanelData
from .forecasts import blocks, gives_quantiles, residual_scale
from .naive import NaiveModel
from .protocols import Protocol
from .quiet import quiet_lightning
from .scores import ScoreSums
from .window_scores import WindowRatios


@dataclass(frozen=True)
class Evaluation:
    """What one fitted model scored.

    Attributes:
        test: scores over the test split.
        validation: scores over the validation split.
        fit_seconds, predict_seconds: wall time of training and of the test forecasts.
        n_parameters: trainable parameters.
        steps: optimiser steps done.
        model: the fitted model.
        peak_mb: highest resident memory of the process so far.
        windows: scores per test window, where the protocol has them.
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


def evaluate(
    model: Any, data: PanelData, protocol: Protocol, h: int, *, test: bool = True, stride: int | None = None
) -> Evaluation:
    """Fit one model on train rows, validation rows for its early stopping, and score all rolling windows.

    Args:
        model: an unfitted NeuralForecast model, or a `NaiveModel`.
        data: as published; the protocol scales it.
        protocol: which windows, which scale.
        h: horizon.
        test: whether to look at the test split.
        stride: of validation scores; None for the protocol's.

    Raises:
        ValueError: a horizon longer than a split, a forecast that is not finite, or data without the original scale
            that the protocol needs.
    """
    scaled = protocol.prepare(data)
    n_train, n_val, n_test = scaled.borders
    for rows in (n_val, n_test):
        protocol.origins(rows, h)
    moments = tuple(map(torch.from_numpy, data.train_moments())) if protocol.scale == "restored" else None
    started = time.perf_counter()
    with quiet_lightning():
        if isinstance(model, NaiveModel):
            fitted: Any = model
        else:
            forecaster = NeuralForecast(models=[model], freq=data.info.freq)
            forecaster.fit(scaled.frame(n_train + n_val), val_size=n_val)
            fitted = forecaster.models[0]
        fit_seconds = time.perf_counter() - started
        residual = None
        if not gives_quantiles(fitted):
            residual = residual_scale(fitted, scaled, protocol, h, n_train, n_train + n_val)
        validation = ScoreSums(len(scaled.series), h)
        for block in blocks(
            fitted, scaled, stride or protocol.stride, protocol.input_size, h, n_train, n_train + n_val, residual
        ):
            validation.update(block if moments is None else block.restored(*moments))
        started = time.perf_counter()
        scores = windows = None
        if test:
            n_origins = protocol.origins(n_test, h)
            scores = ScoreSums(len(scaled.series), h)
            windows = WindowRatios(n_origins) if protocol.has_window_ratios else None
            first, last = n_train + n_val, n_train + n_val + n_test
            for block in blocks(
                fitted, scaled, protocol.stride, protocol.input_size, h, first, last, residual, n_origins
            ):
                block = block if moments is None else block.restored(*moments)
                scores.update(block)
                if windows is not None:
                    windows.update(block)
        predict_seconds = time.perf_counter() - started
    parameters: Any = getattr(fitted, "parameters", list)()
    trained = getattr(fitted, "train_trajectories", [])
    return Evaluation(
        scores,
        validation,
        fit_seconds,
        predict_seconds,
        sum(p.numel() for p in parameters if p.requires_grad),
        len(trained),
        fitted,
        peak_memory_mb(),
        windows,
    )


def peak_memory_mb() -> float:
    """Highest resident memory of this process so far, NaN where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
