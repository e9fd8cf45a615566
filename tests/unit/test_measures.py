"""Per-unit measures against their definitions, and over validation windows through a fitted model."""

import numpy as np
import pytest
import tiny_models
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from tiny_models import PANEL
from torch.distributions import Normal, kl_divergence

from vdn_forecast import EVE
from vdn_forecast.control import BandShares, UnitSums
from vdn_forecast.diagnostics import group_use, measure_validation, unit_frame
from vdn_forecast.neurons import GaussianPrior, VariationalLayer

SMALL = {**tiny_models.SMALL, "n_units": 12, "max_steps": 30, "val_check_steps": 10}


def fitted(**kwargs):
    nf = NeuralForecast(models=[EVE(**{**SMALL, **kwargs})], freq="ME")
    nf.fit(PANEL, val_size=36)
    return nf.models[0], nf.dataset


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    sigma=st.sampled_from(["amortized", "unit", "scalar"]),
    k=st.integers(1, 3),
    prior=st.tuples(st.floats(-2, 2), st.floats(0.2, 3)),
    pieces=st.integers(1, 4),
)
def test_measures_follow_their_definitions_whatever_the_prior(seed, sigma, k, prior, pieces):
    torch.manual_seed(seed)
    mean, scale = prior
    layer = VariationalLayer(4, 5, k, sigma=sigma, prior=GaussianPrior(5, k, mean=mean, scale=scale))
    if layer.sigma_net is not None:
        torch.nn.init.normal_(layer.sigma_net.weight, std=0.3)
    context = torch.randn(16, 4)
    sums = UnitSums(5, k)
    for part in context.tensor_split(pieces):
        sums.update(layer(part, None))
    found = sums.measures()
    state = layer(context, None)
    mu, sd = state.mu.double(), state.log_sigma.double().exp().expand(16, 5, k)
    assert found.windows == 16
    np.testing.assert_allclose(found.energy, mu.square().mean((0, 2)).detach(), rtol=1e-5)
    np.testing.assert_allclose(found.signal, mu.var(0, correction=0).mean(-1).detach(), rtol=1e-5, atol=1e-8)
    p = Normal(torch.tensor(mean).double(), torch.tensor(scale).double())
    kl = kl_divergence(Normal(mu, sd), p).sum(-1).mean(0)
    np.testing.assert_allclose(found.kl, kl.detach(), rtol=1e-4, atol=1e-6)
    aggregate = Normal(mu.mean(0), (sd.square().mean(0) + mu.var(0, correction=0)).sqrt())
    info = kl - kl_divergence(aggregate, p).sum(-1)
    np.testing.assert_allclose(found.info, info.detach(), rtol=1e-3, atol=1e-5)
    assert (found.info >= 0).all()


def test_a_constant_unit_has_kl_and_no_information():
    layer = VariationalLayer(3, 2)
    torch.nn.init.zeros_(layer.mu.weight)
    torch.nn.init.constant_(layer.mu.bias, 2.0)
    sums = UnitSums(2)
    sums.update(layer(torch.randn(50, 3), None))
    found = sums.measures()
    assert (found.kl > 1).all()
    assert (found.info < 1e-9).all()
    assert not found.alive.any()
    assert found.alive_paper.all()  # why that test is not the one that counts


def test_a_deterministic_unit_is_alive_where_it_varies():
    layer = VariationalLayer(3, 2, deterministic=True)
    with torch.no_grad():
        layer.mu.weight[1] = 0.0
    sums = UnitSums(2)
    sums.update(layer(torch.randn(20, 3), None))
    found = sums.measures()
    assert found.alive.tolist() == [True, False]
    assert found.kl.isnan().all()


def test_measures_need_a_window():
    with pytest.raises(ValueError, match="at least one window"):
        UnitSums(3).measures()


@pytest.mark.parametrize("kwargs", [{}, {"depth": 2, "latent_dim": 2, "sigma": "unit"}, {"base": "studentt"}], ids=str)
def test_validation_pass(kwargs):
    model, dataset = fitted(**kwargs)
    found = measure_validation(model, dataset)
    again = measure_validation(model, dataset)
    assert (again.crps19, again.summary) == (found.crps19, found.summary)
    best = float(model.metrics["ptl/val_loss"])
    # the same windows; crps19 is the exact score's sum over 19 levels, a few per cent above it
    assert 0.98 * best < found.crps19 < 1.12 * best
    frame = unit_frame(model, found.layers)
    assert len(frame) == 12 * kwargs.get("depth", 1) == found.summary.units
    assert found.summary.out == pytest.approx((frame.place != "inside").mean())
    assert found.summary.too_low == pytest.approx((frame.place == "below").mean())
    assert found.summary.alive == pytest.approx((frame["info"] > 0.005).mean())
    assert found.summary.windows == 2 * (36 - 12 + 1)
    fewer = measure_validation(model, dataset, max_windows=7)
    assert fewer.summary.windows == 7
    assert fewer.crps19 != found.crps19


