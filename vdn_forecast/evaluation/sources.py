"""Panels beside the benchmark's: a user's own table with an explicit split, and synthetic ones of any shape."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..frames import MASK_COLUMN, check_frame
from .data import DATASETS, DatasetInfo, PanelData

LONG_COLUMNS = ("unique_id", "ds", "y")
_TIME_COLUMNS = ("date", "ds")


def user_panel(
    source: str | Path | pd.DataFrame, split: Sequence[int], freq: str, season: int = 1, name: str | None = None
) -> PanelData:
    """A user's own data, for every protocol that takes a panel.

    Args:
        source: a frame, or a CSV or parquet file (parquet needs pyarrow). Long: columns unique_id, ds, y, each
            series with the same stamps. Wide: the stamps in `date`, `ds` or the first column, a series in every other.
        split: rows of train, validation and test, oldest first; together all rows.
        freq: pandas frequency of the stamps.
        season: rows of one season.
        name: what the rows of a results file call it; None for the file's name, "user" for a frame.

    Returns:
        Values on the original scale, series in the order of their names (long) or of the columns (wide); the note
        holds a digest, so that rows of two states of the data can be told apart.

    Raises:
        TypeError: neither a frame nor a path.
        ValueError: anything that `check_frame` refuses, stamps that differ among series, masked rows, a split that
            does not add up, a file of another kind, or a name of the benchmark's.
        ImportError: a parquet file without pyarrow.
    """
    table = _table(source).rename(columns=str)
    name = name or ("user" if isinstance(source, pd.DataFrame) or hasattr(source, "to_pandas") else Path(source).stem)
    if name in DATASETS:
        raise ValueError(f"name={name!r} is one of the benchmark's datasets; give your data another one")
    if season < 1:
        raise ValueError(f"season={season!r} is not allowed; give a number of rows >= 1")
    is_long = set(LONG_COLUMNS) <= set(table.columns)
    long = _dated(table, "ds") if is_long else _melt(table)
    check_frame(long, freq=freq)
    if MASK_COLUMN in long.columns and not (long[MASK_COLUMN] > 0).all():
        raise ValueError(f"column {MASK_COLUMN!r} hides rows; every row is scored: fill them or cut them off")
    wide = long.pivot(index="ds", columns="unique_id", values="y")
    lacking = wide.columns[wide.isna().any()]
    if len(lacking):
        series = lacking[0]
        raise ValueError(
            f"{len(lacking)} of {wide.shape[1]} series lack stamps that others have (first: {series!r} lacks "
            f"{int(wide[series].isna().sum())} of {len(wide)}); cut them to one period"
        )
    if not is_long:
        wide = wide[long["unique_id"].drop_duplicates()]
    borders = _borders(split, len(wide))
    values = np.ascontiguousarray(wide.to_numpy(np.float64))
    digest = hashlib.sha256(values.tobytes() + "\n".join(map(str, wide.columns)).encode()).hexdigest()[:12]
    info = DatasetInfo("user", "", freq, season, borders=borders)
    index = pd.DatetimeIndex(wide.index)
    return PanelData(name, values, index, tuple(map(str, wide.columns)), info, f"user data, sha256 {digest}")


def synthetic_panel(n_series: int, n_rows: int, seed: int = 0) -> PanelData:
    """Hourly sines of one day with noise, for tests of scale; split 70 / 10 / 20 %.

    Args:
        n_series, n_rows: the shape.
        seed: the same one gives the same values.

    Raises:
        ValueError: a shape without any value.
    """
    for argument, value in (("n_series", n_series), ("n_rows", n_rows)):
        if value < 1:
            raise ValueError(f"{argument}={value!r} is not allowed; give a number >= 1")
    rng = np.random.default_rng(seed)
    daily = np.sin(np.arange(n_rows) * 2 * np.pi / 24)
    y = rng.uniform(0.5, 2, (n_series, 1)) * daily
    y += rng.normal(size=(n_series, n_rows))
    width = len(str(n_series - 1))
    return PanelData(
        f"synthetic-{n_series}x{n_rows}",
        y.T,
        pd.date_range("2000-01-01", periods=n_rows, freq="h"),
        tuple(f"s{i:0{width}d}" for i in range(n_series)),
        DatasetInfo("synthetic", "", "h", 24),
        f"synthetic, seed {seed}",
    )


def _table(source: Any) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return source.reset_index(names="ds") if isinstance(source.index, pd.DatetimeIndex) else source
    if hasattr(source, "to_pandas"):  # polars
        return source.to_pandas()
    if not isinstance(source, str | Path):
        raise TypeError(f"source is a {type(source).__name__}; it must be a frame or the path of a file")
    path = Path(source)
    if path.suffix == ".csv":
        return pd.read_csv(path)
    if path.suffix != ".parquet":
        raise ValueError(f"source={str(path)!r} is neither a .csv nor a .parquet file")
    try:
        return _table(pd.read_parquet(path, engine="pyarrow"))
    except ImportError as error:
        raise ImportError(f"{path} is a parquet file, and reading it needs pyarrow: pip install pyarrow") from error


def _melt(table: pd.DataFrame) -> pd.DataFrame:
    """A wide table as a long one."""
    if table.shape[1] < 2 or table.empty:
        raise ValueError(
            f"the wide table has {table.shape[0]} rows and {table.shape[1]} columns; it needs stamps and series"
        )
    if not table.columns.is_unique:
        raise ValueError(f"columns repeat: {sorted(set(table.columns[table.columns.duplicated()]))}")
    time = next((column for column in _TIME_COLUMNS if column in table.columns), table.columns[0])
    for column in table.columns.drop(time):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"column {column!r} has dtype {table[column].dtype}; a series must hold numbers")
    return _dated(table, time).melt(id_vars=time, var_name="unique_id", value_name="y").rename(columns={time: "ds"})


def _dated(table: pd.DataFrame, time: Any) -> pd.DataFrame:
    """Text read from a CSV becomes stamps; anything else is left for `check_frame`."""
    if pd.api.types.is_numeric_dtype(table[time]):
        raise ValueError(f"column {time!r} holds numbers; the evaluation needs datetimes")
    try:
        return table.assign(**{time: pd.to_datetime(table[time])})
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {time!r} holds something that is no datetime: {error}") from error


def _borders(split: Sequence[int], rows: int) -> tuple[int, int]:
    if len(split) != 3 or any(not isinstance(part, int | np.integer) or part < 1 for part in split):
        raise ValueError(f"split={tuple(split)!r} is not allowed; give rows of train, validation and test, each >= 1")
    if sum(split) != rows:
        raise ValueError(f"split={tuple(split)} has {sum(split)} rows, the data {rows}; every row belongs to one part")
    return int(split[0]), int(split[1])
