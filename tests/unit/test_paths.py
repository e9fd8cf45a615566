import numpy as np
import pytest
import torch
from scipy import stats

from vdn_forecast import LatentMixture
from vdn_forecast.models.paths import CORRELATIONS, autoregressive_noise, noise_correlation


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_noise_is_stationary_with_the_wanted_correlation(rho: float) -> None:
    noise = autoregressive_noise(np.random.default_rng(0).standard_normal((20_000, 12)), rho)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.03)
    for lag in (1, 3):
        assert np.corrcoef(noise[:, 4], noise[:, 4 + lag])[0, 1] == pytest.approx(rho**lag, abs=0.03)


@pytest.mark.parametrize("base", ["normal", "studentt"])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_correlation_of_simulated_paths_is_found_again(base: str, rho: float) -> None:
    loss = LatentMixture(n_samples=1, n_components=2, base=base, df=3)
    rng = np.random.default_rng(1)
    windows, h = 400, 24
    noise = autoregressive_noise(rng.standard_normal((windows, h)), rho)
    if base == "studentt":
        noise = stats.t.ppf(stats.norm.cdf(noise), 3)
    loc = torch.tensor([-1.0, 1.5]).expand(windows, h, 2)
    scale = torch.tensor([0.5, 1.0]).expand(windows, h, 2)
    component = torch.from_numpy(rng.integers(2, size=windows))
    chosen = component[:, None].expand(windows, h)
    y = loc.gather(2, chosen.unsqueeze(2)).squeeze(2) + scale.gather(2, chosen.unsqueeze(2)).squeeze(
        2
    ) * torch.from_numpy(noise)
    found = noise_correlation([(y, torch.ones_like(y), loc, scale)], loss)
    assert found == min(CORRELATIONS, key=lambda candidate: abs(candidate - rho))


def test_windows_with_gaps_tell_nothing() -> None:
    y, ones = torch.randn(3, 4), torch.ones(3, 4, 1)
    assert noise_correlation([(y, torch.zeros(3, 4), ones, ones)], LatentMixture(1, 1)) == 0.0
