"""Benchmark data as one table per dataset: rows are times, columns are series, with the benchmark's borders."""

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from .files import find_wide, read_longhorizon, read_longhorizon2, read_wide

DATA_DIR_VARIABLE = "VDN_DATA_DIR"
SCALES = ("published", "original")
SERIES = "series"
"""Static column with the number of a series; a model that names it knows which series a window is of."""


@dataclass(frozen=True)
class DatasetInfo:
    """Where a dataset lies in datasetsforecast's layout, and how it is split.

    Attributes:
        family: "longhorizon2" (wide CSV, original scale), "longhorizon" (long CSV, standardised), "embedded" (ships
            with NeuralForecast), or for data of one's own "user" or "synthetic".
        folder: its folder in that layout.
        freq: pandas frequency of the regular index that the runners use.
        season: steps of one season, for seasonal-naive forecasts and block lengths.
        rows: number of rows that the benchmark uses; None for all.
        borders: rows of train and validation, of `rows`; None for 70 / 10 / 20 %.
        collection: its wide CSV in the folder of the Autoformer collection.
    """

    family: str
    folder: str
    freq: str
    season: int
    rows: int | None = None
    borders: tuple[int, int] | None = None
    collection: str = ""


_ETTH = {"rows": 14_400, "borders": (8_640, 2_880)}
_ETTM = {"rows": 57_600, "borders": (34_560, 11_520)}
DATASETS: dict[str, DatasetInfo] = {
    "ETTh1": DatasetInfo("longhorizon2", "ETTh1", "h", 24, collection="ETT-small/ETTh1.csv", **_ETTH),  # type: ignore[arg-type]
    "ETTh2": DatasetInfo("longhorizon2", "ETTh2", "h", 24, collection="ETT-small/ETTh2.csv", **_ETTH),  # type: ignore[arg-type]
    "ETTm1": DatasetInfo("longhorizon2", "ETTm1", "15min", 96, collection="ETT-small/ETTm1.csv", **_ETTM),  # type: ignore[arg-type]
    "ETTm2": DatasetInfo("longhorizon2", "ETTm2", "15min", 96, collection="ETT-small/ETTm2.csv", **_ETTM),  # type: ignore[arg-type]
    "ECL": DatasetInfo("longhorizon2", "ECL", "h", 24, collection="electricity/electricity.csv"),
    "TrafficL": DatasetInfo("longhorizon2", "traffic", "h", 24, collection="traffic/traffic.csv"),
    "Weather": DatasetInfo("longhorizon2", "Weather", "10min", 144, collection="weather/weather.csv"),
    "Exchange": DatasetInfo("longhorizon", "Exchange", "D", 7, collection="exchange_rate/exchange_rate.csv"),
    "ILI": DatasetInfo("longhorizon", "ili", "W-TUE", 52, collection="illness/national_illness.csv"),
    "AirPassengers": DatasetInfo("embedded", "", "ME", 12, borders=(96, 24)),
}


