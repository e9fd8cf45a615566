"""The author's regimes and training against a plain second writing of the protocol."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from eve_paper_reference import PlainControl, plain_run, plain_windows
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.eve_paper.control import PaperControl
from benchmarks.eve_paper.network import PaperNetwork
from benchmarks.eve_paper.settings import REGIMES, Settings
from benchmarks.eve_paper.training import train
from vdn_forecast import EVE
from vdn_forecast.evaluation.protocols import eve_paper
from vdn_forecast.neurons import Noise, UnitState

TINY = replace(eve_paper(), input_size=12, h=4, ar_stride=2, sizes=(40, 20, 20), batch_size=16, epochs=6)
SHORT = Settings(hidden_size=8, n_units=6, warmup=10, ramp=8, calibrate_every=5, control_every=3)


def waves(n_series=3, rows=230):
    rng = np.random.default_rng(7)
    time = np.arange(rows)
    y = np.sin(time * 2 * np.pi / rng.uniform(6, 20, (n_series, 1))) * rng.uniform(0.5, 3, (n_series, 1))
    return (y + rng.normal(0, 0.3, y.shape)).astype(np.float32)


def test_every_number_is_the_protocols():
    assert asdict(Settings()) == {
        **{"hidden_size": 256, "n_units": 1024, "sigma_init": 0.5, "sigma_floor": 1e-4, "sigma_ceil": 10.0},
        **{"learning_rate": 1e-3, "gradient_clip": 1.0, "penalty_weight": 3.0, "warmup": 200, "ramp": 200},
        **{"kl_weight": 1e-3, "kl_weight_min": 1e-6, "kl_weight_max": 1e-2, "kl_min": 0.05, "kl_max": 0.30},
        **{"thermostat_rate": 0.2, "kl_ema_rate": 0.1, "energy_ema_rate": 0.05, "low_share": 0.35, "high_side": 0.3},
        **{"band_target": 0.03, "band_spread": 8.0, "band_lower": 0.8, "band_upper": 1.6},
        **{"calibrate_every": 200, "control_every": 10, "homeostat_rate": 0.15, "homeostat_max_step": 2.0},
        **{"guard_floor": 0.15, "guard_ceil": 5.0, "guard_kick": 0.02, "epoch_batches": 10, "projection_batches": 50},
    }


@pytest.mark.parametrize("schedule", [{}, {"epoch_batches": 2, "projection_batches": 3}], ids=["all", "some"])
@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_a_whole_run_equals_the_plain_one(regime, schedule):
    values, seed = waves(), 3
    chosen = replace(SHORT, **schedule)
    got = train(values, TINY, regime, chosen, seed)
    plain = {"warmup": 10, "ramp": 8, "act_every": 3, "calibrate_every": 5}
    plain |= {"probe": chosen.epoch_batches, "reach": chosen.projection_batches}
    windows = plain_windows(3, 230, seed, 12, 4, 2, (40, 20, 20))
    shape = {"look_back": 12, "h": 4, "hidden": 8, "n": 6, "epochs": 6, "batch": 16}
    want = plain_run(values, regime.variant, seed, windows=windows, **shape, **plain)
    assert got["steps"] == want["steps"] == 6 * (120 // 16)
    assert got["best_epoch"] == want["best_epoch"]
    assert set(want) <= set(got)
    for name, value in want.items():
        assert got[name] == pytest.approx(value, rel=2e-4, abs=1e-6), name


def test_regimes_differ_and_a_run_leaves_the_global_generator_alone():
    torch.manual_seed(11)
    found = {name: train(waves(), TINY, regime, SHORT, 0)["val_loss"] for name, regime in REGIMES.items()}
    after = torch.rand(3)
    torch.manual_seed(11)
    assert torch.equal(after, torch.rand(3))
    assert len(set(found.values())) == 3
    assert found["paper-off"] == train(waves(), TINY, REGIMES["paper-off"], SHORT, 0)["val_loss"]


def test_the_chosen_epoch_has_the_lowest_validation_loss():
    finished = []
    whole = train(waves(), TINY, REGIMES["paper-projection"], SHORT, 1, finished.append)
    assert finished == [1, 2, 3, 4, 5, 6]
    losses = []
    for epochs in finished:  # a run of fewer epochs is the beginning of the longer one
        part = train(waves(), replace(TINY, epochs=epochs), REGIMES["paper-projection"], SHORT, 1)
        losses.append(part["val_loss"])
        if epochs == whole["best_epoch"]:
            assert part["test_mse"] == whole["test_mse"]
    assert whole["val_loss"] == min(losses) == losses[whole["best_epoch"] - 1]


def test_a_run_that_never_becomes_finite_fails():
    values = waves()
    values[:, 150:] = np.nan
    with pytest.raises(FloatingPointError, match="no epoch of 6"):
        train(values, TINY, REGIMES["paper-off"], SHORT, 0)


# ---------------------------------------------------------------- control laws far from where a run goes


def a_state(rng, batch, scale, log_sigma):
    """Means of very different sizes, and their KL."""
    mu = rng.normal(0, 1, (batch, len(scale))) * scale
    kl = 0.5 * (mu**2 + np.exp(2 * log_sigma) - 2 * log_sigma - 1)
    tensor = torch.tensor(mu, dtype=torch.float32)[..., None]
    blank = torch.zeros(batch, 1, len(scale), 1)
    state = UnitState(tensor, None, blank, blank[..., 0], torch.tensor(kl, dtype=torch.float32), None)
    return mu, kl, state


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.05, 1.0, 30.0]))
def test_homeo_equals_the_plain_laws_on_extreme_states(seed, size):
    """Dead units, energies far outside, KL weights and band scales at their limits."""
    rng = np.random.default_rng(seed)
    n = 9
    chosen = Settings(hidden_size=4, n_units=n, warmup=4, ramp=3, control_every=2, calibrate_every=3)
    network = PaperNetwork(5, 2, chosen)
    ours = PaperControl(REGIMES["paper-homeo"], chosen)
    plain = PlainControl(n, "homeo", warmup=4, ramp=3, act_every=2, calibrate_every=3)
    layer = network.layer
    with torch.no_grad():
        layer.log_sigma.copy_(torch.tensor(rng.uniform(-4, 3, (n, 1))))
    weight, bias = layer.mu.weight.detach().double().numpy(), layer.mu.bias.detach().double().numpy()
    log_sigma = layer.log_sigma.detach().squeeze(1).double().numpy()
    scale = size * 10 ** rng.uniform(-3, 1, n) * (rng.random(n) > 0.3)
    posterior = np.where(rng.random(n) > 0.5, 0.0, rng.uniform(-2, 2, n))  # KL of 0 where both are 0
    for step in range(30):
        mu, kl, state = a_state(rng, 16, scale, posterior)
        assert float(ours.penalty(state, ours._high_side())) == pytest.approx(
            float(plain.penalty(torch.tensor((mu**2).mean(0)), plain.high_weight())), rel=1e-3
        )
        ours.after_step(network, state, step)
        acts = plain.after_step(mu, kl, step)
        if acts is not None:
            weight, bias, log_sigma = weight * acts[0][:, None], bias * acts[0], acts[1](log_sigma)
    close = {"rtol": 2e-3, "atol": 1e-9}
    np.testing.assert_allclose(ours.log_kl_weight.exp(), plain.beta, **close)
    np.testing.assert_allclose([float(ours.scale_low), float(ours.scale_high)], [plain.s_lo, plain.s_hi], **close)
    np.testing.assert_allclose(layer.mu.weight.detach(), weight, **close)
    np.testing.assert_allclose(layer.mu.bias.detach(), bias, **close)
    np.testing.assert_allclose(layer.log_sigma.detach().squeeze(1), log_sigma, rtol=1e-5, atol=1e-5)
    for mine, theirs in (("energy_ema", plain.energy_ema), ("alive_ema", plain.alive_ema), ("kl_ema", plain.kl_ema)):
        np.testing.assert_allclose(getattr(ours, mine), theirs, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(ours.window_alive_ema, plain.window_ema, rtol=1e-3, atol=1e-6)


def test_lambda_rises_after_the_warm_up():
    control = PaperControl(REGIMES["paper-off"], Settings(n_units=4))
    plain = PlainControl(4, "projOFF")
    _, _, state = a_state(np.random.default_rng(0), 8, np.ones(4), np.zeros(4))
    zero = torch.zeros(())
    base, penalty = float(control.kl_term(state)), float(control.penalty(state))
    for step in (0, 199, 200, 201, 300, 399, 400, 639):
        want = base + plain.strength(step) * penalty
        assert float(control.training_loss(zero, state, step)) == pytest.approx(want, rel=1e-5)
    assert plain.strength(201) == pytest.approx(0.015)
    assert float(control.validation_loss(zero, state)) == pytest.approx(base + 3 * penalty, rel=1e-5)


def test_homeo_first_acts_after_step_200():
    chosen = Settings(hidden_size=4, n_units=5)
    for first, network in ((200, PaperNetwork(5, 2, chosen)), (210, PaperNetwork(5, 2, chosen))):
        control = PaperControl(REGIMES["paper-homeo"], chosen)
        _, _, state = a_state(np.random.default_rng(0), 8, np.ones(5), np.zeros(5))
        before = network.layer.mu.weight.detach().clone()
        for step in (0, 10, 199) if first == 200 else (201, 205, 209):
            control.after_step(network, state, step)
        assert torch.equal(before, network.layer.mu.weight)
        assert float(control.scale_low) == 1
        control.after_step(network, state, first)
        assert (before != network.layer.mu.weight).all()
        assert (float(control.scale_low) != 1) == (first == 200)  # calibration: every 200 steps


def test_projection_is_clamped():
    chosen = Settings(hidden_size=3, n_units=4, band_target=10.0, band_spread=1.0)
    network = PaperNetwork(3, 2, chosen)
    with torch.no_grad():
        network.encoder.weight.zero_()
        network.encoder.bias.fill_(1.0)
        network.layer.mu.weight.zero_()
        network.layer.mu.bias.copy_(torch.tensor([1e-3, 1.0, 3.4, 1e3]))
    before = network.layer.mu.bias.detach().clone()
    control = PaperControl(REGIMES["paper-projection"], chosen)
    control.project(network, [(torch.zeros(2, 3), torch.zeros(2, 2))])
    want = torch.tensor([50.0, math.sqrt(8.0), 1.0, 1 / 50])
    torch.testing.assert_close(network.layer.mu.bias.detach() / before, want)


def test_the_preset_of_eve_is_the_same_network():
    torch.manual_seed(0)
    network = PaperNetwork(336, 96, Settings())
    model = EVE.paper_homeo(96, 336)
    with torch.no_grad():
        model.network.encoder.look_back.load_state_dict(network.encoder.state_dict())
        model.network.stack.layers[0].load_state_dict(network.layer.state_dict())
        model.network.head.out.load_state_dict(network.head.state_dict())
        x, eps = torch.randn(5, 336), torch.randn(5, 1, 1024, 1)
        raw, base, _ = model.network(x, None, Noise((eps,), (None,)))
        state = network.layer(network.context(x), eps)
        want = network.head(state.activation.squeeze(1) / 32)
    assert base is None
    torch.testing.assert_close(raw.flatten(1), want)  # one sample, one output a step
    assert sum(p.numel() for p in model.network.parameters()) == sum(p.numel() for p in network.parameters())
