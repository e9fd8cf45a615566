"""Cells that failed, on disk beside the results: each attempt with its error."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import SCHEMA, ResultTable, Schema

ERROR, TIME_LIMIT, WORKER_DIED = "error", "time limit", "worker died"
TRIAL, TEST = "trial", "test"
_FRAMES = 4
_WHAT = SCHEMA[: SCHEMA.index("seed") + 1]  # the first columns are those of the results
FAILURES = Schema((*_WHAT, "split", "kind", "error", "where", "seconds", "versions", "command", "schema"), ((1, 16),))


@dataclass(frozen=True)
class Failure:
    """Why a cell has no row.

    Attributes:
        kind: `ERROR` (an exception), `TIME_LIMIT` or `WORKER_DIED`.
        error: what happened.
        where: the innermost places in the code, outermost first; empty where there is no exception.
    """

    kind: str
    error: str
    where: str = ""


def as_failure(error: BaseException) -> Failure:
    """The failure that an exception stands for."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return Failure(ERROR, f"{type(error).__name__}: {error}", where)


class FailureTable(ResultTable):
    """Failed attempts, append-only; a cell that got its row later is failed no more.

    Args:
        path: the file; made with its header at the first failure.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, FAILURES)

    def last(self, cell: str, split: str) -> Mapping[str, Any] | None:
        """The last failure of a cell in a split, `TRIAL` or `TEST`; None where there is none."""
        rows = self.rows()
        found = rows[(rows["cell"] == cell) & (rows["split"] == split)]
        return None if found.empty else dict(found.iloc[-1])
