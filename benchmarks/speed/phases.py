"""What surrounds the training steps: start of a fit, one validation check, forecasts of many windows, peak memory.

    python -m benchmarks.speed.phases --rounds 3 --out benchmarks/results/phases.csv
    python -m benchmarks.speed.phases --series 21 --rows 36887 --models EVE NHITS DLinear --out FILE

A round fits every model once on the same synthetic panel (h = 96, look-back 336, windows_batch_size 256), from a
DataFrame through NeuralForecast, for three steps and one validation check on the last fifth of every series. `start`
runs from the call of `fit` to the first step (Lightning's trial check before it left out), `check` is the validation
check after the last step, all windows of that part, `predict` the model's own of the last windows of every series. EVE,
its twin and AREVE forecast a mixture and are scored by its CRPS, the others a point and its absolute error: their
defaults, on standardised windows. Ratios are taken round by round. Memory is that of a process of its own: its peak
over what it held before the fit.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from neuralforecast import NeuralForecast
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.evaluator import peak_memory_mb
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel

from ..rows import put_shown
from .step_time import HOST, OURS

H, INPUT_SIZE, STEPS = 96, 336, 3
PHASES = ("start", "check", "predict")


class Clock(pl.Callback):
    """Notes when training and validation begin and end.

    Its marks lie outside of it: NeuralForecast fits a copy of the model and of its callbacks.
    """

    def __init__(self, marks: dict[str, float]) -> None:
        self.note = partial(_note, marks)

    def on_train_batch_start(self, *_: Any) -> None:
        """Called by Lightning."""
        self.note("first step")

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Called by Lightning."""
        self.note("trial begins" if trainer.sanity_checking else "check begins")

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Called by Lightning."""
        self.note("trial ends" if trainer.sanity_checking else "check ends")

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Clock":
        return self


def _note(marks: dict[str, float], name: str) -> None:
    marks.setdefault(name, time.perf_counter())


def model_named(name: str, n_series: int, clock: Clock) -> Any:
    """A fresh model at its defaults, on standardised windows where it is NeuralForecast's."""
    usual: dict[str, Any] = {"callbacks": [clock], "inference_windows_batch_size": 1024, **QUIET_TRAINER}
    usual |= {"h": H, "input_size": INPUT_SIZE, "max_steps": STEPS, "val_check_steps": STEPS, "windows_batch_size": 256}
    if name in OURS:
        return BUILDERS[OURS[name]](**usual)
    cls: Any = BUILDERS[name]
    whole = {"n_series": n_series} if cls.MULTIVARIATE else {}
    return cls(scaler_type="standard", **usual, **whole)


def seconds_of(name: str, panel: Any, frame: Any, origins: int) -> dict[str, float]:
    """Seconds of every phase of one model."""
    marks: dict[str, float] = {}
    with quiet_lightning():
        forecaster = NeuralForecast(models=[model_named(name, len(panel.series), Clock(marks))], freq="h")
        began = time.perf_counter()
        forecaster.fit(frame, val_size=len(panel.values) // 5)
        model, dataset = forecaster.models[0], as_dataset(panel.values)
        model.set_test_size(H + origins - 1)
        middle = time.perf_counter()
        forecasts = model.predict(dataset, step_size=1)
        ended = time.perf_counter()
    assert len(forecasts) == len(panel.series) * origins * H
    return {
        "start": marks["first step"] - began - (marks.get("trial ends", 0.0) - marks.get("trial begins", 0.0)),
        "check": marks["check ends"] - marks["check begins"],
        "predict": ended - middle,
    }


def memory_of(name: str, panel: Any, frame: Any, origins: int) -> dict[str, float]:
    """Peak memory of this process, MB, beyond what it was before."""
    before = peak_memory_mb()
    seconds_of(name, panel, frame, origins)
    return {"memory_mb": peak_memory_mb() - before}


def main() -> None:
    """Measure in turn; earlier rows of the same panel, model and threads are replaced."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", type=int, default=7)
    parser.add_argument("--rows", type=int, default=8640)
    parser.add_argument("--origins", type=int, default=300, help="forecast of every series, one row apart")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=["EVE", "twin", "AREVE", *HOST], choices=[*OURS, *HOST])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    keep_memory()
    panel = synthetic_panel(chosen.series, chosen.rows)
    frame = panel.frame(len(panel.values))
    if chosen.child:
        print(json.dumps(memory_of(chosen.child, panel, frame, chosen.origins)))
        return
    names = ["EVE", *(name for name in chosen.models if name != "EVE")]  # all ratios are to EVE
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in tqdm(range(chosen.rounds), desc="rounds", file=sys.stderr):
        for name in names:
            seconds[name].append(seconds_of(name, panel, frame, chosen.origins))
    size = ["--series", str(chosen.series), "--rows", str(chosen.rows), "--origins", str(chosen.origins)]
    rows = []
    for name in names:
        child = [sys.executable, "-m", "benchmarks.speed.phases", *size, "--child", name]
        done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
        row: dict[str, Any] = {"panel": f"{chosen.series} x {chosen.rows}", "model": name, "origins": chosen.origins}
        row |= {"rounds": chosen.rounds, "threads": torch.get_num_threads()}
        for phase in PHASES:
            times = [each[phase] for each in seconds[name]]
            ratios = [each[phase] / eve[phase] for each, eve in zip(seconds[name], seconds["EVE"], strict=True)]
            row |= {f"{phase}_seconds": statistics.median(times), f"{phase}_times_eve": statistics.median(ratios)}
            row |= {f"{phase}_times_eve_min": min(ratios), f"{phase}_times_eve_max": max(ratios)}
        rows.append(row | json.loads(done.stdout.splitlines()[-1]))
    command = ["python", "-m", "benchmarks.speed.phases", *size, "--rounds", str(chosen.rounds), "--models"]
    put_shown(rows, ("panel", "model", "threads"), shlex.join([*command, *chosen.models]), chosen.out)


if __name__ == "__main__":
    main()
