"""Errors of a cell on disk: `origins/`, `steps/` and, where asked for, `windows/`, one small parquet file a cell."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:  # a report reads these files without waiting for NeuralForecast
    from .evaluator import Evaluation

ORIGINS, STEPS, WINDOWS = "origins", "steps", "windows"
STEP_MEASURES = ("crps19", "mse", "mae", "coverage80")


def write_errors(folder: str | Path, cell: str, done: "Evaluation", series: Sequence[str]) -> None:
    """Write what one evaluation of the test split keeps for later: before its row is appended, so that a row has it.

    `origins/<cell>.parquet` holds the means over series of every origin (and `crps_ratio` where the protocol has it),
    `steps/<cell>.parquet` those of every horizon step, `windows/<cell>.parquet` every series of every origin.

    Args:
        folder: of the results file.
        cell: identity of the cell.
        done: an evaluation that looked at the test split.
        series: names of the series.
    """
    if done.test is None or done.origins is None:
        return
    ratios = {} if done.windows is None else {"crps_ratio": done.windows.by_window()["crps_ratio"]}
    _write(done.origins.by_origin(**ratios), _path(folder, ORIGINS, cell))
    by_step = {name: values for name, values in done.test.by_step().items() if name in STEP_MEASURES}
    steps = pd.DataFrame(by_step).astype("float32")
    steps.insert(0, "step", range(1, len(steps) + 1))
    _write(steps.astype({"step": "int32"}), _path(folder, STEPS, cell))
    if done.origins.windows is not None:
        _write(done.origins.by_window(series), _path(folder, WINDOWS, cell))


def read_errors(folder: str | Path, kind: str, cell: str) -> pd.DataFrame | None:
    """The table of one cell; None where there is none.

    Args:
        folder: of the results file.
        kind: "origins", "steps" or "windows".
        cell: its identity.

    Raises:
        ValueError: an unknown kind, or a file that is no parquet.
    """
    if kind not in (ORIGINS, STEPS, WINDOWS):
        raise ValueError(f"kind={kind!r} is not allowed; choose one of {(ORIGINS, STEPS, WINDOWS)}")
    path = _path(folder, kind, cell)
    if not path.exists():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}; delete it, and its cell runs without it") from error


def _path(folder: str | Path, kind: str, cell: str) -> Path:
    return Path(folder) / kind / f"{cell}.parquet"


def _write(table: pd.DataFrame, path: Path) -> None:
    """Whole or not at all; floats split into bytes, which compresses them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    floats = [str(name) for name in table.columns if table[name].dtype.kind == "f"]
    try:
        table.to_parquet(
            temporary, index=False, compression="zstd", use_dictionary=["series"], use_byte_stream_split=floats
        )
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
