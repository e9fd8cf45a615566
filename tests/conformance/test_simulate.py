"""Joint sample paths: their shape, seed, marginals and correlation over time."""

import numpy as np
import pandas as pd
import pytest
from model_list import FREQ, H, fitted
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE, DistributionLoss, MQLoss
from neuralforecast.utils import PredictionIntervals

from vdn_forecast import LatentMixture
from vdn_forecast.models.path_noise import correlation, nearest

N_PATHS = 2000
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def paths_of(nf: NeuralForecast, n_paths: int = N_PATHS, **kwargs) -> np.ndarray:
    """[n_series, n_paths, h]."""
    table = nf.simulate(n_paths=n_paths, **kwargs)
    assert list(table.columns) == ["unique_id", "ds", "sample_id", "m"]
    assert len(table) == 2 * H * n_paths
    # sample-major, then series, then time
    return table["m"].to_numpy().reshape(n_paths, 2, H).swapaxes(0, 1)


def lag_correlation(paths: np.ndarray) -> float:
    """Mean over series and steps of the correlation of a path's deviations at neighbouring steps."""
    deviation = paths - paths.mean(1, keepdims=True)
    deviation /= deviation.std(1, keepdims=True)
    return float((deviation[..., 1:] * deviation[..., :-1]).mean())


@pytest.fixture(params=["normal", "studentt"])
def trained(request, make, y_panel) -> NeuralForecast:
    """A model whose mixture has some shape, for both component densities."""
    return fitted(make(base=request.param, max_steps=60, learning_rate=3e-3, val_check_steps=30), df=y_panel)


def test_marginals_are_those_of_predict(trained):
    for rho in (0.0, 0.9):
        trained.models[0].path_kernel.copy_(nearest(rho))
        paths = paths_of(trained, seed=5)
        assert np.isfinite(paths).all()
        forecast = trained.predict(quantiles=list(LEVELS))
        for level in LEVELS:
            quantile = forecast[f"m_ql{level}"].to_numpy().reshape(2, 1, H)
            share = (paths <= quantile).mean(1)
            # 48 comparisons per level: five standard errors, and a little for float32
            assert np.abs(share - level).max() < 5 * np.sqrt(level * (1 - level) / N_PATHS) + 1e-3
        mean = forecast["m"].to_numpy().reshape(2, H)
        assert np.abs(paths.mean(1) - mean).max() < 5 * paths.std(1).max() / np.sqrt(N_PATHS)


def test_correlation_over_time(trained):
    found = []
    for rho in (0.0, 0.5, 0.9):
        trained.models[0].path_kernel.copy_(nearest(rho))
        found.append(lag_correlation(paths_of(trained, seed=5)))
    assert found[2] > 0.7
    assert found[0] + 0.2 < found[1] < found[2]


def test_correlation_is_learned_from_the_data(make):
    """Random walks: errors of neighbouring steps go together; white noise: they do not."""
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2000-01-31", periods=300, freq=FREQ)
    noise = rng.standard_normal((4, len(stamps)))
    learned = []
    for y in (noise, noise.cumsum(1)):
        frame = pd.DataFrame({"unique_id": np.repeat(list("abcd"), 300), "ds": np.tile(stamps, 4), "y": y.ravel()})
        model = make(max_steps=60, learning_rate=3e-3, val_check_steps=30, windows_batch_size=64)
        weights = fitted(model, df=frame, val_size=60).models[0].path_kernel
        learned.append(correlation(weights, 12)[5, 6])
    assert learned[0] <= 0.25
    assert learned[1] >= 0.5


def test_seed(make, y_panel):
    nf = fitted(make(), df=y_panel)
    one, same, other = (nf.simulate(n_paths=7, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert (one["m"] != other["m"]).all()
    paths = paths_of(nf, 7, seed=1)
    assert all((paths[:, i] != paths[:, j]).all() for i in range(7) for j in range(i))
    assert paths_of(nf, 1).shape == (2, 1, H)


def test_other_series_do_not_change_the_paths_of_a_series(make, y_panel):
    nf = fitted(make(), df=y_panel)
    both = paths_of(nf, 50, seed=1)
    first = y_panel[y_panel.unique_id == "Airline1"]
    alone = nf.simulate(df=first, n_paths=50, seed=1)["m"].to_numpy().reshape(50, H)
    np.testing.assert_allclose(alone, both[0], rtol=1e-5)


def test_simulate_leaves_model_and_forecast_as_they_were(make, y_panel):
    nf = fitted(make(), df=y_panel)
    own = nf.models[0].loss
    before = (own.quantiles.tolist(), list(own.output_names), list(own.param_names), own.return_params)
    forecast = nf.predict()
    nf.simulate(n_paths=3)
    assert (
        own.quantiles.tolist(),
        list(own.output_names),
        list(own.param_names),
        own.return_params,
    ) == before
    pd.testing.assert_frame_equal(nf.predict(), forecast, check_exact=True)


@pytest.mark.parametrize("loss", [lambda: None, lambda: MQLoss(level=[80]), lambda: DistributionLoss("Normal")])
@pytest.mark.parametrize("method", ["gaussian_copula", "schaake_shuffle"])
def test_every_loss_with_quantiles_and_every_method(make, y_panel, loss, method):
    paths = paths_of(fitted(make(loss=loss()), df=y_panel), 20, method=method)
    assert np.isfinite(paths).all()
    assert (paths.std(1) > 0).all()


@pytest.mark.parametrize("n_paths", [0, -3])
def test_no_paths_are_refused(make, y_panel, n_paths):
    nf = fitted(make(), df=y_panel)
    with pytest.raises(ValueError, match="n_paths"):
        nf.simulate(n_paths=n_paths)
    with pytest.raises(ValueError, match="n_paths"):
        nf.models[0].simulate(nf.dataset, n_paths=n_paths)


def test_unknown_method_is_refused(make, y_panel):
    nf = fitted(make(), df=y_panel)
    with pytest.raises(ValueError, match="method"):
        nf.models[0].simulate(nf.dataset, n_paths=2, method="bootstrap")


def test_point_losses_are_left_to_conformal_intervals(make, y_panel):
    nf = fitted(make(loss=MAE()), df=y_panel)
    with pytest.raises(ValueError, match="prediction_intervals"):
        nf.simulate(n_paths=5)
    nf.fit(y_panel, val_size=H, prediction_intervals=PredictionIntervals(n_windows=2))
    paths = paths_of(nf, 5)
    assert np.isfinite(paths).all()
    assert (paths.std(1) > 0).all()


def test_mixture_parameters_need_a_mixture(make, y_panel):
    nf = fitted(make(loss=MAE()), df=y_panel)
    with pytest.raises(TypeError, match="LatentMixture"):
        nf.models[0].mixture_parameters(nf.dataset)
    nf = fitted(make(loss=LatentMixture(n_components=3)), df=y_panel)
    loc, scale = nf.models[0].mixture_parameters(nf.dataset)
    assert loc.shape == scale.shape == (2, H, 3 * nf.models[0].network.bank.n_samples)
    assert (scale > 0).all()
    np.testing.assert_allclose(loc.mean(-1).ravel(), nf.predict()["m"], rtol=1e-5)
