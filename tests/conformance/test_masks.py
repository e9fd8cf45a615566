"""Masked values and padding never influence a fit or a forecast."""

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import FREQ, INPUT_SIZE, LOSSES, H, differing, fitted, state, values
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import GMM, MSE, DistributionLoss
from neuralforecast.tsdataset import TimeSeriesDataset

from vdn_forecast._compat import window_batches

MASKED_LOSSES = {
    **LOSSES,
    "MSE": MSE,
    "StudentT": lambda: DistributionLoss("StudentT", level=[80]),
    "GMM": lambda: GMM(n_components=3, level=[80]),
}
FILLS = (0.0, 1e6, -1e6, np.nan)


def masked(panel: pd.DataFrame, fill: float) -> pd.DataFrame:
    """`fill` under a mask of 0: in the train rows, in the validation rows and in the last look-back."""
    step = panel.groupby("unique_id").cumcount()
    hidden = step.isin([0, 40, 41, 42, 43, 90, 125, 136, 140, 143])
    return panel.assign(y=panel.y.mask(hidden, fill), available_mask=(~hidden).astype(float))


@pytest.mark.parametrize("loss", MASKED_LOSSES)
@pytest.mark.parametrize("scaler_type", ["window", "identity"])
def test_masked_values_change_nothing(make, y_panel, loss, scaler_type):
    outcomes = []
    for fill in FILLS:
        # a learning rate that keeps unscaled inputs from diverging
        model = make(loss=MASKED_LOSSES[loss](), scaler_type=scaler_type, learning_rate=1e-4)
        nf = fitted(model, df=masked(y_panel, fill))
        outcomes.append((nf.models[0].train_trajectories, state(nf.models[0]), nf.predict()))
        assert np.isfinite([value for _, value in nf.models[0].train_trajectories]).all()
        assert np.isfinite([value for _, value in nf.models[0].valid_trajectories]).all()
        assert np.isfinite(values(outcomes[-1][2])).all()
    for trajectory, weights, forecast in outcomes[1:]:
        assert trajectory == outcomes[0][0]
        assert differing(weights, outcomes[0][1]) == []
        pd.testing.assert_frame_equal(forecast, outcomes[0][2], check_exact=True)


def test_masked_rows_are_not_read_at_prediction(make, y_panel):
    """The same with a frame given to `predict`, and unmasked values do matter."""
    nf = fitted(make(), df=masked(y_panel, 0.0))
    expected = nf.predict(df=masked(y_panel, 0.0))
    for fill in FILLS[1:]:
        pd.testing.assert_frame_equal(nf.predict(df=masked(y_panel, fill)), expected, check_exact=True)
    assert not np.allclose(values(nf.predict(df=y_panel)), values(expected))


@pytest.mark.parametrize("fill", [1e6, -1e6, np.nan])
def test_forward_ignores_masked_inputs(make, y_panel, fill):
    dataset = TimeSeriesDataset.from_df(y_panel)[0]
    model = make().eval()
    (batch,) = window_batches(model, dataset, "train", 64, torch.arange(0, 200, 5))
    inputs = batch["windows_batch"]
    hidden = torch.rand(inputs["insample_y"].shape, generator=torch.Generator().manual_seed(0)) < 0.3
    inputs["insample_mask"] = torch.where(hidden, 0.0, inputs["insample_mask"])
    expected = model(inputs)
    inputs["insample_y"] = torch.where(hidden, fill, inputs["insample_y"])
    assert torch.equal(model(inputs), expected)
    inputs["insample_mask"] = torch.zeros_like(inputs["insample_mask"])
    assert torch.isfinite(model(inputs)).all()


def test_short_series_are_padded(make, y_panel):
    """One series shorter than the look-back: its forecast is finite and does not depend on the other."""
    short = y_panel[(y_panel.unique_id == "Airline1") | (y_panel.groupby("unique_id").cumcount() >= 124)]
    nf = NeuralForecast(models=[make(start_padding_enabled=True)], freq=FREQ)
    nf.fit(short, val_size=0)
    assert (short.unique_id == "Airline2").sum() < INPUT_SIZE
    together = nf.predict()
    alone = nf.predict(df=short[short.unique_id == "Airline2"])
    assert np.isfinite(values(together)).all()
    np.testing.assert_allclose(values(together[together.unique_id == "Airline2"]), values(alone), rtol=1e-5)


def test_a_fully_masked_series_does_not_harm_the_other(make, y_panel):
    gone = y_panel.unique_id == "Airline2"
    frame = y_panel.assign(y=y_panel.y.mask(gone, 0.0), available_mask=(~gone).astype(float))
    nf = fitted(make(), df=frame)
    assert np.isfinite(values(nf.predict())).all()
    alone = fitted(make(), df=frame[~gone])
    assert nf.models[0].scaler.floor == alone.models[0].scaler.floor
    assert len(nf.predict()) == 2 * H
