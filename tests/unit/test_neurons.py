"""Units, priors, bands, noise and stacks."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from vdn_forecast.neurons import (
    EMISSIONS,
    POOLS,
    SIGMA_KINDS,
    Band,
    GaussianPrior,
    NoiseBank,
    VariationalLayer,
    VariationalStack,
    band_penalty,
    energy,
    kl_gaussian,
    kl_standard,
    out_of_band,
)

finite = st.floats(-5, 5, allow_nan=False)


@settings(deadline=None)
@given(finite, finite, finite, finite)
def test_kl_matches_torch(mu, log_sigma, mean, log_scale):
    m, ls, pm, pls = (torch.tensor(v, dtype=torch.float64) for v in (mu, log_sigma, mean, log_scale))
    want = kl_divergence(Normal(m, ls.exp()), Normal(pm, pls.exp()))
    torch.testing.assert_close(kl_gaussian(m, ls, pm, pls), want, rtol=1e-9, atol=1e-9)
    standard = kl_divergence(Normal(m, ls.exp()), Normal(torch.zeros_like(m), torch.ones_like(m)))
    torch.testing.assert_close(kl_standard(m, ls), standard, rtol=1e-9, atol=1e-9)


def test_kl_is_zero_at_the_prior_in_float32():
    log_sigma = torch.tensor([0.0, 1e-4, -1e-4])
    assert (kl_standard(torch.zeros(3), log_sigma) >= 0).all()
    assert kl_standard(torch.zeros(3), log_sigma).max() < 1e-7


@pytest.mark.parametrize("sigma", SIGMA_KINDS)
@pytest.mark.parametrize("emission", EMISSIONS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("sampled", [False, True])
def test_layer_shapes(sigma, emission, pool, sampled):
    layer = VariationalLayer(5, 4, 3, sigma=sigma, emission=emission, pool=pool)
    context = torch.randn(6, 2, 5) if sampled else torch.randn(6, 5)
    state = layer(context, torch.randn(6, 2, 4, 3), None, True, torch.randn(6, 2, 4))
    assert state.mu.shape == ((6, 2, 4, 3) if sampled else (6, 4, 3))
    assert torch.broadcast_shapes(state.mu.shape, state.log_sigma.shape) == state.mu.shape
    assert state.z.shape == (6, 2, 4, 3)
    assert state.activation.shape == (6, 2, 4)
    assert state.kl.shape == state.local_elbo.shape == (6, 4)
    mean = layer(context, None)
    assert mean.z.shape == (6, 2 if sampled else 1, 4, 3)
    assert mean.local_elbo is None


@pytest.mark.parametrize("sigma", SIGMA_KINDS)
def test_layer_kl_and_samples_match_distributions(sigma):
    layer = VariationalLayer(3, 4, 2, sigma=sigma, sigma_init=0.7)
    if layer.sigma_net is not None:
        torch.nn.init.normal_(layer.sigma_net.weight)
    context, eps = torch.randn(5, 3), torch.randn(1, 7, 4, 2)
    state = layer(context, eps)
    posterior = Normal(state.mu, state.log_sigma.expand_as(state.mu).exp())
    torch.testing.assert_close(state.kl, kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1))
    torch.testing.assert_close(state.z, posterior.loc[:, None] + posterior.scale[:, None] * eps)
    torch.testing.assert_close(state.activation, state.z.mean(-1))


def test_general_prior():
    prior = GaussianPrior(4, 2, mean=0.5, scale=2.0, learned=True)
    layer = VariationalLayer(3, 4, 2, prior=prior)
    state = layer(torch.randn(5, 3), None)
    want = kl_divergence(Normal(state.mu, state.log_sigma.exp()), Normal(0.5, 2.0)).sum(-1)
    torch.testing.assert_close(state.kl, want)
    state.kl.sum().backward()
    assert prior.mean.grad.abs().sum() > 0
    assert prior.log_scale.grad.abs().sum() > 0
    assert not list(GaussianPrior(4).parameters())
    assert GaussianPrior(4).is_standard
    assert not GaussianPrior(4, scale=2.0).is_standard


@pytest.mark.parametrize("emission", ["identity", "affine"])
def test_sigma_to_zero_is_the_classic_neuron_exactly(emission):
    layer = VariationalLayer(5, 4, sigma_init=1e-30, sigma_floor=0.0, emission=emission)  # u = 1, w = 0
    classic = torch.nn.Linear(5, 4)
    classic.load_state_dict(layer.mu.state_dict())
    context = torch.randn(6, 5)
    state = layer(context, torch.randn(6, 3, 4, 1))
    assert torch.equal(state.activation, classic(context).unsqueeze(1).expand(6, 3, 4))
    twin = VariationalLayer(5, 4, emission=emission, deterministic=True)
    twin.load_state_dict(layer.state_dict(), strict=False)
    assert torch.equal(twin(context, torch.randn(6, 3, 4, 1)).activation, classic(context).unsqueeze(1))


def test_deterministic_layer_has_no_noise_and_no_scale():
    layer = VariationalLayer(5, 4, 2, emission="gaussian", deterministic=True)
    assert not [name for name, _ in layer.named_parameters() if "sigma" in name or "tau" in name]
    state = layer(torch.randn(6, 5), torch.randn(1, 3, 4, 2), need_local_elbo=True)
    assert state.activation.shape == (6, 1, 4)
    assert state.log_sigma is None
    assert state.kl is None
    assert state.local_elbo is None


def test_amortised_scale_starts_at_sigma_init_and_stays_in_bounds():
    layer = VariationalLayer(5, 4, sigma_init=0.3, sigma_floor=0.1, sigma_ceil=2.0)
    context = torch.randn(6, 5)
    torch.testing.assert_close(layer(context, None).log_sigma.exp(), torch.full((6, 4, 1), 0.3))
    torch.nn.init.normal_(layer.sigma_net.weight, std=50.0)
    scale = layer(context, None).log_sigma.exp()
    assert scale.min() >= 0.1 - 1e-6
    assert scale.max() <= 2.0 + 1e-6


def test_bounded_means_saturate_and_small_ones_are_as_they_were():
    layer, plain = VariationalLayer(5, 4, 2, mean_bound=0.5), VariationalLayer(5, 4, 2)
    plain.load_state_dict(layer.state_dict(), strict=False)
    context = torch.randn(6, 5)
    for size in (1e-3, 1.0, 1e3):
        bounded, free = layer(size * context, None).mu, plain(size * context, None).mu
        torch.testing.assert_close(bounded, free / (1 + (free / 0.5) ** 2).sqrt())
        assert bounded.abs().max() <= 0.5
    assert layer(1e3 * context, None).mu.abs().median() > 0.49
    assert layer(context, torch.full((6, 1, 4, 2), 100.0)).z.min() > 29  # the noise has no bound


def test_compressed_means_grow_as_their_logarithm_and_small_ones_are_as_they_were():
    layer, plain = VariationalLayer(5, 4, 2, mean_compression=0.5), VariationalLayer(5, 4, 2)
    torch.nn.init.zeros_(layer.mu.bias)
    plain.load_state_dict(layer.state_dict(), strict=False)
    context = torch.randn(6, 5)
    for size in (1e-3, 1.0, 1e3):
        squeezed, free = layer(size * context, None).mu, plain(size * context, None).mu
        torch.testing.assert_close(0.5 * (squeezed / 0.5).sinh(), free, rtol=1e-4, atol=1e-6)
    small, near = layer(1e-3 * context, None).mu, plain(1e-3 * context, None).mu
    torch.testing.assert_close(small, near, rtol=1e-4, atol=1e-7)
    far, farther = layer(1e6 * context, None).mu.abs(), layer(1e7 * context, None).mu.abs()
    torch.testing.assert_close(farther - far, torch.full_like(far, 0.5 * math.log(10)), rtol=1e-2, atol=0)


@pytest.mark.parametrize("limit", ["mean_bound", "mean_compression"])
def test_a_rescaled_unit_takes_its_limit_along(limit):
    layer = VariationalLayer(5, 4, 2, **{limit: 0.5})
    context, factor = torch.randn(6, 5), torch.tensor([0.5, 1.0, 2.0, 4.0])
    before = layer(context, None).mu
    layer.rescale_units_(factor)
    torch.testing.assert_close(layer(context, None).mu, before * factor[:, None])


@pytest.mark.parametrize("pool", POOLS)
def test_local_elbo_is_the_expected_log_likelihood_minus_kl(pool):
    torch.manual_seed(0)
    layer = VariationalLayer(3, 2, 3, pool=pool, learn_tau=True, tau_init=0.4)
    context = torch.randn(4, 3)
    state = layer(context, torch.randn(4, 40_000, 2, 3), need_local_elbo=True)
    target = layer._pool(state.mu).unsqueeze(1)
    sampled = Normal(state.activation, 0.4).log_prob(target).mean(1) - state.kl
    torch.testing.assert_close(state.local_elbo, sampled, rtol=0.02, atol=0.02)
    (grad,) = torch.autograd.grad((state.local_elbo + state.kl).sum(), layer.mu.weight, retain_graph=True)
    assert grad.abs().max() == 0  # the target sits on the mean: the fit pulls at the scales only
    state.local_elbo.sum().backward()
    assert layer.log_tau.grad is not None


def test_gaussian_emission_adds_scaled_noise_and_needs_it():
    layer = VariationalLayer(3, 4, emission="gaussian", tau_init=0.5)
    context, eps, noise = torch.randn(5, 3), torch.randn(1, 2, 4, 1), torch.randn(1, 2, 4)
    quiet = layer(context, eps, eps_emission=torch.zeros_like(noise)).activation
    torch.testing.assert_close(layer(context, eps, eps_emission=noise).activation, quiet + 0.5 * noise)
    with pytest.raises(ValueError, match="eps_emission"):
        layer(context, eps)


def test_bank_forecast_does_not_depend_on_training_flag_or_batch():
    stack = VariationalStack(5, 4, 2, depth=2)
    bank, context = stack.noise_bank(6), torch.randn(8, 5)
    whole, _ = stack.train()(context, bank())
    again, _ = stack.eval()(context, bank())
    assert torch.equal(whole, again)
    parts = torch.cat([stack(part, bank())[0] for part in context.split(3)])
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3])
def test_rescale_units_scales_the_mean_of_each_unit(k):
    layer, context = VariationalLayer(5, 4, k), torch.randn(6, 5)
    before = layer(context, None)
    factor = torch.tensor([0.5, 1.0, 2.0, 3.0])
    touched = layer.rescale_units_(factor)
    after = layer(context, None)
    torch.testing.assert_close(after.mu, before.mu * factor[:, None])
    torch.testing.assert_close(energy(after.mu), energy(before.mu) * factor.square())
    assert touched == [layer.mu.weight, layer.mu.bias]


def test_layer_refuses_bad_arguments_and_shapes():
    for bad in (
        {"n_units": 0},
        {"latent_dim": 0},
        {"sigma": "none"},
        {"pool": "max"},
        {"emission": "x"},
        {"sigma_init": 20.0},
        {"sigma_floor": -1.0},
        {"sigma_ceil": 0.0},
        {"tau_init": 0.0},
        {"mean_bound": 0.0},
        {"mean_compression": -1.0},
        {"prior": GaussianPrior(3)},
    ):
        name = next(iter(bad))
        with pytest.raises(ValueError, match=name):
            VariationalLayer(**{"in_features": 5, "n_units": 4, **bad})
    layer = VariationalLayer(5, 4)
    with pytest.raises(ValueError, match="context"):
        layer(torch.randn(6, 3), None)
    with pytest.raises(ValueError, match="eps"):
        layer(torch.randn(6, 5), torch.randn(6, 4, 1))
    with pytest.raises(ValueError, match="scale"):
        GaussianPrior(4, scale=0.0)


def test_mu_transform_sees_mean_and_weights():
    class Half(torch.nn.Module):
        def forward(self, mu, weights):
            self.seen = weights
            return mu / 2

    layer, context, weights = VariationalLayer(5, 4), torch.randn(6, 5), torch.ones(6)
    plain = layer(context, None).mu
    layer.mu_transform = half = Half()
    torch.testing.assert_close(layer(context, None, weights).mu, plain / 2)
    assert half.seen is weights


def test_stack_propagates_samples():
    torch.manual_seed(0)
    stack = VariationalStack(5, 4, 2, depth=2)
    context, bank = torch.randn(3, 5), stack.noise_bank(6)
    activation, states = stack(context, bank())
    first, second = stack.layers
    hidden = first(context, bank().latent[0]).activation
    for s in range(6):  # every sample on its own
        one = second(stack.nonlinearity(hidden[:, s]), bank().latent[1][:, s : s + 1])
        torch.testing.assert_close(one.activation[:, 0], activation[:, s])
    assert states[1].mu.shape == (3, 6, 4, 2)
    assert states[1].kl.shape == (3, 4)
    mean, _ = stack(context, None)
    assert mean.shape == (3, 1, 4)
    with pytest.raises(ValueError, match="layers"):
        stack(context, VariationalStack(5, 4, 2).noise_bank(6)())
    with pytest.raises(ValueError, match="depth"):
        VariationalStack(5, 4, depth=0)


def test_bank_is_fixed_private_and_near_normal():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    bank, same = NoiseBank([(8, 2), (4, 1)], 256, seed=3, emission=True), NoiseBank([(8, 2), (4, 1)], 256, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert [tuple(eps.shape) for eps in bank().latent] == [(1, 256, 8, 2), (1, 256, 4, 1)]
    assert [tuple(eps.shape) for eps in bank().emission] == [(1, 256, 8), (1, 256, 4)]
    assert same().emission == (None, None)
    assert bank().latent[0].mean((0, 1)).abs().max() < 0.01
    assert (bank().latent[0].var((0, 1)) - 1).abs().max() < 0.05
    assert not torch.equal(bank().latent[0], NoiseBank([(8, 2)], 256, seed=4)().latent[0])
    assert set(bank.state_dict()) == {"latent_0", "latent_1", "emission_0", "emission_1"}
    other = NoiseBank([(8, 2), (4, 1)], 256, seed=9, emission=True)
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other().latent[1], bank().latent[1])


@pytest.mark.parametrize("n_samples", [1, 4, 5])
def test_bank_beyond_sobol_is_antithetic(n_samples):
    (eps,) = NoiseBank([(21_202, 1)], n_samples)().latent
    assert eps.shape == (1, n_samples, 21_202, 1)
    half = (n_samples + 1) // 2
    assert torch.equal(eps[:, half:], -eps[:, : n_samples - half])
    assert torch.isfinite(eps).all()


def test_training_noise():
    bank = NoiseBank([(3, 2), (4, 1)], 5, emission=True)
    torch.manual_seed(0)
    first = bank.training_noise(7, 4, antithetic=True)
    torch.manual_seed(0)
    assert torch.equal(bank.training_noise(7, 4, antithetic=True).latent[0], first.latent[0])
    assert first.latent[0].shape == (7, 4, 3, 2)
    assert first.emission[1].shape == (7, 4, 4)
    assert torch.equal(first.latent[0][:, 2:], -first.latent[0][:, :2])
    assert bank.training_noise(2, 1).latent[1].shape == (2, 1, 4, 1)
    with pytest.raises(ValueError, match="n_samples=3"):
        bank.training_noise(7, 3, antithetic=True)


def test_band_targets():
    even = Band(5, 0.03, 8.0)
    torch.testing.assert_close(even.targets, torch.full((5,), 0.03))
    torch.testing.assert_close(even.lower, torch.full((5,), 0.024))
    torch.testing.assert_close(even.upper, torch.full((5,), 0.048))
    spread = Band(5, 0.03, 8.0, shape="heterogeneous").targets
    torch.testing.assert_close(spread[[0, 2, 4]], torch.tensor([0.03 / 8, 0.03, 0.24]))
    torch.testing.assert_close(spread.log().diff(), torch.full((4,), math.log(64) / 4))
    torch.testing.assert_close(Band(1, 0.03, shape="heterogeneous").targets, torch.tensor([0.03]))
    for bad in (
        {"lower": 2.0},
        {"lower": 0.0},
        {"shape": "x"},
        {"spread": 0.5},
        {"target": 0.0},
        {"upper": math.nan},
    ):
        with pytest.raises(ValueError, match=f"band_{next(iter(bad))}"):
            Band(4, **bad)


@settings(deadline=None)
@given(st.integers(1, 6), st.sampled_from([None, 1, 3]), st.integers(1, 3), st.integers(0, 2**20))
def test_energy_counts_weighted_windows_only(batch, samples, k, seed):
    g = torch.Generator().manual_seed(seed)
    shape = (batch, 4, k) if samples is None else (batch, samples, 4, k)
    mu = torch.randn(shape, generator=g)
    weights = (torch.rand(batch, generator=g) < 0.6).float()
    kept = mu[weights > 0]
    want = kept.square().flatten(0, -3).mean((0, -1)) if len(kept) else torch.zeros(4)
    torch.testing.assert_close(energy(mu, weights), want)
    torch.testing.assert_close(energy(mu, torch.ones(batch)), energy(mu))


def test_energy_never_reads_masked_windows():
    mu = torch.tensor([[[1.0]], [[math.nan]]], requires_grad=True)
    value = energy(mu, torch.tensor([1.0, 0.0]))
    value.sum().backward()
    assert value.item() == 1.0
    assert mu.grad.flatten().tolist() == [2.0, 0.0]


def test_band_penalty_values_and_sign():
    lower, upper = torch.tensor([0.1, 1e-4]), torch.tensor([0.2, 2e-4])
    below, above = torch.tensor([0.05, 0.0]), torch.tensor([0.3, 2e-4])
    # (.05 / .1)^2 and (1e-4 / 1e-3)^2: the divisor has a floor
    assert band_penalty(below, lower, upper).item() == pytest.approx((0.25 + 0.01) / 2)
    assert band_penalty(below, lower, upper, "absolute").item() == pytest.approx((0.05**2 + 1e-8) / 2)
    assert band_penalty(above, lower, upper, weight_high=0.3).item() == pytest.approx(0.3 * 0.25 / 2)
    for value, sign in ((below, -1), (above, 1)):
        e = value.clone().requires_grad_()
        band_penalty(e, lower, upper).backward()
        assert e.grad[0] * sign > 0
    assert band_penalty((lower + upper) / 2, lower, upper) == 0
    with pytest.raises(ValueError, match="kind"):
        band_penalty(below, lower, upper, "x")


def test_out_of_band_shares():
    band = Band(4, 1.0)
    e = torch.tensor([0.1, 1.0, 1.7, 1.7])
    assert [float(share) for share in out_of_band(e, band)] == [0.25, 0.5]
    assert [float(share) for share in out_of_band(e, (band.lower, 2 * band.upper))] == [0.25, 0.0]


def test_stack_round_trip_and_copy():
    stack = VariationalStack(5, 4, depth=2, emission="gaussian", learned_prior=True, sigma="unit")
    other = VariationalStack(5, 4, depth=2, emission="gaussian", learned_prior=True, sigma="unit")
    other.load_state_dict(stack.state_dict())
    context, bank = torch.randn(3, 5), stack.noise_bank(2)
    assert torch.equal(stack(context, bank())[0], other(context, bank())[0])
    assert torch.equal(stack(context, bank())[0], copy.deepcopy(stack)(context, bank())[0])
