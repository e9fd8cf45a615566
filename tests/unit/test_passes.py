"""Dropout that follows how often a fit sees its windows."""

import numpy as np
import pandas as pd
import pytest
from neuralforecast import NeuralForecast

from vdn_forecast import EVE, EVEEnsemble
from vdn_forecast._compat import gather

H, L, ROWS = 4, 8, 60
WINDOWS = ROWS - 10 - L  # per series: those that end in validation rows are cut, not left out
TINY = {
    **{"hidden_size": 8, "n_units": 8, "head_size": 8, "val_check_steps": 2, "alias": "m"},
    **{"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False},
}


def panel(n_series: int) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range("2020", periods=ROWS, freq="D"),
                "y": generator.standard_normal(ROWS),
            }
        )
        for i in range(n_series)
    )


def fitted(model: EVE, n_series: int) -> EVE:
    forecaster = NeuralForecast(models=[model], freq="D")
    forecaster.fit(panel(n_series), val_size=10)
    return forecaster.models[0]


@pytest.mark.parametrize(
    ("steps", "windows", "n_series", "dropout"),
    [
        (2, 10, 4, 0.0),  # 20 of 4 x 42 windows
        (2, WINDOWS, 2, 0.0),  # as many as there are
        (3, WINDOWS, 2, 0.3),
        (1, None, 4, 0.0),  # a step takes all windows of its series
        (2, None, 4, 0.3),
    ],
)
def test_no_dropout_where_no_window_is_seen_twice(steps, windows, n_series, dropout):
    model = fitted(EVE(H, L, max_steps=steps, windows_batch_size=windows, **TINY), n_series)
    assert model.network.encoder.dropout.p == dropout
    assert model.hparams.dropout is None


def test_series_that_no_step_takes_count():
    for steps, dropout in ((4, 0.0), (5, 0.3)):
        model = fitted(EVE(H, L, max_steps=steps, windows_batch_size=None, batch_size=2, **TINY), 8)
        assert model.network.encoder.dropout.p == dropout


def test_a_second_fit_has_its_own():
    forecaster = NeuralForecast(models=[EVE(H, L, max_steps=2, windows_batch_size=WINDOWS, **TINY)], freq="D")
    for n_series, dropout in ((4, 0.0), (1, 0.3), (4, 0.0)):
        forecaster.fit(panel(n_series), val_size=10)
        assert forecaster.models[0].network.encoder.dropout.p == dropout


def test_a_given_dropout_stays():
    assert (
        fitted(EVE(H, L, max_steps=2, dropout=0.25, windows_batch_size=1, **TINY), 2).network.encoder.dropout.p == 0.25
    )
    assert fitted(EVE(H, L, max_steps=2, dropout=0.0, **TINY), 2).network.encoder.dropout.p == 0.0


def test_every_member_of_an_ensemble_follows():
    model = fitted(EVEEnsemble(H, L, n_members=2, max_steps=2, windows_batch_size=10, **TINY), 4)
    shares = [member.network.encoder.dropout.p for member in (model, *model.others)]
    assert shares == [0.0, 0.0]


def test_the_windows_of_a_fit_are_counted_once(monkeypatch):
    built = []
    original = gather.PanelWindows.__init__

    def counted(self, *args, **kwargs):
        built.append(1)
        original(self, *args, **kwargs)

    monkeypatch.setattr(gather.PanelWindows, "__init__", counted)
    fitted(EVE(H, L, max_steps=2, windows_batch_size=10, control="off", **TINY), 4)
    during = len(built)
    built.clear()
    fitted(EVE(H, L, max_steps=2, windows_batch_size=10, control="off", dropout=0.1, **TINY), 4)
    assert during == len(built)
