"""Linear-Gaussian networks in plain numpy, written sequentially: what the sparse, closed-form code is compared with."""

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.studies.recovery import dense_matrix, simulate
from vdn_forecast.neurons import SparseTransition

Array = NDArray[np.float64]
__all__ = ["dense_matrix", "gaussian_kl", "joint_prior", "kalman", "random_network", "simulate"]


def joint_prior(matrix: Array, s: Array, v1: Array, n_steps: int) -> Array:
    """Covariance of (z_1, ..., z_T), [T N, T N], block by block."""
    n = len(s)
    cov = np.zeros((n_steps * n, n_steps * n))
    block = np.diag(v1)
    for t in range(n_steps):
        cross = block
        for u in range(t, n_steps):
            cov[u * n : (u + 1) * n, t * n : (t + 1) * n] = cross
            cov[t * n : (t + 1) * n, u * n : (u + 1) * n] = cross.T
            cross = matrix @ cross
        block = matrix @ block @ matrix.T + np.diag(s**2)
    return cov


def kalman(matrix: Array, s: Array, v1: Array, r: float, x: Array) -> tuple[float, Array, Array]:
    """Log-likelihood of one series x [T, N], filtered mean and covariance at its end."""
    n = len(s)
    mean, cov, total = np.zeros(n), np.diag(v1), 0.0
    for t, row in enumerate(x):
        if t:
            mean, cov = matrix @ mean, matrix @ cov @ matrix.T + np.diag(s**2)
        spread = cov + r * np.eye(n)
        error = row - mean
        total -= 0.5 * (n * np.log(2 * np.pi) + np.linalg.slogdet(spread)[1] + error @ np.linalg.solve(spread, error))
        gain = np.linalg.solve(spread, cov).T
        mean, cov = mean + gain @ error, cov - gain @ cov
    return total, mean, cov


def gaussian_kl(mean_q: Array, cov_q: Array, mean_p: Array, cov_p: Array) -> float:
    """KL(N(mean_q, cov_q) || N(mean_p, cov_p)), nats."""
    precision = np.linalg.inv(cov_p)
    gap = mean_q - mean_p
    log_dets = np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]
    return 0.5 * float(np.trace(precision @ cov_q) + gap @ precision @ gap - len(gap) + log_dets)


def random_network(n: int, graph: str, degree: int, seed: int) -> SparseTransition:
    """A transition in float64 with random weights of both signs."""
    torch.manual_seed(seed)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        transition = SparseTransition(n, graph=graph, degree=degree, seed=seed, rho_max=0.98)
    finally:
        torch.set_default_dtype(before)
    phi = torch.empty(n, dtype=torch.float64).uniform_(0.3, 0.6)
    edges = None
    if transition.raw_edges is not None:
        size = transition.raw_edges.shape
        signs = torch.randint(0, 2, size) * 2.0 - 1.0
        edges = signs.double() * torch.empty(size, dtype=torch.float64).uniform_(0.1, 0.11)
    transition.set_weights_(phi, edges)
    with torch.no_grad():
        assert transition.scale_parameter is not None
        assert transition.initial_parameter is not None
        transition.scale_parameter.copy_(torch.empty(n, dtype=torch.float64).uniform_(-1.0, 0.0))
        transition.initial_parameter.copy_(torch.empty(n, dtype=torch.float64).uniform_(-0.5, 0.5))
    return transition
