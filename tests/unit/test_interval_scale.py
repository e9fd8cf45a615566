"""One factor per step: found again where intervals are wrong by a known one, and applied to the test split."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import blocks, residual_scale
from vdn_forecast.evaluation.interval_scale import IntervalScale
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import embedded
from vdn_forecast.evaluation.scores import ForecastBlock, ScoreSums
from vdn_forecast.mixture import LEVELS_19

Z = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).float()


def gaussian_block(y: torch.Tensor, width: torch.Tensor, shift: float = 0.0) -> ForecastBlock:
    """N(shift, width_t) forecasts of y [W, h] by one series."""
    mean = torch.full_like(y, shift)
    return ForecastBlock(torch.zeros(len(y), dtype=torch.long), y, mean, mean.unsqueeze(-1) + width[:, None] * Z)


@given(low=st.floats(0.1, 0.9), high=st.floats(1.1, 8), seed=st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_a_known_factor_is_found_per_step(low: float, high: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    truth = torch.tensor([low, 1.0, high])
    scale = IntervalScale(3)
    for _ in range(4):  # blocks add up
        scale.update(gaussian_block(2 + truth * torch.randn(2500, 3, generator=rng), torch.ones(3), shift=2.0))
    torch.testing.assert_close(scale.factors(), truth, rtol=0.05, atol=0)


def test_the_factor_is_the_quantile_of_the_stretches() -> None:
    rng = np.random.default_rng(1)
    y = torch.from_numpy(rng.standard_t(3, size=(501, 2))).float()
    block = gaussian_block(y, torch.tensor([0.4, 3.0]), shift=0.3)
    scale = IntervalScale(2)
    scale.update(block)
    stretches = []
    for level in (80, 90):
        low, median, high = (part.numpy() for part in block.interval(level))
        away = y.numpy() - median
        stretches.append(np.where(away > 0, away / (high - median), away / (low - median)))
    expected = np.quantile(np.concatenate(stretches), 0.85, axis=0)
    np.testing.assert_allclose(scale.factors().numpy(), expected, rtol=0.01)


def test_both_coverages_are_right_on_average_where_the_factor_was_fitted() -> None:
    rng = torch.Generator().manual_seed(2)
    block = gaussian_block(torch.randn(4000, 2, generator=rng), torch.tensor([0.5, 2.0]))
    scale = IntervalScale(2)
    scale.update(block)
    sums = ScoreSums(1, 2, scale.factors())
    sums.update(block)
    found = sums.summary()
    assert (found["coverage80_cal"] + found["coverage90_cal"]) / 2 == pytest.approx(0.85, abs=0.003)
    np.testing.assert_allclose(found["coverage90_cal"], 0.9, atol=0.02)
    assert found["coverage80"] == pytest.approx((0.48 + 0.99) / 2, abs=0.02)
    assert found["width80"] == pytest.approx(2.5 * 1.2816 * 1.0, rel=1e-3)
    assert found["width80_cal"] == pytest.approx(2 * 1.2816, rel=0.05)


def test_degenerate_intervals_do_not_break_the_fit() -> None:
    y = torch.cat([torch.zeros(90, 1), torch.ones(10, 1)])
    scale = IntervalScale(1)
    scale.update(gaussian_block(y, torch.zeros(1)))
    assert 0 < float(scale.factors()) <= 0.021  # met exactly nine times of ten: nothing to stretch
    scale = IntervalScale(1)
    scale.update(gaussian_block(torch.ones(10, 1), torch.zeros(1)))
    assert float(scale.factors()) == pytest.approx(50, rel=0.01)
    with pytest.raises(ValueError, match="no validation window"):
        IntervalScale(2).factors()


def test_a_point_forecast_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no quantiles"):
        IntervalScale(3).update(ForecastBlock(torch.zeros(1, dtype=torch.long), torch.zeros(1, 3), torch.zeros(1, 3)))


def test_the_evaluation_fits_on_validation_and_reports_on_test() -> None:
    data, protocol, h = load_dataset("AirPassengers"), embedded(36), 12
    done = evaluate(NaiveModel(12), data, protocol, h)
    assert done.test is not None
    residual = residual_scale(NaiveModel(12), data, protocol, h, 96, 120)
    scale = IntervalScale(h)
    for block in blocks(NaiveModel(12), data, 1, 36, h, 96, 120, residual):
        scale.update(block)
    assert done.test.interval_scale is not None
    torch.testing.assert_close(done.test.interval_scale, scale.factors())
    by_step = done.test.by_step()
    np.testing.assert_allclose(by_step["width90_cal"], scale.factors().numpy() * by_step["width90"], rtol=1e-5)
    assert "coverage80_cal" not in done.validation.summary()
