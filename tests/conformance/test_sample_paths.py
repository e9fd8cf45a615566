"""`sample_paths`: paths of this package's models in any `NeuralForecast`, and paths with latents of their own."""

import numpy as np
import pandas as pd
import pytest
from model_list import COMMON, FREQ, H, fitted
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import MLP

from vdn_forecast import sample_paths

N_PATHS = 2000


def array(table: pd.DataFrame, n_paths: int, column: str = "m") -> np.ndarray:
    """[n_series, n_paths, h] of a sample-major table."""
    return table[column].to_numpy().reshape(n_paths, 2, H).swapaxes(0, 1)


@pytest.fixture
def trained(make, y_panel) -> NeuralForecast:
    """A model with some shape."""
    return fitted(make(max_steps=60, learning_rate=3e-3, val_check_steps=30), df=y_panel)


def test_paths_are_those_of_simulate(trained):
    found = sample_paths(trained, n_paths=9, seed=3)
    assert list(found.columns) == ["unique_id", "ds", "sample_id", "m"]
    pd.testing.assert_frame_equal(found, trained.simulate(n_paths=9, seed=3), check_exact=True)


def test_fresh_latents_keep_the_marginals_but_for_the_bank(trained):
    """Every path has latents of its own: seeded, no batch's business, and spread like the forecast."""
    model = trained.models[0]
    found = sample_paths(trained, n_paths=N_PATHS, seed=5, fresh_latents=True)
    model.inference_windows_batch_size = model.valid_batch_size = 1
    pd.testing.assert_frame_equal(
        found, sample_paths(trained, n_paths=N_PATHS, seed=5, fresh_latents=True), check_exact=True
    )
    assert model.path_noise is None
    fresh, shared = array(found, N_PATHS), array(sample_paths(trained, n_paths=N_PATHS, seed=5), N_PATHS)
    assert np.isfinite(fresh).all()
    assert np.isclose(fresh, shared).mean() < 0.01
    # the bank's few samples are one draw of what fresh latents average over
    spread = shared.std(1)
    assert np.abs(fresh.mean(1) - shared.mean(1)).max() < 0.5 * spread.max()
    np.testing.assert_allclose(fresh.std(1).mean(), spread.mean(), rtol=0.25)


def test_fresh_latents_of_one_series_do_not_depend_on_the_others(trained, y_panel):
    both = array(sample_paths(trained, n_paths=40, seed=1, fresh_latents=True), 40)
    first = y_panel[y_panel.unique_id == "Airline1"]
    alone = sample_paths(trained, df=first, n_paths=40, seed=1, fresh_latents=True)["m"].to_numpy().reshape(40, H)
    np.testing.assert_allclose(alone, both[0], rtol=1e-5)


def test_beside_models_without_paths_of_their_own(make, y_panel):
    host = MLP(hidden_size=8, loss=MAE(), **COMMON)
    nf = fitted(make(), host, df=y_panel)
    with pytest.raises(ValueError, match="prediction_intervals"):
        nf.simulate(n_paths=4)
    found = sample_paths(nf, n_paths=4, seed=1)
    assert list(found.columns) == ["unique_id", "ds", "sample_id", "m"]
    assert [type(model) for model in nf.models] == [type(nf.models[0]), MLP]
    alone = NeuralForecast(models=[host], freq=FREQ)
    with pytest.raises(ValueError, match="holds no model of this package"):
        sample_paths(alone)


@pytest.mark.parametrize("n_paths", [0, -1, 2.5, True])
def test_no_paths_are_refused(trained, n_paths):
    with pytest.raises(ValueError, match="n_paths"):
        sample_paths(trained, n_paths=n_paths)


def test_other_losses_are_refused_by_name(make, y_panel):
    nf = fitted(make(loss=MAE()), df=y_panel)
    with pytest.raises(ValueError, match="loss=MAE"):
        sample_paths(nf)


def test_before_a_fit(make):
    nf = NeuralForecast(models=[make()], freq=FREQ)
    with pytest.raises(Exception, match=r"[Ff]it"):
        sample_paths(nf)
    with pytest.raises(Exception, match=r"[Ff]it"):
        nf.simulate(n_paths=2)
