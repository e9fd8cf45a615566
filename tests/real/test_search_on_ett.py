"""A small search on a slice of ETTh1."""

import pytest
from neuralforecast import NeuralForecast
from optuna.distributions import CategoricalDistribution

from vdn_forecast import AutoEVE
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.search import trials_frame

pytestmark = pytest.mark.real


def test_batch_norm_holds_the_band_on_real_data(data_dir):
    data = load_dataset("ETTh1", data_dir).scaled()
    frame = data.frame(3000)
    frame = frame[frame.unique_id.isin(["HUFL", "OT"])]
    config = {
        **{"input_size": 96, "n_units": 64, "hidden_size": 64, "head_size": 64, "latent_dim": 1, "depth": 1},
        **{"max_steps": 150, "val_check_steps": 50, "valid_windows": 256, "windows_batch_size": 64},
        **{"control": CategoricalDistribution(("off", "batchnorm")), "band_target": 1.0, "band_lower": 0.5},
        **{"band_width": 1.5, "band_shape": "homogeneous", "objective": "mixture", "accelerator": "cpu"},
    }
    model = AutoEVE(h=24, config=config, num_samples=4, constraints={"out": 0.1, "alive": 0.9}, pruner="none")
    nf = NeuralForecast(models=[model], freq="h")
    nf.fit(frame, val_size=500)
    table = trials_frame(nf.models[0].results)
    assert (table.windows == 256).all()
    assert not table.feasible[0]  # the default configuration holds no band
    assert table.feasible.any()
    assert nf.models[0].best_trial.params["control"] == "batchnorm"
    assert table.crps19.between(0.05, 1.0).all()
