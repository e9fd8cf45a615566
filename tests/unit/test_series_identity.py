"""`tell_series`: a static column of names, and models that take it."""

import numpy as np
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.models import NHITS
from neuralforecast.utils import AirPassengersPanel, AirPassengersStatic

import vdn_forecast
from vdn_forecast import EVE, tell_series

PANEL = AirPassengersPanel[["unique_id", "ds", "y"]]
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
SMALL = {"h": 12, "input_size": 24, "max_steps": 20, "val_check_steps": 20, **QUIET}
UNITS = {"n_units": 16, "hidden_size": 16, "head_size": 16}


def same_past_other_future() -> pd.DataFrame:
    """Two series of two years that are the same but for the last year, where one lies 2 above the other."""
    stamps = pd.date_range("2000-01-31", periods=36, freq="ME")
    y = np.sin(np.arange(36) / 3)
    low = pd.DataFrame({"unique_id": "low", "ds": stamps, "y": y})
    high = low.assign(unique_id="high", y=np.where(np.arange(36) < 24, y, y + 2))
    return pd.concat([low, high], ignore_index=True)


@pytest.mark.filterwarnings("ignore:EVE. no validation")
def test_what_only_the_name_tells_is_learnt():
    df = same_past_other_future()
    static, told = tell_series(df)
    common = {**SMALL, **UNITS, "max_steps": 200, "learning_rate": 1e-2}
    nf = NeuralForecast(models=[EVE(**common, alias="told", **told), EVE(**common, alias="untold")], freq="ME")
    nf.fit(df, static_df=static)
    past = df[df["ds"] <= "2001-12-31"]
    forecast = nf.predict(past, static_df=static).groupby("unique_id")[["told", "untold"]].mean()
    assert forecast.loc["high", "told"] - forecast.loc["low", "told"] > 0.3
    assert forecast.loc["high", "untold"] == pytest.approx(forecast.loc["low", "untold"], abs=1e-4)


@pytest.mark.filterwarnings("ignore:EVE. no validation")
@pytest.mark.parametrize("ids", ["text", "categorical", "numbers"])
def test_beside_another_model_saved_and_with_a_series_training_did_not_see(ids, tmp_path):
    df = PANEL
    if ids == "numbers":
        df = df.assign(unique_id=df["unique_id"].map({"Airline1": 7, "Airline2": 11}))
    elif ids == "categorical":
        df = df.assign(unique_id=df["unique_id"].astype("category"))
    static, told = tell_series(df)
    nf = NeuralForecast(models=[EVE(**SMALL, **UNITS, **told), NHITS(**SMALL, **told)], freq="ME")
    nf.fit(df, static_df=static)
    columns = ["EVE", "NHITS"]
    expected = nf.predict(df, static_df=static)[columns].to_numpy()
    nf.save(str(tmp_path), save_dataset=False)
    loaded = vdn_forecast.load(tmp_path)
    np.testing.assert_allclose(loaded.predict(df, static_df=static)[columns].to_numpy(), expected, rtol=1e-5)

    new = df[df["unique_id"] == df["unique_id"].iloc[0]].assign(unique_id=99 if ids == "numbers" else "new")
    forecast = nf.predict(new, static_df=tell_series(new)[0])
    assert np.isfinite(forecast[columns].to_numpy()).all()
    assert not np.allclose(forecast["EVE"], expected[:12, 0], rtol=1e-6)  # the mean of the embeddings, not the first's


def test_own_static_columns_stay():
    before = AirPassengersStatic.copy()
    static, told = tell_series(PANEL, AirPassengersStatic, column="airline", cat_emb_dim=3)
    pd.testing.assert_frame_equal(AirPassengersStatic, before)
    pd.testing.assert_frame_equal(static.drop(columns="airline"), before)
    assert list(static["airline"]) == list(static["unique_id"])
    assert told == {
        "stat_exog_list": ["airline"],
        "cat_exog_list": ["airline"],
        "categorical_cardinalities": {"airline": 2},
        "cat_emb_dim": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"df": PANEL.drop(columns="unique_id")}, ValueError, r"df lacks the column \['unique_id'\]"),
        ({"df": PANEL.to_numpy()}, TypeError, "df is a ndarray"),
        ({"static_df": [1]}, TypeError, "static_df is a list"),
        ({"static_df": AirPassengersStatic.drop(columns="unique_id")}, ValueError, "static_df lacks the column"),
        ({"static_df": AirPassengersStatic.iloc[[0, 1, 1]]}, ValueError, "repeats a series in 1 rows.*Airline2"),
        ({"static_df": AirPassengersStatic.iloc[:1]}, ValueError, "lacks 1 series of df.*Airline2"),
        ({"column": "y"}, ValueError, "column='y' is taken: df"),
        ({"static_df": AirPassengersStatic, "column": "airline1"}, ValueError, "column='airline1' is taken: static_df"),
        ({"cat_emb_dim": 0}, ValueError, "cat_emb_dim=0"),
        ({"cat_emb_dim": True}, ValueError, "cat_emb_dim=True"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        tell_series(**{"df": PANEL, **arguments})
