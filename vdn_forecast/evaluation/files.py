"""Data files as tables: datasetsforecast's layout, the Autoformer collection's wide CSVs, downloads."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .checksums import verify_file

_WIDE = Path("longhorizon2") / "all_six_datasets"
_LONG = Path("longhorizon") / "datasets"


def read_wide(path: Path, folder: Path | None = None) -> pd.DataFrame:
    """A wide CSV: the first column holds the stamps, every other one a series.

    Args:
        path: the file.
        folder: data folder whose manifest the file is checked against; None for no check.

    Returns:
        [T, n_series], stamps as text in the index.

    Raises:
        ValueError: a column that holds no numbers, a missing value, no series or no rows, or a changed file.
    """
    if folder is not None:
        verify_file(path, folder)
    # some of the published column names hold bytes that are no UTF-8
    table = pd.read_csv(path, index_col=0, encoding_errors="replace")
    if table.empty:
        raise ValueError(f"{path} has {len(table)} rows and {table.shape[1]} series; it must have some of both")
    for column in table.columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise ValueError(f"{path}: column {column!r} has dtype {table[column].dtype}; it must hold numbers")
        missing = table[column].isna().to_numpy()
        if missing.any():
            first = table.index[int(missing.argmax())]
            raise ValueError(f"{path}: column {column!r} lacks {int(missing.sum())} values (first: {first})")
    return table


def find_wide(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some file names that the folder or its `raw` has; None where there is none."""
    places = [folder / name for name in names] + [folder / "raw" / name for name in names]
    return next((path for path in places if path.is_file()), None)


def read_longhorizon2(folder: Path, group: str, wide: Sequence[str]) -> pd.DataFrame:
    """A wide dataset, original scale: datasetsforecast's file, else a wide CSV, else by download.

    Args:
        folder: data folder.
        group: the dataset's folder in datasetsforecast's layout.
        wide: file names that the Autoformer collection has it under.

    Raises:
        FileNotFoundError: the folder has other datasets of this family, but not this one.
        ConnectionError: the network refused the download.
        OSError: it could not be written.
    """
    path = folder / _WIDE / group / "Y_df.csv"
    if path.exists():
        return read_wide(path, folder)
    other = find_wide(folder, wide)
    if other is not None:
        return read_wide(other, folder)
    _download_missing(folder, path, "longhorizon2")
    return read_wide(path, folder)


def read_longhorizon(folder: Path, group: str) -> pd.DataFrame:
    """A long dataset, standardised as published, from datasetsforecast's layout or by download.

    Raises:
        FileNotFoundError: the folder has other datasets of this family, but not this one.
        ConnectionError: the network refused the download.
        OSError: it could not be written.
    """
    path = folder / _LONG / group / "M" / "df_y.csv"
    if not path.exists():
        _download_missing(folder, path, "longhorizon")
    verify_file(path, folder)
    long = pd.read_csv(path, dtype={"unique_id": str})
    return long.pivot(index="ds", columns="unique_id", values="y")


def _download_missing(folder: Path, path: Path, family: str) -> None:
    """Fill the folder of one family, unless something is in it already: a filled folder is left as it is."""
    if (folder / family).exists():
        raise FileNotFoundError(f"{path} is missing; the folder holds other datasets but not this one")
    from datasetsforecast.long_horizon import LongHorizon
    from datasetsforecast.long_horizon2 import LongHorizon2

    source = LongHorizon2 if family == "longhorizon2" else LongHorizon
    target = folder / (_WIDE.parent if family == "longhorizon2" else _LONG)
    try:
        source.download(str(folder))  # with a progress bar of its own
    except OSError as error:
        _remove_empty(target)
        if error.errno is not None:  # of the file system; what the network refuses comes without a number
            raise OSError(error.errno, f"{target} could not be filled with {source.source_url}: {error}") from error
        raise ConnectionError(
            f"{source.source_url} could not be downloaded ({type(error).__name__}); check the network or its proxy, "
            f"or unpack that archive into {target} on a machine that has one and pass the folder {folder}"
        ) from error
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing in what {source.source_url} delivered")


def _remove_empty(path: Path) -> None:
    """Take away the folders that a failed download left: a later call must not take them for data."""
    while path.is_dir() and not any(path.iterdir()) and path.name in ("datasets", "longhorizon", "longhorizon2"):
        path.rmdir()
        path = path.parent
