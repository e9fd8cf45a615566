"""A model that measures its units at every validation check and tells them to the user's loggers."""

from typing import Any

from neuralforecast.tsdataset import TimeSeriesDataset
from torch import nn

from .._compat import GatherWindows, count_windows
from ..control import ARShare
from ..neurons import VariationalLayer
from .autocorrelation import spaced_with_successors
from .history import CHECK_COLUMNS, History
from .network import EVENetwork
from .observing import measure_units
from .replacement import has_use, rise_without_groups, spaced_anew
from .trajectory_network import TrajectoryNetwork
from .unit_figures import DRIFT_CHECKS, UNIT_COLUMNS, alive_lately, drift, summarise

PREFIX = "units/"
"""Of the names of logged scalars; `docs/diagnostics.md` lists them."""

UNLOGGED = ("step", "val_loss", "val_size", "test_size", "windows")


class RecordedModel(GatherWindows):
    """Holds the network, its controllers, and the history of its last fit."""

    network: EVENetwork | TrajectoryNetwork
    controllers: nn.ModuleList
    history: History
    record_windows = 256  # most validation windows behind a check's figures; 0 records nothing
    use_windows = 24  # most of those behind `use`: there are as many copies of them as groups of units; 0 for none

    @property
    def layers(self) -> list[VariationalLayer]:
        """The layers of variational neurons, first to last."""
        return [layer for layer in self.network.stack.layers if isinstance(layer, VariationalLayer)]

    def record_check(self, val_loss: float) -> None:
        """Measure the units on validation windows, keep the figures, log them. Draws no random number."""
        dataset: Any = self.trainer.datamodule.dataset
        if self.record_windows < 1 or not isinstance(dataset, TimeSeriesDataset) or not self.history.wants_check():
            return
        n, step = count_windows(self, dataset, "val"), self.trainer.global_step
        figures = measure_units(self, dataset, "val", spaced_with_successors(n, self.record_windows, self.h))
        if has_use(self) and self.use_windows > 0:
            windows = spaced_anew(n, min(self.use_windows, self.record_windows), step)
            figures.units[:, UNIT_COLUMNS.index("use")] = rise_without_groups(self, dataset, "val", windows)
        row = {"step": step, "val_loss": val_loss, "ar_share": self.ar_share()}
        self.history.add(row | {"val_size": self.val_size, "test_size": self.test_size}, figures)
        scalars = check_scalars(self)
        logged = {PREFIX + name: value for name, value in scalars.items() if name not in UNLOGGED}
        for logger in self.trainer.loggers:
            logger.log_metrics(logged, step)

    def ar_share(self) -> float:
        """Share of the AR term in the gradient of the units' means; NaN where there is no such term."""
        share = self._ar_control()
        return float("nan") if share is None else float(share.share)

    def ar_dominates(self, share: float) -> bool | None:
        """Whether a share is over its cap, up to rounding; None where there is no such term."""
        control = self._ar_control()
        return None if control is None else share > 1.001 * control.cap

    def _ar_control(self) -> ARShare | None:
        return getattr(getattr(self, "window_ar", None), "share", None)


def check_scalars(model: RecordedModel, check: int = -1) -> dict[str, float]:
    """One check of a model's history as named numbers; what the model does not have is left out.

    Args:
        model: with at least one check.
        check: number of the check; -1 for the last.
    """
    history = model.history
    check = range(len(history.checks))[check]
    recent = slice(max(0, check + 1 - DRIFT_CHECKS), check + 1)
    units = history.units[recent].astype("float64")
    found = {name: float(value) for name, value in zip(CHECK_COLUMNS, history.checks[check], strict=True)}
    found |= summarise(model, units[-1])
    if (lively := alive_lately(units)) is not None:
        found["alive_units"] = float(lively.sum())
    steps = history.checks[recent, CHECK_COLUMNS.index("step")]
    found["drift_energy"] = drift(steps, units[:, :, UNIT_COLUMNS.index("energy")].mean((1, 2)))
    found["drift_kl"] = drift(steps, units[:, :, UNIT_COLUMNS.index("kl")].sum((1, 2)))
    if (dominates := model.ar_dominates(found["ar_share"])) is not None:
        found["collapse_ar"] = float(dominates)
    return {name: value for name, value in found.items() if value == value}
