"""`vdn-forecast diagnose`: the page on a saved `NeuralForecast`."""

from pathlib import Path

import pandas as pd
from neuralforecast import NeuralForecast

from ..evaluation.quiet import quiet_lightning
from .report import write_report

_CONFIGURATION = "configuration.json"


def report_saved(path: str | Path, out: str | Path, data: str | Path | None = None, *, max_windows: int = 4096) -> Path:
    """Write the page on a saved `NeuralForecast`; see `write_report`.

    Args:
        path: folder that `NeuralForecast.save` wrote.
        out: folder of the page.
        data: CSV or parquet with the columns of the fit; None for the validation windows of the data saved with it.
        max_windows: as `diagnose`.

    Returns:
        The HTML page.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: a folder or a file that cannot be read, no model of this package in it, or data that does not fit.
        ImportError: matplotlib is not installed.
    """
    with quiet_lightning():
        target = load_saved(path)
        df = None if data is None else read_frame(data, target.time_col, isinstance(target.freq, int))
        return write_report(target, out, df, max_windows=max_windows)


def load_saved(path: str | Path) -> NeuralForecast:
    """Load what `NeuralForecast.save` wrote; no pickle is read.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a folder of something else, of a NeuralForecast before 3.3, or a damaged one.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give one that NeuralForecast.save wrote")
    if not (folder / _CONFIGURATION).is_file():
        raise ValueError(f"{folder} has no {_CONFIGURATION}; it is no folder that NeuralForecast.save (3.3) wrote")
    try:
        return NeuralForecast.load(str(folder))
    except Exception as error:  # NeuralForecast raises whatever it stumbles over
        raise ValueError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error


def read_frame(path: str | Path, time_col: str, integer_time: bool) -> pd.DataFrame:
    """A frame from a CSV or parquet file; `time_col` of a CSV becomes datetimes, unless time is counted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another ending, or stamps that are no datetimes.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file")
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if file.suffix != ".csv":
        raise ValueError(f"{file} ends in {file.suffix!r}; give a .csv or a .parquet")
    frame = pd.read_csv(file)
    if time_col in frame and not integer_time:
        try:
            frame[time_col] = pd.to_datetime(frame[time_col])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file}: column {time_col!r} holds no datetimes: {error}") from error
    return frame