@dataclass(frozen=True)
class PanelData:
    """One dataset.

    Attributes:
        name: key in `DATASETS`, or one's own.
        values: [T, n_series] float64.
        index: [T] regular stamps.
        series: [n_series] names.
        info: split and frequency.
        note: what was done to the stamps, or where one's own data came from; empty for nothing.
        scale: "original", "standardised" (as published) or "train" (by `scaled`).
    """

    name: str
    values: np.ndarray
    index: pd.DatetimeIndex
    series: tuple[str, ...]
    info: DatasetInfo
    note: str = ""
    scale: str = "original"

    @cached_property
    def fingerprint(self) -> str:
        """Rows x series and digits of the SHA-256 of all that a figure depends on, as "14400x7-0123456789ab".

        That is the values, the series' names, first stamp and frequency, the split and the season.
        """
        described = [*self.series, self.index[0], self.info.freq, *self.borders, self.info.season]
        digest = hashlib.sha256("\n".join(map(str, described)).encode())
        digest.update(np.ascontiguousarray(self.values, dtype="<f8").tobytes())
        return f"{self.values.shape[0]}x{self.values.shape[1]}-{digest.hexdigest()[:12]}"

    @property
    def borders(self) -> tuple[int, int, int]:
        """Rows of train, validation and test."""
        total = len(self.values)
        if self.info.borders is not None:
            train, validation = self.info.borders
            return train, validation, total - train - validation
        train, test = int(0.7 * total), int(0.2 * total)
        return train, total - train - test, test

    def train_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and population deviation of the train rows, [n_series] each; 1 in place of a deviation of 0."""
        train = self.values[: self.borders[0]]
        deviation = train.std(0)
        return train.mean(0), np.where(deviation > 0, deviation, 1.0)

    def scaled(self) -> "PanelData":
        """Every series standardised with mean and population deviation of its train rows."""
        mean, deviation = self.train_moments()
        return replace(self, values=(self.values - mean) / deviation, scale="train")

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

    def static_frame(self) -> pd.DataFrame:
        """unique_id and `SERIES`, the number of each series: what tells a model which series a window is of."""
        return pd.DataFrame({"unique_id": np.asarray(self.series, dtype=object), SERIES: np.arange(len(self.series))})


def data_directory(directory: str | Path | None = None) -> Path | None:
    """The data folder: the argument, else the environment's VDN_DATA_DIR, else None."""
    chosen = directory or os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen) if chosen else None


def load_dataset(name: str, directory: str | Path | None = None, scale: str = "published") -> PanelData:
    """Read one dataset from a folder in datasetsforecast's layout or of wide CSVs; an empty one is filled by download.

    A wide CSV (`date`, then one column per series) may be `<name>.csv` or have its name in the Autoformer
    collection, in the folder or its `raw`. Files are checked against the folder's SHA-256 manifest, see `checksums`.

    Args:
        name: key in `DATASETS`.
        directory: the folder; None for VDN_DATA_DIR. "embedded" data needs none.
        scale: "published", or "original": Exchange and ILI are published standardised, and their original values
            come from a wide CSV.

    Raises:
        ValueError: an unknown name or scale, no folder, or a file that is not what it was.
        FileNotFoundError: the folder has other data but not this dataset, or not on the original scale.
        ConnectionError: the network refused the download.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset={name!r} is not known; choose one of {sorted(DATASETS)}")
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r} is not known; choose one of {SCALES}")
    info = DATASETS[name]
    if info.family == "embedded":
        return _air_passengers(name, info)
    folder = data_directory(directory)
    if folder is None:
        raise ValueError(f"dataset={name!r} needs a data folder: pass it, or set {DATA_DIR_VARIABLE}")
    standardised = info.family == "longhorizon" and scale == "published"
    table = _read(folder, name, info, scale).iloc[: info.rows]
    stamps = pd.DatetimeIndex(pd.to_datetime(table.index))
    regular = pd.date_range(stamps[0], periods=len(stamps), freq=info.freq)
    note = "" if regular.equals(stamps) else "irregular stamps replaced by a regular index"
    series = tuple(str(column) for column in table.columns)
    values = table.to_numpy(np.float64)
    return PanelData(name, values, regular, series, info, note, "standardised" if standardised else "original")


def _read(folder: Path, name: str, info: DatasetInfo, scale: str) -> pd.DataFrame:
    wide = (f"{name}.csv", info.collection, Path(info.collection).name)
    if info.family == "longhorizon2":
        return read_longhorizon2(folder, info.folder, wide)
    if scale == "published":
        return read_longhorizon(folder, info.folder)
    path = find_wide(folder, wide)
    if path is None:
        raise FileNotFoundError(
            f"dataset={name!r} is not in {folder} on its original scale, only standardised values are published by "
            f"datasetsforecast; put the Autoformer collection's {wide[2]} there as {name}.csv or raw/{name}.csv"
        )
    return read_wide(path, folder)


def _air_passengers(name: str, info: DatasetInfo) -> PanelData:
    from neuralforecast.utils import AirPassengersPanel

    table = AirPassengersPanel.pivot(index="ds", columns="unique_id", values="y")
    return PanelData(
        name, table.to_numpy(np.float64), pd.DatetimeIndex(table.index), tuple(map(str, table.columns)), info
    )
