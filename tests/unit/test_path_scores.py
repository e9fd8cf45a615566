"""Energy and variogram score against scoringrules, the properties that make them scores, and where paths come from."""

from typing import Any

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast.losses.pytorch import DistributionLoss
from scipy import stats

from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.path_forecasts import independent_paths, origin_step, path_source
from vdn_forecast.evaluation.path_scores import PathScores, energy_score, variogram_score
from vdn_forecast.evaluation.protocols import embedded
from vdn_forecast.mixture import LEVELS_19

H, INPUT_SIZE = 12, 36
TINY = {"n_units": 16, "hidden_size": 16, "head_size": 16, "max_steps": 10, "val_check_steps": 10}


@given(
    windows=st.integers(1, 5),
    m=st.integers(2, 20),
    h=st.integers(2, 30),
    scale=st.floats(0.01, 100),
    seed=st.integers(0),
)
@settings(max_examples=25, deadline=None)
def test_both_scores_equal_scoringrules(windows: int, m: int, h: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    paths, y = scale * rng.standard_normal((windows, m, h)), scale * rng.standard_normal((windows, h))
    energy = energy_score(torch.from_numpy(paths), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(
        energy, scoringrules.es_ensemble(y, paths, estimator="fair"), rtol=1e-9, atol=1e-9 * scale
    )
    variogram = variogram_score(torch.from_numpy(paths), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(variogram, scoringrules.vs_ensemble(y, paths, p=0.5), rtol=2e-4)


def test_many_windows_are_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(1)
    paths, y = torch.randn(23, 10, 8, generator=rng), torch.randn(23, 8, generator=rng)
    whole = variogram_score(paths, y)
    monkeypatch.setattr("vdn_forecast.evaluation.path_scores._NUMBERS_AT_ONCE", 4 * 80)
    torch.testing.assert_close(variogram_score(paths, y), whole, rtol=1e-5, atol=0)


def test_true_dependence_scores_best() -> None:
    rng = np.random.default_rng(2)
    chol = np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))))
    y = torch.from_numpy(rng.standard_normal((400, 12)) @ chol.T)
    joint = torch.from_numpy(rng.standard_normal((400, 100, 12)) @ chol.T)
    alone = torch.from_numpy(rng.standard_normal((400, 100, 12)))  # the same marginals
    assert energy_score(joint, y).mean() < energy_score(alone, y).mean()
    assert variogram_score(joint, y).mean() < 0.7 * variogram_score(alone, y).mean()


def test_the_fair_energy_score_does_not_depend_on_the_number_of_paths() -> None:
    rng = torch.Generator().manual_seed(3)
    y = torch.randn(4000, 3, generator=rng)
    few, many = (energy_score(torch.randn(4000, m, 3, generator=rng), y).mean() for m in (2, 50))
    assert float(few) == pytest.approx(float(many), abs=0.04)


def test_independent_paths_have_the_marginals_of_their_quantiles() -> None:
    levels = torch.tensor(LEVELS_19, dtype=torch.float64)
    z = torch.special.ndtri(levels).float()
    quantiles = torch.stack([3 + 2 * z, z.exp()])[None]  # a Gaussian and a log-normal step, [1, 2, 19]
    paths = independent_paths(quantiles, 40_000, torch.Generator().manual_seed(4))
    assert paths.shape == (1, 40_000, 2)
    assert stats.kstest(paths[0, :, 0].numpy(), "norm", args=(3, 2)).pvalue > 0.01
    found = paths[0].quantile(levels.float(), dim=0).T
    torch.testing.assert_close(found, quantiles[0], rtol=0.03, atol=0.03)
    assert abs(float(torch.corrcoef(paths[0].T)[0, 1])) < 0.02


def test_origins_are_thinned_alike_and_not_below_ten() -> None:
    assert origin_step(2785, 7, 96) == 14  # 199 origins
    assert origin_step(4541, 321, 720) == 455  # ten
    assert origin_step(3, 7, 96) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "source"),
    [
        ("EVE", TINY, "own mixture"),
        ("NHITS", {"max_steps": 5, "loss": DistributionLoss("Normal")}, "NeuralForecast's Gaussian copula"),
        ("DLinear", {"max_steps": 5}, "independent steps"),
    ],
)
def test_every_kind_of_model_gets_path_scores(name: str, arguments: dict[str, Any], source: str) -> None:
    data, model = load_dataset("AirPassengers"), build_model(name, H, INPUT_SIZE, 12, **arguments)
    assert path_source(model) == source
    done = evaluate(model, data, embedded(INPUT_SIZE), H, paths=True)
    assert done.paths is not None
    assert source in done.paths.note
    assert "13 of 13 origins" in done.paths.note
    scores = done.paths.summary()
    # of one number per step, an energy score lies below the norm of the point forecast's error
    assert done.test is not None
    assert 0 < scores["energy_score"] < 2 * np.sqrt(H * done.test.summary()["mse"])
    assert scores["variogram_score"] > 0


def test_own_paths_are_the_models_own() -> None:
    """The same windows, scored from the paths of `simulate` one origin at a time, agree up to the noise."""
    data = load_dataset("AirPassengers")
    done = evaluate(build_model("EVE", H, INPUT_SIZE, 12, **TINY), data, embedded(INPUT_SIZE), H, paths=True)
    assert done.paths is not None
    again = PathScores("")
    for origin in range(120, 144 - H + 1):
        lookback = as_dataset(data.values[origin - INPUT_SIZE : origin])
        paths = torch.from_numpy(done.model.simulate(lookback, n_paths=100, random_seed=origin))
        again.update(paths, torch.from_numpy(data.values[origin : origin + H].T.copy()))
    assert again.count == done.paths.count == 26
    for name, value in again.summary().items():
        assert done.paths.summary()[name] == pytest.approx(value, rel=0.05)


def test_bad_paths_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        energy_score(torch.zeros(1, 1, 3), torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"\[W, m, h\]"):
        variogram_score(torch.zeros(1, 5, 3), torch.zeros(1, 4))
    with pytest.raises(ValueError, match="not finite"):
        PathScores("").update(torch.full((1, 2, 3), torch.nan), torch.zeros(1, 3))


def test_a_naive_model_gets_independent_paths() -> None:
    done = evaluate(NaiveModel(12), load_dataset("AirPassengers"), embedded(INPUT_SIZE), H, paths=True)
    assert done.paths is not None
    assert "independent steps" in done.paths.note
