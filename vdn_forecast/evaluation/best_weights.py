"""Best weights by validation for models whose host keeps the last ones."""

import math
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

MONITORED = "ptl/val_loss"


class BestWeights(pl.Callback):
    """Ends a fit with the weights and buffers of its lowest validation loss.

    NeuralForecast's early stopping keeps the last ones, `patience` checks past the best. A fit without validation
    is left alone. For models that train in this process: after `ddp_spawn` the weights come from elsewhere.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._value, self._state = math.inf, dict[str, Tensor]()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start anew: a second fit may end above the first one's best."""
        self._forget()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep a copy where the loss is the lowest so far; the value at step 0 does not count."""
        value: Any = trainer.callback_metrics.get(MONITORED)
        if trainer.sanity_checking or value is None or not float(value) < self._value:
            return
        self._value = float(value)
        self._state = {name: tensor.detach().clone() for name, tensor in pl_module.state_dict().items()}

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the best ones back."""
        if self._state:
            pl_module.load_state_dict(self._state)
        self._forget()
