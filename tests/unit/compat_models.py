"""A small model on NeuralForecast's own windows and on gathered ones, for the `_compat` tests."""

import torch
from neuralforecast.common._base_model import BaseModel
from neuralforecast.losses.pytorch import MAE
from neuralforecast.tsdataset import TimeSeriesLoader

from vdn_forecast._compat import GatherWindows

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
EXOG = {"futr_exog_list": ["trend"], "hist_exog_list": ["y_[lag12]"], "stat_exog_list": ["airline1"]}


class Linear(BaseModel):
    """Linear map of everything that a model can be given."""

    def __init__(
        self,
        h,
        input_size,
        loss=MAE(),
        valid_loss=None,
        learning_rate=1e-3,
        max_steps=3,
        val_check_steps=2,
        batch_size=32,
        valid_batch_size=None,
        windows_batch_size=16,
        inference_windows_batch_size=7,
        start_padding_enabled=False,
        training_data_availability_threshold=0.0,
        step_size=1,
        scaler_type="standard",
        futr_exog_list=None,
        hist_exog_list=None,
        stat_exog_list=None,
        random_seed=1,
        alias=None,
        **trainer_kwargs,
    ):
        super().__init__(
            h=h,
            input_size=input_size,
            loss=loss,
            valid_loss=valid_loss,
            learning_rate=learning_rate,
            max_steps=max_steps,
            val_check_steps=val_check_steps,
            batch_size=batch_size,
            valid_batch_size=valid_batch_size,
            windows_batch_size=windows_batch_size,
            inference_windows_batch_size=inference_windows_batch_size,
            start_padding_enabled=start_padding_enabled,
            training_data_availability_threshold=training_data_availability_threshold,
            step_size=step_size,
            scaler_type=scaler_type,
            futr_exog_list=futr_exog_list,
            hist_exog_list=hist_exog_list,
            stat_exog_list=stat_exog_list,
            random_seed=random_seed,
            alias=alias,
            **trainer_kwargs,
        )
        inputs = input_size * (1 + self.hist_exog_size) + (input_size + h) * self.futr_exog_size
        self.map = torch.nn.Linear(inputs + self.stat_exog_size, h * self.loss.outputsize_multiplier)
        self.seen: list[int] = []

    def forward(self, windows_batch):
        y = windows_batch["insample_y"] * (windows_batch["insample_mask"] > 0)
        parts = [y, windows_batch["hist_exog"], windows_batch["futr_exog"], windows_batch["stat_exog"]]
        self.seen.append(len(y))
        x = torch.cat([part.flatten(1) for part in parts if part is not None], dim=1)
        return self.map(x).view(len(x), self.h, -1)


class GatherLinear(GatherWindows, Linear):
    def fit(self, dataset, *args, **kwargs):
        with self.gather_windows(dataset) as dataset:
            return super().fit(dataset, *args, **kwargs)

    def predict(self, dataset, *args, h=None, **kwargs):
        with self.gather_windows(dataset, dense=h is not None and h > self.h) as dataset:
            return super().predict(dataset, *args, h=h, **kwargs)


def one_batch(dataset):
    """All items of a dataset as NeuralForecast's loader collates them."""
    return next(iter(TimeSeriesLoader(dataset, batch_size=len(dataset))))
