"""A study as plain tables: trials as rows, and what a saved model keeps of the search that found it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from .._compat import read_metadata
from .constraints import is_feasible
from .storage import is_lost, result_of

IDENTITY = "vdn_forecast"
"""Attribute of a study that says what its trials are."""
METADATA = "vdn_forecast_study"
_UNITS = ("out", "too_low", "too_high", "alive", "alive_paper")
_RUN = ("val_loss", "best_step", "steps", "seconds", "windows")
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def trials_frame(study: optuna.Study) -> pd.DataFrame:
    """One row per finished trial, in order.

    Columns: number, state (complete, pruned, failed), feasible, the objectives, shares of units, best step, steps,
    seconds, validation windows, error, then what was drawn as `param.NAME`.
    """
    return pd.DataFrame(_rows(study))


def _rows(study: optuna.Study) -> list[dict[str, Any]]:
    trials = [t for t in study.get_trials(deepcopy=False) if t.state in STATES and not is_lost(t)]
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    objectives = objective_names(study)
    rows = []
    for trial in trials:
        row: dict[str, Any] = {"number": trial.number, "state": STATES[trial.state]}
        row["feasible"] = is_feasible(trial) if trial.state is TrialState.COMPLETE else None
        values = trial.values if trial.state is TrialState.COMPLETE else [None] * len(objectives)
        row |= dict(zip(objectives, values, strict=True))
        row |= {name: result_of(trial).get(name) for name in (*_UNITS, *_RUN)}
        row["error"] = trial.user_attrs.get("error")
        rows.append(row | {f"param.{name}": trial.params.get(name) for name in names})
    return rows


def result_line(trial: FrozenTrial, objectives: Sequence[str]) -> str:
    """What a finished trial came to, in one line."""
    found = result_of(trial)
    text = f"trial {trial.number}: {STATES[trial.state]}"
    if trial.state is TrialState.COMPLETE:
        figures = {**dict(zip(objectives, trial.values, strict=True)), "out": found["out"], "alive": found["alive"]}
        text += ", " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        text += "" if is_feasible(trial) else " (breaks " + ", ".join(_broken(trial)) + ")"
    if "steps" in found:
        text += f", {found['steps']:.0f} steps, {found['seconds']:.0f} s"
    error = " ".join(str(trial.user_attrs.get("error", "")).split())[:200]
    return f"{text}: {error}" if error else text


def _broken(trial: FrozenTrial) -> list[str]:
    return [name for name, value in trial.constraints.items() if value > 0]


def objective_names(study: optuna.Study) -> list[str]:
    """Names of a study's objectives."""
    return list(study.user_attrs[IDENTITY]["objectives"])


def described_study(study: optuna.Study, winner: FrozenTrial | None) -> dict[str, Any]:
    """A study as JSON: name, what it searched, winner, trials."""
    return {
        "study_name": study.study_name,
        "search": study.user_attrs.get(IDENTITY, {}),
        "winner": None if winner is None else winner.number,
        "trials": _rows(study),
    }


def read_study(path: str | Path) -> dict[str, Any]:
    """What a model that an Auto of this package found was saved with.

    Args:
        path: a file that its `save` wrote, or the folder of `NeuralForecast.save`.

    Returns:
        By model (the file's name without its ending): `study_name`, `search` (what was searched), `winner` (number
        of its trial) and `trials` (a frame, see `trials_frame`).

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: no model there was found by a search.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    found = {}
    for file in files:
        content = read_metadata(file.read_bytes(), METADATA)
        if content is not None:
            found[file.stem] = {**content, "trials": pd.DataFrame(content["trials"])}
    if not found:
        raise ValueError(f"{path} holds no model that a search of this package found")
    return found
