"""Prediction changes nothing, does not depend on batches, and leaves the loss as it was."""

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import LOSSES, differing, fitted, state, values
from neuralforecast.losses.pytorch import GMM, DistributionLoss

from vdn_forecast import LatentMixture
from vdn_forecast.mixture import mixture_quantiles

SETTINGS = {
    **{name: {"loss": loss} for name, loss in LOSSES.items()},
    "homeo": {"control": "homeo", "depth": 2, "emission": "gaussian"},
    "twin": {"neuron": "deterministic"},
}


def arguments(setting: str) -> dict:
    kwargs = dict(SETTINGS[setting])
    if "loss" in kwargs:
        kwargs["loss"] = kwargs["loss"]()
    return kwargs


@pytest.mark.parametrize("setting", SETTINGS)
def test_batch_sizes_do_not_change_a_forecast(make, y_panel, setting):
    """NeuralForecast samples its own distributions batch by batch: there the parameters are compared."""
    kwargs = arguments(setting)
    if setting == "Normal":
        kwargs["loss"] = DistributionLoss("Normal", return_params=True)
    nf = fitted(make(**kwargs), df=y_panel)
    model = nf.models[0]
    outcomes = []
    for size in (1024, 7, 1):
        model.valid_batch_size = model.inference_windows_batch_size = size
        tables = nf.predict(), nf.predict_insample(step_size=5)
        if setting == "Normal":
            tables = tuple(table[["unique_id", "ds", "m-loc", "m-scale"]] for table in tables)
        outcomes.append([values(table) for table in tables])
    for other in outcomes[1:]:
        for found, expected in zip(other, outcomes[0], strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * y_panel.y.std())


@pytest.mark.parametrize("base", ["normal", "studentt"])
def test_predict_gives_the_quantiles_of_the_mixture(make, y_panel, base):
    """Whatever layout the parameters take on their way."""
    levels = [0.025, 0.1, 0.5, 0.9, 0.975]
    nf = fitted(make(base=base, n_predict_samples=8, n_latent_samples=8), df=y_panel)  # 8 samples: from a table
    model = nf.models[0]
    loc, scale = (torch.from_numpy(part) for part in model.mixture_parameters(nf.dataset))
    found = nf.predict(quantiles=levels)
    table = torch.tensor(found[[name for name in found if "ql" in name]].to_numpy())
    expected = mixture_quantiles(loc, scale, levels, None if base == "normal" else 5).flatten(0, 1)
    torch.testing.assert_close(table.to(expected.dtype), expected, rtol=1e-4, atol=1e-3)
    assert not model.hands_raw


def test_validation_loss_does_not_depend_on_batch_sizes(make, y_panel):
    curves = [
        fitted(make(valid_batch_size=size, inference_windows_batch_size=size), df=y_panel).models[0].valid_trajectories
        for size in (1024, 7, 1)
    ]
    for curve in curves[1:]:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_predict_leaves_the_model_bit_identical(make, y_panel, setting):
    nf = fitted(make(**arguments(setting)), df=y_panel)
    model = nf.models[0]
    before, keys = state(model), set(model.__dict__)
    first = nf.predict()
    nf.predict(h=30)
    nf.predict_insample(step_size=12)
    assert differing(before, state(model)) == []
    pd.testing.assert_frame_equal(nf.predict(), first, check_exact=True)
    pd.testing.assert_frame_equal(nf.predict(random_seed=77), first, check_exact=model.is_mixture, rtol=0.2)
    # nothing that only a running prediction needs is left behind
    assert not [name for name, value in model.__dict__.items() if isinstance(value, torch.Tensor)]
    assert model._states == []
    assert not [name for name in set(model.__dict__) - keys if "window" in name]


def test_training_goes_on_after_a_prediction(make, y_panel):
    """A buffer rebound under inference mode would stop the next training step."""
    nf = fitted(make(control="homeo", control_warmup=0, control_every=1), df=y_panel)
    nf.predict()
    nf.fit(y_panel, val_size=12)
    assert np.isfinite(values(nf.predict())).all()


@pytest.mark.parametrize(
    "loss",
    [
        lambda: None,
        lambda: LatentMixture(base="studentt", level=[50]),
        lambda: LatentMixture(quantiles=[0.2, 0.7]),
        lambda: DistributionLoss("Normal", level=[60]),
        lambda: DistributionLoss("StudentT", level=[60], return_params=True),
        lambda: GMM(n_components=2, level=[60]),
    ],
    ids=["default", "studentt", "quantiles", "Normal", "StudentT-params", "GMM"],
)
def test_level_and_quantiles_leave_the_loss_unchanged(make, y_panel, loss):
    nf = fitted(make(loss=loss()), df=y_panel)
    own = nf.models[0].loss
    before = (own.quantiles.tolist(), list(own.output_names), own.outputsize_multiplier)
    first = nf.predict()
    by_level = nf.predict(level=[80, 95])
    assert {"m-lo-95", "m-lo-80", "m-hi-80", "m-hi-95"} <= set(by_level)
    by_quantile = nf.predict(quantiles=[0.1, 0.3])
    assert {"m_ql0.1", "m_ql0.3"} <= set(by_quantile)
    assert (own.quantiles.tolist(), list(own.output_names), own.outputsize_multiplier) == before
    pd.testing.assert_frame_equal(nf.predict(), first, check_exact=True)
    np.testing.assert_allclose(by_quantile["m_ql0.1"], by_level["m-lo-80"], rtol=1e-5)
    assert (by_level["m-lo-95"] <= by_level["m-lo-80"]).all()
    assert (by_level["m-lo-80"] < by_level["m-hi-80"]).all()


def test_a_failed_prediction_leaves_the_loss_unchanged(make, y_panel):
    nf = fitted(make(), df=y_panel)
    first = nf.predict()
    with pytest.raises(ValueError, match="quantiles"):
        nf.models[0].predict(nf.dataset, quantiles=[1.5])
    pd.testing.assert_frame_equal(nf.predict(), first, check_exact=True)
