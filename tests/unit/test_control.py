"""The controller's parts against the paper's numbers, its closed loop and its state."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdn_forecast.control import UnitController
from vdn_forecast.control.calibration import calibrated_scales
from vdn_forecast.control.homeostat import homeostat_factor
from vdn_forecast.control.projection import projection_factor
from vdn_forecast.control.schedule import HostStep, due, ramp
from vdn_forecast.control.thermostat import thermostat_error, thermostat_step
from vdn_forecast.neurons import UnitState, VariationalLayer, energy, out_of_band

PAPER = {
    "kl_weight": 1e-3,
    "kl_weight_min": 1e-6,
    "kl_weight_max": 1e-2,
    "band_shape": "heterogeneous",
    "calibration": True,
    "sigma_floor": 0.15,
    "sigma_ceil": 5.0,
    "ema_after_rescale": "stale",
}


def state_of(mu, kl=None):
    mu = torch.as_tensor(mu)
    kl = torch.ones(mu.shape[0], mu.shape[-2]) if kl is None else kl
    return UnitState(mu, torch.zeros(()), mu.unsqueeze(1), mu.mean(-1).unsqueeze(1), kl, None)


def run(controller, layer, steps, optimizer=None, batch=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        context = torch.randn(batch, layer.in_features, generator=generator)
        controller.observe(layer(context, None))
        controller.update(layer, optimizer)


def test_ramp_and_due():
    assert [ramp(s, 200, 200) for s in (0, 200, 250, 400, 900)] == [0.0, 0.0, 0.25, 1.0, 1.0]
    assert [ramp(s, 5, 0) for s in (4, 5)] == [0.0, 1.0]
    assert [s for s in range(20) if due(s, 5, 10)] == [5, 15]


def test_thermostat_error_is_the_papers():
    kl = torch.tensor([0.01, 0.1, 0.5, 0.01, 0.1, 0.5])
    alive = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    want = torch.tensor([-0.04, 0.0, 0.2, -0.04 - 0.54, -0.5, 0.2 - 0.7])
    torch.testing.assert_close(thermostat_error(kl, alive, 0.05, 0.30), want)


def test_thermostat_step_without_gain_is_the_papers():
    weight = torch.tensor([1e-3, 1e-3, 1e-3, 9.9e-3])
    error = torch.tensor([-0.04, 0.2, -5.0, 3.0])
    raw = (weight.log() + 0.2 * error).exp().clamp(1e-6, 1e-2)
    want = raw.clamp(raw.mean() / 4, raw.mean() * 4)
    integral, log_weight = thermostat_step(weight.log(), error, 0.2, 0.0, (1e-6, 1e-2))
    torch.testing.assert_close(log_weight.exp(), want)
    torch.testing.assert_close(integral, log_weight)


def test_thermostat_gain_does_not_wind_up():
    bounds, start = (1e-3, 1.0), torch.full((2,), math.log(0.5))
    integral = start
    for _ in range(50):  # saturated high
        integral, out = thermostat_step(integral, torch.full((2,), 3.0), 0.2, 1.0, bounds)
    torch.testing.assert_close(out.exp(), torch.ones(2))
    torch.testing.assert_close(integral, start)  # stood still while the output was beyond its bound
    _, out = thermostat_step(integral, torch.full((2,), -0.5), 0.2, 1.0, bounds)
    assert (out.exp() < 0.5).all()  # answers at once


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.floats(0, 100), min_size=3, max_size=3), min_size=1, max_size=20),
    st.floats(0, 2),
    st.floats(0, 1),
)
def test_kl_weights_stay_in_bounds(kls, gain, alive):
    controller = UnitController(3, kl_weight=0.1, kl_weight_min=1e-3, kl_weight_max=1.0, thermostat_gain=gain)
    for kl in kls:
        controller.run_thermostat(torch.tensor(kl), torch.full((3,), alive))
        weight = controller.kl_weights()
        assert weight.min() >= 1e-3 * (1 - 1e-5)
        assert weight.max() <= 1.0 + 1e-5
        assert weight.max() <= 4 * weight.mean() * (1 + 1e-5) or gain == 0
        assert torch.isfinite(weight).all()


def test_thermostat_ema_and_zone_scale_with_k():
    controller = UnitController(2, latent_dim=4, kl_weight=0.1)
    controller.run_thermostat(torch.tensor([1.0, 2.0]))  # zone .2 to 1.2
    torch.testing.assert_close(controller.kl_ema, torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(controller.kl_weights(), 0.1 * torch.tensor([0.0, 0.2 * 0.8]).exp())
    controller.run_thermostat(torch.tensor([0.0, 0.0]))
    torch.testing.assert_close(controller.kl_ema, torch.tensor([0.9, 1.8]))


def test_homeostat_factor_is_the_papers():
    lower, upper = torch.full((4,), 0.8), torch.full((4,), 1.6)
    e = torch.tensor([0.4, 1.0, 3.2, 0.0])
    eta = 0.15 * (1 + 2 * 0.75)
    target = torch.tensor([0.8, math.sqrt(0.8 * 1.6), 1.6, 0.8])
    want = (target / e.clamp(min=1e-12)) ** (eta / 2)
    torch.testing.assert_close(homeostat_factor(e, lower, upper, 0.15, 2.0), want.clamp(0.5, 2.0))
    capped = homeostat_factor(e[:1], lower[:1], upper[:1], 0.4, 2.0)  # .4 * 3 is capped at .5
    torch.testing.assert_close(capped, torch.tensor([2.0]) ** 0.25)


def test_projection_factor_moves_units_outside_only_to_the_nearest_bound():
    lower, upper = torch.full((4,), 0.8), torch.full((4,), 1.6)
    e = torch.tensor([0.2, 1.0, 6.4, 0.0])
    torch.testing.assert_close(projection_factor(e, lower, upper), torch.tensor([2.0, 1.0, 0.5, 50.0]))


def test_calibration_is_the_papers():
    lower, upper, one = torch.full((11,), 1.0), torch.full((11,), 2.0), torch.ones(())
    e = torch.arange(11.0)  # 20 % quantile 2, 90 % quantile 9
    low, high = calibrated_scales(e, lower, upper, one, one)
    assert low.item() == pytest.approx(2**0.3)
    assert high.item() == pytest.approx(4.5**0.3)
    low, high = calibrated_scales(torch.full((11,), 1e-9), lower, upper, one * 0.02, one * 0.02)
    assert low.item() == pytest.approx(0.02)
    assert high.item() == pytest.approx(1.05 * 0.02)


def test_calibration_leaves_the_nominal_band():
    controller = UnitController(4)
    controller.run_calibration(torch.tensor([0.024, 0.024, 0.024, 0.3]))  # quantiles 1 and .2172 / .048
    torch.testing.assert_close(controller.band.lower, torch.full((4,), 0.024))
    low, high = controller.bounds()
    torch.testing.assert_close(low, controller.band.lower)
    torch.testing.assert_close(high, controller.band.upper * (0.2172 / 0.048) ** 0.3)


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 1000), st.sampled_from([1, 3]), st.sampled_from(["exact", "stale"]), st.floats(-3.0, 3.0))
def test_homeostat_holds_the_band_in_a_closed_loop(seed, k, ema, log_scale):
    torch.manual_seed(seed)
    layer = VariationalLayer(5, 8, k)
    layer.rescale_units_(torch.randn(8).mul(0.5).exp() * math.exp(log_scale))
    controller = UnitController(
        8, k, control_warmup=0, band_shape="heterogeneous", ema_after_rescale=ema, energy_ema_rate=0.2
    )
    run(controller, layer, 400)
    final = energy(layer(torch.randn(4096, 5), None).mu)
    assert sum(float(share) for share in out_of_band(final, controller.band)) == 0


def test_projection_reaches_the_band_after_its_period():
    layer = VariationalLayer(5, 8)
    layer.rescale_units_(torch.logspace(-1, 1, 8))
    controller = UnitController(8, control="projection", projection_every=20, projection_batches=5)
    before = layer.mu.weight.clone()
    run(controller, layer, 15)
    assert torch.equal(layer.mu.weight, before)
    assert controller.projection_count == 0  # only the last five batches count
    run(controller, layer, 4, seed=1)
    assert controller.projection_count == 4 * 64
    run(controller, layer, 1, seed=2)
    final = energy(layer(torch.randn(100_000, 5), None).mu)
    assert (final / controller.band.lower > 0.75).all()
    assert (final / controller.band.upper < 1.25).all()
    assert controller.projection_count == 0
    assert controller.projection_sum.abs().max() == 0


def test_energy_ema_after_a_rescale():
    for mode in ("exact", "stale"):
        torch.manual_seed(0)
        layer = VariationalLayer(5, 4)
        controller = UnitController(4, control_warmup=3, control_every=1, ema_after_rescale=mode)
        context = torch.randn(32, 5)
        for _ in range(3):
            controller.observe(layer(context, None))
            before = energy(layer(context, None).mu)
            controller.update(layer)
        after = energy(layer(context, None).mu)
        assert not torch.allclose(before, after)
        torch.testing.assert_close(controller.energy_ema, after if mode == "exact" else before)


def test_ema_starts_with_the_first_value_and_then_follows_the_paper():
    layer, controller = VariationalLayer(5, 2), UnitController(2, control="off")
    for first, second in ((4.0, 1.0),):
        controller.observe(state_of([[[first]] * 2], torch.tensor([[1.0, 0.0]])))
        controller.update(layer)
        torch.testing.assert_close(controller.energy_ema, torch.full((2,), 16.0))
        torch.testing.assert_close(controller.alive_ema, torch.tensor([1.0, 0.0]))
        controller.observe(state_of([[[second]] * 2], torch.tensor([[1.0, 1.0]])))
        controller.update(layer)
    torch.testing.assert_close(controller.energy_ema, torch.full((2,), 16.0 * 0.95 + 0.05))
    torch.testing.assert_close(controller.alive_ema, torch.tensor([1.0, 0.05]))


def test_nan_batches_and_batches_without_windows_leave_averages_alone():
    layer, controller = VariationalLayer(5, 2), UnitController(2, control="off")
    controller.observe(state_of([[[2.0], [3.0]]]))
    controller.update(layer)
    kept = controller.energy_ema.clone()
    controller.observe(state_of([[[math.nan], [math.nan]]]))
    controller.update(layer)
    controller.observe(state_of([[[9.0], [9.0]]]), torch.zeros(1))
    controller.update(layer)
    controller.update(layer)  # nothing observed
    assert torch.equal(controller.energy_ema, kept)
    assert controller.step == 4


def test_observe_over_several_batches_is_one_large_batch():
    layer, context = VariationalLayer(5, 3), torch.randn(9, 5)
    whole, parts = UnitController(3), UnitController(3)
    weights = (torch.arange(9) % 3 > 0).float()
    whole.observe(layer(context, None), weights)
    for c, w in zip(context.split(4), weights.split(4), strict=True):
        parts.observe(layer(c, None), w)
    for controller in (whole, parts):
        controller.update(layer)
    torch.testing.assert_close(parts.energy_ema, whole.energy_ema)


@pytest.mark.parametrize("control", ["off", "batchnorm"])
def test_off_and_batchnorm_have_no_penalty_and_change_nothing(control):
    layer = VariationalLayer(5, 4)
    before = copy.deepcopy(layer.state_dict())
    controller = UnitController(4, control=control, control_warmup=0, control_every=1)
    run(controller, layer, 20)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    torch.testing.assert_close(controller.kl_weights(), torch.full((4,), 0.1))
    kl_term, band_term = controller.regularizer(layer(torch.randn(8, 5), None))
    assert band_term == 0
    assert kl_term > 0


def test_regularizer_value_and_gradient_sign():
    controller = UnitController(3, kl_weight=0.5, control_warmup=10, control_ramp=10, band_target=1.0)
    mu = torch.full((6, 3, 1), 0.1, requires_grad=True)
    kl = torch.arange(18.0).view(6, 3)
    weights = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    kl_term, band_term = controller.regularizer(state_of(mu, kl), weights)
    assert kl_term.item() == pytest.approx(0.5 * kl[:2].mean(0).sum().item())
    assert band_term == 0  # warm-up
    controller.step.fill_(15)
    for value, sign in ((0.1, -1), (10.0, 1)):
        mu = torch.full((6, 3, 1), value, requires_grad=True)
        controller.regularizer(state_of(mu, kl))[1].backward()
        assert (mu.grad * sign > 0).all()
    half = controller.regularizer(state_of(mu, kl))[1]
    controller.step.fill_(30)
    torch.testing.assert_close(controller.regularizer(state_of(mu, kl))[1], 2 * half)
    torch.testing.assert_close(controller.penalty(state_of(mu, kl)), sum(controller.regularizer(state_of(mu, kl))))
    assert controller.regularizer(state_of(mu, kl), torch.zeros(6))[1] == 0


def test_high_side_weighs_less_in_homeo_while_many_units_are_too_low():
    mu = torch.full((6, 4, 1), 10.0)
    terms = {}
    for control in ("homeo", "projection"):
        controller = UnitController(4, control=control, control_warmup=0, control_ramp=0)
        for low in (1, 2):  # 25 %, 50 % of the units
            controller.energy_ema.copy_(torch.where(torch.arange(4) < low, 0.0, 0.03))
            controller.ema_updates.fill_(1)
            terms[control, low] = controller.regularizer(state_of(mu))[1]
    torch.testing.assert_close(terms["homeo", 2], 0.3 * terms["homeo", 1])
    torch.testing.assert_close(terms["homeo", 1], terms["projection", 1])
    torch.testing.assert_close(terms["projection", 2], terms["projection", 1])


def test_zero_kl_weight_and_zero_band_weight():
    controller = UnitController(3, control="off", kl_weight=0.0)
    assert controller.penalty(state_of(torch.randn(6, 3, 1))) == 0
    assert (controller.kl_weights() == 0).all()
    with pytest.raises(ValueError, match="kl_weight"):
        controller.run_thermostat(torch.ones(3))
    homeo = UnitController(3, band_weight=0.0, control_warmup=0, control_ramp=0)
    assert homeo.regularizer(state_of(torch.zeros(6, 3, 1)))[1] == 0


def test_guard_clamps_and_kicks_dead_units():
    for sigma in ("unit", "amortized", "scalar"):
        layer = VariationalLayer(5, 2, 2, sigma=sigma)
        controller = UnitController(2, 2, control_warmup=0, control_every=1, sigma_floor=0.5, sigma_ceil=5.0)
        kl = torch.tensor([[0.0, 1.0]])
        controller.observe(state_of(torch.ones(1, 2, 2), kl))
        controller.update(layer)
        value = layer.sigma_net.bias.view(2, 2) if sigma == "amortized" else layer.log_sigma
        start = math.log(0.3) if sigma == "amortized" else math.log(0.5)
        want = torch.tensor(start) if sigma == "scalar" else torch.tensor([[start + 0.02] * 2, [start] * 2])
        torch.testing.assert_close(value.detach(), want)


def test_deterministic_layer_is_controlled_by_energy_only():
    layer = VariationalLayer(5, 4, deterministic=True)
    controller = UnitController(4, control_warmup=0, energy_ema_rate=0.2)
    run(controller, layer, 600)
    assert controller.kl_updates == 0
    assert controller.penalty(layer(torch.randn(8, 5), None)) >= 0
    assert sum(map(float, out_of_band(energy(layer(torch.randn(4096, 5), None).mu), controller.band))) == 0


def test_paper_schedule():
    layer = VariationalLayer(5, 4, sigma="unit", sigma_init=0.5, sigma_floor=1e-4)
    controller = UnitController(4, **PAPER)
    run(controller, layer, 199)
    assert controller.kl_updates == 0
    assert controller.band_scale_low == 1
    run(controller, layer, 1)
    assert controller.kl_updates == 1
    assert controller.band_scale_low != 1
    scale = controller.band_scale_low.clone()
    run(controller, layer, 199)
    assert controller.kl_updates == 20
    assert torch.equal(controller.band_scale_low, scale)


@pytest.mark.parametrize("control", ["homeo", "projection", "off", "batchnorm"])
def test_state_round_trip_goes_on_identically(control):
    torch.manual_seed(0)
    options = {
        "control": control,
        "control_warmup": 3,
        "control_every": 2,
        "calibration": True,
        "calibrate_every": 4,
    }
    options |= {"projection_every": 7, "thermostat": True, "thermostat_gain": 0.5}
    layer, controller = VariationalLayer(5, 4, sigma="unit"), UnitController(4, **options)
    run(controller, layer, 10)
    twin_layer, twin = VariationalLayer(5, 4, sigma="unit"), UnitController(4, **options)
    twin_layer.load_state_dict(layer.state_dict())
    twin.load_state_dict(controller.state_dict())
    deep = copy.deepcopy((layer, controller))
    for lay, con in ((layer, controller), (twin_layer, twin), deep):
        run(con, lay, 10, seed=1)
    for other in (twin, deep[1]):
        for name, value in controller.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    assert torch.equal(layer.mu.weight, twin_layer.mu.weight)


def test_state_is_buffers_of_fixed_shape_each_with_its_own_storage():
    layer, controller = VariationalLayer(5, 4), UnitController(4, control_warmup=0, calibration=True)
    shapes = {name: (value.shape, value.dtype) for name, value in controller.state_dict().items()}
    assert shapes["step"] == (torch.Size([]), torch.int64)
    pointers = {value.untyped_storage().data_ptr() for value in controller.state_dict().values()}
    assert len(pointers) == len(shapes)
    run(controller, layer, 20)
    assert {name: (value.shape, value.dtype) for name, value in controller.state_dict().items()} == shapes
    assert not list(controller.parameters())


def test_reset_begins_a_fit_but_keeps_what_was_learned():
    layer, controller = VariationalLayer(5, 4), UnitController(4, control_warmup=0, calibration=True)
    fresh = {name: value.clone() for name, value in controller.state_dict().items()}
    run(controller, layer, 201)
    kept = {name: value.clone() for name, value in controller.state_dict().items()}
    controller.reset()
    for name, value in controller.state_dict().items():
        stays = name in ("log_kl_weight", "kl_integral", "band_scale_low", "band_scale_high")
        assert torch.equal(value, (kept if stays else fresh)[name]), name
    assert not torch.equal(kept["log_kl_weight"], fresh["log_kl_weight"])
    run(controller, layer, 1)
    assert controller.step == 1


def test_host_step_notices_outside_writes():
    clock, buffer = HostStep(), torch.zeros((), dtype=torch.int64)
    assert [clock.advance(buffer), clock.advance(buffer), clock.read(buffer)] == [1, 2, 2]
    buffer.copy_(torch.tensor(7))
    assert clock.read(buffer) == 7
    assert clock.advance(torch.tensor(3)) == 4


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("control", {"control": "pid"}),
        ("kl_min", {"kl_min": 0.4, "kl_max": 0.3}),
        ("band_lower", {"band_lower": 1.6, "band_upper": 1.6}),
        ("band_shape", {"band_shape": "round"}),
        ("band_penalty", {"band_penalty": "cubic"}),
        ("band_weight", {"band_weight": -1.0}),
        ("band_target", {"band_target": 0.0}),
        ("kl_weight", {"kl_weight": -0.1}),
        ("kl_weight", {"kl_weight": 0.0}),
        ("kl_weight_max", {"kl_weight": 1.0, "kl_weight_max": 0.5}),
        ("kl_weight_min", {"kl_weight": 1.0, "kl_weight_min": 2.0}),
        ("kl_ema_rate", {"kl_ema_rate": 0.0}),
        ("energy_ema_rate", {"energy_ema_rate": 1.5}),
        ("control_every", {"control_every": 0}),
        ("control_warmup", {"control_warmup": -1}),
        ("projection_every", {"projection_every": 2.5}),
        ("homeostat_max_step", {"homeostat_max_step": 0.5}),
        ("sigma_floor", {"sigma_floor": 2.0, "sigma_ceil": 1.0}),
        ("ema_after_rescale", {"ema_after_rescale": "new"}),
        ("n_units", {"n_units": 0}),
        ("latent_dim", {"latent_dim": 0}),
        ("thermostat_rate", {"thermostat_rate": math.nan}),
    ],
)
def test_bad_arguments_are_named(name, bad):
    with pytest.raises(ValueError, match=name) as caught:
        UnitController(**{"n_units": 4, **bad})
    assert str(next(iter(bad.values()))) in str(caught.value)
    assert "must" in str(caught.value) or "choose" in str(caught.value)


def test_unknown_arguments_and_foreign_layers_are_refused():
    with pytest.raises(TypeError, match="kl_wieght"):
        UnitController(4, kl_wieght=1.0)
    with pytest.raises(ValueError, match="layer has"):
        UnitController(4).attach(VariationalLayer(5, 3))
