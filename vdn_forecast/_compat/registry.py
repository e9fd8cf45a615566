"""What NeuralForecast must know of a model to save and load it, and which names its constructors take."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import pytorch_lightning as pl
import torch
from neuralforecast import register_loss
from neuralforecast._serialization import SerializationError, encode_value
from neuralforecast.common._base_model import BaseModel
from neuralforecast.core import MODEL_FILENAME_DICT

__all__ = [
    "base_argument_names",
    "check_encodable",
    "describe_arguments",
    "register_loss",
    "register_models",
    "trainer_argument_names",
]


def register_models(models: Mapping[str, type]) -> None:
    """Make `NeuralForecast.save` and `load` accept models.

    Args:
        models: lower-case class name to the class that a file of that name is loaded as.

    Raises:
        ValueError: if a name is not lower case, or stands for another class already.
    """
    for name, cls in models.items():
        if name != name.lower():
            raise ValueError(f"model name {name!r} must be lower case")
        known = MODEL_FILENAME_DICT.get(name, cls)
        if known is not cls:
            raise ValueError(f"model name {name!r} already stands for {known.__module__}.{known.__name__}")
    MODEL_FILENAME_DICT.update(models)


def check_encodable(name: str, value: Any) -> None:
    """Refuse an argument at construction that would only fail when the trained model is saved.

    Args:
        name: the argument's name.
        value: what was passed.

    Raises:
        ValueError: if NeuralForecast cannot write it without pickle.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        encode_value(value, tensors, name)
    except SerializationError as error:
        raise ValueError(f"{name}={value!r} cannot be saved with the model: {error}") from error


def describe_arguments(model: pl.LightningModule) -> str:
    """A model's constructor arguments, defaults included, as one line of JSON; what cannot be written is left out.

    What a runner did to the model beside them, its attribute `runner_options`, stands among them. Arguments that the
    class of the model, or of its loss, lists in `ADDED_ARGUMENTS` are left out at the value listed.
    """
    described = {}
    for name, value in _without_added(model, {**model.hparams, **vars(model).get("runner_options", {})}).items():
        try:
            described[name] = encode_value(value, None, name)
        except SerializationError:
            continue
        if isinstance(described[name], dict) and isinstance(described[name].get("args"), dict):
            described[name]["args"] = _without_added(value, described[name]["args"])
    return json.dumps(described, sort_keys=True, default=str)


def _without_added(owner: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    added = getattr(owner, "ADDED_ARGUMENTS", {})
    return {name: value for name, value in arguments.items() if name not in added or added[name] != value}


@cache
def trainer_argument_names() -> frozenset[str]:
    """Names that `pytorch_lightning.Trainer` takes."""
    return frozenset(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}


@cache
def base_argument_names() -> frozenset[str]:
    """Names that `BaseModel` takes, without those that it passes on to the trainer."""
    parameters = inspect.signature(BaseModel.__init__).parameters.values()
    return frozenset(p.name for p in parameters if p.kind is not p.VAR_KEYWORD) - {"self"}
