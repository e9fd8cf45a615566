"""What AREVE's trajectories cost: training step beside EVE's, memory by number of units, roll-out beside a plain loop.

    python -m benchmarks.speed.trajectories --parts step memory rollout --out benchmarks/results/trajectories.csv

`step`: median wall time of a training step of AREVE and EVE in turn, 1,024 units, 42 patches, 256 windows, degree 8.
`memory`: growth of a fresh process's highest resident memory over four such steps, for 256, 1,024 and 4,096 units; the
ratio compares the last with a line through the first two. `rollout`: the uncoupled roll-out over 42 patches, forward
and backward, beside a loop over patches of plain torch operations, and that loop under `torch.compile`
(needs a C++ compiler): shortest times, quartiles of their ratio, largest difference.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vdn_forecast import AREVE, EVE
from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.evaluator import peak_memory_mb
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.sources import synthetic_panel
from vdn_forecast.neurons import SparseTransition, roll_forward

from ..rows import put_shown
from .step_time import step_seconds

PARTS = ("step", "memory", "rollout")
UNITS, DEGREE, PATCHES, WINDOWS = 1024, 8, 42, 256
PATCH_SIZE = 336 // PATCHES
ROLLOUTS = ((64, 64), (512, 64), (512, 256), (1024, 256))  # units, windows


def build(graph: str, n_units: int = UNITS) -> Any:
    """AREVE of the bar's sizes."""
    return partial(AREVE, n_units=n_units, graph=graph, graph_degree=DEGREE, patch_size=PATCH_SIZE)


def steps(rounds: int, n_steps: int) -> list[dict[str, Any]]:
    """One row per model: its step beside EVE's of the same round."""
    dataset = as_dataset(synthetic_panel(7, 8640).values)
    models = {"EVE": partial(EVE, n_units=UNITS)} | {f"AREVE {g}": build(g) for g in ("none", "ring", "random", "topk")}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in tqdm(range(rounds), desc="rounds"):
        for name, builder in models.items():
            seconds[name].append(step_seconds(builder, dataset, n_steps, 32))
    rows = []
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(found, seconds["EVE"], strict=True)]
        rows.append(
            {
                "part": "step",
                "case": f"{name}, {UNITS} units, {WINDOWS} windows",
                "value": 1e3 * statistics.median(found),
                "unit": "ms",
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "ratio_to": "EVE",
            }
        )
    return rows


def grown_mb(graph: str, n_units: int) -> float:
    """Growth of this process's highest resident memory over four steps, MiB."""
    dataset = as_dataset(synthetic_panel(7, 2000).values)
    step_seconds(build("none", 16), dataset, 4, 32)  # libraries, loaders
    before = peak_memory_mb()
    step_seconds(build(graph, n_units), dataset, 4, 32)
    return peak_memory_mb() - before


def memory() -> list[dict[str, Any]]:
    """One row per graph and number of units; each in a process of its own."""
    rows = []
    sizes = (256, 1024, 4096)
    for graph in ("none", "random", "topk"):
        found = {}
        for n in tqdm(sizes, desc=f"memory {graph}"):
            command = [sys.executable, "-m", "benchmarks.speed.trajectories", "--grown", graph, str(n)]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            found[n] = float(json.loads(result.stdout.splitlines()[-1]))
        for n in sizes:
            linear = n > sizes[1]  # what a line through the smaller two foresees
            slope = (found[sizes[1]] - found[sizes[0]]) / (sizes[1] - sizes[0])
            foreseen = found[sizes[1]] + slope * (n - sizes[1])
            rows.append(
                {
                    "part": "memory",
                    "case": f"AREVE {graph}, {n} units, degree {0 if graph == 'none' else DEGREE}",
                    "value": found[n],
                    "unit": "MiB",
                    "ratio": found[n] / foreseen if linear else float("nan"),
                    "ratio_to": "line through 256 and 1,024 units" if linear else "",
                }
            )
    return rows


def plain_loop(z: Tensor, phi: Tensor, scale: Tensor, eps: Tensor) -> Tensor:
    """The uncoupled roll-out, patch by patch: z [N, k, S, B], phi and scale [N, 1, 1, 1], eps [N, k, J, S, B]."""
    path = []
    for step in eps.unbind(2):
        z = phi * z + scale * step
        path.append(z)
    return torch.stack(path, 2)


def rollouts(rounds: int) -> list[dict[str, Any]]:
    """Two rows per size: the roll-out beside the plain loop, in turn, and the loop compiled into fused kernels."""
    rows = []
    compiled = torch.compile(plain_loop, dynamic=False)
    for units, windows in ROLLOUTS:
        transition = SparseTransition(units, graph="none")
        z = torch.randn(units, 1, 1, windows, requires_grad=True)
        eps, grad = torch.randn(2, units, 1, PATCHES, 1, windows)

        def loop(run: Any, transition: SparseTransition = transition, z: Any = z, eps: Any = eps) -> Tensor:
            phi, scale = transition.memory().view(-1, 1, 1, 1), transition.log_scale.exp()[..., None, None]
            result: Tensor = run(z, phi, scale, eps)
            return result

        def scan(transition: SparseTransition = transition, z: Any = z, eps: Any = eps) -> Tensor:
            return roll_forward(z, eps, transition)

        def seconds(run: Any, grad: Tensor = grad) -> float:
            start = time.perf_counter()
            run().backward(grad)
            return time.perf_counter() - start

        runs: dict[str, Any] = {"plain loop": partial(loop, plain_loop), "scan": scan}
        runs["compiled loop"] = partial(loop, compiled)
        expected = loop(plain_loop)
        apart = {name: float((run() - expected).detach().abs().max()) for name, run in runs.items()}
        for run in runs.values():
            seconds(run)
        found = [{name: seconds(run) for name, run in runs.items()} for _ in range(rounds)]
        for name in ("scan", "compiled loop"):
            ratios = sorted(each["plain loop"] / each[name] for each in found)
            rows.append(
                {
                    "part": "rollout",
                    "case": f"{name}: {units} units, {windows} windows, {PATCHES} patches",
                    "value": 1e3 * min(each[name] for each in found),
                    "unit": "ms",
                    "ratio": min(each["plain loop"] for each in found) / min(each[name] for each in found),
                    "ratio_low": ratios[len(ratios) // 4],
                    "ratio_high": ratios[-1 - len(ratios) // 4],
                    "ratio_to": "plain loop: times faster",
                    "largest_difference": apart[name],
                }
            )
    return rows


def main() -> None:
    """Measure the wanted parts; rows of the others that a file holds stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5, help="of models in turn; roll-outs: ten times as many")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--grown", nargs=2, metavar=("GRAPH", "UNITS"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    if chosen.grown:  # the allocator as it is: `keep_memory` never gives back
        print(json.dumps(grown_mb(chosen.grown[0], int(chosen.grown[1]))))
        return
    keep_memory()
    measured = {
        "step": lambda: steps(chosen.rounds, chosen.steps),
        "memory": memory,
        "rollout": lambda: rollouts(10 * chosen.rounds),
    }
    command = f"python -m benchmarks.speed.trajectories --rounds {chosen.rounds} --steps {chosen.steps}"
    for part in chosen.parts:
        rows = [{**row, "threads": chosen.threads} for row in measured[part]()]
        put_shown(rows, ("part",), f"{command} --threads {chosen.threads}", chosen.out)


if __name__ == "__main__":
    main()
