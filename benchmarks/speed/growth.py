"""How a training step's time grows with the panel and with the network: one axis at a time, all sizes in turn.

    python -m benchmarks.speed.growth --rounds 3 --steps 16 --out benchmarks/results/growth.csv

Wall time between the ends of two steps, loader included, of EVE at its defaults but for the axis: 7 series of 8,640
rows, h = 96, look-back 336, 256 windows. `series` keeps 500 rows each, `rows` seven series. `predict samples` is a
prediction of 4,095 windows with 19 quantiles instead. Exponent: slope of log time over log size, least squares over
medians; `exponent_end` is the slope of the last two sizes alone, where constant costs no longer hide the growth.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel

from ..rows import put_shown
from .step_time import step_seconds

AXES: dict[str, tuple[int, ...]] = {
    "series": (7, 100, 1_000, 10_000),
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "horizon": (24, 96, 336, 720),
    "units": (64, 256, 1_024, 4_096),
    "samples": (1, 4, 16, 64),
    "predict samples": (1, 4, 16, 64),
}
ORIGINS = 585  # of a prediction, for each of 7 series


def seconds(axis: str, size: int, steps: int, cls: Any) -> Callable[[], float]:
    """What measures one size once."""
    n_series, n_rows = (size, 500) if axis == "series" else (7, size) if axis == "rows" else (7, 8_640)
    dataset = as_dataset(synthetic_panel(n_series, n_rows).values)
    if axis == "predict samples":
        return partial(_predict_seconds, dataset, size, cls)
    own = {"horizon": "h", "units": "n_units", "samples": "n_latent_samples"}
    arguments = {own[axis]: size} if axis in own else {}
    return lambda: step_seconds(partial(_built, cls, arguments), dataset, steps, 32)


def _built(cls: Any, arguments: dict[str, int], **usual: Any) -> Any:
    return cls(**{**usual, **arguments})


def _predict_seconds(dataset: Any, size: int, cls: Any) -> float:
    model = cls(h=96, input_size=336, n_predict_samples=size, max_steps=1, val_check_steps=1, **QUIET_TRAINER)
    with quiet_lightning():
        model.fit(dataset, val_size=96)
        model.set_test_size(96 + ORIGINS - 1)
        start = time.perf_counter()
        found = model.predict(dataset, step_size=1, quantiles=[i / 20 for i in range(1, 20)])
        spent = time.perf_counter() - start
    assert len(found) == dataset.n_groups * ORIGINS * 96
    return spent


def slope(sizes: list[int], times: list[float]) -> float:
    """Exponent of a power law through the points, least squares on logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def main() -> None:
    """Measure the wanted axes; rows of the others that a file holds stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES))
    parser.add_argument("--model", default="EVE", choices=["EVE", "AREVE"])
    parser.add_argument("--largest", type=int, default=10**9, help="leave out greater sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_memory()
    command = f"python -m benchmarks.speed.growth --model {chosen.model} --largest {chosen.largest}"
    command += f" --rounds {chosen.rounds} --steps {chosen.steps}"
    for axis in chosen.axes:
        sizes = [size for size in AXES[axis] if size <= chosen.largest]
        measures = [seconds(axis, size, chosen.steps, BUILDERS[chosen.model]) for size in sizes]
        found: list[list[float]] = [[] for _ in sizes]
        for _ in tqdm(range(chosen.rounds), desc=axis, file=sys.stderr):
            for times, measure in zip(found, measures, strict=True):
                times.append(measure())
        medians = [statistics.median(times) for times in found]
        several = len(sizes) > 1
        rows = [
            {
                "model": chosen.model,
                "axis": axis,
                "size": size,
                "ms_median": 1e3 * median,
                "ms_min": 1e3 * min(times),
                "ms_max": 1e3 * max(times),
                "times_first": median / medians[0],
                "exponent": slope(sizes, medians) if several else math.nan,
                "exponent_end": slope(sizes[-2:], medians[-2:]) if several else math.nan,
                "threads": torch.get_num_threads(),
            }
            for size, median, times in zip(sizes, medians, found, strict=True)
        ]
        put_shown(rows, ("model", "axis"), f"{command} --axes '{axis}'", chosen.out)


if __name__ == "__main__":
    main()
