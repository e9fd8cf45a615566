"""NeuralForecast models on gathered windows: draw the indices first, copy only those windows.

NeuralForecast copies every window of the batch's series at every training step. Here the loader carries
series ids only, and `_create_windows` gathers what the step uses. The distribution of training windows and
the order of validation and prediction windows are NeuralForecast's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from neuralforecast.common._base_model import BaseModel
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .earlier import earlier_in_unit, forward_argument, split_earlier, with_earlier
from .gather import LazyWindows, Panel, PanelWindows, RepeatedRows, WindowSpec, at_most, evaluation_layout


class IndexedDataset(TimeSeriesDataset):
    """A `TimeSeriesDataset` whose items carry the series id instead of its rows. Shares all storage."""

    @classmethod
    def share(cls, dataset: TimeSeriesDataset) -> IndexedDataset:
        """View `dataset`; the parent's constructor would copy the rows."""
        view = cls.__new__(cls)
        view.__dict__.update(dataset.__dict__)
        return view

    def __getitem__(self, idx: int) -> dict[str, Any]:
        """One loader item; `temporal` [1] int64 marks it as an id."""
        if not isinstance(idx, int):
            raise ValueError(f"idx must be int, got {type(idx)}")
        return {
            "temporal": torch.tensor([idx]),
            "temporal_cols": self.temporal_cols,
            "static": None if self.static is None else self.static[idx],
            "static_cols": self.static_cols,
            "y_idx": self.y_idx,
        }


class WindowSource:
    """The rows behind the ids of an `IndexedDataset`, and the training index once it is needed."""

    def __init__(self, panel: Panel, static: Tensor | None) -> None:
        """Hold a panel and its static table [n_series, S] or None."""
        self.panel, self.static = panel, static
        self._training: dict[tuple[int, WindowSpec], PanelWindows] = {}

    def training(self, mask_idx: int, spec: WindowSpec) -> PanelWindows:
        """Index of the valid training windows, built at the first call with these sizes."""
        key = (mask_idx, spec)
        if key not in self._training:
            self._training = {key: PanelWindows(self.panel, mask_idx, spec)}
        return self._training[key]


def window_source(dataset: TimeSeriesDataset) -> WindowSource:
    """Wrap a dataset's rows without copying them."""
    panel = Panel.from_flat(dataset.temporal, dataset.indptr, dataset.max_size)
    return WindowSource(panel, dataset.static)


def window_spec(model: BaseModel) -> WindowSpec:
    """Read the sizes that decide a univariate model's windows, with NeuralForecast's rounding."""
    return WindowSpec(
        input_size=model.input_size,
        h=model.h,
        val_size=model.val_size or 0,
        test_size=model.test_size or 0,
        step_size=model.step_size,
        start_padding=bool(model.start_padding_enabled),
        min_insample_points=max(1, int(model.input_size * model.min_insample_fraction)),
        min_outsample_points=max(1, int(model.h * model.min_outsample_fraction)),
    )


