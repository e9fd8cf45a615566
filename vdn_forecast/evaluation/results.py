"""Result tables on disk: one row per cell, appended whole, of one schema."""

import csv
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, StringIO
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
    "crps_ratio",
    "nmae",
    "crps_ratio_se",
    "schema",
    "dataset_fingerprint",
    "num_windows",
    "mase",
    "wql",
    "sql",
    "mase_season",
    "energy_score",
    "variogram_score",
    "coverage80_cal",
    "width80_cal",
    "coverage90_cal",
    "width90_cal",
)
SCHEMA_VERSION = 3
"""Stands in the column `schema` of every row: the version it was written under."""
_COLUMNS_OF = {1: 29, 2: 33, SCHEMA_VERSION: len(SCHEMA)}
"""How many of `SCHEMA`'s columns each version had: columns are only ever added at the end."""
_TEXT = {"cell": str, "dataset_fingerprint": str}
"""Digits that are no numbers."""


@dataclass(frozen=True)
class Schema:
    """Columns of a results file.

    Attributes:
        columns: in their order, with `cell` and `schema` among them.
        versions: (version, how many of the columns it had), oldest first: columns are only ever added at the end.
    """

    columns: tuple[str, ...]
    versions: tuple[tuple[int, int], ...]

    @property
    def version(self) -> int:
        """The version that rows are written under."""
        return self.versions[-1][0]


CELLS = Schema(SCHEMA, tuple(_COLUMNS_OF.items()))
"""Of the general runner's rows."""


_LOGGER = logging.getLogger(__name__)


def cell_identity(**parts: Any) -> str:
    """Twelve hexadecimal digits that stand for one cell; the same parts always give the same ones."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class ResultTable:
    """An append-only CSV of one schema.

    A file of an older version is rewritten once, whole or not at all: its rows keep what they have, get empty new
    columns, and the version they were written under in `schema`.

    Args:
        path: the file; made with its header at the first row.
        schema: its columns.

    Raises:
        ValueError: the file has other columns than any version, or a row with more values than columns.
    """

    def __init__(self, path: str | Path, schema: Schema = CELLS) -> None:
        self.path, self.schema = Path(path), schema
        self._seen: tuple[tuple[int, int], pd.DataFrame] | None = None
        if self.path.exists():
            with self._locked():  # another process may be writing a row, or upgrading the same file
                self._repair()

    def _repair(self) -> None:
        """Cut off what a kill left half-written, and bring an older version to this one; refuse anything else."""
        columns = self.schema.columns
        content = self.path.read_bytes()
        header, found, _ = content.partition(b"\n")
        if not found and ",".join(columns).encode().startswith(header):
            return self._replace(b"")  # killed in the header: there was no row yet
        names = next(csv.reader([header.decode(errors="replace")]), [])
        version = next((v for v, count in self.schema.versions if tuple(names) == columns[:count]), None)
        if version is None:
            missing, extra = set(columns) - set(names), set(names) - set(columns)
            raise ValueError(
                f"{self.path} has another schema: missing {sorted(missing)}, unknown {sorted(extra)}; "
                "move it away or name another results file"
            )
        whole = content[: content.rfind(b"\n") + 1]  # the cell of a half row runs again
        if version != self.schema.version:
            whole = self._upgraded(whole, version)
            _LOGGER.warning("%s: results schema %d, is now %d", self.path, version, self.schema.version)
        if whole != content:
            self._replace(whole)

    def _upgraded(self, content: bytes, version: int) -> bytes:
        """The same rows under all columns, new columns empty, `schema` telling the version that they come from."""
        columns = self.schema.columns
        buffer = StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        old, schema_at = dict(self.schema.versions)[version], columns.index("schema")
        lines = csv.reader(StringIO(content.decode(), newline=""))
        next(lines)
        for number, values in enumerate(lines, start=2):
            if len(values) > old:
                raise ValueError(f"{self.path}, line {number} has {len(values)} values for {old} columns")
            if values:
                padded = [*values, *[""] * (len(columns) - len(values))]
                padded[schema_at] = padded[schema_at] or "1"  # the version that had no such column
                writer.writerow(padded)
        return buffer.getvalue().encode()

    def _replace(self, content: bytes) -> None:
        """Put a new file in the old one's place; a kill leaves either of them, whole."""
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def read(self) -> pd.DataFrame:
        """All rows; an empty frame of the columns where there are none."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # another process may be in the middle of a row
        if not whole:
            return pd.DataFrame(columns=list(self.schema.columns))
        rows = pd.read_csv(BytesIO(whole), dtype=_TEXT)
        # a process of an older version that was already running appends its short rows to an upgraded file
        return rows.assign(schema=rows["schema"].fillna(1).astype(int))

    def rows(self) -> pd.DataFrame:
        """As `read`, but a file that nobody wrote to is not read again; the caller leaves the frame as it is."""
        state = (0, 0)
        if self.path.exists():
            found = self.path.stat()
            state = (found.st_size, found.st_mtime_ns)
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, self.read())
        return self._seen[1]

    def cells(self) -> set[str]:
        """Identities of the cells that are there."""
        return set(self.rows()["cell"])

    def find(self, cell: str) -> dict[str, Any] | None:
        """The row of one cell; None where it is not there."""
        rows = self.rows()
        found = rows[rows["cell"] == cell]
        return None if found.empty else dict(found.iloc[0])

    def append(self, row: Mapping[str, Any], *, once: bool = False) -> bool:
        """Write one row in a single call; floats with eight digits. `schema` is filled in.

        Args:
            row: values by column; missing ones stay empty.
            once: leave the row out where its cell has one, which another process wrote meanwhile.

        Returns:
            Whether the row was written.

        Raises:
            ValueError: a column outside of the schema.
        """
        unknown = set(row) - set(self.schema.columns)
        if unknown:
            raise ValueError(f"row has unknown columns {sorted(unknown)}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
                self._repair()  # another process was killed while it wrote
            if once and row["cell"] in set(self.read()["cell"]):
                return False
            buffer = StringIO()
            writer = csv.writer(buffer, lineterminator="\n")
            if not self.path.exists() or self.path.stat().st_size == 0:
                writer.writerow(self.schema.columns)
            filled = {"schema": self.schema.version, **row}
            writer.writerow([_plain(filled.get(column, "")) for column in self.schema.columns])
            with self.path.open("ab") as file:
                file.write(buffer.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
        return True

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
    text = f"{value:.8g}" if isinstance(value, float) else str(value)
    # one row is one line: a half-written one is known by its missing end
    return " | ".join(text.splitlines()) if "\n" in text or "\r" in text else text
