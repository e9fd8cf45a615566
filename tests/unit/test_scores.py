import numpy as np
import pytest
import scoringrules
import torch

from vdn_forecast.evaluation.scores import ForecastBlock, ScoreSums
from vdn_forecast.mixture import LEVELS_19


def random_block(generator: torch.Generator, windows: int = 30, h: int = 4, n_series: int = 3) -> ForecastBlock:
    series = torch.randint(n_series, (windows,), generator=generator)
    y = torch.randn(windows, h, generator=generator)
    mean = torch.randn(windows, h, generator=generator)
    z = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).float()
    return ForecastBlock(series, y, mean, mean.unsqueeze(-1) + 0.7 * z)


def test_sums_over_blocks_equal_a_direct_computation() -> None:
    generator = torch.Generator().manual_seed(0)
    blocks = [random_block(generator) for _ in range(3)]
    sums = ScoreSums(3, 4)
    for block in blocks:
        sums.update(block)
    y = torch.cat([b.y for b in blocks]).double().numpy()
    mean = torch.cat([b.mean for b in blocks]).double().numpy()
    quantiles = torch.cat([b.quantiles for b in blocks if b.quantiles is not None]).double().numpy()
    got = sums.summary()
    assert got["mse"] == pytest.approx(np.mean((y - mean) ** 2))
    assert got["mae_mean"] == pytest.approx(np.mean(np.abs(y - mean)))
    pinball = np.stack(
        [scoringrules.quantile_score(y, quantiles[..., i], level) for i, level in enumerate(LEVELS_19)], -1
    )
    assert got["crps19"] == pytest.approx(np.mean(2 * pinball), rel=1e-6)
    assert got["mae"] == pytest.approx(np.mean(np.abs(y - quantiles[..., 9])), rel=1e-6)
    inside = (y >= quantiles[..., 1]) & (y <= quantiles[..., 17])
    assert got["coverage80"] == pytest.approx(inside.mean())
    assert got["width90"] == pytest.approx(np.mean(quantiles[..., 18] - quantiles[..., 0]), rel=1e-6)
    np.testing.assert_allclose(list(sums.pinball_by_level().values()), pinball.mean((0, 1)), rtol=1e-6)


def test_steps_and_series_average_to_the_summary() -> None:
    sums = ScoreSums(3, 4)
    sums.update(random_block(torch.Generator().manual_seed(1)))
    assert sums.by_step()["mse"].mean() == pytest.approx(sums.summary()["mse"])
    weights = (sums.count / sums.count.sum()).numpy()
    assert (sums.by_series()["mse"] * weights).sum() == pytest.approx(sums.summary()["mse"])


def test_crps19_of_a_calibrated_gaussian_is_a_known_multiple_of_the_exact_one() -> None:
    generator = torch.Generator().manual_seed(2)
    y = torch.randn(200_000, 1, generator=generator)
    z = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).float()
    sums = ScoreSums(1, 1)
    sums.update(ForecastBlock(torch.zeros(len(y), dtype=torch.long), y, torch.zeros_like(y), z.expand(len(y), 1, 19)))
    exact = scoringrules.crps_normal(y.numpy(), 0.0, 1.0).mean()
    assert sums.summary()["crps19"] / exact == pytest.approx(1.048, abs=0.003)


@pytest.mark.parametrize("where", ["mean", "quantiles"])
def test_a_forecast_that_is_not_finite_is_refused(where: str) -> None:
    block = random_block(torch.Generator().manual_seed(3))
    broken = getattr(block, where)
    broken[0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        ScoreSums(3, 4).update(block)
