"""What every Auto of this package does as a guest of NeuralForecast.

Every class of `vdn_forecast.search.AUTOS` is tested.
"""

import copy
import inspect

import numpy as np
import optuna
import pandas as pd
import pytest
from model_list import COMMON, FREQ, MODELS, H, differing, state, values
from neuralforecast import NeuralForecast
from neuralforecast.auto import AutoNHITS
from neuralforecast.losses.pytorch import MAE, MQLoss
from neuralforecast.utils import PredictionIntervals

import vdn_forecast
from vdn_forecast.search import AUTOS, AutoVariational, read_study, trials_frame
from vdn_forecast.search.storage import result_of

VAL = 24
TRAINING = {name: value for name, value in COMMON.items() if name not in ("h", "alias")}


@pytest.fixture(params=AUTOS, ids=lambda cls: cls.__name__)
def auto(request):
    """Builds a small Auto called "m" from keyword arguments."""
    cls = request.param
    usual = {"depth": 1, "latent_dim": 1}
    taken = inspect.signature(cls.model_class).parameters
    small = {name: value for name, value in usual.items() if name in taken} | MODELS[cls.model_class]
    config = {**TRAINING, **small}

    def make(**kwargs) -> AutoVariational:
        own = {**config, **kwargs.pop("config", {})}
        return cls(h=H, config=own, **{"alias": "m", "num_samples": 3, "constraints": {}, **kwargs})

    return make


def searched(model: AutoVariational, df: pd.DataFrame, **fit) -> NeuralForecast:
    nf = NeuralForecast(models=[model], freq=FREQ)
    nf.fit(df, **{"val_size": VAL, **fit})
    return nf


def test_beside_another_auto(auto, y_panel):
    host = {"max_steps": 2, "input_size": 24, "mlp_units": [[8, 8]] * 3, "accelerator": "cpu", "logger": False}
    other = AutoNHITS(h=H, backend="optuna", num_samples=1, config=lambda trial: host)
    nf = NeuralForecast(models=[auto(), other], freq=FREQ)
    nf.fit(y_panel, val_size=VAL)
    forecast = nf.predict()
    assert {"m", "AutoNHITS"} <= set(forecast.columns)
    assert np.isfinite(values(forecast)).all()


def test_the_refit_is_the_winner_itself(auto, y_panel):
    nf = searched(auto(), y_panel)
    found = nf.models[0]
    trials = trials_frame(found.results)
    assert list(trials.state) == ["complete"] * 3
    assert found.best_trial.number == trials.crps19.idxmin()
    assert float(found.model.best_value) == result_of(found.best_trial)["val_loss"]
    assert float(found.model.best_value) == min(value for _, value in found.model.valid_trajectories)
    for name, value in found.best_config.items():
        if name in found.model.hparams:
            assert found.model.hparams[name] == value, name


def test_forecast_is_that_of_the_model_by_itself(auto, y_panel):
    nf = searched(auto(), y_panel)
    found = nf.models[0]
    alone = NeuralForecast(models=[type(found.model)(h=H, alias="m", **found.best_config)], freq=FREQ)
    alone.fit(y_panel, val_size=VAL)
    assert differing(state(found.model), state(alone.models[0])) == []
    for wanted in ({}, {"level": [50, 80]}, {"quantiles": [0.1, 0.5]}, {}):
        pd.testing.assert_frame_equal(nf.predict(**wanted), alone.predict(**wanted), check_exact=True)
    pd.testing.assert_frame_equal(nf.simulate(n_paths=5, seed=1), alone.simulate(n_paths=5, seed=1), check_exact=True)


def test_save_and_load_export_the_study(auto, y_panel, tmp_path):
    nf = searched(auto(), y_panel)
    found = nf.models[0]
    nf.save(str(tmp_path / "saved"))
    loaded = vdn_forecast.load(tmp_path / "saved")
    assert type(loaded.models[0]) is type(found.model)
    assert repr(loaded.models[0]) == "m"
    assert differing(state(found.model), state(loaded.models[0])) == []
    pd.testing.assert_frame_equal(loaded.predict(), nf.predict(), check_exact=True)
    (exported,) = read_study(tmp_path / "saved").values()
    assert exported["winner"] == found.best_trial.number
    pd.testing.assert_frame_equal(exported["trials"], trials_frame(found.results), check_dtype=False)
    found.save(str(tmp_path / "one.safetensors"))
    (alone,) = read_study(tmp_path / "one.safetensors").values()
    assert alone["winner"] == exported["winner"]
    assert differing(state(type(found.model).load(str(tmp_path / "one.safetensors"))), state(found.model)) == []


