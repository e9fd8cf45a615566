"""Models by name, as the runners build them: a constructor here, its arguments in `configs/models`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from neuralforecast import models as host
from neuralforecast.losses import pytorch as losses

from .._compat import on_gathered_windows, trainer_argument_names
from ..mixture import LEVELS_19
from ..models import AREVE, ARVAE, EVE, EVEEnsemble
from .best_weights import BestWeights
from .model_configs import ModelConfig, budget, find_config
from .naive import NaiveModel
from .quiet import QUIET_TRAINER
from .rivals import MCDropout

Builder = Callable[..., Any]
NAIVE = ("Naive", "SeasonalNaive")
HOST_MODELS: dict[str, type] = {
    name: getattr(host, name)
    for name in (
        "DLinear",
        "NLinear",
        "NHITS",
        "PatchTST",
        "iTransformer",
        "TimeMixer",
        "TSMixer",
        "TiDE",
        "DeepAR",
        "MLP",
    )
}
"""Classes of NeuralForecast that a file may name."""
BUILDERS: dict[str, Builder] = {
    "EVE": EVE,
    "EVE.small": EVE.small,
    "EVE.twin": EVE.twin,
    "EVE.twin with MC dropout": MCDropout,
    "EVE.twin ensemble": EVEEnsemble.twin,
    "EVE ensemble": EVEEnsemble,
    "AREVE": AREVE,
    "ARVAE": ARVAE,
    **HOST_MODELS,
}
"""Trained models: (h, input_size, **arguments) -> model."""
RUNNER_OPTIONS = ("best_weights", "fast_windows", "valid_windows")
_SCHEDULES = ("CosineAnnealingLR", "OneCycleLR")
_LOSSES = ("MAE", "MSE", "HuberLoss", "MQLoss", "DistributionLoss")


def build_model(
    name: str,
    h: int,
    input_size: int,
    season: int,
    *,
    dataset: str | None = None,
    n_series: int | None = None,
    **arguments: Any,
) -> Any:
    """A quiet, unfitted model.

    Args:
        name: of a file in `configs/models`.
        h, input_size: horizon and look-back.
        season: steps of one season.
        dataset: whose further arguments the file may have.
        n_series: series of the data, for multivariate models.
        **arguments: override the file's. Beside a constructor's own, models of NeuralForecast take `weight_decay`
            (AdamW instead of Adam), `lr_scheduler` "OneCycleLR" or "CosineAnnealingLR" over `max_steps`, `loss` by
            name, and the runner's options:
            `best_weights`: restore the weights of the lowest validation loss.
            `fast_windows`: gather only the windows that a step draws (univariate direct models). For accuracy
            only: a timing row says what NeuralForecast's own model costs.
            `valid_windows`: with that, score at most so many windows per validation check, None for all.

    Raises:
        ValueError: an unknown name or argument, a file with one, or an option that the model cannot have.
    """
    config = find_config(name)
    if config.model in NAIVE:
        return NaiveModel(season if config.model == "SeasonalNaive" else 1)
    if config.model not in BUILDERS:
        known = sorted([*BUILDERS, *NAIVE])
        raise ValueError(f"configuration {name!r}: model={config.model!r} is not known; choose one of {known}")
    chosen = config.arguments_for(dataset, h)
    if config.model not in HOST_MODELS:
        return BUILDERS[config.model](h, input_size, **{**QUIET_TRAINER, **chosen, **arguments})
    check_names(config, arguments)
    cls = HOST_MODELS[config.model]
    loss = {} if config.loss is None else {"loss": config.loss}
    merged = {**QUIET_TRAINER, **budget(), **_unable(cls), **loss, **chosen, **arguments}
    options = {option: merged.pop(option) for option in RUNNER_OPTIONS}
    shrinking = merged.get("down_sampling_window", 1) ** merged.get("down_sampling_layers", 0)
    if input_size % shrinking:
        raise ValueError(
            f"input_size={input_size} is not allowed for {name}; down_sampling_window ** down_sampling_layers "
            f"is {shrinking}, which must divide it"
        )
    _translate(merged)
    if cls.MULTIVARIATE:  # type: ignore[attr-defined]
        merged["n_series"] = 1 if n_series is None else n_series
    if options["best_weights"]:
        merged["callbacks"] = [*merged.get("callbacks", []), BestWeights()]
    if options["valid_windows"] is not None and not options["fast_windows"]:
        if "valid_windows" in arguments:
            raise ValueError(f"valid_windows={options['valid_windows']} is not allowed without fast_windows")
        options["valid_windows"] = None
    builder = on_gathered_windows(cls) if options["fast_windows"] else BUILDERS[config.model]
    model = builder(h=h, input_size=input_size, **merged)
    model.runner_options = options
    if options["fast_windows"]:
        model.valid_windows = options["valid_windows"]
    return model


def check_names(config: ModelConfig, arguments: Mapping[str, Any] | None = None) -> None:
    """Refuse names that the constructor does not take, in a file or in what overrides it.

    NeuralForecast itself takes any name and fails when training starts.

    Raises:
        ValueError: by name.
    """
    if config.model not in HOST_MODELS:
        return
    own = set(inspect.signature(HOST_MODELS[config.model]).parameters)
    known = (own | trainer_argument_names() | {*RUNNER_OPTIONS, "weight_decay"}) - {
        "h",
        "input_size",
        "n_series",
        "trainer_kwargs",
    }
    places = {"arguments": config.arguments, "search": config.search, "a suite": arguments or {}}
    places |= {f"by_dataset.{key}": further for key, further in config.by_dataset.items()}
    for place, given in places.items():
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(f"model {config.name!r}: {place} has unknown arguments {unknown}; see {config.model}")


def _unable(cls: Any) -> dict[str, Any]:
    """Parts of the budget that a class cannot have."""
    return {"fast_windows": False, "valid_windows": None} if cls.MULTIVARIATE or cls.RECURRENT else {}


def _translate(arguments: dict[str, Any]) -> None:
    """Names of losses, optimisers and schedules to NeuralForecast's arguments, in place."""
    for key in ("loss", "valid_loss"):
        if isinstance(arguments.get(key), str | Mapping):
            arguments[key] = build_loss(arguments[key])
    decay = arguments.pop("weight_decay", None)
    if decay is not None:
        arguments["optimizer"], arguments["optimizer_kwargs"] = torch.optim.AdamW, {"weight_decay": decay}
    schedule = arguments.get("lr_scheduler")
    if isinstance(schedule, str):
        if schedule not in _SCHEDULES:
            raise ValueError(f"lr_scheduler={schedule!r} is not known; choose one of {_SCHEDULES}")
        total = arguments["max_steps"]
        ends = {"T_max": total}
        if schedule == "OneCycleLR":
            ends = {"max_lr": arguments["learning_rate"], "total_steps": total}
        arguments["lr_scheduler"] = getattr(torch.optim.lr_scheduler, schedule)
        arguments["lr_scheduler_kwargs"] = {**ends, **arguments.get("lr_scheduler_kwargs", {})}


def build_loss(description: str | Mapping[str, Any]) -> Any:
    """A loss of NeuralForecast; quantile and distribution losses get the 19 levels of the evaluation.

    Args:
        description: its name, or a mapping of `name` and its arguments.

    Raises:
        ValueError: an unknown name or argument.
    """
    arguments: dict[str, Any] = {"name": description} if isinstance(description, str) else dict(description)
    name = arguments.pop("name", None)
    if name not in _LOSSES:
        raise ValueError(f"loss={description!r} is not known; choose one of {_LOSSES}")
    if name in ("MQLoss", "DistributionLoss"):
        arguments.setdefault("quantiles", list(LEVELS_19))
    try:
        return getattr(losses, name)(**arguments)
    except TypeError as error:
        raise ValueError(f"loss={description!r} is not allowed: {error}") from error
