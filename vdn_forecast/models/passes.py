"""How much dropout a fit needs, from how often it sees its training windows."""

from typing import TYPE_CHECKING, Any

from neuralforecast.tsdataset import TimeSeriesDataset

from .._compat import count_windows

if TYPE_CHECKING:
    from .base import VariationalModel

USUAL_DROPOUT = 0.3


def training_passes(model: "VariationalModel", dataset: TimeSeriesDataset) -> float:
    """How often a fit of all its steps sees a training window, on average.

    Args:
        model: being fitted.
        dataset: it is fitted on.
    """
    windows, steps = count_windows(model, dataset, "train"), model.trainer.max_steps
    if model.windows_batch_size is None:  # a step takes all windows of its series
        series = min(model.batch_size, dataset.n_groups)
        return float(steps * series * model.trainer.world_size / dataset.n_groups)
    return float(steps * model.windows_batch_size * model.trainer.world_size / max(1, windows))


def usual_dropout(model: "VariationalModel", dataset: Any) -> float:
    """`USUAL_DROPOUT` where a fit sees its windows more than once, else none: then there is nothing to learn by heart.

    Data outside of memory has no count of windows and gets the usual share.
    """
    if isinstance(dataset, TimeSeriesDataset) and training_passes(model, dataset) <= 1.0:
        return 0.0
    return USUAL_DROPOUT
