"""The frame that NeuralForecast is given, seen before NeuralForecast takes it: a model is shown no time stamps."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd
from neuralforecast import NeuralForecast

_WRAPPED = "_vdn_forecast_checks_frames"


def check_frames_for(concerns: Callable[[Any], bool], check: Callable[..., None]) -> None:
    """Let `NeuralForecast.fit` and `.cross_validation` check `df` and `val_df` first.

    Nothing changes where no model of the `NeuralForecast` object is concerned, nor for Spark frames and lists of
    files. A second call has no effect.

    Args:
        concerns: whether one of its models asks for the check.
        check: called as `check_frame`, raises where a frame cannot be trained on.
    """
    for name in ("fit", "cross_validation"):
        original = getattr(NeuralForecast, name)
        if not hasattr(original, _WRAPPED):
            setattr(NeuralForecast, name, _checked(original, concerns, check))


def _checked(original: Callable[..., Any], concerns: Callable[[Any], bool], check: Callable[..., None]) -> Any:
    signature = inspect.signature(original)

    @functools.wraps(original)
    def wrapped(self: NeuralForecast, *args: Any, **kwargs: Any) -> Any:
        if any(concerns(model) for model in self.models):
            bound = signature.bind(self, *args, **kwargs)  # a wrong call raises here as it would there
            bound.apply_defaults()
            columns = {name: bound.arguments[name] for name in ("id_col", "time_col", "target_col")}
            for name in ("df", "val_df"):
                frame = bound.arguments.get(name)
                if isinstance(frame, pd.DataFrame) or hasattr(frame, "to_pandas"):
                    check(frame, **columns)
        return original(self, *args, **kwargs)

    setattr(wrapped, _WRAPPED, True)
    return wrapped
