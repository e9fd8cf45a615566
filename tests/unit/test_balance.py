"""The regime "balance": units move into their bands, and nothing that they hand on changes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast import NeuralForecast
from neuralforecast.utils import AirPassengersPanel

import vdn_forecast
from vdn_forecast import AREVE, EVE
from vdn_forecast._compat import window_batches
from vdn_forecast.control import UnitController
from vdn_forecast.models.observing import watching
from vdn_forecast.models.unit_figures import sigma_floors
from vdn_forecast.neurons import UnitScale, VariationalLayer, energy, out_of_band

PANEL = AirPassengersPanel[["unique_id", "ds", "y"]]
QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}


def build(**changed):
    small = {"n_units": 24, "hidden_size": 16, "head_size": 16, "max_steps": 30, "val_check_steps": 10}
    return EVE(h=6, input_size=12, random_seed=1, **{**QUIET, **small, **changed})


def fitted(**changed):
    nf = NeuralForecast([build(**changed)], freq="ME")
    nf.fit(PANEL, val_size=18)
    return nf


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(["amortized", "unit", "scalar"]),
    st.sampled_from(["identity", "affine", "gaussian"]),
    st.sampled_from([1, 3]),
    st.integers(0, 1000),
)
def test_a_units_scale_keeps_what_units_hand_on(sigma, emission, k, seed):
    torch.manual_seed(seed)
    layer = VariationalLayer(5, 4, k, sigma=sigma, emission=emission)
    layer.unit_scale = UnitScale(4)
    context, eps, eps_emission = torch.randn(7, 5), torch.randn(7, 2, 4, k), torch.randn(7, 2, 4)
    factor = torch.tensor([0.2, 1.0, 2.0, 5.0])
    before = layer(context, eps, None, True, eps_emission)
    layer.unit_scale.scale.mul_(factor)
    after = layer(context, eps, None, True, eps_emission)
    torch.testing.assert_close(after.activation, before.activation, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(energy(after.mu), energy(before.mu) * factor.square())
    torch.testing.assert_close(
        after.log_sigma.expand(7, 4, k), before.log_sigma.expand(7, 4, k) + factor.log().unsqueeze(-1)
    )
    # the local fit is that of what is handed on; only the KL feels the prior's scale
    torch.testing.assert_close(after.local_elbo + after.kl, before.local_elbo + before.kl, rtol=1e-4, atol=1e-5)


def test_closed_loop_reaches_the_band_and_changes_no_output():
    torch.manual_seed(0)
    layer = VariationalLayer(5, 8, 2)
    layer.rescale_units_(torch.logspace(-1, 1, 8))
    controller = UnitController(8, 2, control="balance", control_warmup=0, control_every=1, band_target=1.0)
    controller.attach(layer)
    probe, eps = torch.randn(4096, 5), torch.randn(1, 3, 8, 2)
    before = layer(probe, eps).activation
    for _ in range(300):
        controller.observe(layer(torch.randn(64, 5), None))
        controller.update(layer)
    after = layer(probe, eps)
    assert sum(float(share) for share in out_of_band(energy(after.mu), controller.band)) == 0
    torch.testing.assert_close(after.activation, before, rtol=1e-3, atol=1e-4)
    controller.gather(layer(probe, None))
    controller.settle(layer)
    middle = (controller.band.lower * controller.band.upper).sqrt()
    torch.testing.assert_close(energy(layer(probe, None).mu), middle, rtol=1e-3, atol=0)


def test_settle_without_windows_moves_nothing():
    layer = VariationalLayer(5, 4)
    controller = UnitController(4, control="balance")
    controller.attach(layer)
    controller.settle(layer)
    assert torch.equal(layer.unit_scale.scale, torch.ones(4))


@pytest.mark.parametrize("when", [{"control_warmup": 100}, {"control_warmup": 0, "control_every": 1}])
def test_without_kl_forecasts_are_those_without_control(when):
    off, late = fitted(control="off", kl_weight=0.0), fitted(control="balance", kl_weight=0.0, **when)
    torch.testing.assert_close(
        torch.tensor(late.predict()["EVE"].to_numpy()), torch.tensor(off.predict()["EVE"].to_numpy()), rtol=1e-4, atol=0
    )
    scale = late.models[0].layers[0].unit_scale.scale
    assert not torch.equal(scale, torch.ones_like(scale))  # yet the units were settled after training


def test_units_are_settled_on_every_window_of_a_small_panel():
    nf = fitted(control="balance")
    (model,) = nf.models
    with watching(model) as states:
        (batch,) = window_batches(model, nf.dataset, "train", 10_000)
        model(batch["windows_batch"])
    band = model.controllers[0].band
    middle = (band.lower * band.upper).sqrt()
    torch.testing.assert_close(energy(states[0].mu), middle.expand(24), rtol=1e-4, atol=0)


@pytest.mark.parametrize("changed", [{}, {"sigma": "scalar", "depth": 2, "latent_dim": 2}, {"sigma": "unit"}])
def test_units_end_in_the_middle_of_their_band(changed, tmp_path):
    nf = fitted(control="balance", control_warmup=0, control_every=1, **changed)
    train = PANEL.groupby("unique_id", observed=True).head(len(PANEL) // 2 - 18)
    summary = vdn_forecast.diagnose(nf, train).summary
    assert float(summary["out"].iloc[-1]) < 0.1
    assert float(vdn_forecast.diagnose(fitted(control="off", **changed), train).summary["out"].iloc[-1]) > 0.5
    nf.save(str(tmp_path / "saved"), overwrite=True)
    again = vdn_forecast.load(str(tmp_path / "saved"))
    assert again.predict(PANEL).equals(nf.predict(PANEL))


@pytest.mark.parametrize(
    ("changed", "control"),
    [
        *[({}, "balance"), ({"kl_weight": 0.0}, "off"), ({"neuron": "deterministic"}, "off"), ({"ar": "prior"}, "off")],
        *[({"learned_prior": True}, "off"), ({"ar": "penalty"}, "balance"), ({"control": "off"}, "off")],
    ],
)
def test_balance_is_the_default_where_a_kl_to_a_fixed_prior_weighs(changed, control):
    model = build(**changed)
    assert [each.settings.control for each in model.controllers] == [control]
    assert (model.hparams["control"] or "off") == control  # what a saved model and a benchmark's row are known by


def test_what_cannot_be_balanced_is_refused_by_name():
    with pytest.raises(ValueError, match="control='balance' is not allowed with trajectories"):
        AREVE(h=6, input_size=12, control="balance", **QUIET)
    with pytest.raises(ValueError, match="control='balance' is not allowed with neuron='deterministic'"):
        build(neuron="deterministic", control="balance")


def test_a_units_floor_moves_with_its_scale():
    model = build(control="balance", sigma="unit", sigma_init=0.02, sigma_floor=0.02)
    layer = model.layers[0]
    layer.unit_scale.scale.copy_(torch.linspace(0.5, 5, 24))
    sigma = layer(torch.randn(3, 16), None).log_sigma.exp().squeeze(-1)
    torch.testing.assert_close(torch.from_numpy(sigma_floors(model))[0].float(), sigma)
    with pytest.raises(ValueError, match="control='balance' is not allowed with learned_prior=True"):
        build(control="balance", learned_prior=True)
    with pytest.raises(ValueError, match="control='balance' is not allowed with ar='prior'"):
        build(control="balance", ar="prior")


def test_compressed_means_stay_near_their_band_on_windows_unlike_those_of_training(tmp_path):
    linear, compressed = fitted(), fitted(mean_compression=0.05)
    wild = PANEL.copy()  # ramps and cliffs: no such window in training
    wild["y"] = wild.groupby("unique_id").cumcount().map(lambda row: 1000.0 * (row % 7) ** 4)
    usual, unlike = (
        [vdn_forecast.diagnose(nf, df).summary["out"].item() for nf in (linear, compressed)] for df in (PANEL, wild)
    )
    assert usual == [0.0, 0.0]
    assert unlike[1] < 0.6 * unlike[0]
    compressed.save(str(tmp_path), overwrite=True)
    loaded = vdn_forecast.load(str(tmp_path))
    assert loaded.models[0].hparams["mean_compression"] == 0.05
    assert loaded.predict(PANEL).equals(compressed.predict(PANEL))
