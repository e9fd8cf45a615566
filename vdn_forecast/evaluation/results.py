"""Result tables on disk: one row per cell, appended whole, of one schema."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

SCHEMA = (
    "cell",
    "protocol",
    "dataset",
    "h",
    "input_size",
    "model",
    "arguments",
    "seed",
    "mse",
    "mae",
    "mae_mean",
    "crps19",
    "crps_exact",
    "nll",
    "coverage80",
    "width80",
    "coverage90",
    "width90",
    "val_mse",
    "val_mae",
    "val_crps19",
    "fit_seconds",
    "predict_seconds",
    "steps",
    "n_parameters",
    "peak_mb",
    "data_note",
    "versions",
    "command",
)


def cell_identity(**parts: Any) -> str:
    """Twelve hexadecimal digits that stand for one cell; the same parts always give the same ones."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class ResultTable:
    """An append-only CSV of `SCHEMA`.

    Args:
        path: the file; made with its header at the first row.

    Raises:
        ValueError: the file has other columns.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.exists():
            with self.path.open(newline="") as file:
                header = next(csv.reader(file), [])
            if tuple(header) != SCHEMA:
                missing, extra = set(SCHEMA) - set(header), set(header) - set(SCHEMA)
                raise ValueError(
                    f"{self.path} has another schema: missing {sorted(missing)}, unknown {sorted(extra)}; "
                    "move it away or name another results file"
                )
            self._drop_half_row()

    def _drop_half_row(self) -> None:
        """A kill may leave a last line without its end; that cell runs again."""
        with self._locked():
            text = self.path.read_bytes()
            if text and not text.endswith(b"\n"):
                whole = text[: text.rfind(b"\n") + 1]
                temporary = self.path.with_suffix(".tmp")
                temporary.write_bytes(whole)
                os.replace(temporary, self.path)

    def read(self) -> pd.DataFrame:
        """All rows; an empty frame of `SCHEMA` where there are none."""
        if not self.path.exists():
            return pd.DataFrame(columns=list(SCHEMA))
        return pd.read_csv(self.path, dtype={"cell": str})

    def cells(self) -> set[str]:
        """Identities of the cells that are there."""
        return set(self.read()["cell"])

    def find(self, cell: str) -> dict[str, Any] | None:
        """The row of one cell; None where it is not there."""
        rows = self.read()
        found = rows[rows["cell"] == cell]
        return None if found.empty else dict(found.iloc[0])

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row in a single call; floats with eight digits.

        Raises:
            ValueError: a column outside of `SCHEMA`.
        """
        unknown = set(row) - set(SCHEMA)
        if unknown:
            raise ValueError(f"row has unknown columns {sorted(unknown)}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            buffer = StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            if not self.path.exists() or self.path.stat().st_size == 0:
                writer.writerow(SCHEMA)
            writer.writerow([_plain(row.get(column, "")) for column in SCHEMA])
            with self.path.open("ab") as file:
                file.write(buffer.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One writer at a time, where the system has file locks."""
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _plain(value: Any) -> str:
    return f"{value:.8g}" if isinstance(value, float) else str(value)
