"""Ending trials that fall behind: validation checks reported to Optuna, and pruners by name."""

import math
import time
from typing import Any

import optuna
import pytorch_lightning as pl
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from .constraints import is_feasible

PRUNERS = ("median", "hyperband", "halving", "none")
BEAT_EVERY = 60.0  # seconds


class FeasibleMedianPruner(MedianPruner):
    """Optuna's median pruner against feasible trials alone.

    An infeasible trial never wins, so it must not raise the bar either: a network without any control often scores
    well, and would have every network that keeps its band pruned.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Whether the trial is behind the median of the feasible ones at its step."""
        return super().prune(_Feasible(study), trial)  # type: ignore[arg-type]


class _Feasible:
    """A study of which infeasible trials are hidden."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def __getattr__(self, name: str) -> Any:
        return getattr(self._study, name)

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        found = self._study.get_trials(*args, **kwargs)
        return [trial for trial in found if trial.state is not TrialState.COMPLETE or is_feasible(trial)]


def build_pruner(pruner: str | BasePruner | None, max_steps: int, check_steps: int) -> BasePruner:
    """A pruner for trials of so many steps with a validation check every so many.

    Args:
        pruner: "median" (against feasible trials, once there are three, from an eighth of the steps on), "hyperband" or
            "halving" (from a twelfth of the steps on, a third goes on), "none" or None, or one of Optuna's own.
        max_steps: training steps of a trial.
        check_steps: between two validation checks.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a pruner.
    """
    if isinstance(pruner, BasePruner):
        return pruner
    if pruner is None:
        return NopPruner()
    if not isinstance(pruner, str):
        raise TypeError(f"pruner={pruner!r} is not allowed; give one of {PRUNERS} or a pruner of Optuna")
    least = max(check_steps, max_steps // 12)
    if pruner == "median":
        return FeasibleMedianPruner(n_startup_trials=3, n_warmup_steps=max_steps // 8)
    if pruner == "hyperband":
        return HyperbandPruner(min_resource=least, max_resource=max(max_steps, least), reduction_factor=3)
    if pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=least, reduction_factor=3)
    if pruner == "none":
        return NopPruner()
    raise ValueError(f"pruner={pruner!r} is not known; choose one of {PRUNERS} or give a pruner of Optuna")


class ReportChecks(pl.Callback):
    """Report the best validation loss so far at every validation check, and end the trial where the pruner says so.

    NeuralForecast's models use `pytorch_lightning`; optuna-integration's own callback is for `lightning` and does
    nothing there.

    Args:
        trial: live.
        prune: whether steps are reported at all; Optuna refuses that of two objectives.

    Attributes:
        best: lowest loss so far.
        best_step: optimiser steps when it was seen.
        steps: optimiser steps at the last check.
    """

    def __init__(self, trial: optuna.Trial, prune: bool = True) -> None:
        self.trial, self.prune = trial, prune
        self.best, self.best_step, self.steps = math.inf, 0, 0
        self._beat = time.monotonic()

    def __deepcopy__(self, memo: dict[int, Any]) -> "ReportChecks":
        """The same one: Lightning copies a model's arguments, and with a trial would copy the whole study."""
        return self

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report; the sanity check before training is none."""
        if trainer.sanity_checking or not pl_module.valid_trajectories or trainer.global_step <= self.steps:
            return
        self.steps = trainer.global_step
        value = float(pl_module.valid_trajectories[-1][1])
        if value < self.best:
            self.best, self.best_step = value, self.steps
        if time.monotonic() - self._beat > BEAT_EVERY:
            self._beat = time.monotonic()
            self.trial.set_user_attr("beat", time.time())
        if not self.prune:
            return
        self.trial.report(self.best, self.steps)
        # at the last step nothing is left to save, and a completed trial says more
        if self.steps < trainer.max_steps and self.trial.should_prune():
            raise optuna.TrialPruned(f"best validation loss {self.best:.6g} at step {self.steps}")
