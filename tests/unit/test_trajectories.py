"""Transitions, their closed-form KL and roll-outs against plain sequential code and exact Gaussian inference."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_gaussian import dense_matrix, gaussian_kl, joint_prior, kalman, random_network, simulate

from vdn_forecast.neurons import (
    ContextMoments,
    DenseTransition,
    SparseTransition,
    TrajectoryLayer,
    committed_rate,
    kl_gaussian,
    moment_kl,
    neighbours,
    roll_forward,
    trajectory_kl,
)

GRAPHS = ("none", "ring", "random", "topk")


@pytest.mark.parametrize("graph", ["ring", "random", "topk"])
@pytest.mark.parametrize(("n", "degree"), [(5, 4), (16, 3), (64, 8), (2, 1)])
def test_neighbours_are_distinct_others(graph, n, degree):
    found = neighbours(graph, n, degree, seed=3)
    assert found.shape == (n, degree)
    for i, row in enumerate(found.tolist()):
        assert len(set(row)) == degree
        assert i not in row
        assert all(0 <= j < n for j in row)
    assert torch.equal(found, neighbours(graph, n, degree, seed=3))
    if graph == "ring" and degree == 8:
        assert set(found[10].tolist()) == {6, 7, 8, 9, 11, 12, 13, 14}


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({"graph": "ring", "degree": 4}, "graph_degree=4"),
        ({"graph": "random", "degree": 7}, "graph_degree=7"),
        ({"graph": "topk", "degree": 0}, "graph_degree=0"),
        ({"graph": "tree"}, "graph='tree'"),
        ({"graph": "none", "rho_max": 1.0}, "rho_max=1.0"),
        ({"graph": "none", "phi_init": 1.0}, "phi_init=1.0"),
        ({"graph": "none", "phi_init": -1.2}, "phi_init=-1.2"),
        ({"graph": "none", "scale_init": 0.0}, "scale_init=0.0"),
        ({"graph": "ring", "degree": 2, "stationary": True}, "stationary=True"),
    ],
)
def test_bad_arguments_are_refused_by_name(kwargs, name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        SparseTransition(4, **kwargs)


@settings(max_examples=30, deadline=None)
@given(st.floats(-50, 50), st.floats(0, 50), st.sampled_from(GRAPHS))
def test_stable_whatever_the_raw_weights(memory, size, graph):
    transition = SparseTransition(12, graph=graph, degree=3, rho_max=0.97)
    with torch.no_grad():
        transition.raw_memory.fill_(memory)
        if transition.raw_edges is not None:
            transition.raw_edges.copy_(torch.randn(12, 3) * size)
    phi, edges = transition.weights()
    total = phi.abs() + (0 if edges is None else edges.abs().sum(1))
    assert float(total.detach().max()) <= 0.97 + 1e-6
    assert np.abs(np.linalg.eigvals(dense_matrix(transition))).max() <= 0.97 + 1e-6


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 30), st.integers(0, 5))
def test_dense_dynamics_are_stable(size, seed):
    transition = DenseTransition(7, rho_max=0.95)
    with torch.no_grad():
        transition.raw_edges.copy_(torch.randn(7, 7, generator=torch.Generator().manual_seed(seed)) * size)
    assert float(torch.linalg.matrix_norm(transition.matrix().detach(), 2)) <= 0.95 + 1e-6


@pytest.mark.parametrize("graph", GRAPHS)
def test_chosen_weights_come_back(graph):
    transition = random_network(9, graph, 3, seed=1)
    phi, edges = transition.weights()
    assert float(phi.detach().min()) >= 0.3 - 1e-9
    if edges is not None:
        assert float(edges.detach().abs().min()) >= 0.1 - 1e-9
    with pytest.raises(ValueError, match="not allowed"):
        transition.set_weights_(torch.full((9,), 0.99), edges)


@pytest.mark.parametrize("graph", GRAPHS)
def test_drift_is_the_dense_product(graph):
    transition = random_network(9, graph, 3, seed=2)
    matrix = dense_matrix(transition)
    z = torch.randn(9, 2, 5, 4, dtype=torch.float64)
    expected = np.einsum("ij,jklm->iklm", matrix, z.numpy())
    np.testing.assert_allclose(transition.drift(z).detach(), expected, atol=1e-12)
    expected = np.einsum("ij,jklm->iklm", matrix**2, z.square().numpy())
    np.testing.assert_allclose(transition.drift_variance(z.square()).detach(), expected, atol=1e-12)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("constant", [False, True])
def test_kl_equals_a_loop_over_units_steps_and_neighbours(graph, constant):
    transition = random_network(6, graph, 2, seed=3)
    n, k, t, b = 6, 2, 5, 3
    transition.latent_dim = k
    with torch.no_grad():
        transition.scale_parameter = torch.nn.Parameter(torch.randn(n * k, dtype=torch.float64) * 0.3)
        transition.initial_parameter = torch.nn.Parameter(torch.randn(n * k, dtype=torch.float64) * 0.3)
    mu = torch.randn(n, k, t, b, dtype=torch.float64)
    log_sigma = torch.randn(n, k, 1 if constant else t, 1 if constant else b, dtype=torch.float64) * 0.5
    found = trajectory_kl(mu, log_sigma, transition).detach()
    everywhere = log_sigma.expand(n, k, t, b)
    matrix = dense_matrix(transition)
    for i in range(n):
        for step in range(t):
            for window in range(b):
                total = 0.0
                for c in range(k):
                    s = math.exp(float(transition.log_scale[i, c].detach()))
                    sigma = everywhere[:, c, :, window].exp().numpy()
                    m = mu[:, c, :, window].numpy()
                    if step == 0:
                        posterior = mu[i, c, 0, window], everywhere[i, c, 0, window]
                        total += float(kl_gaussian(*posterior, torch.zeros(()), transition.initial_log_scale[i, c]))
                        continue
                    mean = sum(matrix[i, j] * m[j, step - 1] for j in range(n))
                    passed = sum(matrix[i, j] ** 2 * sigma[j, step - 1] ** 2 for j in range(n))
                    square = sigma[i, step] ** 2 + (m[i, step] - mean) ** 2 + passed
                    total += math.log(s / sigma[i, step]) + square / (2 * s**2) - 0.5
                assert float(found[i, step, window]) == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("t", [1, 2, 6])
def test_kl_from_moments_equals_the_explicit_one(graph, t):
    transition = random_network(8, graph, 3, seed=4)
    context = torch.randn(11, t, 5, dtype=torch.float64)
    weight = torch.randn(8, 1, 6, dtype=torch.float64, requires_grad=True)
    log_sigma = torch.randn(8, 1, dtype=torch.float64) * 0.3
    mu = torch.einsum("nkd,btd->nktb", weight[..., :-1], context) + weight[..., -1:, None]
    explicit = trajectory_kl(mu, log_sigma[..., None, None], transition).sum(1).mean(1)
    kl, energy = moment_kl(weight, log_sigma, ContextMoments.of(context), transition)
    torch.testing.assert_close(kl, explicit, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(energy, mu.square().mean((1, 2, 3)))
    parameters = [weight, *transition.parameters()]
    gradients = [torch.autograd.grad(each.sum(), parameters, allow_unused=True) for each in (explicit, kl)]
    for a, b in zip(*gradients, strict=True):
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_dense_kl_from_moments():
    torch.manual_seed(0)
    transition = DenseTransition(4).double()
    with torch.no_grad():
        transition.raw_edges.copy_(torch.randn(4, 4) * 0.3)
    context, weight = torch.randn(7, 5, 3, dtype=torch.float64), torch.randn(1, 4, 4, dtype=torch.float64)
    mu = torch.einsum("nkd,btd->nktb", weight[..., :-1], context) + weight[..., -1:, None]
    log_sigma = torch.full((1, 4), -1.0, dtype=torch.float64)
    kl, _ = moment_kl(weight, log_sigma, ContextMoments.of(context), transition)
    torch.testing.assert_close(kl, trajectory_kl(mu, log_sigma[..., None, None], transition).sum(1).mean(1))


@pytest.mark.parametrize("graph", ["none", "ring", "random"])
def test_elbo_is_the_likelihood_less_the_distance_to_the_smoother(graph):
    """ELBO <= Kalman log-likelihood, and the gap is KL(q || smoother), exactly."""
    transition = random_network(4, graph, 2, seed=5)
    n, t, r = 4, 6, 0.2
    matrix, s = dense_matrix(transition), transition.log_scale.exp().squeeze(1).detach().numpy()
    v1 = transition.initial_log_scale.exp().square().squeeze(1).detach().numpy()
    _, x = simulate(matrix, s, v1, r, t, 1, seed=0)
    likelihood, _, _ = kalman(matrix, s, v1, r, x[0])
    prior = joint_prior(matrix, s, v1, t)
    flat = x[0].ravel()
    gain = prior @ np.linalg.inv(prior + r * np.eye(n * t))
    smoother_mean, smoother_cov = gain @ flat, prior - gain @ prior
    rng = np.random.default_rng(1)
    for scale in (0.0, 0.3, 1.0):  # the last posteriors are far from the smoother
        mean = smoother_mean + scale * rng.standard_normal(n * t)
        sigma = np.sqrt(np.diag(smoother_cov)) * np.exp(scale * rng.standard_normal(n * t))
        unit_major = torch.from_numpy(mean.reshape(t, n).T.reshape(n, 1, t, 1).copy())
        log_sigma = torch.from_numpy(np.log(sigma).reshape(t, n).T.reshape(n, 1, t, 1).copy())
        kl = float(trajectory_kl(unit_major, log_sigma, transition).sum())
        fit = -0.5 * (np.log(2 * np.pi * r) * n * t + ((flat - mean) ** 2 + sigma**2).sum() / r)
        elbo = fit - kl
        gap = gaussian_kl(mean, np.diag(sigma**2), smoother_mean, smoother_cov)
        assert elbo <= likelihood
        assert likelihood - elbo == pytest.approx(gap, abs=1e-4)


@pytest.mark.parametrize("graph", GRAPHS)
def test_roll_out_equals_the_sequential_reference(graph):
    torch.manual_seed(0)
    transition = SparseTransition(10, 2, graph=graph, degree=3, edge_init=0.2, phi_init=0.7)
    z, eps = torch.randn(10, 2, 3, 4, requires_grad=True), torch.randn(10, 2, 42, 3, 4)
    matrix = torch.from_numpy(dense_matrix(transition)).float()
    expected, state = [], z.detach()
    for step in range(42):
        state = torch.einsum("ij,jksb->iksb", matrix, state)
        state = state + transition.log_scale.exp()[..., None, None] * eps[:, :, step]
        expected.append(state)
    torch.testing.assert_close(roll_forward(z, eps, transition), torch.stack(expected, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_of_the_scan(shared):
    torch.manual_seed(0)
    transition = SparseTransition(3, 2, graph="none", phi_init=0.6).double()
    z = torch.randn(3, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    eps = torch.randn(3, 2, 5, 2, 1 if shared else 4, dtype=torch.float64)
    weight = torch.randn(3, 2, 5, 2, 4, dtype=torch.float64)

    def loop() -> torch.Tensor:
        state, path = z, []
        for step in range(5):
            noise = transition.log_scale.exp()[..., None, None] * eps[:, :, step]
            state = transition.memory().view(-1, 1, 1, 1) * state + noise
            path.append(state)
        return torch.stack(path, 2)

    assert transition.scale_parameter is not None
    wanted = [z, transition.raw_memory, transition.scale_parameter]
    for found, expected in zip(
        torch.autograd.grad((roll_forward(z, eps, transition).square() * weight).sum(), wanted),
        torch.autograd.grad((loop().square() * weight).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("graph", ["ring", "random"])
def test_gradients_of_the_roll_out_over_edges(graph):
    torch.manual_seed(0)
    transition = SparseTransition(7, 2, graph=graph, degree=3, edge_init=0.3, phi_init=0.5).double()
    z = torch.randn(7, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    eps = torch.randn(7, 2, 5, 2, 4, dtype=torch.float64)
    weight = torch.randn(7, 2, 5, 2, 4, dtype=torch.float64)

    def loop() -> torch.Tensor:
        phi, edges = transition.weights()
        matrix = torch.diag(phi).scatter_add(1, transition.neighbours, edges)
        state, path = z, []
        for step in range(5):
            state = torch.einsum("ij,jksb->iksb", matrix, state)
            state = state + transition.log_scale.exp()[..., None, None] * eps[:, :, step]
            path.append(state)
        return torch.stack(path, 2)

    assert transition.scale_parameter is not None
    assert transition.raw_edges is not None
    wanted = [z, transition.raw_memory, transition.raw_edges, transition.scale_parameter]
    for found, expected in zip(
        torch.autograd.grad((roll_forward(z, eps, transition).square() * weight).sum(), wanted),
        torch.autograd.grad((loop().square() * weight).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("graph", ["none", "ring", "random"])
def test_rolled_prior_has_the_moments_of_kalman_prediction(graph):
    """From the filtered distribution, exactly: it is linear, so basis vectors give its mean and covariance."""
    transition = random_network(5, graph, 2, seed=6)
    n, r, steps = 5, 0.1, 7
    matrix, s = dense_matrix(transition), transition.log_scale.exp().squeeze(1).detach().numpy()
    v1 = transition.initial_log_scale.exp().square().squeeze(1).detach().numpy()
    _, x = simulate(matrix, s, v1, r, 30, 1, seed=3)
    _, mean, cov = kalman(matrix, s, v1, r, x[0])
    root = np.linalg.cholesky(cov)
    # window 0: the mean; one window for every standard normal number that enters, by its own effect
    count = 1 + n + n * steps
    z = torch.from_numpy(np.repeat(mean[:, None], count, 1)).view(n, 1, 1, count).clone()
    eps = torch.zeros(n, 1, steps, 1, count, dtype=torch.float64)
    for j in range(n):
        z[:, 0, 0, 1 + j] += torch.from_numpy(root[:, j])
        for step in range(steps):
            eps[j, 0, step, 0, 1 + n + step * n + j] = 1.0
    rolled = roll_forward(z, eps, transition).detach().numpy()[:, 0, :, 0]  # [n, steps, count]
    effects = rolled[..., 1:] - rolled[..., :1]
    for step in range(steps):
        mean, cov = matrix @ mean, matrix @ cov @ matrix.T + np.diag(s**2)
        np.testing.assert_allclose(rolled[:, step, 0], mean, atol=1e-4)
        np.testing.assert_allclose(effects[:, step] @ effects[:, step].T, cov, atol=1e-4)


def test_committed_rate_is_a_lower_bound_and_is_reached():
    """The best variances for a posterior mean of zero, found by descent: 14.03 nats at n = 42, phi = .95."""
    assert committed_rate(42, 0.95) == pytest.approx(14.03, abs=5e-3)
    assert committed_rate(42, 0.95) == pytest.approx(0.5 * (40 * math.log1p(0.95**2) - math.log1p(-(0.95**2))))
    for phi, n, ratio in ((0.95, 42, None), (0.5, 10, None), (-0.9, 5, None), (0.8, 12, 0.3), (0.95, 2, 4.0)):
        transition = SparseTransition(1, graph="none", phi_init=phi, rho_max=0.98, stationary=ratio is None).double()
        if ratio is not None:
            assert transition.initial_parameter is not None
            with torch.no_grad():
                transition.initial_parameter.copy_(transition.log_scale.flatten() + 0.5 * math.log(ratio))
        log_sigma = torch.full((1, 1, n, 1), -1.0, dtype=torch.float64, requires_grad=True)
        mu = torch.zeros(1, 1, n, 1, dtype=torch.float64)
        optimizer = torch.optim.LBFGS([log_sigma], max_iter=200, tolerance_grad=1e-12)

        def closure(log_sigma=log_sigma, mu=mu, transition=transition, optimizer=optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            loss = trajectory_kl(mu, log_sigma, transition).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        bound = committed_rate(n, float(transition.memory().detach()), ratio)
        assert float(closure()) >= bound - 1e-7
        assert float(closure()) == pytest.approx(bound, abs=1e-6)  # by variances alone


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(-0.97, 0.97), st.integers(2, 50))
def test_no_posterior_beats_the_committed_rate(seed, phi, n):
    transition = SparseTransition(1, graph="none", phi_init=phi, rho_max=0.98, stationary=True).double()
    generator = torch.Generator().manual_seed(seed)
    mu = torch.randn(1, 1, n, 1, generator=generator, dtype=torch.float64)
    log_sigma = torch.randn(1, 1, n, 1, generator=generator, dtype=torch.float64) * 0.5 - 1.0
    assert (
        float(trajectory_kl(mu, log_sigma, transition).sum())
        >= committed_rate(n, float(transition.memory().detach())) - 1e-9
    )


@pytest.mark.parametrize("limit", ["mean_bound", "mean_compression"])
def test_a_layer_of_trajectories_refuses_limited_means(limit):
    with pytest.raises(ValueError, match=rf"{limit}=0\.5"):
        TrajectoryLayer(3, SparseTransition(4, graph="none"), **{limit: 0.5})
