"""A small search for tests: seconds, one thread."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.utils import AirPassengersPanel
from optuna.distributions import CategoricalDistribution, FloatDistribution

from vdn_forecast import AutoEVE
from vdn_forecast.search import open_storage

H, VAL = 12, 24
PANEL: pd.DataFrame = AirPassengersPanel[["unique_id", "ds", "y"]]
SMALL: dict[str, Any] = {
    **{"n_units": 8, "hidden_size": 8, "head_size": 8, "input_size": 24, "latent_dim": 1, "depth": 1},
    **{"max_steps": 8, "val_check_steps": 4, "windows_batch_size": 16, "accelerator": "cpu"},
    "control": CategoricalDistribution(("off", "batchnorm")),
    "learning_rate": FloatDistribution(1e-3, 1e-2, log=True),
}


def auto(config: dict[str, Any] | None = None, **kwargs: Any) -> AutoEVE:
    """A small `AutoEVE` called "m" without constraints, unless told otherwise."""
    merged = {"num_samples": 4, "constraints": {}, "alias": "m", **kwargs}
    return AutoEVE(h=H, config={**SMALL, **(config or {})}, **merged)


def searched(model: AutoEVE) -> AutoEVE:
    """The same, fitted."""
    nf = NeuralForecast(models=[model], freq="ME")
    nf.fit(PANEL, val_size=VAL)
    return nf.models[0]


def study_in(path: Path) -> optuna.Study:
    """The only study of a storage file."""
    storage = open_storage(path)
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


@contextmanager
def another_process(path: Path, number: int, steps: int = 8) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a search to so many finished trials; killed at the end if it still runs."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, str(path), str(number), str(steps)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_trials(path: Path, number: int, process: subprocess.Popen[bytes], deadline: float = 900) -> None:
    """Wait until a storage has so many finished trials."""
    until = time.monotonic() + deadline
    while True:
        assert time.monotonic() < until, "no trials"
        assert process.poll() in (None, 0), "the process failed"
        try:
            if sum(trial.state.is_finished() for trial in study_in(path).trials) >= number:
                return
        except ValueError:  # no study yet
            pass
        time.sleep(0.05)


if __name__ == "__main__":  # a process of its own: storage, number of trials, steps
    import torch

    torch.set_num_threads(1)
    path, number, steps = sys.argv[1:]
    searched(auto({"max_steps": int(steps)}, num_samples=int(number), storage=path, study_name="s", seed=7))
