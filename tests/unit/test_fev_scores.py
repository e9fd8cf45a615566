"""MASE, WQL and SQL against a plain definition over whole arrays, written from fev's own."""

import numpy as np
import pytest
import torch

from vdn_forecast.evaluation.data import DatasetInfo, PanelData, load_dataset
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.fev_scores import FevScores, seasonal_errors
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import Protocol, embedded
from vdn_forecast.evaluation.scores import ForecastBlock, ScoreSums
from vdn_forecast.mixture import LEVELS_19


def fev_window(past: np.ndarray, y: np.ndarray, quantiles: np.ndarray, season: int) -> dict[str, float]:
    """One rolling window of fev: past [T, N], y [N, H], quantiles [N, H, 19]; non-finite ratios are left out."""
    seasonal = np.array([np.abs(series[season:] - series[:-season]).mean() for series in past.T])
    levels = np.array(LEVELS_19)
    loss = 2 * np.abs((y[..., None] - quantiles) * ((y[..., None] <= quantiles) - levels))
    with np.errstate(divide="ignore", invalid="ignore"):
        mase = np.abs(y - quantiles[..., 9]) / seasonal[:, None]
        sql = loss.mean(2) / seasonal[:, None]
    return {
        "mase": mase[np.isfinite(mase)].mean(),
        "sql": sql[np.isfinite(sql)].mean(),
        "wql": loss.mean() / np.abs(y).mean(),
    }


def panel(rng: np.random.Generator, rows: int = 200) -> PanelData:
    values = rng.standard_normal((rows, 3)).cumsum(0) * [1, 10, 0] + [100, -5, 7]  # the last one never moves
    index = load_dataset("AirPassengers").index[:1].repeat(rows)
    return PanelData("mine", values, index, ("a", "b", "c"), DatasetInfo("user", "", "h", 7))


@pytest.mark.parametrize("scale", ["train", "restored", "original"])
def test_all_three_equal_the_plain_definition(scale: str) -> None:
    rng = np.random.default_rng(1)
    data, h, season = panel(rng), 5, 7
    first, origins = 160, np.arange(160, 196, 3)
    mean, deviation = data.train_moments()
    quantiles = np.sort(rng.standard_normal((3, len(origins), h, 19)), -1)  # of scaled values
    scaled = (data.values - mean) / deviation
    if scale == "original":
        scaled, mean, deviation = data.values, np.zeros(3), np.ones(3)
    expected = [
        fev_window(
            data.values[:start],
            data.values[start : start + h].T,
            mean[:, None, None] + deviation[:, None, None] * quantiles[:, i],
            season,
        )
        for i, start in enumerate(origins)
    ]
    moments = torch.from_numpy(mean), torch.from_numpy(deviation)
    on_metric_scale = data.values if scale == "restored" else scaled
    scores = FevScores(on_metric_scale, origins, season, moments if scale == "train" else None)
    sums = ScoreSums(3, h)
    for series in range(3):  # the blocks of an origin need not come together
        for part in (slice(0, 4), slice(4, None)):
            y = torch.from_numpy(np.stack([scaled[o : o + h, series] for o in origins[part]])).float()
            found = torch.from_numpy(quantiles[series, part]).float()
            number = torch.arange(len(origins))[part]
            block = ForecastBlock(torch.full((len(y),), series), y, found.mean(-1), found, origin=number)
            block = block.restored(*moments) if scale == "restored" else block
            scores.update(block, sums.update(block))
    for name, values in scores.by_origin().items():
        np.testing.assert_allclose(values, [window[name] for window in expected], rtol=1e-4, err_msg=name)
        assert scores.summary()[name] == pytest.approx(np.mean([window[name] for window in expected]), rel=1e-4)
    assert first == origins[0]


def test_the_seasonal_error_grows_with_the_past() -> None:
    values = np.arange(20.0)[:, None] ** 2
    found = seasonal_errors(values, np.array([2, 3, 10]), 3)
    assert found[:, 0].tolist() == [0.0, 0.0, pytest.approx(np.mean([t**2 - (t - 3) ** 2 for t in range(3, 10)]))]
    with pytest.raises(ValueError, match="season=0"):
        FevScores(values, np.array([5]), 0)


def test_an_evaluation_carries_them() -> None:
    data, h = load_dataset("AirPassengers"), 12
    done = evaluate(NaiveModel(12), data, embedded(36), h)
    assert done.fev is not None
    # repeating the last season has about the error that MASE divides by
    assert 0.5 < done.fev.summary()["mase"] < 4
    origins = np.arange(120, 144 - h + 1)
    errors = [np.abs(data.values[o : o + h] - data.values[o - 12 : o]).mean(0) for o in origins]
    seasonal = [np.abs(data.values[12:o] - data.values[: o - 12]).mean(0) for o in origins]
    assert done.fev.summary()["mase"] == pytest.approx(np.mean(np.array(errors) / seasonal), rel=1e-5)


def test_mase_and_sql_do_not_depend_on_the_scale_and_wql_is_in_the_files_unit() -> None:
    data = load_dataset("AirPassengers")
    found = {}
    for scale in ("train", "restored"):
        model = build_model("NLinear", 12, 36, 12, max_steps=5)
        done = evaluate(model, data, Protocol("embedded", 1, 36, 1, scale), 12)
        assert done.fev is not None
        found[scale] = done.fev.summary()
    assert found["train"] == pytest.approx(found["restored"], rel=1e-4)


def test_blocks_number_their_origins() -> None:
    data = load_dataset("AirPassengers")
    numbers = [block.origin for block in blocks(NaiveModel(12), data, 1, 36, 12, 120, 144, torch.ones(2, 12))]
    assert torch.cat([number for number in numbers if number is not None]).tolist() == list(range(13)) * 2