class GatherWindows(BaseModel):
    """Mixin for univariate direct models: `class EVE(GatherWindows, BaseModel)`.

    The model's `fit` and `predict` open `gather_windows` around the parent's. Datasets that are not plain
    in-memory ones keep their dense batches; training windows are then found per step, with the same result.
    """

    _windows_source: WindowSource | None = None
    valid_windows: int | None = None
    earlier_steps: int = 0  # training windows bring the window so many steps earlier along; 0 for none
    _earlier: dict[str, Any] | None = None  # that window as `forward` takes one, of the last training batch

    @contextmanager
    def gather_windows(self, dataset: Any, dense: bool = False) -> Iterator[Any]:
        """Yield the dataset to hand to the parent's `fit` or `predict`.

        Args:
            dataset: what the model was given.
            dense: keep dense batches (needed for h > model.h: NeuralForecast writes into them).
        """
        if dense or self.MULTIVARIATE or self.RECURRENT or type(dataset) is not TimeSeriesDataset:
            yield dataset
            return
        outer = self.__dict__.get("_windows_source")
        self._windows_source = window_source(dataset)
        try:
            yield IndexedDataset.share(dataset)
        finally:  # a fitted model must not carry the data into deepcopy or pickle
            del self._windows_source
            if outer is not None:
                self._windows_source = outer

    def _create_windows(self, batch: dict[str, Any], step: str) -> tuple[Any, ...]:
        ids = batch["temporal"]  # [B, 1] int64, or dense [B, C, T]
        indexed = not ids.is_floating_point()
        if self.MULTIVARIATE or self.RECURRENT or not (indexed or step == "train"):
            return super()._create_windows(batch, step)
        if not indexed:
            source = WindowSource(Panel.from_dense(ids), batch.get("static"))
            return self._training_windows(source, torch.arange(len(ids)), batch, ids.dtype)
        if self._windows_source is None:
            raise RuntimeError("a batch of series ids came outside of `gather_windows`")
        series = ids.reshape(-1).cpu()
        if step == "train":
            return self._training_windows(self._windows_source, series, batch, self.dtype)
        stride = self.predict_step_size if step == "predict" else self.step_size
        view = _evaluation_windows(self, self._windows_source.panel, step, stride, series, ids.device)
        static = batch.get("static")
        return (
            view,
            None if static is None else RepeatedRows(static, view.per_series),
            batch.get("static_cols"),
            self._chosen_windows(len(view), step, len(series)).to(ids.device),
            None,
            batch["temporal_cols"],
        )

    def _chosen_windows(self, n: int, step: str, n_series: int) -> Tensor:
        """Indices of a batch's windows to score: all, or in validation its share of `valid_windows`, evenly spaced."""
        if step != "val" or self.valid_windows is None or self._windows_source is None:
            return torch.arange(n)
        return at_most(n, round(self.valid_windows * n_series / len(self._windows_source.panel.sizes)))

    def _training_windows(
        self, source: WindowSource, series: Tensor, batch: dict[str, Any], dtype: torch.dtype
    ) -> tuple[Any, ...]:
        """Draw `windows_batch_size` windows of `series` [B] in the layout of `_create_windows`."""
        cols, device = batch["temporal_cols"], batch["temporal"].device
        index = source.training(cols.get_loc("available_mask"), window_spec(self))
        series, start = index.draw(series, self.windows_batch_size)
        windows = index.gather(series, start).unsqueeze(-1).to(device, dtype)  # [n, L + h, C, 1]
        earlier = None
        if self.earlier_steps:  # rows before a series' start are masked zeros
            earlier = index.gather(series, start - self.earlier_steps).unsqueeze(-1).to(device, dtype)
        weight = None
        if "sample_weight" in cols:
            at = cols.get_loc("sample_weight")
            weight = windows[:, self.input_size :, at : at + 1].mean(dim=1)  # [n, 1, 1]
            others = [i for i in range(len(cols)) if i != at]
            windows, earlier = windows[:, :, others], None if earlier is None else earlier[:, :, others]
            cols = cols.delete(at)
        if earlier is not None:
            windows, cols = with_earlier(windows, earlier, cols)
        static = source.static
        if static is not None:
            static = static[series.to(static.device)].to(device, dtype)  # [n, S]
        everything = torch.arange(len(windows), device=device)
        return windows, static, batch.get("static_cols"), everything, weight, cols

    def _parse_windows(self, batch: dict[str, Any], windows: dict[str, Any]) -> tuple[Any, ...]:
        windows, temporal = split_earlier(windows)
        self._earlier = None
        if temporal is not None:
            names = self._get_temporal_exogenous_cols(temporal_cols=windows["temporal_cols"])
            moved = earlier_in_unit(temporal, windows["temporal_cols"], batch["y_idx"], names, self.scaler)
            parts = super()._parse_windows(batch, {**windows, "temporal": moved})
            self._earlier = forward_argument(parts)
        parsed: tuple[Any, ...] = super()._parse_windows(batch, windows)
        return parsed


