"""Forward passes that somebody watches: every layer's state, and what the units did over all windows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._compat import window_batches
from ..control import BandShares, UnitController, UnitSums
from ..neurons import UnitState
from .autocorrelation import MeansPass
from .unit_figures import UNIT_COLUMNS, UnitFigures, figures_of

if TYPE_CHECKING:
    from .recording import RecordedModel

WINDOWS_PER_BATCH = 256  # `out_batch` is defined over batches of so many


@contextmanager
def watching(model: "RecordedModel") -> Iterator[list[UnitState]]:
    """Eval mode without gradients; the layers' states of every forward pass are appended to the list, first to last.

    Mode and hooks are as before afterwards. Noise is the fixed bank's, so nothing random is drawn.
    """
    states: list[UnitState] = []

    def hook(_module: Any, _arguments: Any, state: UnitState) -> None:
        states.append(state)

    handles = [layer.register_forward_hook(hook) for layer in model.layers]
    try:
        with in_eval_mode(model):
            yield states
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def in_eval_mode(model: "RecordedModel") -> Iterator[None]:
    """Eval mode without gradients, every module's mode as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:  # one by one: a forward pass sets the network's mode beside the model's
            module.training = mode


class UnitPass:
    """Collects what `figures` needs from the states of consecutive batches.

    Args:
        model: whose layers they are.
        n_series: of the dataset.
    """

    def __init__(self, model: "RecordedModel", n_series: int) -> None:
        self._model = model
        self._sums = [UnitSums(layer.n_units, layer.latent_dim) for layer in model.layers]
        self._shares = [BandShares(layer.n_units, n_series) for layer in model.layers]

    def add(self, states: list[UnitState], series: Tensor) -> None:
        """One batch: a state per layer, and the series of its windows [W]."""
        for sums, shares, state, controller in zip(
            self._sums, self._shares, states, unit_controllers(self._model), strict=True
        ):
            sums.update(state)
            shares.update(state, series, controller.bounds())

    def figures(self) -> UnitFigures:
        """Of all windows so far.

        Raises:
            ValueError: no window was seen.
        """
        layers = tuple(sums.measures() for sums in self._sums)
        batch, series = [], []
        for shares, controller in zip(self._shares, unit_controllers(self._model), strict=True):
            batch.append(shares.out_batch())
            series.append(shares.out_series((controller.band.lower, controller.band.upper)))
        # layers have as many units each
        return figures_of(self._model, layers, sum(batch) / len(batch), sum(series) / len(series))


def measure_units(model: "RecordedModel", dataset: Any, step: str, indices: Tensor) -> UnitFigures:
    """Every unit's figures over some windows; nothing about the model changes.

    Args:
        model: of any state of training.
        dataset: in-memory `TimeSeriesDataset` without gaps.
        step: "val" or "train", see `window_batches`.
        indices: [W] flat indices into these windows.
    """
    found, means = UnitPass(model, len(dataset.indptr) - 1), MeansPass(model.layers)
    with watching(model) as states:
        for batch in window_batches(model, dataset, step, WINDOWS_PER_BATCH, indices):
            states.clear()
            model(batch["windows_batch"])
            found.add(states, batch["series"])
            means.add(states, batch)
    figures = found.figures()
    lags = [UNIT_COLUMNS.index(name) for name in ("lag_1", "lag_h")]
    figures.units[:, lags] = means.autocorrelations(1, model.h)
    return figures


def evenly_spaced(n: int, limit: int | None) -> Tensor:
    """Indices of `limit` of n windows, evenly spaced over series and time; all of them where there are no more."""
    if limit is None or n <= limit:
        return torch.arange(n)
    return torch.linspace(0, n - 1, limit, dtype=torch.float64).round().long()


def unit_controllers(model: "RecordedModel") -> list[UnitController]:
    """The controllers of a model's layers, first to last."""
    return [each for each in model.controllers if isinstance(each, UnitController)]
