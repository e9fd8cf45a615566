"""Latents drawn towards their prior after training, by a factor that validation chooses."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.utils import AirPassengersPanel

import vdn_forecast
from vdn_forecast import EVE
from vdn_forecast.diagnostics.measures import measure_validation
from vdn_forecast.models.settling import FACTORS, WORSE
from vdn_forecast.neurons import GaussianPrior, Shrinkage, UnitScale, VariationalLayer

PANEL = AirPassengersPanel[["unique_id", "ds", "y"]]
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def fitted(val_size=36, **changed):
    small = {"n_units": 24, "hidden_size": 32, "head_size": 16, "dropout": 0.0, "learning_rate": 0.01}
    small |= {"max_steps": 150, "val_check_steps": 150}  # the last weights: more learnt than holds on validation
    nf = NeuralForecast([EVE(h=6, input_size=12, **{**QUIET, **small, **changed})], freq="ME")
    nf.fit(PANEL, val_size=val_size)
    return nf


@settings(deadline=None, max_examples=20)
@given(st.floats(0, 1), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 1000))
def test_what_is_handed_on_goes_towards_what_the_priors_mean_gives(factor, k, scaled, seed):
    torch.manual_seed(seed)
    mean = torch.randn(4, k)
    layer = VariationalLayer(5, 4, k, prior=GaussianPrior(4, k, mean=mean))
    if scaled:
        layer.unit_scale = UnitScale(4)
        layer.unit_scale.scale.copy_(torch.rand(4) + 0.5)
    context, eps = torch.randn(7, 5), torch.randn(7, 2, 4, k)
    before = layer(context, eps)
    layer.shrinkage = Shrinkage()
    torch.testing.assert_close(layer(context, eps).activation, before.activation)
    layer.shrinkage.factor.fill_(factor)
    after = layer(context, eps)
    at_rest = mean.mean(-1) / (layer.unit_scale.scale if scaled else 1.0)
    torch.testing.assert_close(after.activation, at_rest + factor * (before.activation - at_rest), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after.kl, before.kl)  # the posterior is what it was
    torch.testing.assert_close(after.mu, before.mu)


@pytest.mark.parametrize(
    "changed", [{}, {"neuron": "deterministic", "n_components": 2}, {"depth": 2, "learned_prior": True}]
)
def test_validation_chooses_the_smallest_factor_that_does_as_well(changed):
    nf = fitted(shrinkage=True, **changed)
    (model,) = nf.models
    shrinkage = model.layers[-1].shrinkage
    chosen = float(shrinkage.factor)
    found = {}
    for factor in FACTORS:
        shrinkage.factor.fill_(factor)
        found[factor] = measure_validation(model, nf.dataset, None).crps19
    best = min(found.values())
    assert chosen == pytest.approx(min(factor for factor, value in found.items() if value <= best * (1 + WORSE)))
    assert chosen < 1  # else this panel shows nothing


def test_the_factor_is_saved_and_forgotten_when_training_goes_on(tmp_path):
    nf = fitted(shrinkage=True)
    factor = nf.models[0].layers[-1].shrinkage.factor
    assert float(factor) < 1
    nf.save(str(tmp_path / "saved"), overwrite=True)
    again = vdn_forecast.load(str(tmp_path / "saved"))
    assert float(again.models[0].layers[-1].shrinkage.factor) == float(factor)
    assert again.predict(PANEL).equals(nf.predict(PANEL))
    nf.fit(PANEL, val_size=0)
    assert float(nf.models[0].layers[-1].shrinkage.factor) == 1


def test_without_validation_nothing_is_shrunk():
    plain, able = fitted(val_size=0), fitted(val_size=0, shrinkage=True)
    assert float(able.models[0].layers[-1].shrinkage.factor) == 1
    assert able.predict().equals(plain.predict())


@pytest.mark.parametrize("changed", [{"shrinkage": 0.5}, {"shrinkage": True, "loss": MAE()}])
def test_bad_shrinkage_is_refused_by_name(changed):
    with pytest.raises(ValueError, match=r"shrinkage=.* is not allowed"):
        EVE(h=6, input_size=12, **changed)