def window_batches(
    model: BaseModel,
    dataset: TimeSeriesDataset,
    step: str,
    batch_size: int,
    indices: Tensor | None = None,
    *,
    n_windows: int | None = None,
    generator: torch.Generator | None = None,
    step_size: int = 1,
) -> Iterator[dict[str, Any]]:
    """Yield a model's windows as its `forward` takes them, without holding more than one batch.

    The sizes are the model's (`val_size`, `test_size`, `step_size`); its state is left as it was.

    Args:
        model: a univariate direct model.
        dataset: in-memory dataset of all series.
        step: "val", "predict", or "train" (all valid training windows).
        batch_size: windows per batch.
        indices: [W] flat indices into the windows of `step`; default all, in order.
        n_windows: draw so many windows of `step` instead, without replacement where there are enough.
        generator: for that draw, default torch's global one.
        step_size: stride of "predict" windows.

    Yields:
        `windows_batch` (argument of `forward`), `y` [W, h, 1] in original units, `mask` [W, h, 1], `loc` and
        `scale` [W, 1, 1], `series` [W] ids and `start` [W], rows of their series.

    Raises:
        ValueError: if no training window exists, or both `indices` and `n_windows` are given.
    """
    if n_windows is not None and indices is not None:
        raise ValueError("n_windows and indices are not allowed together; give one of them")
    source = window_source(dataset)
    everyone = torch.arange(len(source.panel.sizes))
    if step == "train":
        index = source.training(dataset.temporal_cols.get_loc("available_mask"), window_spec(model))
        end = index.n_train
        if indices is None:
            series, start = index.draw(everyone, n_windows, generator)
        else:
            series, start = index.locate(everyone, indices.cpu())
        n = len(series)
    else:
        end = source.panel.sizes
        view = _evaluation_windows(model, source.panel, step, model.step_size if step == "val" else step_size)
        if n_windows is not None:
            indices = torch.randperm(len(view), generator=generator)[:n_windows].sort().values
        n = len(view) if indices is None else len(indices)
    width = model.input_size + model.h
    for begin in range(0, n, batch_size):
        rows = torch.arange(begin, min(begin + batch_size, n))
        if step == "train":
            where = series[rows], start[rows]
        else:
            where = view.locate(rows if indices is None else indices.cpu()[rows])
        temporal = source.panel.gather(*where, width, end).unsqueeze(-1)
        static = None if source.static is None else source.static[where[0]]
        yield {"series": where[0], "start": where[1], **_forward_inputs(model, dataset, temporal, static)}


def count_windows(model: BaseModel, dataset: TimeSeriesDataset, step: str) -> int:
    """How many windows `window_batches` yields where no indices are given."""
    source = getattr(model, "_windows_source", None)
    if source is None or source.panel.temporal is not dataset.temporal:  # else its index is of use to the fit
        source = window_source(dataset)
    if step == "train":
        return int(source.training(dataset.temporal_cols.get_loc("available_mask"), window_spec(model)).count.sum())
    return len(_evaluation_windows(model, source.panel, step, model.step_size if step == "val" else 1))


def _evaluation_windows(
    model: BaseModel,
    panel: Panel,
    step: str,
    stride: int,
    series: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> LazyWindows:
    spec = window_spec(model)
    layout = evaluation_layout(panel.max_size, spec, step, stride, pad_horizon=not model.futr_exog_list)
    series = torch.arange(len(panel.sizes)) if series is None else series
    return LazyWindows(panel, series, layout, spec.width, device, model.dtype)


@torch.no_grad()
def _forward_inputs(
    model: BaseModel, dataset: TimeSeriesDataset, temporal: Tensor, static: Tensor | None
) -> dict[str, Any]:
    """Normalise and split windows [W, L + h, C, 1], leaving the scaler's last statistics in place."""
    temporal = temporal.to(model.device, model.dtype)
    windows = {
        "temporal": temporal,
        "temporal_cols": dataset.temporal_cols,
        "static": None if static is None else static.to(model.device, model.dtype),
        "static_cols": dataset.static_cols,
    }
    y = temporal[:, model.input_size :, dataset.y_idx].clone()  # before it is normalised in place
    scaler = model.scaler
    before = {name: getattr(scaler, name, None) for name in ("x_shift", "x_scale")}
    try:
        windows = model._normalization(windows=windows, y_idx=dataset.y_idx)
        loc, scale = model._get_loc_scale(dataset.y_idx)
    finally:
        for name, value in before.items():
            setattr(scaler, name, value)
    insample_y, insample_mask, _, mask, hist, futr, stat = model._parse_windows({"y_idx": dataset.y_idx}, windows)
    inputs = {
        "insample_y": insample_y,  # [W, L, 1]
        "insample_mask": insample_mask,  # [W, L, 1]
        "futr_exog": futr,  # [W, L + h, F] or None
        "hist_exog": hist,  # [W, L, X] or None
        "stat_exog": stat,  # [W, S] or None
    }
    return {"windows_batch": inputs, "y": y, "mask": mask, "loc": loc, "scale": scale}
