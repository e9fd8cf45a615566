"""Forecasts read straight from a network equal NeuralForecast's own `predict`."""

from typing import Any

import numpy as np
import pytest
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss, HuberMQLoss, IQLoss, MQLoss
from neuralforecast.models import NHITS, DeepAR, DLinear, NBEATSx, PatchTST, TSMixer

from vdn_forecast.evaluation import forecasts
from vdn_forecast.evaluation.forecasts import as_dataset, blocks, is_direct, predicted_block
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel
from vdn_forecast.mixture import LEVELS_19

H, L = 6, 12
SMALL: dict[str, Any] = {"h": H, "input_size": L, "max_steps": 3, "windows_batch_size": 16, **QUIET_TRAINER}


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (NHITS, {"scaler_type": "standard"}),
        (NHITS, {"scaler_type": "robust", "loss": MQLoss(quantiles=list(LEVELS_19))}),
        (NBEATSx, {"scaler_type": "identity", "loss": HuberMQLoss(quantiles=list(LEVELS_19))}),
        (DLinear, {"scaler_type": "minmax1", "moving_avg_window": 5}),
        (PatchTST, {"patch_len": 4, "stride": 2, "hidden_size": 8, "n_heads": 2, "dropout": 0.3}),
    ],
)
def test_direct_forecasts_equal_predict(cls: type, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    panel = synthetic_panel(3, 120)
    with quiet_lightning():
        forecaster = NeuralForecast(models=[cls(**SMALL, **arguments)], freq=panel.info.freq)
        forecaster.fit(panel.frame(90))
        model = forecaster.models[0]
        assert is_direct(model)
        direct = list(blocks(model, panel, 2, L, H, 90, 120, None))
        monkeypatch.setattr(forecasts, "is_direct", lambda model: False)
        usual = list(blocks(model, panel, 2, L, H, 90, 120, None))
    assert len(direct) == len(usual) > 0
    for a, b in zip(direct, usual, strict=True):
        for name in ("series", "y", "mean", "quantiles", "origin"):
            one, other = getattr(a, name), getattr(b, name)
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        NHITS(loss=DistributionLoss("Normal"), **SMALL),
        NHITS(loss=IQLoss(), **SMALL),
        TSMixer(n_series=3, **SMALL),
        DeepAR(**SMALL),
    ],
    ids=["distribution", "implicit quantiles", "multivariate", "recurrent"],
)
def test_what_samples_or_mixes_series_goes_through_predict(model: Any) -> None:
    assert not is_direct(model)


def test_the_protocols_windows_are_those_of_the_dataset() -> None:
    panel = synthetic_panel(2, 60)
    with quiet_lightning():
        forecaster = NeuralForecast(models=[DLinear(**SMALL, moving_avg_window=5)], freq=panel.info.freq)
        forecaster.fit(panel.frame(40))
        model = forecaster.models[0]
        block = next(iter(blocks(model, panel, 1, L, H, 40, 40 + H, None)))
        rows = panel.values[40 - L : 40 + H]
        same = predicted_block(model, as_dataset(rows), H, 1, block.series, block.y, None)
    np.testing.assert_allclose(block.y.numpy(), panel.values[40 : 40 + H].T, rtol=1e-6)
    torch.testing.assert_close(block.mean, same.mean, rtol=1e-5, atol=1e-5)
