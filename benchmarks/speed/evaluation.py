"""Streaming evaluation against `NeuralForecast.cross_validation(use_fitted=True)` plus utilsforecast's measures.

    python benchmarks/speed/evaluation.py --models EVE NHITS --rounds 3 --out benchmarks/results/evaluation.csv

Both score the same fitted model over every test window of ETTh1, h = 96, look-back 336, by the same measures. The
runners' include the exact CRPS and the density of a mixture, which cross_validation can give through the mixture's
parameters alone (`return_params`): the row EVE. The row EVE-quantiles lets cross_validation off with what follows from
the 19 quantiles, while the runners' way still finds everything. Each run is a process of its own, in turn, so that its
highest memory is its own; seconds do not count imports and loading. The model is trained for a few steps only: what it
forecasts has no part in the cost.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast import NeuralForecast
from tqdm import tqdm
from utilsforecast.losses import mae, mqloss, mse

import vdn_forecast
from vdn_forecast import LatentMixture
from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.cells import versions
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.evaluator import peak_memory_mb
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.protocols import ltsf
from vdn_forecast.evaluation.quiet import quiet_lightning
from vdn_forecast.evaluation.scores import ScoreSums
from vdn_forecast.mixture import LEVELS_19, mixture_crps, mixture_log_prob

DATASET, H = "ETTh1", 96
MEASURES = ["mse", "mae", "mae_mean", "crps19", "crps_exact", "nll", "coverage80", "width80", "coverage90", "width90"]


def train(name: str, folder: Path, steps: int) -> None:
    """Save a model that has seen a few steps; its loss gives the 19 quantiles."""
    protocol, data = ltsf(DATASET), load_dataset(DATASET)
    scaled = protocol.prepare(data)
    n_train, n_val, _ = scaled.borders
    # cross_validation gives the quantiles that the loss was built with, and no others
    with_parameters = name == "EVE"
    chosen: dict[str, Any] = {"max_steps": steps, "random_seed": 1}
    if name.startswith("EVE"):
        name = "EVE"
        chosen["loss"] = LatentMixture(n_samples=4, quantiles=LEVELS_19, return_params=with_parameters)
    forecaster = NeuralForecast(
        models=[build_model(name, H, protocol.input_size, data.info.season, **chosen)],
        freq=data.info.freq,
    )
    with quiet_lightning():
        forecaster.fit(scaled.frame(n_train + n_val), val_size=n_val)
        forecaster.save(str(folder), save_dataset=True, overwrite=True)


def cross_validated(forecaster: NeuralForecast) -> dict[str, float]:
    """What a user writes: one frame of all forecasts, then measures of it."""
    scaled = ltsf(DATASET).prepare(load_dataset(DATASET))
    n_test = scaled.borders[2]
    frame = scaled.frame(len(scaled.values))
    frame = frame.groupby("unique_id", observed=True).tail(n_test + forecaster.models[0].input_size)
    forecasts = forecaster.cross_validation(frame, n_windows=None, test_size=n_test, step_size=1, use_fitted=True)
    label = str(forecaster.models[0])
    columns = [name for name in forecasts if name.startswith((f"{label}-", f"{label}_"))]
    parameters = [name for name in columns if name.startswith((f"{label}-mu", f"{label}-std"))]
    columns = [name for name in columns if name not in parameters]
    columns = list(forecasts[columns].mean().sort_values().index)  # from the lowest level to the highest
    if not columns:
        return {name: float(of(forecasts, models=[label])[label].mean()) for name, of in (("mse", mse), ("mae", mae))}
    if label not in forecasts:  # of quantiles alone: in order and their mean, as the runners take them
        forecasts[columns] = np.sort(forecasts[columns].to_numpy(), axis=1)
        forecasts[label] = forecasts[columns].mean(axis=1)
    pinball = mqloss(forecasts, models={label: columns}, quantiles=np.array(LEVELS_19))
    found = {
        "mse": float(mse(forecasts, models=[label])[label].mean()),
        "mae_mean": float(mae(forecasts, models=[label])[label].mean()),
        "mae": float(mae(forecasts, models=[columns[9]])[columns[9]].mean()),
        "crps19": 2 * float(pinball[label].mean()),
    }
    if parameters:
        found["crps_exact"], found["nll"] = of_mixtures(forecasts, label)
    for level, low, high in ((80, columns[1], columns[17]), (90, columns[0], columns[18])):
        covered = forecasts["y"].between(forecasts[low], forecasts[high])
        found[f"coverage{level}"] = float(covered.mean())
        found[f"width{level}"] = float((forecasts[high] - forecasts[low]).mean())
    return found


def of_mixtures(forecasts: pd.DataFrame, label: str) -> tuple[float, float]:
    """Mean CRPS and negative log-density from the columns of parameters, in pieces that fit a cache."""
    loc = [name for name in forecasts.columns if str(name).startswith(f"{label}-mu")]
    scale = [name for name in forecasts.columns if str(name).startswith(f"{label}-std")]
    crps = nll = 0.0
    for start in range(0, len(forecasts), 4096):
        piece = forecasts.iloc[start : start + 4096]
        y, mu, std = (torch.from_numpy(piece[names].to_numpy(np.float32, copy=True)) for names in ("y", loc, scale))
        crps += float(mixture_crps(y, mu, std).sum(dtype=torch.float64))
        nll -= float(mixture_log_prob(y, mu, std).sum(dtype=torch.float64))
    return crps / len(forecasts), nll / len(forecasts)


def streamed(forecaster: NeuralForecast) -> dict[str, float]:
    """The runners' way, with all of their measures."""
    protocol = ltsf(DATASET)
    scaled = protocol.prepare(load_dataset(DATASET))
    n_train, n_val, n_test = scaled.borders
    sums = ScoreSums(len(scaled.series), H)
    first = n_train + n_val
    for block in blocks(forecaster.models[0], scaled, 1, protocol.input_size, H, first, first + n_test, None):
        sums.update(block)
    summary = sums.summary()
    return {name: summary[name] for name in MEASURES if name in summary}


