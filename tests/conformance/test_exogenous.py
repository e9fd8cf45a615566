"""Future, historic, static and categorical columns reach the forecast."""

import numpy as np
import pandas as pd
import pytest
from model_list import H, fitted, values
from neuralforecast.utils import AirPassengersStatic

import vdn_forecast

FUTURE = {"futr_exog_list": ["trend"]}
HISTORIC = {"hist_exog_list": ["y_[lag12]"]}
STATIC = {"stat_exog_list": ["airline1", "airline2"]}
CATEGORICAL = {
    "cat_exog_list": ["month"],
    "futr_exog_list": ["month"],
    "categorical_cardinalities": {"month": 12},
}
STEPS = {"max_steps": 20, "learning_rate": 3e-3, "val_check_steps": 20}


@pytest.fixture
def split(panel: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train rows, and the next twelve months with their future columns."""
    later = panel.ds > "1959-12-31"
    return panel[~later], panel[later]


def with_month(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(month=frame.ds.dt.month_name())


def test_future(make, split):
    train, future = split
    nf = fitted(make(**FUTURE, **STEPS), df=train)
    plain = values(nf.predict(futr_df=future))
    assert np.isfinite(plain).all()
    assert not np.allclose(plain, values(nf.predict(futr_df=future.assign(trend=future.trend * 2))), rtol=1e-6)


def test_historic(make, split):
    train, _ = split
    nf = fitted(make(**HISTORIC, **STEPS), df=train)
    plain = values(nf.predict(df=train))
    column = train["y_[lag12]"]
    reversed_ = train.assign(**{"y_[lag12]": column.groupby(train.unique_id).transform(lambda c: c.to_numpy()[::-1])})
    assert np.isfinite(plain).all()
    assert not np.allclose(plain, values(nf.predict(df=reversed_)), rtol=1e-6)


def test_static(make, split):
    train, _ = split
    nf = fitted(make(**STATIC, **STEPS), df=train, static_df=AirPassengersStatic)
    plain = values(nf.predict(df=train, static_df=AirPassengersStatic))
    swapped = AirPassengersStatic.assign(airline1=1 - AirPassengersStatic.airline1)
    assert np.isfinite(plain).all()
    assert not np.allclose(plain, values(nf.predict(df=train, static_df=swapped)), rtol=1e-6)


def test_categorical(make, split):
    train, future = map(with_month, split)
    nf = fitted(make(**CATEGORICAL, **STEPS), df=train)
    plain = values(nf.predict(futr_df=future))
    assert np.isfinite(plain).all()
    assert not np.allclose(plain, values(nf.predict(futr_df=future.assign(month="May"))), rtol=1e-6)


def test_all_kinds_together_train_save_and_ignore_masked_history(make, split, tmp_path):
    train, future = map(with_month, split)
    kinds = {**CATEGORICAL, **HISTORIC, **STATIC, "futr_exog_list": ["trend", "month"]}
    nf = fitted(make(**kinds, weight_decay=0.0), df=train, static_df=AirPassengersStatic)
    forecast = nf.predict(futr_df=future)
    assert np.isfinite(values(forecast)).all()
    nf.save(str(tmp_path / "saved"))
    loaded = vdn_forecast.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(loaded.predict(futr_df=future), forecast, check_exact=True)
    windows = nf.cross_validation(train, static_df=AirPassengersStatic, n_windows=2, val_size=H)
    assert np.isfinite(values(windows)).all()


@pytest.mark.parametrize("fill", [1e6, np.nan])
def test_masked_history_of_an_exogenous_column_changes_nothing(make, split, fill):
    train, _ = split
    hidden = train.groupby("unique_id").cumcount().isin([50, 51, 128])
    base = train.assign(available_mask=(~hidden).astype(float))
    outcomes = []
    for value in (0.0, fill):
        frame = base.assign(**{"y": base.y.mask(hidden, value), "y_[lag12]": base["y_[lag12]"].mask(hidden, value)})
        nf = fitted(make(**HISTORIC), df=frame)
        outcomes.append(values(nf.predict()))
    assert np.isfinite(outcomes[1]).all()
    np.testing.assert_array_equal(outcomes[0], outcomes[1])


def test_exclude_insample_y(make, split):
    train, future = split
    nf = fitted(make(**FUTURE, exclude_insample_y=True), df=train)
    assert np.isfinite(values(nf.predict(futr_df=future))).all()
