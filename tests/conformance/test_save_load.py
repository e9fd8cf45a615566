"""What `NeuralForecast.save` writes comes back bit for bit, without pickle, also in a process of its own."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import COMMON, LOSSES, build, differing, fitted, state, values
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import GMM
from neuralforecast.models import DLinear
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vdn_forecast
from vdn_forecast import EVE, LatentMixture
from vdn_forecast.models.path_noise import nearest, white

ROOT = Path(__file__).parents[2]

SETTINGS = {
    **{name: {"loss": loss} for name, loss in LOSSES.items()},
    "GMM": {"loss": lambda: GMM(n_components=3)},
    "studentt": {"loss": lambda: LatentMixture(base="studentt", df=4, level=[50])},
    "homeo": {
        "control": "homeo",
        "control_warmup": 0,
        "control_every": 1,
        "calibration": True,
        "sigma": "unit",
    },
    "deep": {"depth": 2, "latent_dim": 2, "emission": "gaussian", "learned_prior": True},
    "twin": {"neuron": "deterministic"},
    "nested": {"objective": {"crps": 1.0, "mixture": 0.5}, "optimizer": torch.optim.SGD},
    "limits": {"kl_weight_max": math.inf, "training_data_availability_threshold": [0.5, 0.25]},
    "identity": {"scaler_type": "identity"},
}


def there_and_back(nf: NeuralForecast, folder: Path) -> NeuralForecast:
    nf.save(str(folder), overwrite=True)
    return vdn_forecast.load(folder)


@pytest.mark.parametrize("setting", SETTINGS)
def test_state_hyperparameters_and_forecast(make, y_panel, tmp_path, setting):
    kwargs = dict(SETTINGS[setting])
    if "loss" in kwargs:
        kwargs["loss"] = kwargs["loss"]()
    nf = fitted(make(**kwargs), df=y_panel)
    forecast = nf.predict()
    model = nf.models[0]
    loaded = there_and_back(nf, tmp_path / "saved")
    again = loaded.models[0]
    assert type(again) is type(model)
    assert differing(state(model), state(again)) == []
    buffers = {name: (b.dtype, b.shape) for name, b in model.named_buffers()}
    assert buffers == {name: (b.dtype, b.shape) for name, b in again.named_buffers()}
    assert model.hparams.keys() == again.hparams.keys()
    for name, value in model.hparams.items():
        assert type(value) is type(again.hparams[name]), name
        if not isinstance(value, torch.nn.Module):
            assert value == again.hparams[name], name
    pd.testing.assert_frame_equal(forecast, loaded.predict(), check_exact=True)
    pd.testing.assert_frame_equal(forecast, nf.predict(), check_exact=True)


def test_a_loaded_model_trains_on(make, y_panel, tmp_path):
    nf = fitted(make(control="homeo", control_warmup=0, control_every=1), df=y_panel)
    loaded = there_and_back(nf, tmp_path / "saved")
    for each in (nf, loaded):
        each.fit(y_panel, val_size=12)
    assert differing(state(nf.models[0]), state(loaded.models[0])) == []


def test_several_models_come_back_by_alias(y_panel, tmp_path):
    """NeuralForecast sorts the files: order changes, aliases stay."""
    small = {"input_size": 24, "h": 12, "max_steps": 4, **{k: v for k, v in COMMON.items() if k != "alias"}}
    nf = fitted(
        build(EVE, alias="zeta"),
        build(EVE, alias=None),
        build(EVE, alias="EVE twin β", neuron="deterministic"),
        DLinear(alias="A", **small),
        df=y_panel,
    )
    forecast = nf.predict()
    loaded = there_and_back(nf, tmp_path / "saved")
    assert {repr(model) for model in loaded.models} == {"zeta", "EVE", "EVE twin β", "A"}
    again = loaded.predict()
    assert set(again.columns) == set(forecast.columns)
    pd.testing.assert_frame_equal(again[forecast.columns], forecast, check_exact=True)
    by_alias = {repr(model): model for model in loaded.models}
    for model in nf.models:
        assert differing(state(model), state(by_alias[repr(model)])) == []


@pytest.mark.parametrize("preset", ["small", "twin", "paper_homeo", "paper_off", "paper_projection"])
def test_presets_construct_fit_and_come_back(y_panel, tmp_path, preset):
    tiny = {"n_units": 16, "hidden_size": 16, "head_size": 16} if preset != "small" else {}
    run = {key: value for key, value in COMMON.items() if key not in ("h", "input_size")}
    nf = fitted(getattr(EVE, preset)(12, 24, **{**run, "max_steps": 2, "alias": preset, **tiny}), df=y_panel)
    forecast = nf.predict()
    assert np.isfinite(values(forecast)).all()
    loaded = there_and_back(nf, tmp_path / "saved")
    assert type(loaded.models[0]) is EVE
    assert differing(state(nf.models[0]), state(loaded.models[0])) == []
    pd.testing.assert_frame_equal(loaded.predict(), forecast, check_exact=True)


def test_nothing_saved_is_a_pickle(make, y_panel, tmp_path):
    fitted(make(), df=y_panel).save(str(tmp_path / "saved"), save_dataset=False)
    files = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert files
    assert not [name for name in files if name.endswith((".pkl", ".ckpt", ".pt", ".pickle"))]


def test_load_in_a_process_that_imports_nothing_else(make, y_panel, tmp_path):
    nf = fitted(make(), df=y_panel)
    nf.save(str(tmp_path / "saved"))
    forecast = nf.predict()
    code = (
        "import sys, torch; torch.set_num_threads(1); import vdn_forecast;"
        "nf = vdn_forecast.load(sys.argv[1]); nf.predict().to_json(sys.argv[2], double_precision=15)"
    )
    arguments = [str(tmp_path / "saved"), str(tmp_path / "forecast.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=environment, cwd=tmp_path, timeout=300)
    found = json.loads((tmp_path / "forecast.json").read_text())
    column = np.array(list(found["m"].values()), dtype=np.float32)
    assert np.array_equal(column, forecast["m"].to_numpy())


def older_artifact(nf: NeuralForecast, folder: Path, **instead: torch.Tensor) -> Path:
    """Save a model as before there was a buffer `path_kernel`, with these tensors instead."""
    nf.save(str(folder))
    (weights,) = folder.glob("m*.safetensors")
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    del tensors["path_kernel"]
    save_file({**tensors, **instead}, weights, metadata)
    return folder


def test_an_older_artifact_without_a_newer_buffer_loads(make, y_panel, tmp_path):
    """A buffer that a later version adds starts at its default; NeuralForecast alone refuses the file."""
    nf = fitted(make(), df=y_panel)
    folder = older_artifact(nf, tmp_path / "saved")
    with pytest.warns(UserWarning, match="path_kernel"):
        loaded = vdn_forecast.load(folder)
    assert loaded.models[0].path_kernel.tolist() == white().tolist()
    np.testing.assert_array_equal(values(loaded.predict()), values(nf.predict()))


def test_the_one_correlation_of_an_older_artifact_is_understood(make, y_panel, tmp_path):
    folder = older_artifact(fitted(make(), df=y_panel), tmp_path / "saved", path_correlation=torch.tensor(0.93))
    loaded = vdn_forecast.load(folder)
    assert loaded.models[0].path_kernel.tolist() == nearest(0.93).tolist()


def test_a_checkpoint_without_a_weight_is_refused(make, y_panel, tmp_path):
    nf = fitted(make(), df=y_panel)
    nf.save(str(tmp_path))
    (weights,) = tmp_path.glob("m*.safetensors")
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    name = next(name for name, p in nf.models[0].named_parameters() if p.requires_grad)
    del tensors[name]
    save_file(tensors, weights, metadata)
    with pytest.raises(Exception, match=name):
        vdn_forecast.load(tmp_path)
