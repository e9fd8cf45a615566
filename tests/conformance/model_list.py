"""The classes under test, their small settings, and how the tests build and fit them.

A new class joins the suite by one line in `MODELS`.
"""

import inspect
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE, DistributionLoss, MQLoss
from neuralforecast.utils import AirPassengersPanel
from pytorch_lightning import Callback
from torch import Tensor

from vdn_forecast import AREVE, ARVAE, EVE
from vdn_forecast.models import VariationalModel

H, INPUT_SIZE, FREQ = 12, 24, "ME"

MODELS: dict[type[VariationalModel], dict[str, Any]] = {
    EVE: {"n_units": 16, "hidden_size": 16, "head_size": 16},
    AREVE: {"n_units": 16, "hidden_size": 16, "head_size": 16, "patch_size": 5, "graph": "topk", "graph_degree": 2},
    ARVAE: {"latent_dim": 8, "hidden_size": 16, "head_size": 16, "patch_size": 8},
}

COMMON: dict[str, Any] = {
    "h": H,
    "input_size": INPUT_SIZE,
    "max_steps": 4,
    "val_check_steps": 2,
    "windows_batch_size": 16,
    "accelerator": "cpu",
    "devices": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}

# one of every kind: the package's own, point, quantiles, distribution
LOSSES: dict[str, Any] = {
    "default": lambda: None,
    "MAE": MAE,
    "MQLoss": lambda: MQLoss(level=[80]),
    "Normal": lambda: DistributionLoss("Normal", level=[80]),
}


def lacks(cls: type[VariationalModel], names: Iterable[str]) -> list[str]:
    """Arguments of `EVE` that a class has no counterpart of."""
    own, eve = (inspect.signature(each.__init__).parameters for each in (cls, EVE))
    return [name for name in names if name in eve and name not in own]


def build(cls: type[VariationalModel], /, **kwargs: Any) -> VariationalModel:
    """A small model of a class, called "m"; skips the test where the class has no such argument."""
    absent = lacks(cls, kwargs)
    if absent:
        pytest.skip(f"{cls.__name__} has no {', '.join(absent)}")
    return cls(**{"alias": "m", **COMMON, **MODELS[cls], **kwargs})


def fitted(*models: VariationalModel, df: pd.DataFrame = AirPassengersPanel, **fit: Any) -> NeuralForecast:
    """The models, fitted on a panel with 12 rows of validation unless told otherwise."""
    nf = NeuralForecast(models=list(models), freq=FREQ)
    nf.fit(df, **{"val_size": H, **fit})
    return nf


def values(forecast: pd.DataFrame) -> np.ndarray:
    """The numbers of a forecast, [rows, columns]."""
    return forecast.drop(columns=["unique_id", "ds", "cutoff", "y"], errors="ignore").to_numpy(np.float64)


def state(model: VariationalModel) -> dict[str, Tensor]:
    """A copy of every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def differing(a: dict[str, Tensor], b: dict[str, Tensor]) -> list[str]:
    """Names of the entries that are not bit-identical."""
    assert a.keys() == b.keys()
    return [
        name
        for name in a
        if a[name].dtype != b[name].dtype or a[name].shape != b[name].shape or a[name].ne(b[name]).any()
    ]


class Recorder(Callback):
    """Keeps the state at the beginning and the end of every fit, after its last step, and all losses.

    NeuralForecast copies models with their callbacks; a copy of a recorder is the recorder.
    """

    def __init__(self) -> None:
        self.starts: list[dict[str, Tensor]] = []
        self.ends: list[dict[str, Tensor]] = []
        self.last: dict[str, Tensor] = {}  # before the best weights are restored
        self.losses: list[float] = []  # total loss of every step

    def __deepcopy__(self, memo: dict[int, Any]) -> "Recorder":
        return self

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.starts.append(state(pl_module))

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self.ends.append(state(pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.last = state(pl_module)
