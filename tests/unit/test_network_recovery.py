"""Memory and edges of a simulated linear-Gaussian network are found again from noisy observations."""

import numpy as np
import pytest
import torch
from linear_gaussian import dense_matrix, joint_prior, simulate

from vdn_forecast.neurons import SparseTransition, forget_moments_, rest_of, rewire_, trajectory_kl


def true_network(n: int, degree: int, seed: int) -> tuple[SparseTransition, np.ndarray, np.ndarray]:
    """phi in [.3, .5], edges of both signs in [.1, .15], noise of variance 1; drift and stationary variances."""
    generator = torch.Generator().manual_seed(seed)
    transition = SparseTransition(n, graph="random", degree=degree, seed=seed, rho_max=0.98).double()
    phi = 0.3 + 0.2 * torch.rand(n, generator=generator, dtype=torch.float64)
    signs = torch.randint(0, 2, (n, degree), generator=generator) * 2.0 - 1.0
    transition.set_weights_(phi, signs * (0.1 + 0.05 * torch.rand(n, degree, generator=generator, dtype=torch.float64)))
    matrix = dense_matrix(transition)
    variance = np.eye(n)
    for _ in range(200):
        variance = matrix @ variance @ matrix.T + np.eye(n)
    return transition, matrix, np.diag(variance).copy()


def recover(x: torch.Tensor, r: float, graph: str, degree: int, steps: int) -> SparseTransition:
    """Fit a transition and a free factorised posterior by the ELBO; the emission is z plus noise of variance r.

    x: [N, 1, T, series]. Posterior scales are one number per unit.
    """
    n = x.shape[0]
    model = SparseTransition(n, graph=graph, degree=degree, seed=99, rho_max=0.98, phi_init=0.1, scale_init=1.0)
    mu = x.clone().requires_grad_()
    log_sigma = torch.full((n, 1, 1, 1), 0.5 * float(np.log(r)), requires_grad=True)
    optimizer = torch.optim.Adam(
        [{"params": [*model.parameters(), log_sigma], "lr": 0.02}, {"params": [mu], "lr": 0.02}]
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    count = x.shape[2] * x.shape[3]
    for step in range(steps):
        optimizer.zero_grad()
        kl = trajectory_kl(mu, log_sigma, model).sum()
        misfit = 0.5 * (((x - mu).square().sum() + count * torch.exp(2 * log_sigma).sum()) / r)
        # a sum: the learning rate of Adam does not see its size
        (kl + misfit).backward()
        optimizer.step()
        schedule.step()
        if graph == "topk" and step % 20 == 19 and step < steps // 2:
            replaced = rewire_(model, *rest_of(mu, torch.exp(2 * log_sigma), model), 2)
            assert model.raw_edges is not None
            forget_moments_(optimizer, model.raw_edges, replaced)
    return model


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a true edge scores above an absent one; ties count half."""
    a, b = score[positive][:, None], score[~positive][None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def compare(n: int, degree: int, n_steps: int, n_series: int, graph: str, fitted_degree: int, steps: int, seed: int):
    """Largest error of phi, and how well |A_ij| tells edges from none."""
    _, matrix, variance = true_network(n, degree, seed)
    r = 0.05 * float(variance.min())  # at most 5 % of any unit's stationary variance
    _, x = simulate(matrix, np.ones(n), variance, r, n_steps, n_series, seed)
    series = torch.from_numpy(x).float().permute(2, 1, 0).unsqueeze(1).contiguous()
    found = dense_matrix(recover(series, r, graph, fitted_degree, steps))
    others = ~np.eye(n, dtype=bool)
    auc = area_under_curve(np.abs(found[others]), np.abs(matrix[others]) >= 0.1)
    return float(np.abs(np.diag(found) - np.diag(matrix)).max()), auc


@pytest.mark.parametrize(("graph", "fitted_degree"), [("topk", 3), ("random", 7)])
def test_a_small_network_is_found(graph, fitted_degree):
    error, auc = compare(8, 2, 60, 60, graph, fitted_degree, 300, seed=0)
    assert error <= 0.05
    assert auc >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("graph", "fitted_degree"), [("topk", 4), ("random", 15)])
def test_the_full_network_is_found(graph, fitted_degree, seed):
    """16 units, 200 steps, 200 series; "random" of degree 15 knows all pairs, "topk" has to choose four of fifteen."""
    error, auc = compare(16, 3, 200, 200, graph, fitted_degree, 500, seed)
    print(f"{graph} {fitted_degree}, seed {seed}: largest error of phi {error:.3f}, AUC {auc:.3f}")
    assert error <= 0.05
    assert auc >= 0.9


def test_observations_are_the_models_own():
    """The simulation's covariance is the prior's: the recovery is tested on the model it claims."""
    _, matrix, variance = true_network(3, 1, 0)
    z, _ = simulate(matrix, np.ones(3), variance, 0.1, 4, 200_000, 0)
    expected = joint_prior(matrix, np.ones(3), variance, 4)
    np.testing.assert_allclose(np.cov(z.reshape(len(z), -1).T), expected, atol=0.03)
