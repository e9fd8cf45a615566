"""Options of Lightning's trainer that change what a step is."""

import pandas as pd
import pytest
import torch
from neuralforecast import NeuralForecast
from neuralforecast.utils import AirPassengersPanel

from vdn_forecast import EVE
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning

TINY = {"n_units": 8, "hidden_size": 8, "head_size": 8, "val_check_steps": 2, "windows_batch_size": 16}


def fitted(**arguments: object) -> EVE:
    with quiet_lightning():
        model = EVE(h=12, input_size=24, **{**TINY, "max_steps": 4, **QUIET_TRAINER, **arguments})
        forecaster = NeuralForecast([model], freq="ME")
        forecaster.fit(AirPassengersPanel[["unique_id", "ds", "y"]], val_size=12)
    return forecaster.models[0]


@pytest.mark.parametrize("control", ["off", "batchnorm", "homeo"])
def test_bfloat16_autocast_trains(control: str) -> None:
    model = fitted(precision="bf16-mixed", control=control)
    assert len(model.train_trajectories) == 4
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_controllers_count_optimiser_steps_when_gradients_accumulate() -> None:
    model = fitted(accumulate_grad_batches=2, batch_size=1)
    assert len(model.train_trajectories) == 8
    assert int(model.controllers[0].step) == 4


def test_validation_windows_are_shared_out_by_series() -> None:
    """Two loader batches, one of a single series: each window must weigh the same."""
    seen: list[int] = []

    class Counting(EVE):
        def _chosen_windows(self, n: int, step: str, n_series: int) -> torch.Tensor:
            chosen = super()._chosen_windows(n, step, n_series)
            if step == "val":
                seen.append(len(chosen))
                assert int(chosen.min()) == 0
                assert int(chosen.max()) == n - 1
            return chosen

    frame = AirPassengersPanel[["unique_id", "ds", "y"]]
    third = frame[frame["unique_id"] == "Airline1"].assign(unique_id="Airline3")
    with quiet_lightning():
        model = Counting(
            h=12, input_size=24, **TINY, max_steps=2, valid_windows=12, valid_batch_size=2, **QUIET_TRAINER
        )
        NeuralForecast([model], freq="ME").fit(pd.concat([frame, third]), val_size=24)
    assert set(seen[:2]) == {8, 4}
