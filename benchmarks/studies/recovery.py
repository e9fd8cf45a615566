"""Are memory and edges of a simulated linear-Gaussian network found again from noisy observations?

    python benchmarks/studies/recovery.py

16 units, 200 steps, 200 series; the emission is the identity, its noise known and 5 % of the smallest stationary
variance. A transition and a free factorised posterior are fitted by the ELBO. "random" of degree 15 knows all pairs;
"topk" of degree 4 has to choose four of fifteen. One row per graph and seed; what is there is not run again.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from vdn_forecast.evaluation.cells import versions
from vdn_forecast.neurons import SparseTransition, forget_moments_, rest_of, rewire_, trajectory_kl

Array = NDArray[np.float64]
OUT = Path("benchmarks/studies/results/recovery.csv")
GRAPHS = {"topk": 4, "random": 15}
UNITS, DEGREE, STEPS, SERIES, ITERATIONS = 16, 3, 200, 200, 500
NOISE_SHARE = 0.05


def dense_matrix(transition: SparseTransition) -> Array:
    """The drift as an N x N table, unit by unit."""
    phi, edges = transition.weights()
    matrix = np.diag(phi.detach().double().numpy())
    if edges is not None:
        for i, row in enumerate(transition.neighbours.tolist()):
            for place, j in enumerate(row):
                matrix[i, j] += float(edges[i, place].detach())
    return matrix


def simulate(
    matrix: Array, s: Array, v1: Array, r: float, n_steps: int, n_series: int, seed: int
) -> tuple[Array, Array]:
    """Latents and observations x = z + sqrt(r) e, [n_series, T, N] each.

    Args:
        matrix: drift, [N, N].
        s: standard deviations of a step, [N].
        v1: variances of the first latents, [N].
        r: variance of the observation noise.
        n_steps, n_series: T and how many.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    z = np.empty((n_series, n_steps, len(s)))
    z[:, 0] = rng.standard_normal((n_series, len(s))) * np.sqrt(v1)
    for t in range(1, n_steps):
        z[:, t] = z[:, t - 1] @ matrix.T + s * rng.standard_normal((n_series, len(s)))
    return z, z + np.sqrt(r) * rng.standard_normal(z.shape)


def true_network(n: int, degree: int, seed: int) -> tuple[SparseTransition, Array, Array]:
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


def recover(x: torch.Tensor, r: float, graph: str, degree: int, iterations: int) -> SparseTransition:
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
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    count = x.shape[2] * x.shape[3]
    for step in range(iterations):
        optimizer.zero_grad()
        kl = trajectory_kl(mu, log_sigma, model).sum()
        misfit = 0.5 * (((x - mu).square().sum() + count * torch.exp(2 * log_sigma).sum()) / r)
        # a sum: the learning rate of Adam does not see its size
        (kl + misfit).backward()
        optimizer.step()
        schedule.step()
        if graph == "topk" and step % 20 == 19 and step < iterations // 2:
            replaced = rewire_(model, *rest_of(mu, torch.exp(2 * log_sigma), model), 2)
            assert model.raw_edges is not None
            forget_moments_(optimizer, model.raw_edges, replaced)
    return model


def area_under_curve(score: Array, positive: NDArray[np.bool_]) -> float:
    """Probability that a true edge scores above an absent one; ties count half."""
    a, b = score[positive][:, None], score[~positive][None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())


def compare(
    n: int, degree: int, n_steps: int, n_series: int, graph: str, fitted_degree: int, iterations: int, seed: int
) -> tuple[float, float]:
    """Largest error of phi, and how well |A_ij| tells edges (true ones of at least .1) from none."""
    _, matrix, variance = true_network(n, degree, seed)
    r = NOISE_SHARE * float(variance.min())
    _, x = simulate(matrix, np.ones(n), variance, r, n_steps, n_series, seed)
    series = torch.from_numpy(x).float().permute(2, 1, 0).unsqueeze(1).contiguous()
    found = dense_matrix(recover(series, r, graph, fitted_degree, iterations))
    others = ~np.eye(n, dtype=bool)
    auc = area_under_curve(np.abs(found[others]), np.abs(matrix[others]) >= 0.1)
    return float(np.abs(np.diag(found) - np.diag(matrix)).max()), auc


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    chosen = parser.parse_args()
    rows = pd.read_csv(OUT).to_dict("records") if OUT.exists() else []
    done = {(row["graph"], row["seed"]) for row in rows}
    work = [(graph, seed) for graph in GRAPHS for seed in chosen.seeds if (graph, seed) not in done]
    for graph, seed in tqdm(work, unit="run", file=sys.stderr):
        start = time.process_time()
        error, auc = compare(UNITS, DEGREE, STEPS, SERIES, graph, GRAPHS[graph], ITERATIONS, seed)
        rows.append(
            {
                "graph": graph,
                "seed": seed,
                "units": UNITS,
                "true_degree": DEGREE,
                "fitted_degree": GRAPHS[graph],
                "steps": STEPS,
                "series": SERIES,
                "noise_share": NOISE_SHARE,
                "phi_error_max": error,
                "edges_auc": auc,
                "cpu_seconds": time.process_time() - start,
                "versions": versions(),
                "command": "python benchmarks/studies/recovery.py",
            }
        )
        temporary = OUT.with_suffix(".tmp")
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")
        temporary.replace(OUT)


if __name__ == "__main__":
    main()
