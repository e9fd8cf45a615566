"""Every ETTh1 test window: EVE's mixture, 19 quantiles and exact CRPS, beside NHITS with a DistributionLoss.

    python -m benchmarks.speed.prediction --rounds 3 --out benchmarks/results/prediction.csv

7 series, h = 96, look-back 336, one process, models in turn. NHITS (the distribution is Normal) through its own
`predict`, its 19 quantiles from 1,000 samples a step as NeuralForecast makes them; no score is computed for it. EVE by
the runners' streaming evaluation, all scores included, and through `predict` with 19 quantiles. `EVE, 1 sample` and
`EVE, 16 samples` are `predict` with other numbers of latent samples. Models are trained for one step: what they
forecast has no part in the cost.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from neuralforecast.losses.pytorch import DistributionLoss
from neuralforecast.models import NHITS
from tqdm import tqdm

from vdn_forecast import EVE
from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.forecasts import as_dataset, blocks
from vdn_forecast.evaluation.protocols import ltsf
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.scores import ScoreSums
from vdn_forecast.mixture import LEVELS_19

from ..rows import put_shown

DATASET, H, INPUT_SIZE = "ETTh1", 96, 336


def trained(cls: Any, dataset: Any, **arguments: Any) -> Any:
    """A model that can predict."""
    usual: dict[str, Any] = {"max_steps": 1, "val_check_steps": 1, "inference_windows_batch_size": 1024}
    model = cls(h=H, input_size=INPUT_SIZE, **usual, **arguments, **QUIET_TRAINER)
    with quiet_lightning():
        model.fit(dataset, val_size=H)
    return model


def predicted(model: Any, dataset: Any, n_test: int) -> int:
    """Forecasts of all test windows with 19 quantiles; how many numbers came back."""
    model.set_test_size(n_test)
    with quiet_lightning():
        return len(model.predict(dataset, step_size=1, quantiles=list(LEVELS_19)))


def main() -> None:
    """Measure in turn; earlier rows of as many threads are replaced."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--origins", type=int, help="of each series, the last ones; all unless given")
    parser.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR)")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_memory()
    scaled = ltsf(DATASET).prepare(load_dataset(DATASET, chosen.data))
    first, last = len(scaled.values) - scaled.borders[2], len(scaled.values)
    if chosen.origins:
        first = max(first, last - H - chosen.origins + 1)
    dataset = as_dataset(scaled.values)

    def streamed(model: Any) -> int:
        sums = ScoreSums(len(scaled.series), H)
        for block in blocks(model, scaled, 1, INPUT_SIZE, H, first, last, None):
            sums.update(block)
        return int(sums.count.sum())

    usual = trained(EVE, dataset)
    measures: dict[str, Callable[[], int]] = {
        "EVE, all scores": partial(streamed, usual),
        "EVE, predict": partial(predicted, usual, dataset, last - first),
        "NHITS, DistributionLoss, predict": partial(
            predicted, trained(NHITS, dataset, loss=DistributionLoss("Normal")), dataset, last - first
        ),
    }
    for samples in (1, 16):
        model = trained(EVE, dataset, n_predict_samples=samples)
        measures[f"EVE, {samples} sample{'s' * (samples > 1)}"] = partial(predicted, model, dataset, last - first)
    seconds: dict[str, list[float]] = {name: [] for name in measures}
    for _ in tqdm(range(chosen.rounds), desc="rounds", file=sys.stderr):
        for name, measure in measures.items():
            start = time.perf_counter()
            assert measure() > 0
            seconds[name].append(time.perf_counter() - start)
    rows = []
    for name, times in seconds.items():
        base = "EVE, 1 sample" if name.endswith(("sample", "samples")) else "EVE, all scores"
        ratios = [a / b for a, b in zip(times, seconds[base], strict=True)]
        rows.append(
            {
                "case": name,
                "windows": len(scaled.series) * (last - first - H + 1),
                "threads": torch.get_num_threads(),
                "seconds": statistics.median(times),
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "ratio_to": base,
                "rounds": chosen.rounds,
            }
        )
    command = f"python -m benchmarks.speed.prediction --rounds {chosen.rounds}"
    command += f" --origins {chosen.origins}" if chosen.origins else ""
    put_shown(rows, ("case", "windows", "threads"), command, chosen.out)


if __name__ == "__main__":
    main()
