"""One cell of a benchmark: a protocol, dataset, horizon, model, seed -> one row."""

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .._compat import describe_arguments
from .._version import __version__
from .data import PanelData
from .error_files import write_errors
from .evaluator import Evaluation, evaluate
from .models import NAIVE, build_model
from .protocols import Protocol
from .quiet import quiet_lightning
from .results import cell_identity
from .window_scores import window_block


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
        arguments: of the model, beside h and seed; input_size only where it is not the protocol's.
    """

    protocol: Protocol
    dataset: str
    h: int
    label: str
    model: str
    seed: int
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """Twelve digits that name this cell; another default of the model is another cell."""
        settings = ""
        if self.is_trained:
            with quiet_lightning():
                settings = describe_arguments(self.build(season=1))
        return cell_identity(
            protocol=self.protocol.identity,
            dataset=self.dataset,
            h=self.h,
            label=self.label,
            model=self.model,
            seed=self.seed,
            settings=settings,
            version=__version__,
        )

    @property
    def own_protocol(self) -> Protocol:
        """The protocol with this cell's own look-back: the same origins and targets."""
        return replace(self.protocol, input_size=self.arguments.get("input_size", self.protocol.input_size))

    def described(self, **options: Any) -> dict[str, Any]:
        """The columns of a row that say what was run, without the identity; `options` are those of the runner."""
        return {
            "protocol": self.protocol.identity,
            "dataset": self.dataset,
            "h": self.h,
            "input_size": self.own_protocol.input_size,
            "model": self.label,
            "arguments": json.dumps({"model": self.model, **options, **self.arguments}, sort_keys=True, default=str),
            "seed": self.seed,
        }

    def build(self, season: int, n_series: int | None = None) -> Any:
        """The unfitted model; `season` matters to naive ones, `n_series` to multivariate ones."""
        seed = {"random_seed": self.seed} if self.is_trained else {}
        return build_model(
            self.model,
            self.h,
            season=season,
            dataset=self.dataset,
            n_series=n_series,
            **{"input_size": self.protocol.input_size, **self.arguments},
            **seed,
        )

    @property
    def is_trained(self) -> bool:
        """Whether a seed matters."""
        return self.model not in NAIVE


def run_cell(
    cell: Cell,
    data: PanelData,
    command: str,
    *,
    test: bool = True,
    folder: str | Path | None = None,
    windows: bool = False,
    paths: bool = False,
) -> tuple[dict[str, Any], Evaluation]:
    """Fit and score one cell.

    Args:
        cell: what to run.
        data: the cell's dataset, as published.
        command: what the row says it came from.
        test: whether to look at the test split.
        folder: where the errors per origin and per step go, see `error_files`; None to write none.
        windows: whether the errors of every window go there as well.
        paths: whether to score joint sample paths.

    Returns:
        A row of `results.SCHEMA` (test columns empty without `test`), and the evaluation.
    """
    with quiet_lightning():
        done = evaluate(
            cell.build(data.info.season, len(data.series)),
            data,
            cell.own_protocol,
            cell.h,
            test=test,
            stride=validation_stride(cell),
            windows=windows and folder is not None,
            paths=paths,
        )
    validation = done.validation.summary()
    options = vars(done.model).get("runner_options", {})
    row: dict[str, Any] = {
        "cell": cell.identity,
        **cell.described(**options),
        **{f"val_{name}": validation[name] for name in ("mse", "mae", "crps19") if name in validation},
        "fit_seconds": done.fit_seconds,
        "predict_seconds": done.predict_seconds,
        "steps": done.steps,
        "n_parameters": done.n_parameters,
        "peak_mb": done.peak_mb,
        "data_note": data.note,
        "versions": versions(),
        "command": command,
        "dataset_fingerprint": data.fingerprint,
    }
    if done.test is not None and done.origins is not None and done.fev is not None:
        row |= done.test.summary() | done.fev.summary()
        row |= {"num_windows": len(done.origins.count), "mase_season": done.fev.season}
    if done.paths is not None:
        row |= done.paths.summary()
        row["data_note"] = "; ".join(text for text in (data.note, done.paths.note) if text)
    if done.windows is not None:
        n_origins = len(done.windows.windows)
        row |= done.windows.summary(window_block(cell.h, data.info.season, cell.protocol.stride, n_origins))
    if folder is not None:
        write_errors(folder, cell.identity, done, data.series)
    return row, done


def validation_stride(cell: Cell) -> int:
    """Steps between origins of validation scores: of thousands, neighbouring windows say nearly the same."""
    return 1 if cell.protocol.name == "embedded" else 4


def versions() -> str:
    """Versions that a figure depends on, and the commit where the package runs from a checkout."""
    others = [f"{package} {version(package)}" for package in ("neuralforecast", "torch", "numpy")]
    mine = f"vdn-forecast {__version__}{_commit()}"
    return ", ".join([mine, *others, f"python {platform.python_version()}", platform.machine()])


def _commit() -> str:
    """ " (abc1234)", with a plus where code or settings, not results, differ from it; empty outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        parts = [
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (
                ["rev-parse", "--short=7", "HEAD"],
                ["status", "--porcelain", "-uno", "--", ":/*.py", ":/*.yaml"],
            )
        ]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({parts[0]}{'+' if parts[1] else ''})"
