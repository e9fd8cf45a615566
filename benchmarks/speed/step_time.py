"""Wall time of one training step, loader included, models in turn A B A B in one process.

    python -m benchmarks.speed.step_time --rounds 5 --steps 20 --out benchmarks/results/step_time.csv
    python -m benchmarks.speed.step_time --models EVE EVE.small AREVE NHITS DLinear PatchTST TiDE

Every round trains each model for some steps on the same synthetic panel; a round's figure is the median time
between the ends of two steps. Ratios are taken round by round, so that a slow spell of the machine hits both.
Models of NeuralForecast run at their defaults, on standardised windows; with --gathered they also run on gathered ones,
as the runner's accuracy cells do. A window of iTransformer's is one of all series at once. `EVE compiled` needs a C++
compiler. Rows of the same command replace the file's.
"""

import argparse
import shlex
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from tqdm import tqdm

from vdn_forecast._compat import on_gathered_windows
from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel

from ..rows import put


def compiled(**arguments: Any) -> Any:
    """EVE whose network runs under `torch.compile`; the loss, its gradient in closed form, stays as it is."""
    model = BUILDERS["EVE"](**arguments)
    model.network.compile()
    return model


OURS = {"EVE": "EVE", "EVE.small": "EVE.small", "twin": "EVE.twin", "AREVE": "AREVE", "ARVAE": "ARVAE"}
VARIANTS: dict[str, Callable[..., Any]] = {
    "EVE compiled": compiled,
    "EVE bf16": partial(BUILDERS["EVE"], precision="bf16-mixed"),
}
HOST = ("NHITS", "DLinear", "PatchTST", "TiDE", "iTransformer")
GATHERED = " gathered"


class StepClock(pl.Callback):
    """Notes when each training step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Called by Lightning."""
        self.ends.append(time.perf_counter())

    def median(self) -> float:
        """Seconds between two ends, the first steps left out."""
        return statistics.median(b - a for a, b in zip(self.ends[2:], self.ends[3:], strict=False))


def step_seconds(builder: Callable[..., Any], dataset: TimeSeriesDataset, steps: int, batch_size: int) -> float:
    """Median seconds of one step of a fresh model."""
    clock = StepClock()
    model = builder(
        h=96,
        input_size=336,
        max_steps=steps,
        windows_batch_size=256,
        batch_size=batch_size,
        callbacks=[clock],
        **QUIET_TRAINER,
    )
    with quiet_lightning():
        model.fit(dataset, val_size=0)
    return clock.median()


def _ratios(one: list[float], other: list[float]) -> list[float]:
    return [a / b for a, b in zip(one, other, strict=True)]


def main() -> None:
    """Measure and write one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=7)
    parser.add_argument("--rows", type=int, default=8640)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument(
        "--models", nargs="+", default=["EVE", "twin", "NHITS", "DLinear"], choices=[*OURS, *VARIANTS, *HOST]
    )
    parser.add_argument("--gathered", action="store_true", help="NeuralForecast's models on gathered windows as well")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_memory()
    dataset = as_dataset(synthetic_panel(chosen.series, chosen.rows).values)
    models: dict[str, Callable[..., Any]] = {}
    for name in ["EVE", *(each for each in chosen.models if each != "EVE")]:  # all ratios are to EVE
        if name in OURS:
            models[name] = BUILDERS[OURS[name]]
            continue
        if name in VARIANTS:
            models[name] = VARIANTS[name]
            continue
        cls: Any = BUILDERS[name]
        whole = {"n_series": chosen.series} if cls.MULTIVARIATE else {}
        models[name] = partial(cls, scaler_type="standard", **whole)
        if chosen.gathered:
            gathered: Any = on_gathered_windows(cls)
            models[name + GATHERED] = partial(gathered, scaler_type="standard")
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in tqdm(range(chosen.rounds), desc="rounds"):
        for name, builder in models.items():
            seconds[name].append(step_seconds(builder, dataset, chosen.steps, chosen.batch_size))
    rows = []
    for name in models:
        ratios = _ratios(seconds[name], seconds["EVE"])
        gain = _ratios(seconds[name.removesuffix(GATHERED)], seconds[name])
        rows.append(
            {
                "panel": f"{chosen.series} x {chosen.rows}",
                "model": name,
                "step_ms_median": 1e3 * statistics.median(seconds[name]),
                "step_ms_min": 1e3 * min(seconds[name]),
                "step_ms_max": 1e3 * max(seconds[name]),
                "times_eve_median": statistics.median(ratios),
                "times_eve_min": min(ratios),
                "times_eve_max": max(ratios),
                "gain_median": statistics.median(gain),
                "gain_min": min(gain),
                "gain_max": max(gain),
                "rounds": chosen.rounds,
                "threads": torch.get_num_threads(),
            }
        )
    table = pd.DataFrame(rows)
    if not chosen.gathered:
        table = table.drop(columns=["gain_median", "gain_min", "gain_max"])
    print(table.to_string(index=False, float_format="%.2f"))
    if chosen.out:
        command = (
            f"python -m benchmarks.speed.step_time --series {chosen.series} --rows {chosen.rows} "
            f"--batch-size {chosen.batch_size} --rounds {chosen.rounds} --steps {chosen.steps} "
            f"--models {shlex.join(chosen.models)}" + (" --gathered" if chosen.gathered else "")
        )
        put(table, ("panel", "threads", "model", "command"), command, chosen.out)


if __name__ == "__main__":
    main()
