"""One cell of a benchmark: a protocol, dataset, horizon, model, seed -> one row."""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from .data import PanelData
from .evaluator import Evaluation, evaluate
from .models import build_model
from .protocols import Protocol
from .results import cell_identity


@dataclass(frozen=True)
class Cell:
    """What is run.

    Attributes:
        protocol: which windows and scale.
        dataset: name of the data.
        h: horizon.
        label: line of the leaderboard.
        model: name that `build_model` knows.
        seed: of weights, windows and noise.
        arguments: of the model, beside h, input_size and seed.
    """

    protocol: Protocol
    dataset: str
    h: int
    label: str
    model: str
    seed: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Twelve digits that name this cell."""
        return cell_identity(
            protocol=self.protocol.identity,
            dataset=self.dataset,
            h=self.h,
            label=self.label,
            model=self.model,
            seed=self.seed,
            arguments=dict(self.arguments),
        )

    @property
    def is_trained(self) -> bool:
        """Whether a seed matters."""
        return self.model not in ("Naive", "SeasonalNaive")


def run_cell(
    cell: Cell, data: PanelData, command: str, *, test: bool = True, stride: int | None = None
) -> tuple[dict[str, Any], Evaluation]:
    """Fit and score one cell.

    Args:
        cell: what to run.
        data: the cell's dataset, as published.
        command: what the row says it came from.
        test: whether to look at the test split.
        stride: of validation scores; None for the protocol's.

    Returns:
        A row of `results.SCHEMA` (test columns empty without `test`), and the evaluation.
    """
    arguments = dict(cell.arguments)
    if cell.is_trained:
        arguments["random_seed"] = cell.seed
    model = build_model(cell.model, cell.h, cell.protocol.input_size, data.info.season, **arguments)
    done = evaluate(model, data, cell.protocol, cell.h, test=test, stride=stride)
    validation = done.validation.summary()
    row: dict[str, Any] = {
        "cell": cell.identity,
        "protocol": cell.protocol.identity,
        "dataset": cell.dataset,
        "h": cell.h,
        "input_size": cell.protocol.input_size,
        "model": cell.label,
        "arguments": json.dumps({"model": cell.model, **cell.arguments}, sort_keys=True),
        "seed": cell.seed,
        **{f"val_{name}": validation[name] for name in ("mse", "mae", "crps19") if name in validation},
        "fit_seconds": done.fit_seconds,
        "predict_seconds": done.predict_seconds,
        "steps": done.steps,
        "n_parameters": done.n_parameters,
        "peak_mb": done.peak_mb,
        "data_note": data.note,
        "versions": versions(),
        "command": command,
    }
    return row | (done.test.summary() if done.test is not None else {}), done


def versions() -> str:
    """Versions that a figure depends on."""
    packages = ("vdn-forecast", "neuralforecast", "torch", "numpy")
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except Exception:
            found.append(f"{package} (source)")
    return ", ".join([*found, f"python {platform.python_version()}", platform.machine()])
