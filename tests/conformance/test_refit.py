"""What a second fit continues and what it starts anew: weights and KL weights go on, the clock does not."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import FREQ, H, Recorder, differing, fitted, state, values
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.utils import PredictionIntervals

HOMEO = {"control": "homeo", "control_warmup": 0, "control_every": 1, "max_steps": 6, "patience_checks": 0}
HOMEO |= {"thermostat_rate": 0.02, "kl_weight_max": 1.0}  # no weight reaches its limit: a second fit can move it


def assert_continued(end: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> None:
    """`start` of a fit carries on from the `end` of the one before, with a new clock."""
    anew = (
        "step",
        "kl_ema",
        "energy_ema",
        "kl_updates",
        "ema_updates",
        "batch_sums",
        "batch_count",
        "projection_sum",
    )
    for name, tensor in start.items():
        if name.startswith("controllers.") and name.rsplit(".", 1)[-1] in (*anew, "projection_count"):
            assert not tensor.any(), name
        elif name.endswith("alive_ema"):
            assert bool((tensor == 1).all())
        elif name == "best_value":
            assert math.isinf(float(tensor))
        elif name not in ("scaler.floor", "history._extra_state"):  # estimated, recorded anew on the data of this fit
            assert torch.equal(tensor, end[name]), name


def test_second_fit(make, y_panel):
    recorder = Recorder()
    nf = fitted(make(**HOMEO, callbacks=[recorder]), df=y_panel)
    (first,) = recorder.ends
    start = recorder.starts[0]
    assert not torch.equal(first["controllers.0.log_kl_weight"], start["controllers.0.log_kl_weight"])
    nf.fit(y_panel, val_size=H)
    assert len(recorder.starts) == 2
    assert_continued(first, recorder.starts[1])
    second = nf.models[0]
    assert int(recorder.last["controllers.0.step"]) == HOMEO["max_steps"]
    assert not torch.equal(second.controllers[0].log_kl_weight, first["controllers.0.log_kl_weight"])
    fresh = [value for step, value in second.valid_trajectories[-3:]]
    assert float(second.metrics["ptl/val_loss"]) == min(fresh)


def test_use_init_models_restores_everything(make, y_panel):
    recorder = Recorder()
    nf = fitted(make(**HOMEO, callbacks=[recorder]), df=y_panel)
    forecast, end = nf.predict(), state(nf.models[0])
    with pytest.warns(UserWarning, match="use_init_models"):
        nf.fit(y_panel, val_size=H, use_init_models=True)
    assert differing(recorder.starts[0], recorder.starts[1]) == []
    assert differing(end, state(nf.models[0])) == []
    pd.testing.assert_frame_equal(nf.predict(), forecast, check_exact=True)


def test_cross_validation_with_refit(make, y_panel):
    recorder = Recorder()
    nf = NeuralForecast(models=[make(**HOMEO, callbacks=[recorder])], freq=FREQ)
    windows = nf.cross_validation(y_panel, n_windows=3, step_size=H, val_size=H, refit=True)
    assert np.isfinite(values(windows)).all()
    assert len(recorder.starts) == 3
    for end, start in zip(recorder.ends, recorder.starts[1:], strict=False):
        assert_continued(end, start)


@pytest.mark.parametrize("method", ["conformal_distribution", "conformal_error"])
def test_conformal_calibration(make, y_panel, method):
    recorder = Recorder()
    nf = NeuralForecast(models=[make(loss=MAE(), **HOMEO, callbacks=[recorder])], freq=FREQ)
    nf.fit(y_panel, val_size=H, prediction_intervals=PredictionIntervals(n_windows=2, method=method))
    assert len(recorder.starts) == 2  # the calibration trains, then the model trains on
    assert_continued(recorder.ends[0], recorder.starts[1])
    forecast = nf.predict(level=[80])
    assert np.isfinite(values(forecast)).all()
    assert (forecast["m-lo-80"] < forecast["m-hi-80"]).all()


def test_the_users_own_model_is_never_trained(make, y_panel):
    model = make()
    before = state(model)
    fitted(model, df=y_panel)
    assert differing(before, state(model)) == []