@pytest.mark.parametrize("refit", [False, True])
def test_cross_validation(auto, y_panel, refit, tmp_path):
    model = auto(num_samples=2, study_name="cv", storage=str(tmp_path / "cv.db"))
    nf = NeuralForecast(models=[model], freq=FREQ)
    windows = nf.cross_validation(y_panel, n_windows=2, step_size=H, val_size=VAL, refit=refit)
    assert windows.cutoff.nunique() == 2
    assert np.isfinite(values(windows)).all()
    names = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'cv.db'}")
    assert len(names) == (2 if refit else 1)  # windows never share trials
    for name in names:
        study = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path / 'cv.db'}")
        assert len(study.trials) == 2


@pytest.mark.parametrize("loss", [None, MAE(), MQLoss(level=[80])], ids=["default", "MAE", "MQLoss"])
def test_losses(auto, y_panel, loss):
    nf = searched(auto(loss=loss, num_samples=2), y_panel)
    columns = [] if isinstance(loss, MAE) else ["m-lo-80", "m-hi-80"]
    assert set(columns) <= set(nf.predict().columns)
    found = nf.models[0]
    objective = "crps19" if loss is None else "val_loss"
    assert objective in trials_frame(found.results).columns
    assert found.best_trial.values[0] == min(trials_frame(found.results)[objective])


def test_conformal_intervals_reuse_the_search(auto, y_panel):
    nf = searched(auto(loss=MAE()), y_panel, prediction_intervals=PredictionIntervals(n_windows=2))
    assert len(nf.models[0].results.trials) == 3
    forecast = nf.predict(level=[80])
    assert (forecast["m-lo-80"] < forecast["m-hi-80"]).all()
    assert np.isfinite(values(nf.simulate(n_paths=5))).all()


def test_same_seed_same_trials_and_winner(auto, y_panel):
    one, other = (searched(auto(seed=3), y_panel).models[0] for _ in range(2))
    assert [t.params for t in one.results.trials] == [t.params for t in other.results.trials]
    assert [t.values for t in one.results.trials] == [t.values for t in other.results.trials]
    assert differing(state(one.model), state(other.model)) == []
    another = searched(auto(seed=4), y_panel).models[0]
    assert another.results.trials[0].params == one.results.trials[0].params  # the default configuration
    assert another.results.trials[1].params != one.results.trials[1].params


def test_copies_before_and_after(auto, y_panel):
    model = auto(num_samples=1)
    copied = copy.deepcopy(model)
    nf, again = searched(model, y_panel), searched(copied, y_panel)
    pd.testing.assert_frame_equal(nf.predict(), again.predict(), check_exact=True)
    twin = copy.deepcopy(nf)
    pd.testing.assert_frame_equal(twin.predict(), nf.predict(), check_exact=True)
    assert len(twin.models[0].results.trials) == 1


def test_second_fit_searches_anew(auto, y_panel):
    nf = searched(auto(num_samples=2), y_panel)
    first = state(nf.models[0].model)
    nf.fit(y_panel, val_size=VAL)
    assert len(nf.models[0].results.trials) == 2
    assert differing(first, state(nf.models[0].model)) == []


def test_refit_without_validation_stops_where_the_best_check_was(auto, y_panel):
    with pytest.warns(UserWarning, match="no validation"):
        nf = searched(auto(refit_with_val=False, num_samples=2), y_panel)
    found = nf.models[0]
    assert found.model.max_steps == result_of(found.best_trial)["best_step"]
    assert found.model.valid_trajectories == []
    assert np.isfinite(values(nf.predict())).all()


def test_exogenous_columns(auto, panel):
    lists = {"hist_exog_list": ["y_[lag12]"], "futr_exog_list": ["trend"]}
    nf = searched(auto(config=lists, num_samples=1), panel)
    assert nf.models[0].futr_exog_list == ["trend"]
    future = nf.make_future_dataframe()
    assert np.isfinite(values(nf.predict(futr_df=future.assign(trend=0.5)))).all()
