"""NeuralForecast's own univariate models on gathered windows: the same training and forecasts for less time."""

from __future__ import annotations

from functools import cache
from typing import Any

from neuralforecast.common._base_model import BaseModel

from .windows import GatherWindows


class _OpensGather(GatherWindows):
    """Opens `gather_windows` around the parent's `fit` and `predict`."""

    def fit(
        self,
        dataset: Any,
        val_size: int = 0,
        test_size: int = 0,
        random_seed: Any = None,
        distributed_config: Any = None,
    ) -> Any:
        with self.gather_windows(dataset) as indexed:
            return super().fit(indexed, val_size, test_size, random_seed, distributed_config)

    def predict(self, dataset: Any, *args: Any, h: int | None = None, **kwargs: Any) -> Any:
        beyond = h is not None and h > self.h  # NeuralForecast then feeds medians back into a dense batch
        with self.gather_windows(dataset, dense=beyond) as indexed:
            return super().predict(indexed, *args, h=h, **kwargs)


@cache
def on_gathered_windows(cls: type[BaseModel]) -> type[BaseModel]:
    """A NeuralForecast class that draws its windows first and copies only those.

    The distribution of training windows and the order of all others are the parent's. The name stays, and with it
    what `NeuralForecast.save` writes: a saved model loads as the plain class.

    Args:
        cls: a univariate class that forecasts all steps at once.

    Raises:
        ValueError: a multivariate or a recurrent class.
    """
    if cls.MULTIVARIATE or cls.RECURRENT:
        kind = "multivariate" if cls.MULTIVARIATE else "recurrent"
        raise ValueError(f"{cls.__name__} is {kind}; windows are gathered for univariate direct models only")
    if issubclass(cls, GatherWindows):
        return cls
    return type(cls.__name__, (_OpensGather, cls), {"__doc__": cls.__doc__})
