"""A training step beside what its matrix products alone need.

    python -m benchmarks.speed.roofline --models EVE EVE.small --rounds 5 --out benchmarks/results/roofline.csv

7 series of 8,640 rows, h = 96, look-back 336, 256 windows. `step_ms`: between the ends of two steps, loader included.
`network_ms`: from the network's forward to the end of the optimiser's step. `products_ms`: every matrix product of one
step, forward and backward, run alone. `rate_gflops`: a product of two square
matrices of 2,048 rows. `ideal_ms`: the step's operations at that rate. All in one process, round by round; ratios are
medians over rounds.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel

from ..rows import put_shown
from .step_time import OURS

SQUARE = 2048
ATEN: Any = torch.ops.aten
PRODUCTS = {ATEN.mm.default, ATEN.addmm.default, ATEN.bmm.default, ATEN.baddbmm.default}


class Products(TorchDispatchMode):
    """Notes the matrix products that run under it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            self.found.append((func, tuple(each.detach() if isinstance(each, Tensor) else each for each in args)))
        return func(*args, **(kwargs or {}))


class Stages(pl.Callback):
    """Times of the steps, of their network part, and the products of the last step."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: list[float] = []
        self.network: list[float] = []
        self.products = Products()
        self._begun = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.network.register_forward_pre_hook(self._begin)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.steps - 1:
            self.products.__enter__()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step == self.steps:
            self.products.__exit__(None, None, None)
            return
        self.ends.append(time.perf_counter())
        self.network.append(self.ends[-1] - self._begun)

    def _begin(self, *_: Any) -> None:
        self._begun = time.perf_counter()


def operations(products: list[tuple[Any, tuple[Any, ...]]]) -> float:
    """Floating-point operations: 2 m k n of every product [m, k] x [k, n]."""
    total = 0.0
    for _, args in products:
        left, right = [each for each in args if isinstance(each, Tensor)][-2:]
        total += 2.0 * math.prod(left.shape) * right.shape[-1]
    return total


def measure(builder: Callable[..., Any], dataset: Any, steps: int) -> dict[str, float]:
    """One round of one model, milliseconds."""
    stages = Stages(steps)
    model = builder(h=96, input_size=336, max_steps=steps, windows_batch_size=256, callbacks=[stages], **QUIET_TRAINER)
    with quiet_lightning():
        model.fit(dataset, val_size=0)
    whole = statistics.median(b - a for a, b in zip(stages.ends[2:], stages.ends[3:], strict=False))
    products = stages.products.found
    alone = statistics.median(_seconds(lambda: [func(*args) for func, args in products]) for _ in range(5))
    square = torch.randn(SQUARE, SQUARE)
    rate = 2.0 * SQUARE**3 / min(_seconds(lambda: square @ square) for _ in range(5))
    ideal = operations(products) / rate
    network = statistics.median(stages.network[2:])
    return {
        "step_ms": 1e3 * whole,
        "network_ms": 1e3 * network,
        "products_ms": 1e3 * alone,
        "ideal_ms": 1e3 * ideal,
        "rate_gflops": rate / 1e9,
        "mega_operations": operations(products) / 1e6,
        "products": len(products),
        "network_times_ideal": network / ideal,
        "step_times_ideal": whole / ideal,
        "network_times_products": network / alone,
        "step_times_products": whole / alone,
    }


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn; a model's row replaces its earlier one of as many threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["EVE", "EVE.small"], choices=list(OURS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if chosen.steps < 8:
        parser.error(f"--steps {chosen.steps} is not allowed; medians need at least 8")
    keep_memory()
    dataset = as_dataset(synthetic_panel(7, 8640).values)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen.models}
    for _ in tqdm(range(chosen.rounds), desc="rounds", file=sys.stderr):
        for name, rounds in found.items():
            rounds.append(measure(BUILDERS[OURS[name]], dataset, chosen.steps))
    threads = torch.get_num_threads()
    rows = [
        {
            "model": name,
            "threads": threads,
            **{key: statistics.median(each[key] for each in rounds) for key in rounds[0]},
            "rounds": chosen.rounds,
        }
        for name, rounds in found.items()
    ]
    command = f"python -m benchmarks.speed.roofline --models {' '.join(chosen.models)} --rounds {chosen.rounds}"
    put_shown(rows, ("model", "threads"), f"{command} --steps {chosen.steps}", chosen.out)


if __name__ == "__main__":
    main()
