"""Rows of a timing script: printed, and put into a CSV file in place of those with the same key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdn_forecast.evaluation.cells import versions


def keep(rows: Sequence[Mapping[str, Any]], key: Sequence[str], command: str, out: Path | None) -> None:
    """Print rows; write them with versions and command, whole or not at all.

    Args:
        rows: of one run.
        key: columns; rows of the file that hold the same values in them are replaced.
        command: that made them.
        out: CSV file; None for none.
    """
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    if out is None:
        return
    table = table.assign(versions=versions(), command=command)
    if out.exists():
        before = pd.read_csv(out)
        again = _keys(before, key).isin(set(_keys(table, key)))
        table = pd.concat([before[~again], table], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f"{out.name}.tmp")
    table.to_csv(temporary, index=False, float_format="%.5g")
    temporary.replace(out)


def _keys(table: pd.DataFrame, key: Sequence[str]) -> "pd.Series[Any]":
    return table[list(key)].astype(str).apply(tuple, axis=1)
