"""What `diagnose` looks at: the fitted models of this package, and the windows of some data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .._compat import count_windows, new_dataset, whole_windows
from ..frames import check_frame
from ..models import VariationalModel
from ..models.checks import without_gaps
from ..models.history import CHECK_COLUMNS
from ..models.observing import evenly_spaced, unit_controllers


@dataclass(frozen=True, eq=False)
class Sight:
    """Windows of a dataset.

    Attributes:
        dataset: in memory, zeros for gaps.
        series: names of its series, in its order.
        step: "val" for the validation windows of the last fit, "train" for all windows of the data.
    """

    dataset: TimeSeriesDataset
    series: np.ndarray
    step: str

    @property
    def rows(self) -> np.ndarray:
        """Rows of every series."""
        return np.diff(np.asarray(self.dataset.indptr))

    def indices(self, model: VariationalModel, limit: int | None) -> Tensor:
        """At most so many windows, evenly spaced over series and time; of data those whose horizon lies in it."""
        if self.step == "val":
            return evenly_spaced(count_windows(model, self.dataset, self.step), limit)
        whole = whole_windows(model, self.dataset)
        return whole[evenly_spaced(len(whole), limit)]

    @contextmanager
    def of(self, model: VariationalModel) -> Iterator[None]:
        """Within the block the model's windows are these; its sizes come back after."""
        before = model.val_size, model.test_size
        model.val_size, model.test_size = fitted_sizes(model) if self.step == "val" else (0, 0)
        try:
            yield
        finally:
            model.val_size, model.test_size = before


def fitted_models(target: Any) -> list[tuple[str, VariationalModel]]:
    """This package's models of a `NeuralForecast` (an Auto's inner one), or a model itself, with names.

    Raises:
        TypeError: neither of them.
        ValueError: no model of this package, or one that was not fitted.
    """
    if isinstance(target, NeuralForecast):
        candidates = list(target.models)
    elif isinstance(getattr(target, "model", target), VariationalModel) or hasattr(target, "cls_model"):
        candidates = [target]
    else:
        raise TypeError(
            f"target is a {type(target).__name__}; it must be a NeuralForecast or a model of vdn_forecast (EVE, "
            "AREVE, ARVAE or their Autos)"
        )
    found: list[tuple[str, VariationalModel]] = []
    for each in candidates:
        inner = getattr(each, "model", each)
        if isinstance(inner, VariationalModel):
            found.append((_unique(repr(each), [name for name, _ in found]), inner))
        elif isinstance(getattr(each, "cls_model", None), type) and issubclass(each.cls_model, VariationalModel):
            raise ValueError(f"{each!r} is not fitted; call fit first")
    if not found:
        raise ValueError(f"models={candidates!r} holds no model of vdn_forecast; there are no units to look at")
    for name, model in found:
        if not any(int(controller.step) for controller in unit_controllers(model)):
            raise ValueError(f"{name} is not fitted; call fit first")
    return found


def _unique(name: str, taken: Sequence[str]) -> str:
    """NeuralForecast's own way: EVE, EVE1, ..."""
    number, unique = 1, name
    while unique in taken:
        unique, number = f"{name}{number}", number + 1
    return unique


def fitted_sizes(model: VariationalModel) -> tuple[int, int]:
    """val_size and test_size of the last fit: a loaded model knows them from its history alone."""
    if model.val_size or not len(model.history.checks):
        return model.val_size, model.test_size
    last = model.history.checks[-1]
    val, test = (last[CHECK_COLUMNS.index(name)] for name in ("val_size", "test_size"))
    return int(val), int(test)


def validation_windows(target: Any, models: list[tuple[str, VariationalModel]]) -> Sight:
    """Those of the last fit, from the data that NeuralForecast keeps.

    Raises:
        ValueError: no data kept, data out of memory, or a fit without validation.
    """
    dataset = getattr(target, "dataset", None)
    if type(dataset) is not TimeSeriesDataset:
        kept = "nothing" if dataset is None else f"a {type(dataset).__name__}"
        raise ValueError(f"df='validation' needs a NeuralForecast that keeps its data in memory; there is {kept}")
    for name, model in models:
        if not fitted_sizes(model)[0]:
            raise ValueError(f"df='validation': {name} was fitted without validation; give val_size to fit, or data")
    return Sight(without_gaps(dataset), np.asarray(target.uids), "val")


def data_windows(target: Any, models: list[tuple[str, VariationalModel]], df: Any, static_df: Any) -> Sight:
    """All windows of a frame.

    Raises:
        TypeError: not a frame.
        ValueError: bad values, another frequency, columns that a model needs and the frame lacks, or series that are
            all too short for one window.
    """
    nf = target if isinstance(target, NeuralForecast) else None
    columns = (nf.id_col, nf.time_col, nf.target_col) if nf is not None else ("unique_id", "ds", "y")
    # polars names its frequencies otherwise
    freq = nf.freq if nf is not None and isinstance(df, pd.DataFrame) else None
    check_frame(df, columns[0], columns[1], columns[2], freq=freq)
    for name, model in models:
        needed = [*model.hist_exog_list, *model.futr_exog_list]
        lacking = [column for column in needed if column not in df.columns]
        if lacking:
            raise ValueError(f"df lacks {lacking}, which {name} was fitted with; it has {list(df.columns)}")
        if model.stat_exog_list and static_df is None:
            raise ValueError(f"static_df=None is not allowed: {name} was fitted with {model.stat_exog_list}")
    longest = int(pd.Series(df[columns[0]].to_numpy()).value_counts().max())
    for name, model in models:
        needed_rows = model.h + 1 if model.start_padding_enabled else model.input_size + model.h
        if longest < needed_rows:
            raise ValueError(
                f"the longest series of df has {longest} rows; a window of {name} needs {needed_rows} "
                f"(input_size={model.input_size}, h={model.h})"
            )
    if nf is not None:
        dataset, series = new_dataset(nf, df, static_df)
    else:
        id_col, time_col, target_col = columns
        dataset, series, _, _ = TimeSeriesDataset.from_df(
            df=df, static_df=static_df, id_col=id_col, time_col=time_col, target_col=target_col
        )
    return Sight(without_gaps(dataset), np.asarray(series), "train")


__all__ = ["Sight", "data_windows", "fitted_models", "fitted_sizes", "validation_windows"]