def test_batchnorm_holds_the_nominal_band_and_off_does_not():
    inside, _ = (
        measure_validation(*fitted(control=name, band_target=0.5, band_lower=0.3, band_upper=3.0))
        for name in ("batchnorm", "off")
    )
    assert inside.summary.out < 0.3
    far = measure_validation(*fitted(control="off", band_target=50.0)).summary
    assert far.out == far.too_low == 1.0


def test_calibration_does_not_move_the_band_that_out_is_measured_against():
    model, dataset = fitted(control="off", band_target=50.0)
    before = measure_validation(model, dataset, crps=False).summary
    for controller in model.controllers:
        controller.band_scale_low.fill_(1e-4)
    assert measure_validation(model, dataset, crps=False).summary == before


def test_crps_is_left_out_for_other_losses_and_on_request():
    model, dataset = fitted(loss=MAE())
    assert measure_validation(model, dataset).crps19 is None
    model, dataset = fitted()
    assert measure_validation(model, dataset, crps=False).crps19 is None


def test_a_model_without_validation_is_refused():
    nf = NeuralForecast(models=[EVE(**{**SMALL, "max_steps": 2})], freq="ME")
    with pytest.warns(UserWarning, match="no validation"):
        nf.fit(PANEL)
    with pytest.raises(ValueError, match="without validation"):
        measure_validation(nf.models[0], nf.dataset)
    with pytest.raises(TypeError, match="in-memory"):
        measure_validation(nf.models[0], PANEL)


def test_use_rises_with_what_the_forecast_reads():
    """The head reads the first half of the units only: replacing the others changes nothing."""
    model, dataset = fitted(max_steps=150, skip=False, anchor="mean", kl_weight=1e-4, head="linear", learning_rate=1e-2)
    with torch.no_grad():
        next(p for p in model.network.head.parameters() if p.ndim > 1)[:, 6:] = 0.0
    table = group_use(model, dataset, n_groups=2)
    assert list(table.columns) == ["layer", "group", "first", "last", "crps19", "use"]
    assert table["use"][0] > 0.01 * table.crps19[0]
    assert abs(table["use"][1]) < 1e-6 * table.crps19[0]
    assert model.layers[0].z_transform is None
    again = group_use(model, dataset, n_groups=2)
    assert again.equals(table)


def test_use_refuses_what_has_no_prior():
    model, dataset = fitted(neuron="deterministic")
    with pytest.raises(ValueError, match="deterministic"):
        group_use(model, dataset)
    model, dataset = fitted(loss=MAE())
    with pytest.raises(ValueError, match="LatentMixture"):
        group_use(model, dataset)
    with pytest.raises(ValueError, match="n_groups"):
        group_use(model, dataset, n_groups=0)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), pieces=st.integers(1, 5), bound=st.floats(0.2, 2.0))
def test_shares_by_batch_and_by_series_follow_their_definitions(seed, pieces, bound):
    torch.manual_seed(seed)
    layer = VariationalLayer(4, 5, 2)
    context, series = 2 * torch.randn(24, 4), torch.randint(0, 3, (24,))
    lower, upper = torch.full((5,), 0.5 * bound), torch.full((5,), bound)
    shares = BandShares(5, 4)
    batches = list(zip(context.tensor_split(pieces), series.tensor_split(pieces), strict=True))
    for part, where in batches:
        shares.update(layer(part, None), where, (lower, upper))

    def outside(mu):
        energy = mu.square().mean((0, 2))
        return float(((energy < lower) | (energy > upper)).double().mean())

    by_batch = [outside(layer(part, None).mu) for part, _ in batches]
    by_series = [outside(layer(context[series == i], None).mu) for i in range(3) if (series == i).any()]
    assert shares.out_batch() == pytest.approx(np.mean(by_batch))
    assert shares.out_series((lower, upper)) == pytest.approx(np.mean(by_series))
