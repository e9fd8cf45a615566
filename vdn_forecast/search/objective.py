"""One trial: build, fit, measure on validation with the best weights, tell Optuna."""

import copy
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from torch import nn

from ..control import UnitMeasures
from ..diagnostics import ValidationMeasures, measure_validation
from ..evaluation.failures import as_failure
from ..losses import LatentMixture
from ..models import VariationalModel
from ..models.observing import unit_controllers
from .constraints import Constraints
from .pruning import ReportChecks
from .spaces import Space
from .storage import RESULT

CRPS19, VAL_LOSS, OUT = "crps19", "val_loss", "out"
OBJECTIVES = (CRPS19, VAL_LOSS)
_BUILDING = threading.Lock()  # constructors seed the global generators
_PLACES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Target:
    """What a trial trains and what it is scored by.

    Attributes:
        h: horizon.
        loss, valid_loss: as the models take them; never changed, each trial gets copies.
        objectives: "crps19" or "val_loss", and "out" behind it where there are two.
        constraints: what a winner must meet.
    """

    h: int
    loss: nn.Module | None = None
    valid_loss: nn.Module | None = None
    objectives: tuple[str, ...] = (CRPS19,)
    constraints: Constraints = field(default_factory=Constraints)


def resolve_objectives(
    objective: str | Sequence[str] | None, loss: nn.Module | None, valid_loss: nn.Module | None
) -> tuple[str, ...]:
    """Names of one or two objectives.

    Args:
        objective: "crps19", "val_loss", either with "out", or None: crps19 where the loss has it and no `valid_loss`
            was given, else the validation loss.
        loss, valid_loss: of the models.

    Raises:
        ValueError: another name, or crps19 of a loss that has none.
    """
    mixture = loss is None or isinstance(loss, LatentMixture)
    if objective is None:
        objective = CRPS19 if mixture and valid_loss is None else VAL_LOSS
    names = (objective,) if isinstance(objective, str) else tuple(objective)
    if len(names) not in (1, 2) or names[0] not in OBJECTIVES or names[1:] not in ((), (OUT,)):
        raise ValueError(f"objective={objective!r} is not known; choose one of {OBJECTIVES}, or two: [one, {OUT!r}]")
    if names[0] == CRPS19 and not mixture:
        raise ValueError(
            f"objective='crps19' is not allowed with loss={type(loss).__name__}; leave the loss out, give a "
            "LatentMixture, or choose objective='val_loss'"
        )
    return names


class TrialObjective:
    """What Optuna calls.

    Args:
        space: what is drawn.
        target: what is trained and scored.
        dataset: NeuralForecast's `TimeSeriesDataset`.
        sizes: rows of validation and test.
        distributed_config: as NeuralForecast's models take it.
    """

    def __init__(
        self, space: Space, target: Target, dataset: Any, sizes: tuple[int, int], distributed_config: Any = None
    ) -> None:
        self.space, self.target, self.dataset = space, target, dataset
        self.sizes, self.distributed_config = sizes, distributed_config

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        """Run a trial; what it raises is written down with it.

        Returns:
            The objectives.
        """
        try:
            return self._run(trial)
        except optuna.TrialPruned:
            raise
        except Exception as error:
            failure = as_failure(error)
            trial.set_user_attr("where", failure.where)
            trial.set_user_attr("error", failure.error)
            raise
        except SystemExit as error:  # Lightning makes this of Ctrl-C; Optuna would leave the trial running for ever
            raise KeyboardInterrupt from error

    def _run(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        arguments = self.space.suggest(trial)
        trial.set_user_attr("ALL_PARAMS", storable(arguments))
        report = ReportChecks(trial, prune=len(self.target.objectives) == 1)
        started = time.perf_counter()
        try:
            model = fit_model(
                self.space.model, self.target, arguments, self.dataset, self.sizes, self.distributed_config, report
            )
        except Exception:  # pruned, or failed
            trial.set_user_attr(RESULT, _run_of(report, started))
            raise
        run = _run_of(report, started)
        first = self.target.objectives[0]
        found = measure_validation(model, self.dataset, crps=first == CRPS19)
        best = float(model.metrics["ptl/val_loss"])
        value = best if found.crps19 is None else found.crps19
        if not math.isfinite(value):
            raise FloatingPointError(f"{first} on validation is {value}")
        trial.set_user_attr("METRICS", {"loss": value, "train_loss": float(model.metrics["train_loss"])})
        # one write: each is a transaction of the storage
        trial.set_user_attr(RESULT, {"val_loss": best, **run, **described_units(model, found)})
        self.target.constraints.declare(trial, found.summary)
        return value if len(self.target.objectives) == 1 else (value, found.summary.out)


def build_model(model_class: type, target: Target, arguments: Mapping[str, Any]) -> VariationalModel:
    """An unfitted model of one configuration, with losses of its own; errors as of its class."""
    with _BUILDING:
        loss, valid_loss = copy.deepcopy((target.loss, target.valid_loss))
        return model_class(h=target.h, loss=loss, valid_loss=valid_loss, **arguments)


def fit_model(
    model_class: type,
    target: Target,
    arguments: Mapping[str, Any],
    dataset: Any,
    sizes: tuple[int, int],
    distributed_config: Any = None,
    callback: Any = None,
) -> VariationalModel:
    """A fitted model of one configuration.

    Args:
        model_class: its class.
        target: for horizon and losses.
        arguments: the others.
        dataset: NeuralForecast's `TimeSeriesDataset`.
        sizes: rows of validation and test.
        distributed_config: as NeuralForecast's models take it.
        callback: for the trainer, beside those among `arguments`.
    """
    given = copy.deepcopy(dict(arguments))
    if callback is not None:
        given["callbacks"] = [*(given.get("callbacks") or []), callback]
    model = build_model(model_class, target, given)
    return model.fit(dataset, val_size=sizes[0], test_size=sizes[1], distributed_config=distributed_config)


def _run_of(report: ReportChecks, started: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - started, "steps": report.steps, "best_step": report.best_step}


def storable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a storage can keep as JSON; the others are constants of the space anyway."""

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(each) for key, each in value.items())
        if isinstance(value, list | tuple):
            return all(plain(each) for each in value)
        return value is None or isinstance(value, bool | int | float | str)

    return {name: value for name, value in arguments.items() if plain(value)}


def described_units(model: VariationalModel, found: ValidationMeasures) -> dict[str, Any]:
    """Shares of units and where their energies lie, as plain values."""
    units = found.summary
    return {
        "too_low": units.too_low,
        "too_high": units.too_high,
        "out": units.out,
        "alive": units.alive,
        "alive_paper": units.alive_paper,
        "units": units.units,
        "windows": units.windows,
        "energy": [_energies(m, c.band.targets) for m, c in zip(found.layers, unit_controllers(model), strict=True)],
        "kl": [float(measures.kl.mean()) for measures in found.layers],
        "info": [float(measures.info.mean()) for measures in found.layers],
    }


def _energies(measures: UnitMeasures, targets: Any) -> list[float]:
    """Quantiles over units of energy relative to its target."""
    relative = measures.energy / targets.cpu().double()
    return [float(relative.quantile(place)) for place in _PLACES]
