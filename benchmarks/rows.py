"""CSV files of results: written whole or not at all, rows of the same key replaced, versions and command in each."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdn_forecast.evaluation.cells import versions


def run_as(module: str) -> str:
    """The command line of this process, `module` run with -m."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])  # names of lines hold blanks


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all; floats with eight digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    table.to_csv(temporary, index=False, float_format="%.8g")
    temporary.replace(path)


def missing(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether the file has no row under this key."""
    wanted = _keys(pd.DataFrame([key]), list(key))
    return not path.exists() or not _keys(pd.read_csv(path), list(key)).isin(set(wanted)).any()


def put(rows: pd.DataFrame, key: Sequence[str], command: str, path: Path) -> None:
    """Add rows with versions and command.

    Args:
        rows: of one run.
        key: columns; rows of the file that hold the same values in them are replaced.
        command: that made them.
        path: CSV file, made if it is missing.
    """
    table = rows.assign(versions=versions(), command=command)
    if path.exists():
        before = pd.read_csv(path)
        again = _keys(before, key).isin(set(_keys(table, key)))
        table = pd.concat([before[~again], table], ignore_index=True)
    write_csv(table, path)


def put_shown(rows: Sequence[Mapping[str, Any]], key: Sequence[str], command: str, path: Path | None) -> None:
    """Print rows, then `put` them; None for no file."""
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3g}".format))
    if path is not None:
        put(table, key, command, path)


def _keys(table: pd.DataFrame, key: Sequence[str]) -> "pd.Series[Any]":
    """A row's values under the key as text; whole numbers alike, whether a column was read back or made."""
    return (
        table[list(key)]
        .map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
        .apply(tuple, axis=1)
    )
