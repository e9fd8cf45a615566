"""Reorderings of a path ensemble: same numbers, the dependence asked for, NeuralForecast's own samplers inside."""

import numpy as np
import pandas as pd
import pytest
import torch
from neuralforecast import NeuralForecast
from neuralforecast.utils import schaake_shuffle_sample

from benchmarks.paths.__main__ import compare
from benchmarks.paths.orders import (
    ORDERS,
    autoregressive_noise,
    autoregressive_order,
    host_order,
    reordered,
    residual_correlation,
)
from benchmarks.paths.scoring import OWN, score_model
from vdn_forecast import EVE
from vdn_forecast.evaluation.path_scores import energy_score, variogram_score
from vdn_forecast.evaluation.scores import ForecastBlock
from vdn_forecast.evaluation.sources import synthetic_panel

W, M, H = 3, 60, 12


def lag_correlation(paths: torch.Tensor) -> float:
    """Mean correlation of neighbouring steps over paths."""
    centred = paths - paths.mean(1, keepdim=True)
    centred = centred / centred.square().mean(1, keepdim=True).sqrt()
    return float((centred[:, :, 1:] * centred[:, :, :-1]).mean())


def test_marginals_stay_and_ranks_are_those_of_the_order():
    torch.manual_seed(0)
    paths, order = torch.randn(W, M, H).double(), torch.randn(W, M, H).double()
    found = reordered(paths, order)
    assert torch.equal(found.sort(1).values, paths.sort(1).values)
    assert torch.equal(found.argsort(1), order.argsort(1))
    with pytest.raises(ValueError, match="shape"):
        reordered(paths, order[:, :-1])


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_autoregressive_order(rho):
    order = autoregressive_order(np.full(200, rho), 50, H, np.random.default_rng(0))
    assert lag_correlation(order) == pytest.approx(rho, abs=0.03)


def test_host_orders_are_what_neuralforecast_makes_of_the_same_marginals():
    """Its Schaake shuffle of the ensemble's own quantiles has the ranks of ours."""
    rng = np.random.default_rng(0)
    histories = [rng.standard_normal(300).cumsum() for _ in range(W)]
    order = host_order("schaake_shuffle", histories, M, H, seed=4)
    levels = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    theirs = schaake_shuffle_sample(
        levels,
        torch.special.ndtri(levels).expand(W, H, 99).contiguous(),
        [torch.from_numpy(each) for each in histories],
        n_paths=M,
        seed=4,
    )
    assert torch.equal(order.argsort(1), theirs.argsort(1))
    assert lag_correlation(order) > 0.9  # random walks
    copula = host_order("gaussian_copula", histories, M, H, seed=4)
    assert bool(((copula > 0) & (copula < 1)).all())
    assert abs(lag_correlation(copula)) < 0.3  # NeuralForecast looks at differences, which are white


def test_residual_correlation_is_that_of_normal_scores():
    rng = np.random.default_rng(0)
    truth = np.array([0.0, 0.5, 0.9])
    noise = np.stack([autoregressive_noise(rng.standard_normal((400, 24)), rho) for rho in truth])
    loc = torch.from_numpy(rng.standard_normal((1200, 24, 1)))
    series = torch.arange(3).repeat_interleave(400)
    y = loc[..., 0] + 2.0 * torch.from_numpy(noise).reshape(1200, 24)
    block = ForecastBlock(series, y, loc[..., 0], mixture=(loc, torch.full_like(loc, 2.0)))
    np.testing.assert_allclose(residual_correlation([block], 3, None), truth, atol=0.04)


@pytest.fixture(scope="module")
def scored() -> tuple[EVE, pd.DataFrame]:
    """A small model and the scores of its paths."""
    data = synthetic_panel(2, 400).scaled()
    n_train, n_val, _ = data.borders
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    model = EVE(h=H, input_size=24, max_steps=5, n_units=8, hidden_size=8, head_size=8, val_check_steps=5, **quiet)
    nf = NeuralForecast(models=[model], freq=data.info.freq)
    nf.fit(data.frame(n_train + n_val), val_size=n_val)
    return nf.models[0], score_model(nf.models[0], data, 24, H)


def test_every_way_is_scored_on_the_same_origins(scored):
    _, table = scored
    assert set(table.paths) == {OWN, *ORDERS}
    counts = table.groupby("paths").origin.apply(list)
    assert all(each == counts[OWN] for each in counts)
    assert np.isfinite(table[["energy_score", "variogram_score"]]).to_numpy().all()


def test_dependence_that_is_right_scores_better():
    """AR(1) truth: its own order wins over independence in both scores, same marginals."""
    rng = np.random.default_rng(1)
    n = 300
    y = torch.from_numpy(autoregressive_noise(rng.standard_normal((n, H)), 0.9))
    right = autoregressive_order(np.full(n, 0.9), M, H, rng)
    wrong = reordered(right, autoregressive_order(np.zeros(n), M, H, rng))
    assert float(variogram_score(right, y).mean()) < 0.9 * float(variogram_score(wrong, y).mean())
    assert float(energy_score(right, y).mean()) < float(energy_score(wrong, y).mean())


def test_comparison_table(tmp_path):
    """EVE's own paths beat their reorderings and, of the seeds that both have, another model's own."""
    origins = np.arange(0, 4000, 10)
    rng = np.random.default_rng(0)
    noise = {seed: rng.standard_normal(len(origins)) for seed in (1, 2, 3)}
    for model, own, seeds in (("EVE", 9.0, (1, 2)), ("T2", 9.5, (1, 2, 3))):
        for seed in seeds:
            parts = []
            for name in (OWN, *ORDERS):
                scores = {
                    "energy_score": 5 + noise[seed],
                    "variogram_score": noise[seed] + (own if name == OWN else 10),
                }
                parts.append(pd.DataFrame({"origin": origins, "paths": name, **scores}))
            table = pd.concat(parts).assign(dataset="ETTh1", model=model, seed=seed, h=96, cell=f"{model}{seed}")
            table.to_parquet(tmp_path / f"{model}{seed}.parquet")
    found = compare(tmp_path)
    assert len(found) == 2 * 2 * (len(ORDERS) + 1)
    variogram = found[(found.score == "variogram_score") & (found.model == "EVE")].set_index("against")
    np.testing.assert_allclose(variogram.relative[list(ORDERS)], -0.1, atol=0.02)
    assert variogram.relative["T2"] == pytest.approx(-0.5 / 9.5, abs=0.01)
    assert (variogram.relative_high < 0).all()
    assert (variogram.seeds == 2).all()
    assert (found[found.score == "energy_score"].p > 0.05).all()
    with pytest.raises(ValueError, match="holds no results"):
        compare(tmp_path / "none")
