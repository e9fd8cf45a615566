"""The winner as a suite file's content, beside the default configuration: `benchmark run` takes it as it is."""

from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from ..evaluation.model_configs import find_config
from ..evaluation.quiet import QUIET_TRAINER
from ..evaluation.suite_file import RESERVED
from .search_file import SearchPlan

FOUND = "-found"
"""Behind the model's name: the line of the leaderboard that a search found."""


def best_suite(plan: SearchPlan, winner: FrozenTrial) -> dict[str, Any]:
    """Keys and values of a suite file with two lines: the model file as it is, and with what the winner changes.

    Args:
        plan: of the search.
        winner: its best trial.
    """
    content: dict[str, Any] = {"name": f"{plan.suite.name}-best", "protocol": plan.suite.protocol}
    content["seeds"] = list(plan.suite.seeds)
    content["datasets"] = {plan.dataset: _where(plan.content["datasets"][plan.dataset], plan.path.parent)}
    if plan.suite.input_size is not None:
        content["input_size"] = plan.suite.input_size
    lines: dict[str, Any] = {plan.model: {"model": plan.model}}
    lines[f"{plan.model}{FOUND}"] = {"model": plan.model, "arguments": changed_arguments(plan, winner)}
    return {**content, "models": lines}


def changed_arguments(plan: SearchPlan, winner: FrozenTrial) -> dict[str, Any]:
    """A trial's arguments without those that the suite, the runner or the model's file sets to the same value."""
    usual = {**QUIET_TRAINER, **find_config(plan.model).arguments_for(plan.dataset, plan.h)}
    given = winner.user_attrs["ALL_PARAMS"]
    return {
        name: value
        for name, value in given.items()
        if name not in RESERVED and (name not in usual or usual[name] != value)
    }


def _where(entry: Any, folder: Path) -> Any:
    """A dataset's entry; a file of one's own is found from any folder."""
    if isinstance(entry, dict) and "file" in entry:
        return {**entry, "file": str((folder / entry["file"]).resolve())}
    return entry
