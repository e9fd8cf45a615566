"""A model can be copied and pickled after a fit and after a prediction."""

import copy
import pickle

import pandas as pd
import pytest
from model_list import LOSSES, differing, fitted, state

SETTINGS = {
    **{name: {"loss": loss} for name, loss in LOSSES.items()},
    "homeo": {"control": "homeo", "control_warmup": 0, "control_every": 1, "depth": 2},
    "twin": {"neuron": "deterministic"},
    "standard": {"scaler_type": "standard"},
}
# pickle of the test's own bytes alone: Ray, Spark and spawned processes send models so
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda thing: pickle.loads(pickle.dumps(thing))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("setting", SETTINGS)
def test_copy_after_fit_and_after_predict(make, y_panel, setting, how):
    kwargs = dict(SETTINGS[setting])
    if "loss" in kwargs:
        kwargs["loss"] = kwargs["loss"]()
    nf = fitted(make(**kwargs), df=y_panel)
    after_fit = COPIES[how](nf)
    forecast = nf.predict()
    after_predict = COPIES[how](nf)
    for each in (after_fit, after_predict):
        assert differing(state(each.models[0]), state(nf.models[0])) == []
        pd.testing.assert_frame_equal(each.predict(), forecast, check_exact=True)
    nf.fit(y_panel, val_size=12)
    after_fit.fit(y_panel, val_size=12)  # a copy trains on as its original does
    assert differing(state(after_fit.models[0]), state(nf.models[0])) == []


@pytest.mark.parametrize("how", COPIES)
def test_copy_of_a_new_model(make, y_panel, how):
    model = make()
    forecasts = [fitted(each, df=y_panel).predict() for each in (COPIES[how](model), model)]
    pd.testing.assert_frame_equal(*forecasts, check_exact=True)


@pytest.mark.parametrize("how", COPIES)
def test_copy_shares_nothing(make, y_panel, how):
    nf = fitted(make(), df=y_panel)
    other = COPIES[how](nf)
    before = state(other.models[0])
    nf.fit(y_panel, val_size=12)
    assert differing(before, state(other.models[0])) == []
    assert differing(before, state(nf.models[0])) != []
