"""A frame as the dataset that a fitted NeuralForecast would make of it for `predict`."""

import copy
from typing import Any

import numpy as np
import torch
from neuralforecast.common._base_model import BaseModel
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .windows import window_source, window_spec


def new_dataset(nf: Any, df: Any, static_df: Any = None) -> tuple[TimeSeriesDataset, np.ndarray]:
    """Encoded and scaled as by `NeuralForecast.predict(df)`; `nf` is left as it was.

    Returns:
        The dataset and the names of its series, in its order.
    """
    view = copy.copy(nf)  # what the call sets on it, its scalers among them, is lost with it
    dataset, uids, _, _ = view._prepare_fit(df, static_df, nf.id_col, nf.time_col, nf.target_col)
    return dataset, np.asarray(uids)


def whole_windows(model: BaseModel, dataset: TimeSeriesDataset) -> Tensor:
    """Flat indices of those "train" windows of `window_batches` whose horizon ends inside their series."""
    source = window_source(dataset)
    index = source.training(dataset.temporal_cols.get_loc("available_mask"), window_spec(model))
    flat = torch.arange(int(index.count.sum()))
    series, start = index.locate(torch.arange(len(source.panel.sizes)), flat)
    return flat[start + model.input_size + model.h <= index.n_train[series]]