def child(side: str, folder: str, threads: int) -> None:
    """One measurement; its figures go to standard output as the last line."""
    torch.set_num_threads(threads)
    keep_memory()
    forecaster = vdn_forecast.load(folder)
    before = peak_memory_mb()
    started = time.perf_counter()
    with quiet_lightning():
        found = cross_validated(forecaster) if side == "cross_validation" else streamed(forecaster)
    print(json.dumps({"seconds": time.perf_counter() - started, "before": before, "peak": peak_memory_mb(), **found}))


def main() -> None:
    """Measure in turn and write one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["NHITS", "DLinear", "EVE"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        side, folder = chosen.child
        return child(side, folder, chosen.threads)
    rows = []
    for name in tqdm(chosen.models, unit="model"):
        with tempfile.TemporaryDirectory() as folder:
            train(name, Path(folder) / "fitted", chosen.steps)
            runs: dict[str, list[dict[str, float]]] = {"cross_validation": [], "streaming": []}
            for _ in range(chosen.rounds):
                for way, done in runs.items():
                    command = [sys.executable, __file__, "--threads", str(chosen.threads), "--child", way]
                    out = subprocess.run([*command, f"{folder}/fitted"], stdout=subprocess.PIPE, text=True, check=True)
                    done.append(json.loads(out.stdout.splitlines()[-1]))
        rows.append({"model": name, **compared(runs["cross_validation"], runs["streaming"])})
    table = pd.DataFrame(rows).assign(
        dataset=DATASET,
        h=H,
        rounds=chosen.rounds,
        threads=chosen.threads,
        versions=versions(),
        command=f"python benchmarks/speed/evaluation.py --models {' '.join(chosen.models)} --rounds {chosen.rounds} "
        f"--steps {chosen.steps} --threads {chosen.threads}",
    )
    print(table.drop(columns=["versions", "command"]).T.to_string())
    if chosen.out:
        table.to_csv(chosen.out, index=False, float_format="%.6g")


def compared(usual: list[dict[str, float]], ours: list[dict[str, float]]) -> dict[str, float]:
    """Medians of both sides, their ratios round by round, and how far the scores are apart."""

    def median(name: str, runs: list[dict[str, float]]) -> float:
        return statistics.median(run[name] for run in runs)

    pairs = list(zip(usual, ours, strict=True))
    return {
        "cross_validation_seconds": median("seconds", usual),
        "streaming_seconds": median("seconds", ours),
        "times_faster": statistics.median(a["seconds"] / b["seconds"] for a, b in pairs),
        "cross_validation_peak_mb": median("peak", usual),
        "streaming_peak_mb": median("peak", ours),
        "times_less_memory": statistics.median(a["peak"] / b["peak"] for a, b in pairs),
        "times_less_memory_beyond_loading": statistics.median(
            (a["peak"] - a["before"]) / max(b["peak"] - b["before"], 1.0) for a, b in pairs
        ),
        "mse": ours[0]["mse"],
        "crps19": ours[0].get("crps19", float("nan")),
        "difference": max(abs(a[name] - b[name]) for a, b in pairs for name in MEASURES if name in a),
    }


if __name__ == "__main__":
    main()
