"""Benchmark data as one table per dataset: rows are times, columns are series, with the benchmark's borders."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

DATA_DIR_VARIABLE = "VDN_DATA_DIR"


@dataclass(frozen=True)
class DatasetInfo:
    """Where a dataset lies in datasetsforecast's layout, and how it is split.

    Attributes:
        family: "longhorizon2" (wide CSV), "longhorizon" (long CSV) or "embedded" (ships with NeuralForecast).
        folder: its folder in that layout.
        freq: pandas frequency of the regular index that the runners use.
        season: steps of one season, for seasonal-naive forecasts and block lengths.
        rows: number of rows that the benchmark uses; None for all.
        borders: rows of train and validation, of `rows`; None for 70 / 10 / 20 %.
    """

    family: str
    folder: str
    freq: str
    season: int
    rows: int | None = None
    borders: tuple[int, int] | None = None


_ETTH = {"rows": 14_400, "borders": (8_640, 2_880)}
_ETTM = {"rows": 57_600, "borders": (34_560, 11_520)}
DATASETS: dict[str, DatasetInfo] = {
    "ETTh1": DatasetInfo("longhorizon2", "ETTh1", "h", 24, **_ETTH),  # type: ignore[arg-type]
    "ETTh2": DatasetInfo("longhorizon2", "ETTh2", "h", 24, **_ETTH),  # type: ignore[arg-type]
    "ETTm1": DatasetInfo("longhorizon2", "ETTm1", "15min", 96, **_ETTM),  # type: ignore[arg-type]
    "ETTm2": DatasetInfo("longhorizon2", "ETTm2", "15min", 96, **_ETTM),  # type: ignore[arg-type]
    "ECL": DatasetInfo("longhorizon2", "ECL", "h", 24),
    "TrafficL": DatasetInfo("longhorizon2", "traffic", "h", 24),
    "Weather": DatasetInfo("longhorizon2", "Weather", "10min", 144),
    "Exchange": DatasetInfo("longhorizon", "Exchange", "D", 7),
    "ILI": DatasetInfo("longhorizon", "ili", "W-TUE", 52),
    "AirPassengers": DatasetInfo("embedded", "", "ME", 12, borders=(96, 24)),
}


@dataclass(frozen=True)
class PanelData:
    """One dataset.

    Attributes:
        name: key in `DATASETS`.
        values: [T, n_series] float64, as published.
        index: [T] regular stamps.
        series: [n_series] names.
        info: split and frequency.
        note: what was done to the stamps; empty for nothing.
    """

    name: str
    values: np.ndarray
    index: pd.DatetimeIndex
    series: tuple[str, ...]
    info: DatasetInfo
    note: str = ""

    @property
    def borders(self) -> tuple[int, int, int]:
        """Rows of train, validation and test."""
        total = len(self.values)
        if self.info.borders is not None:
            train, validation = self.info.borders
            return train, validation, total - train - validation
        train, test = int(0.7 * total), int(0.2 * total)
        return train, total - train - test, test

    def scaled(self) -> "PanelData":
        """Every series standardised with mean and population deviation of its train rows."""
        train = self.values[: self.borders[0]]
        deviation = train.std(0)
        values = (self.values - train.mean(0)) / np.where(deviation > 0, deviation, 1.0)
        return PanelData(self.name, values, self.index, self.series, self.info, self.note)

    def frame(self, rows: int | None = None) -> pd.DataFrame:
        """Long frame unique_id, ds, y of the first `rows` rows (all by default)."""
        stop = len(self.values) if rows is None else rows
        return pd.DataFrame(
            {
                "unique_id": np.repeat(np.asarray(self.series, dtype=object), stop),
                "ds": np.tile(self.index[:stop].to_numpy(), len(self.series)),
                "y": self.values[:stop].T.ravel(),
            }
        )


def data_directory(directory: str | Path | None = None) -> Path | None:
    """The data folder: the argument, else the environment's VDN_DATA_DIR, else None."""
    chosen = directory or os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen) if chosen else None


def load_dataset(name: str, directory: str | Path | None = None) -> PanelData:
    """Read one dataset from a folder in datasetsforecast's layout; an empty folder is filled by download.

    Args:
        name: key in `DATASETS`.
        directory: the folder; None for VDN_DATA_DIR. "embedded" data needs none.

    Raises:
        ValueError: an unknown name, or no folder.
        FileNotFoundError: the folder has other data, but not this dataset.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset={name!r} is not known; choose one of {sorted(DATASETS)}")
    info = DATASETS[name]
    if info.family == "embedded":
        return _air_passengers(name, info)
    folder = data_directory(directory)
    if folder is None:
        raise ValueError(f"dataset={name!r} needs a data folder: pass it, or set {DATA_DIR_VARIABLE}")
    table = _read_wide(folder, info) if info.family == "longhorizon2" else _read_long(folder, info)
    table = table.iloc[: info.rows]
    stamps = pd.DatetimeIndex(pd.to_datetime(table.index))
    regular = pd.date_range(stamps[0], periods=len(stamps), freq=info.freq)
    note = "" if regular.equals(stamps) else "irregular stamps replaced by a regular index"
    return PanelData(
        name, table.to_numpy(np.float64), regular, tuple(str(column) for column in table.columns), info, note
    )


def _read_wide(folder: Path, info: DatasetInfo) -> pd.DataFrame:
    path = folder / "longhorizon2" / "all_six_datasets" / info.folder / "Y_df.csv"
    if not path.exists():
        if (folder / "longhorizon2").exists():
            raise FileNotFoundError(f"{path} is missing; the folder holds other datasets but not this one")
        from datasetsforecast.long_horizon2 import LongHorizon2

        LongHorizon2.download(str(folder))
    return pd.read_csv(path, index_col=0)


def _read_long(folder: Path, info: DatasetInfo) -> pd.DataFrame:
    path = folder / "longhorizon" / "datasets" / info.folder / "M" / "df_y.csv"
    if not path.exists():
        if (folder / "longhorizon").exists():
            raise FileNotFoundError(f"{path} is missing; the folder holds other datasets but not this one")
        from datasetsforecast.long_horizon import LongHorizon

        LongHorizon.download(str(folder))
    long = pd.read_csv(path, dtype={"unique_id": str})
    return long.pivot(index="ds", columns="unique_id", values="y")


def _air_passengers(name: str, info: DatasetInfo) -> PanelData:
    from neuralforecast.utils import AirPassengersPanel

    table = AirPassengersPanel.pivot(index="ds", columns="unique_id", values="y")
    return PanelData(
        name, table.to_numpy(np.float64), pd.DatetimeIndex(table.index), tuple(map(str, table.columns)), info
    )
