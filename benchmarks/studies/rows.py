"""Rows of a study, kept in a CSV file as they come: one key, one set of rows, whole or not at all."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vdn_forecast.evaluation.cells import versions


def missing(path: Path, key: Mapping[str, Any]) -> bool:
    """Whether the file has no row under this key."""
    return not path.exists() or not _marked(pd.read_csv(path), key).any()


def append(path: Path, rows: pd.DataFrame, key: Mapping[str, Any]) -> None:
    """Add rows, the key's columns first, versions and command last; rows of the same key are replaced."""
    rows = rows.assign(versions=versions(), command=f"python -m benchmarks.studies.{_words()}")
    for at, (name, value) in enumerate(key.items()):
        rows.insert(at, name, value)
    before = []
    if path.exists():
        table = pd.read_csv(path)
        before = [table[~_marked(table, key)]]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    pd.concat([*before, rows], ignore_index=True).to_csv(temporary, index=False, float_format="%.6g")
    temporary.replace(path)


def _words() -> str:
    return shlex.join([Path(sys.argv[0]).stem, *sys.argv[1:]])  # names of lines hold blanks


def _marked(table: pd.DataFrame, key: Mapping[str, Any]) -> "pd.Series[bool]":
    return (table[list(key)] == pd.Series(dict(key))).all(axis=1)
