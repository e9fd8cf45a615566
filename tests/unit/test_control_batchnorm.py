"""Batch norm of means: the energy in closed form, running statistics, masked windows."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdn_forecast.control import MeanBatchNorm, UnitController, reestimate
from vdn_forecast.neurons import VariationalLayer, VariationalStack, energy


@settings(deadline=None, max_examples=40)
@given(
    st.integers(3, 9),
    st.sampled_from([None, 1, 4]),
    st.sampled_from([1, 3]),
    st.integers(0, 2**20),
    st.booleans(),
    st.floats(-100, 100),
)
def test_energy_is_the_target_on_the_batch(batch, samples, k, seed, masked, shift):
    g = torch.Generator().manual_seed(seed)
    targets = torch.tensor([0.01, 0.03, 1.0])
    shape = (batch, 3, k) if samples is None else (batch, samples, 3, k)
    mu = torch.randn(shape, generator=g) * 2 + shift
    weights = torch.ones(batch)
    if masked:
        weights[2:] = (torch.rand(batch - 2, generator=g) < 0.5).float()
    out = MeanBatchNorm(targets, k)(mu, weights)
    assert out.shape == mu.shape
    torch.testing.assert_close(energy(out, weights), targets, rtol=1e-3, atol=1e-6)


def test_masked_windows_reach_neither_statistics_nor_gradient():
    norm, other = MeanBatchNorm(torch.ones(2)), MeanBatchNorm(torch.ones(2))
    mu = torch.randn(4, 2, 1)
    for garbage in (1e9, math.nan):
        broken = torch.cat([mu, torch.full((2, 2, 1), garbage)]).requires_grad_()
        clean = mu.clone().requires_grad_()
        out, want = norm(broken, torch.tensor([1.0, 1, 1, 1, 0, 0])), other(clean)
        torch.testing.assert_close(out[:4], want)
        torch.testing.assert_close(norm.running_var, other.running_var)
        if not math.isnan(garbage):
            out[:4].pow(3).sum().backward()
            want.pow(3).sum().backward()
            torch.testing.assert_close(broken.grad[:4], clean.grad)
            assert broken.grad[4:].abs().max() == 0


def test_running_statistics_serve_in_eval_and_for_tiny_batches():
    torch.manual_seed(0)
    norm = MeanBatchNorm(torch.tensor([0.03, 0.5]), 2, momentum=0.1)
    for _ in range(200):
        norm(torch.randn(256, 2, 2) * 3 + 5)
    torch.testing.assert_close(norm.running_mean, torch.full((2, 2), 5.0), rtol=0.05, atol=0.0)
    torch.testing.assert_close(norm.running_var, torch.full((2, 2), 9.0), rtol=0.05, atol=0.0)
    state = copy.deepcopy(norm.state_dict())
    norm.eval()
    mu = torch.randn(4096, 2, 2) * 3 + 5
    torch.testing.assert_close(energy(norm(mu)), torch.tensor([0.03, 0.5]), rtol=0.1, atol=0.0)
    assert torch.equal(norm(mu)[:1], norm(mu[:1]))  # a window's value does not depend on its batch
    served = norm(mu[:3])
    norm.train()
    torch.testing.assert_close(norm(mu[:3], torch.tensor([1.0, 0, 0])), served)
    torch.testing.assert_close(norm(mu[:3], torch.zeros(3)), served)
    for name, value in norm.state_dict().items():
        assert torch.equal(value, state[name])


def test_first_batches_are_averaged_plainly():
    norm = MeanBatchNorm(torch.ones(1))
    for value in (1.0, 2.0, 6.0):
        norm(torch.tensor([value, value]).view(2, 1, 1))
    assert norm.running_mean.item() == pytest.approx(3.0)
    assert norm.batches == 3


def test_constant_units_stay_finite_under_the_variance_floor():
    norm = MeanBatchNorm(torch.ones(2))
    mu = torch.full((5, 2, 1), 3.0, requires_grad=True)
    norm(mu).square().sum().backward()
    assert torch.isfinite(mu.grad).all()
    assert norm(mu).abs().max() == 0


def test_gradient_along_scale_and_shift_vanishes():
    norm = MeanBatchNorm(torch.ones(1)).double()
    mu = torch.randn(16, 1, 1, dtype=torch.float64, requires_grad=True)
    (norm(mu) * torch.randn(16, 1, 1, dtype=torch.float64)).sum().backward()
    assert abs((mu.grad * mu.detach()).sum().item()) < 1e-10
    assert abs(mu.grad.sum().item()) < 1e-10
    assert torch.autograd.gradcheck(lambda m: MeanBatchNorm(torch.ones(1)).double()(m), (mu,))


def test_estimation_is_exact_over_many_batches_and_samples():
    torch.manual_seed(0)
    norm = MeanBatchNorm(torch.ones(3), 2).eval()
    mu = torch.randn(1000, 4, 3, 2) * 0.1 + 50
    weights = (torch.rand(1000) < 0.7).float()
    norm.begin_estimation()
    for part, w in zip(mu.split(96), weights.split(96), strict=True):
        norm(part, w)
    norm.end_estimation()
    kept = mu[weights > 0].double().flatten(0, 1)
    torch.testing.assert_close(norm.running_mean, kept.mean(0).float())
    torch.testing.assert_close(norm.running_var, kept.var(0, correction=0).float())
    with pytest.raises(ValueError, match="begin_estimation"):
        norm.end_estimation()
    norm.begin_estimation()
    with pytest.raises(ValueError, match="at least 2"):
        norm.end_estimation()


def test_reestimate_makes_every_layer_of_a_stack_exact():
    torch.manual_seed(0)
    stack = VariationalStack(5, 4, 2, depth=2)
    for layer in stack.layers:
        UnitController(4, 2, control="batchnorm", band_shape="heterogeneous").attach(layer)
    norms = [layer.mu_transform for layer in stack.layers]
    stack.eval()
    context, bank = torch.randn(512, 5), stack.noise_bank(3)()
    reestimate(norms, lambda: [stack(part, bank) for part in context.split(100)])
    _, states = stack(context, bank)
    for state, norm in zip(states, norms, strict=True):
        torch.testing.assert_close(energy(state.mu), norm.gamma[:, 0].square(), rtol=1e-3, atol=0.0)


def test_attach_only_under_batchnorm_and_state_round_trip():
    layer = VariationalLayer(5, 4)
    UnitController(4, control="homeo").attach(layer)
    assert layer.mu_transform is None
    controller = UnitController(4, control="batchnorm")
    controller.attach(layer)
    state = layer(torch.randn(64, 5), None)
    controller.observe(state)
    controller.update(layer)
    torch.testing.assert_close(controller.energy_ema, controller.band.targets, rtol=1e-3, atol=0.0)
    other = VariationalLayer(5, 4)
    controller.attach(other)
    other.load_state_dict(layer.state_dict())
    context = torch.randn(3, 5)
    assert torch.equal(other.eval()(context, None).mu, layer.eval()(context, None).mu)


def test_bad_arguments():
    with pytest.raises(ValueError, match="targets"):
        MeanBatchNorm(torch.zeros(3))
    with pytest.raises(ValueError, match="momentum"):
        MeanBatchNorm(torch.ones(3), momentum=0.0)
    with pytest.raises(ValueError, match="variance_floor"):
        MeanBatchNorm(torch.ones(3), variance_floor=0.0)
