"""Memory and edges of a simulated linear-Gaussian network are found again from noisy observations."""

import numpy as np
import pytest
from linear_gaussian import joint_prior

from benchmarks.studies.recovery import compare, simulate, true_network


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
