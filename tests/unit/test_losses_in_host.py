"""`LatentMixture` inside a model of NeuralForecast's own: fit, predict, save, load."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import numpy as np
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE, MQLoss
from neuralforecast.models import MLP
from neuralforecast.utils import AirPassengersPanel
from tiny_models import PANEL, SMALL

from vdn_forecast import EVE
from vdn_forecast.losses import LatentMixture
from vdn_forecast.models import base


def fitted(loss, **kwargs) -> NeuralForecast:
    model = MLP(
        h=4,
        input_size=8,
        hidden_size=8,
        num_layers=1,
        loss=loss,
        max_steps=2,
        val_check_steps=1,
        scaler_type="standard",
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **kwargs,
    )
    nf = NeuralForecast(models=[model], freq="ME")
    nf.fit(AirPassengersPanel[["unique_id", "ds", "y"]], val_size=4)
    return nf


@pytest.mark.parametrize(
    "loss",
    [
        LatentMixture(n_samples=2, n_components=2, objective={"mixture": 1.0, "crps": 0.5}),
        LatentMixture(n_samples=2, n_components=1, base="studentt", df=4, quantiles=[0.1, 0.6], trajectory=True),
        LatentMixture(n_samples=2, n_components=1, return_params=True, level=[50]),
    ],
)
def test_fit_predict_save_load(loss, tmp_path):
    nf = fitted(copy.deepcopy(loss))
    assert all(np.isfinite(value) for _, value in nf.models[0].valid_trajectories)
    plain = nf.predict()
    assert list(plain.columns) == ["unique_id", "ds", *("MLP" + name for name in loss.output_names)]
    nf.save(str(tmp_path / "plain"), save_dataset=True)
    by_level, by_quantile = nf.predict(level=[80]), nf.predict(quantiles=[0.1, 0.9])
    nf.save(str(tmp_path / "after_level"), save_dataset=True)
    np.testing.assert_array_equal(by_level["MLP-lo-80"], by_quantile["MLP_ql0.1"])
    np.testing.assert_array_equal(by_level["MLP-hi-80"], by_quantile["MLP_ql0.9"])
    np.testing.assert_array_equal(by_level["MLP"], plain["MLP"])
    assert nf.predict().equals(plain)  # the original columns are back
    for folder in ("plain", "after_level"):
        loaded = NeuralForecast.load(str(tmp_path / folder))
        assert loaded.models[0].loss.objective_weights == loss.objective_weights
        assert loaded.predict().equals(plain)
        assert loaded.predict(level=[80]).equals(by_level)


@pytest.mark.parametrize("valid_loss", [MAE(), MQLoss(level=[80, 90])])
def test_other_validation_losses(valid_loss):
    nf = fitted(LatentMixture(n_samples=2, n_components=2), valid_loss=valid_loss)
    assert all(np.isfinite(value) for _, value in nf.models[0].valid_trajectories)


@pytest.mark.parametrize(
    "arguments", [{}, {"eval_objective": "mixture"}, {"eval_objective": "mse"}, {"n_components": 1}]
)
def test_validation_as_the_network_emits_equals_validation_in_the_hosts_layout(monkeypatch, arguments):
    """The same numbers, gaps in y included, and hence the same training."""
    gaps = PANEL.assign(available_mask=1.0)
    gaps.loc[gaps.index[-20:-16], "available_mask"] = 0.0
    checks = {}
    for way in ("raw", "host"):
        if way == "host":
            monkeypatch.setattr(base, "raw_validation", nullcontext)
        nf = NeuralForecast(models=[EVE(**SMALL, **arguments)], freq="ME")
        nf.fit(gaps, val_size=24)
        checks[way] = [value for _, value in nf.models[0].valid_trajectories]
        assert not nf.models[0].hands_raw
    assert len(checks["raw"]) >= 3
    np.testing.assert_allclose(checks["raw"], checks["host"], rtol=1e-6)
