"""NeuralForecast's own models with less work around their networks: the same training and forecasts."""

from __future__ import annotations

from functools import cache
from typing import Any

from neuralforecast.common._base_model import BaseModel
from torch import Tensor

from .gather import at_most
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


class _SumsOnce(BaseModel):
    """Multivariate models: which train windows are valid is found once per fit.

    NeuralForecast sums the mask over every window at every step; the windows themselves it takes as a view.
    """

    valid_windows: int | None = None
    _valid: Tensor | None = None

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        self._valid = None
        try:
            return super().fit(*args, **kwargs)
        finally:
            self._valid = None

    def _create_windows(self, batch: dict[str, Any], step: str) -> tuple[Any, ...]:
        cols = batch["temporal_cols"]
        if step != "train" or self._valid is None or "sample_weight" in cols:
            made: tuple[Any, ...] = super()._create_windows(batch, step)
            if step == "train":
                self._valid = made[3]
            if step == "val" and self.valid_windows is not None:
                chosen = at_most(len(made[3]), self.valid_windows // self.n_series)  # windows of one series each
                return (*made[:3], made[3][chosen], *made[4:])
            return made
        n_held_out = self.val_size + self.test_size
        temporal = batch["temporal"]  # [n_series, C, T], all series in every batch
        temporal = self.padder_train(temporal[:, :, :-n_held_out] if n_held_out > 0 else temporal)
        windows = temporal.unfold(-1, self.input_size + self.h, self.step_size)  # [n_series, C, W, L + h]
        static, static_cols = batch.get("static"), batch.get("static_cols")
        return windows.permute(2, 3, 1, 0), static, static_cols, self._valid, None, cols


@cache
def on_gathered_windows(cls: type[BaseModel]) -> type[BaseModel]:
    """A NeuralForecast class that draws its windows first and copies only those.

    The distribution of training windows and the order of all others are the parent's (a multivariate class draws the
    very same). The name stays, and with it what `NeuralForecast.save` writes: a saved model loads as the plain class.

    Args:
        cls: a class that forecasts all steps at once.

    Raises:
        ValueError: a recurrent class.
    """
    if cls.RECURRENT:
        raise ValueError(f"{cls.__name__} is recurrent; windows are gathered for direct models only")
    if issubclass(cls, GatherWindows):
        return cls
    return type(cls.__name__, (_SumsOnce if cls.MULTIVARIATE else _OpensGather, cls), {"__doc__": cls.__doc__})
