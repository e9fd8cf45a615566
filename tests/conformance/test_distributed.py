"""Two processes, each with its own series, end in one state; the process that started them has it, too.

Prediction with two devices does not work in NeuralForecast (its issue 1037): ours takes one.
"""

import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from model_list import MODELS
from safetensors.torch import load_file
from two_processes import CONTROLS, has

HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=MODELS, ids=lambda cls: cls.__name__)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind."""
    path = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "two_processes.py"), str(path), request.param.__name__]
    done = subprocess.run(command, env=environment, cwd=path, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return path


@pytest.mark.parametrize("control", CONTROLS)
def test_both_processes_hold_one_state(folder, control, request):
    cls = request.node.callspec.params["folder"]
    if not has(cls.__name__, control):
        pytest.skip("this class has no such regime")
    losses = [json.loads((folder / f"{control}-{rank}.json").read_text()) for rank in (0, 1)]
    assert len(losses[0]) == len(losses[1]) == 6
    assert all(a != b for a, b in zip(*losses, strict=True))  # they saw different windows
    forecasts = pd.read_csv(folder / f"{control}.csv")
    assert len(forecasts) > 0
    assert forecasts.notna().all(axis=None)
    first, second, main = (load_file(folder / f"{control}-{who}.safetensors") for who in (0, 1, "main"))
    assert int(first["controllers.0.step"]) == 6
    assert first["controllers.0.energy_ema"].min() > 0
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
        assert torch.equal(tensor, main[name]), name
    if control == "homeo":
        start = math.log(inspect.signature(cls).parameters["kl_weight"].default)
        assert first["controllers.0.log_kl_weight"].sub(start).abs().gt(1e-5).any()  # the thermostat acted
    elif control == "balance":
        assert first["network.stack.layers.0.unit_scale.scale"].ne(1).all()
    else:
        assert first["network.stack.layers.0.mu_transform.running_mean"].any()
