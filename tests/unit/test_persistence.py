"""`EVE(persistence=True)`: a share of the forecast that follows the last observed value."""

import numpy as np
import pandas as pd
import pytest
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from scipy import stats

import vdn_forecast
from vdn_forecast import EVE, LatentMixture
from vdn_forecast.models import persistence as persistence_module
from vdn_forecast.models.persistence import RATIOS, Persistence, walk_of
from vdn_forecast.models.window_io import WindowInputs

H, INPUT_SIZE = 6, 24
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
SMALL = {"n_units": 16, "hidden_size": 16, "head_size": 16, "windows_batch_size": 64, **QUIET}
STEPS = {"max_steps": 60, "val_check_steps": 20, "learning_rate": 1e-2}


def panel(kind: str, n_series: int = 4, n_rows: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    time = np.arange(n_rows)
    if kind == "walks":
        y = rng.standard_normal((n_series, n_rows)).cumsum(1)
    else:
        y = np.sin(2 * np.pi * time / 12 + rng.random((n_series, 1))) + 0.05 * rng.standard_normal((n_series, n_rows))
    return pd.DataFrame(
        {"unique_id": np.repeat(np.arange(n_series), n_rows), "ds": np.tile(time, n_series), "y": y.ravel()}
    )


def fitted(df: pd.DataFrame, val_size: int = 60, **arguments) -> NeuralForecast:
    nf = NeuralForecast(models=[EVE(h=H, input_size=INPUT_SIZE, **{**SMALL, **STEPS, **arguments})], freq=1)
    nf.fit(df, val_size=val_size)
    return nf


@pytest.fixture(scope="module")
def walking() -> NeuralForecast:
    return fitted(panel("walks"), persistence=True)


def test_a_random_walk_gets_a_share(walking):
    model = walking.models[0]
    assert model.persistence.share > 0
    growth = model.persistence.growth.numpy()
    np.testing.assert_allclose(growth, np.sqrt(np.arange(1, H + 1)), rtol=0.15)  # of a walk with normal steps


def test_a_season_gets_none_and_keeps_its_forecast():
    df = panel("seasons")
    with_, without = (fitted(df, persistence=wanted) for wanted in (True, False))
    assert with_.models[0].persistence.share == 0
    pd.testing.assert_frame_equal(with_.predict(level=[80]), without.predict(level=[80]))
    paths = [nf.simulate(n_paths=5, seed=1)["EVE"].to_numpy() for nf in (with_, without)]
    np.testing.assert_array_equal(*paths)


@pytest.mark.parametrize(("gain", "share"), [(0.004, 0.0), (0.006, 1 / 3)])
@pytest.mark.parametrize("own", [0.8, -0.8])  # a likelihood may be below zero
def test_a_small_gain_on_validation_gives_no_share(walking, monkeypatch, own, gain, share):
    model = walking.models[0]
    monkeypatch.setattr(persistence_module, "_growth", lambda *_: torch.ones(H))
    monkeypatch.setattr(
        persistence_module,
        "_validation_loss",
        lambda model, _: own - abs(own) * gain * (1 - abs(model.persistence.share - 1 / 3) / (1 / 3)),
    )
    found, growth = model.persistence.ratio.clone(), model.persistence.growth.clone()
    try:
        persistence_module.choose(model, walking.dataset)
        assert model.persistence.share == pytest.approx(share)
    finally:
        model.persistence.ratio.copy_(found)
        model.persistence.growth.copy_(growth)


@pytest.mark.parametrize("arguments", [{}, {"neuron": "deterministic"}, {"n_predict_samples": 3}, {"base": "studentt"}])
@pytest.mark.parametrize("ratio", RATIOS[1:])
def test_the_forecast_is_the_linear_pool(arguments, ratio):
    df = panel("walks")
    nf, plain = (fitted(df, max_steps=5, persistence=wanted, **arguments) for wanted in (True, False))
    persistence, share = nf.models[0].persistence, ratio / (1 + ratio)
    persistence.ratio.fill_(ratio)
    assert persistence.share == pytest.approx(share)
    quantile = nf.predict(quantiles=[0.3])["EVE_ql0.3"].to_numpy().reshape(-1, H)  # [series, h]

    y = df["y"].to_numpy().reshape(4, -1)
    changes = np.diff(y[:, -INPUT_SIZE:], axis=1)
    walk = np.sqrt((changes**2).mean(1, keepdims=True)) * persistence.growth.numpy()
    shape = stats.t(5) if arguments.get("base") == "studentt" else stats.norm
    loc, scale = plain.models[0].mixture_parameters(plain.dataset)  # [series, h, C]
    own = shape.cdf((quantile[..., None] - loc) / scale).mean(-1)
    pooled = (1 - share) * own + share * shape.cdf((quantile - y[:, -1:]) / walk)
    np.testing.assert_allclose(pooled, 0.3, atol=2e-3)

    mean = nf.predict()["EVE"].to_numpy().reshape(-1, H)
    np.testing.assert_allclose(mean, (1 - share) * loc.mean(-1) + share * y[:, -1:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("fresh", [False, True])
def test_paths_have_the_forecasts_marginals(walking, fresh):
    walking.models[0].persistence.ratio.fill_(1.0)
    paths = vdn_forecast.sample_paths(walking, n_paths=2001, seed=3, fresh_latents=fresh)
    frame = paths.groupby(["unique_id", "ds"])["EVE"].quantile([0.1, 0.5, 0.9]).unstack()
    forecast = walking.predict(quantiles=[0.1, 0.5, 0.9])
    wide = (forecast["EVE_ql0.9"] - forecast["EVE_ql0.1"]).to_numpy()
    for level in (0.1, 0.5, 0.9):
        error = (frame[level].to_numpy() - forecast[f"EVE_ql{level}"].to_numpy()) / wide
        assert np.abs(error).max() < 0.15


def test_saved_and_loaded(walking, tmp_path):
    expected = walking.predict(level=[80])
    walking.save(str(tmp_path), overwrite=True)
    loaded = vdn_forecast.load(tmp_path)
    assert loaded.models[0].persistence.share == walking.models[0].persistence.share
    pd.testing.assert_frame_equal(loaded.predict(level=[80]), expected)


def test_walks_that_it_did_not_choose_on_are_forecast_better():
    errors = {}
    for wanted in (True, False):
        model = EVE(h=H, input_size=INPUT_SIZE, **SMALL, **STEPS, persistence=wanted)
        nf = NeuralForecast(models=[model], freq=1)
        table = nf.cross_validation(panel("walks"), val_size=60, test_size=60, n_windows=None)
        errors[wanted] = float(((table["EVE"] - table["y"]) ** 2).mean())
    assert errors[True] < 0.99 * errors[False]


def test_without_validation_a_warning_and_no_share():
    with pytest.warns(UserWarning, match="persistence=True has no effect without validation"):
        nf = fitted(panel("walks"), val_size=0, persistence=True)
    assert nf.models[0].persistence.share == 0


def test_a_second_fit_begins_without_the_first_ones_share(walking):
    seen = []
    model = walking.models[0]
    original = model.on_validation_end
    try:
        model.on_validation_end = lambda: (seen.append(model.persistence.share), original())
        walking.fit(panel("walks"), val_size=60)
    finally:
        del model.on_validation_end
    assert seen
    assert set(seen) == {0.0}


def test_volatility_reads_observed_neighbours_alone():
    y = torch.tensor([[1.0, 2.0, 99.0, 4.0, 6.0]])
    seen = torch.tensor([[True, True, False, True, True]])
    level, volatility = walk_of(WindowInputs(torch.where(seen, y, 0.0), seen, torch.tensor([[10.0]]), None))
    assert float(level) == 16.0
    assert float(volatility) == pytest.approx(np.sqrt((1 + 4) / 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"persistence": 0.5}, "persistence=0.5 is not allowed"),
        ({"persistence": True, "loss": MAE()}, "persistence=True is not allowed with loss=MAE"),
        ({"persistence": True, "loss": LatentMixture(return_params=True, n_samples=1)}, "return_params=False"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        EVE(h=H, input_size=INPUT_SIZE, **SMALL, **arguments)


def test_counts_are_whole():
    persistence = Persistence(H, 1e-3)
    for ratio in RATIOS:
        persistence.ratio.fill_(ratio)
        for n in range(1, 9):
            total = persistence.n_samples(n)
            assert total * (1 - persistence.share) == pytest.approx(round(total * (1 - persistence.share)))
