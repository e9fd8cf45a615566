"""Correlated noise of sample paths: kernels, their sampling, and finding them again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vdn_forecast import LatentMixture
from vdn_forecast.models.path_noise import (
    DECAYS,
    GROWTHS,
    N_KERNELS,
    correlation,
    factor,
    kernels,
    looked_at,
    nearest,
    noise_kernel,
    white,
)

WALK = 1 + len(DECAYS) + GROWTHS.index(0.5)  # the place of a random walk's kernel


def test_a_random_walk_divided_by_its_growing_scale_has_its_kernel() -> None:
    walks = np.random.default_rng(0).standard_normal((40_000, 12)).cumsum(1)
    np.testing.assert_allclose(np.corrcoef(walks.T), kernels(np.arange(1.0, 13))[WALK], atol=0.03)


@given(
    st.lists(st.floats(0, 1), min_size=N_KERNELS, max_size=N_KERNELS).filter(lambda weights: sum(weights) > 0.01),
    st.integers(1, 40),
)
@settings(deadline=None, max_examples=40)
def test_any_weights_give_a_correlation_and_its_root(weights: list[float], h: int) -> None:
    matrix = correlation(torch.tensor(weights), h)
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-9)
    assert np.abs(matrix).max() <= 1 + 1e-9
    root = factor(torch.tensor(weights), h)
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-8)


@pytest.mark.parametrize("h", [1, 5])
def test_white_noise_stays_white(h: int) -> None:
    np.testing.assert_allclose(np.abs(factor(white(), h)), np.eye(h), atol=1e-12)


@pytest.mark.parametrize(("rho", "decay"), [(0.0, 0.0), (0.5, 2.0), (0.93, 16.0), (0.96, 32.0)])
def test_the_nearest_autoregression(rho: float, decay: float) -> None:
    known = np.exp(-1 / decay) if decay else 0.0
    assert correlation(nearest(rho), 9)[3, 4] == pytest.approx(known, abs=1e-6)


@pytest.mark.parametrize("base", ["normal", "studentt"])
@pytest.mark.parametrize("place", [0, 1 + DECAYS.index(2), 1 + DECAYS.index(16), WALK])
def test_the_kernel_of_simulated_paths_is_found_again(base: str, place: int) -> None:
    loss = LatentMixture(n_samples=1, n_components=2, base=base, df=3)
    rng = np.random.default_rng(1)
    windows, h = 1000, 24
    truth = torch.eye(N_KERNELS)[place]
    noise = rng.standard_normal((windows, h)) @ factor(truth, h).T
    if base == "studentt":
        noise = stats.t.ppf(stats.norm.cdf(noise), 3)
    loc, scale = np.array([-1.0, 1.5]), np.array([0.5, 1.0])
    component = rng.integers(2, size=(windows, 1))
    y = torch.from_numpy(loc[component] + scale[component] * noise)
    parameters = [torch.from_numpy(each).expand(windows, h, 2) for each in (loc, scale)]
    found = noise_kernel([(y, torch.ones_like(y), *parameters)], loss)
    assert float(found.sum()) == pytest.approx(1)
    assert float(found.min()) >= 0
    assert np.abs(correlation(found, h) - correlation(truth, h)).max() < 0.12


def test_a_long_horizon_is_read_at_some_steps() -> None:
    for h in (1, 24, 128, 129, 720):
        steps = looked_at(h)
        assert steps[0] == 0
        assert steps[-1] == h - 1
        assert len(steps) == h if h <= 128 else 100 < len(steps) <= 128
        assert (np.diff(steps) > 0).all()
    truth = 0.5 * nearest(0.6) + 0.5 * nearest(0.98)
    y = np.random.default_rng(3).standard_normal((300, 336)) @ factor(truth, 336).T
    ones = torch.ones(300, 336, 1)
    found = noise_kernel([(torch.from_numpy(y), ones[..., 0], 0 * ones, ones)], LatentMixture(1, 1))
    assert np.abs(correlation(found, 336) - correlation(truth, 336)).max() < 0.15


def test_outliers_do_not_hide_the_correlation() -> None:
    """One observation in a hundred twenty standard deviations away, as sensors have them."""
    rng = np.random.default_rng(2)
    y = rng.standard_normal((1000, 24)) @ factor(nearest(0.94), 24).T
    y[rng.random(y.shape) < 0.01] = 20.0
    ones = torch.ones(1000, 24, 1)
    found = noise_kernel([(torch.from_numpy(y), ones[..., 0], 0 * ones, ones)], LatentMixture(1, 1))
    assert np.abs(correlation(found, 24)[5, 9] - 0.94**4) < 0.15


def test_windows_with_gaps_tell_nothing() -> None:
    y, ones = torch.randn(3, 4), torch.ones(3, 4, 1)
    found = noise_kernel([(y, torch.zeros(3, 4), ones, ones)], LatentMixture(1, 1))
    torch.testing.assert_close(found, white())
