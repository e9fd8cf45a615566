"""The suite's data as the author's loader gave them: float32, series in the order of their names."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdn_forecast.evaluation.data import PanelData, load_dataset


@dataclass(frozen=True)
class PublishedSize:
    """What `datasetsforecast` makes of a dataset.

    Attributes:
        n_series, n_rows: its shape; further rows of the file are dropped.
        held_out: last rows that its scaler does not see; None where values are taken as published.
    """

    n_series: int
    n_rows: int
    held_out: int | None


SIZES = {
    "ECL": PublishedSize(321, 26_304, 5_260),
    "TrafficL": PublishedSize(862, 17_544, 3_508),
    "Weather": PublishedSize(21, 52_695, 10_539),
    "Exchange": PublishedSize(8, 7_588, None),
}
"""Datasets of the suite: `LongHorizon2.load(normalize=True)`, for Exchange `LongHorizon.load`."""


@dataclass(frozen=True)
class Panel:
    """Values of one dataset.

    Attributes:
        name: key in `SIZES`.
        values: [n_series, T] float32.
        series: names, sorted.
        note: what was done to them.
    """

    name: str
    values: np.ndarray
    series: tuple[str, ...]
    note: str


def load_panel(name: str, directory: str | Path | None = None) -> Panel:
    """Read a dataset of the suite.

    Args:
        name: key in `SIZES`.
        directory: benchmark data, see `load_dataset`; None for VDN_DATA_DIR.

    Raises:
        ValueError: an unknown name, another number of series, or too few rows.
        FileNotFoundError, ConnectionError: the data is not at hand.
    """
    if name not in SIZES:
        raise ValueError(f"dataset={name!r} is not in the paper's suite; choose one of {sorted(SIZES)}")
    return as_published(load_dataset(name, directory), SIZES[name])


def as_published(data: PanelData, size: PublishedSize) -> Panel:
    """Cut, scale and sort a dataset as its `datasetsforecast` loader does.

    Raises:
        ValueError: another number of series, or too few rows.
    """
    rows, n_series = data.values.shape
    if n_series != size.n_series or rows < size.n_rows:
        raise ValueError(
            f"dataset={data.name!r} has {rows} rows of {n_series} series; the paper's suite needs {size.n_rows} of "
            f"{size.n_series}"
        )
    values, note = data.values[: size.n_rows], "as published"
    if size.held_out is not None:
        seen = values[: -size.held_out]
        deviation = seen.std(0)
        values = (values - seen.mean(0)) / np.where(deviation > 0, deviation, 1.0)
        note = f"first {size.n_rows} rows, standardised by all but the last {size.held_out}"
    order = sorted(range(n_series), key=lambda column: data.series[column])
    return Panel(
        data.name,
        np.ascontiguousarray(values[:, order].T.astype(np.float32)),
        tuple(data.series[column] for column in order),
        note,
    )
