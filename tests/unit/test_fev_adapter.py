"""Forecasts of a fev task, and our measures against what fev itself said of them (frozen; live where fev is)."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vdn_forecast.evaluation.fev_adapter import TaskForecasts, export_task, forecast_task, score_task
from vdn_forecast.evaluation.fev_scores import FevScores
from vdn_forecast.evaluation.scores import ForecastBlock, ScoreSums
from vdn_forecast.mixture import LEVELS_19

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
FROZEN: dict[str, Any] = json.loads((ARTIFACTS / "fev_example.json").read_text())
CONTENT, H, SEASON = FROZEN["content"], 4, 4
sys.path.insert(0, str(ARTIFACTS))
from freeze_fev import example, write_example  # noqa: E402

VALUES = example().pivot(index="timestamp", columns="id", values="target").to_numpy()  # [T, 2], in order of the ids
ORIGINS = np.array([span[0][2] for span in CONTENT["windows"]])


def frozen_quantiles() -> np.ndarray:
    """[windows, series, h, 19]."""
    rows = [window["target"] for window in FROZEN["predictions"]]
    return np.array([[[row[str(q)] for q in LEVELS_19] for row in window] for window in rows]).swapaxes(2, 3)


def fev_python() -> str:
    """An interpreter with fev: VDN_FEV_PYTHON, or this one."""
    chosen = os.environ.get("VDN_FEV_PYTHON", "")
    if not chosen and importlib.util.find_spec("fev") is None:
        pytest.skip("no fev here, and VDN_FEV_PYTHON names no interpreter with it")
    return chosen or sys.executable


def test_the_adapter_gives_the_frozen_forecasts() -> None:
    done = forecast_task(CONTENT, "SeasonalNaive")
    assert len(done.predictions) == 3
    for found, expected in zip(done.predictions, FROZEN["predictions"], strict=True):
        for row, other in zip(found["target"], expected["target"], strict=True):
            assert row.keys() == other.keys() == {"predictions", *map(str, LEVELS_19)}
            for name, values in row.items():
                np.testing.assert_allclose(values, other[name], atol=1e-4, err_msg=name)
    last = VALUES[ORIGINS[0] - SEASON : ORIGINS[0], 0]
    np.testing.assert_allclose(done.predictions[0]["target"][0]["predictions"], last, rtol=1e-5)


def test_a_plain_definition_gives_fevs_scores() -> None:
    quantiles, levels = frozen_quantiles(), np.array(LEVELS_19)
    scores: dict[str, list[float]] = {"MASE": [], "SQL": [], "WQL": [], "MSE": []}
    for origin, q in zip(ORIGINS, quantiles, strict=True):
        y, past = VALUES[origin : origin + H].T, VALUES[:origin]
        seasonal = np.abs(past[SEASON:] - past[:-SEASON]).mean(0)[:, None]
        error = y[..., None] - q
        loss = 2 * np.maximum(levels * error, (levels - 1) * error)
        median = q[..., 9]
        scores["MASE"].append((np.abs(y - median) / seasonal).mean())
        scores["SQL"].append((loss.mean(-1) / seasonal).mean())
        scores["WQL"].append(loss.sum((0, 1)).mean() / np.abs(y).sum())
        scores["MSE"].append(((y - median) ** 2).mean())
    for name, values in scores.items():
        assert np.mean(values) == pytest.approx(FROZEN["scores"][name], rel=1e-9), name
    assert FROZEN["scores"]["test_error"] == FROZEN["scores"]["MASE"]
    assert FROZEN["scores"]["num_forecasts"] == 6


def test_the_runners_measures_give_fevs_scores() -> None:
    quantiles = torch.from_numpy(frozen_quantiles()).float()
    scores, sums = FevScores(VALUES, ORIGINS, SEASON), ScoreSums(2, H)
    for number, origin in enumerate(ORIGINS):
        y = torch.from_numpy(VALUES[origin : origin + H].T.copy()).float()
        q = quantiles[number]
        block = ForecastBlock(torch.arange(2), y, q[..., 9], q, origin=torch.full((2,), number))
        scores.update(block, sums.update(block))
    for name, value in scores.summary().items():
        assert value == pytest.approx(FROZEN["scores"][name.upper()], rel=1e-5), name


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        ("EVE.small", {"n_units": 8, "hidden_size": 8, "head_size": 8}),
        ("NHITS-MQLoss", {"mlp_units": 3 * [[8, 8]]}),
        ("iTransformer", {"hidden_size": 8, "d_ff": 8, "n_heads": 2}),
        ("DLinear", {"refit": True}),
    ],
)
def test_any_model_of_the_runner_forecasts_ragged_series_with_gaps(model: str, arguments: dict[str, Any]) -> None:
    a, b = CONTENT["items"]["a"]["target"], CONTENT["items"]["b"]["target"][6:]
    gaps = [None if i in (3, 9) else y for i, y in enumerate(b)]
    windows = [[[name, start, stop - 6 * (name == "b")] for name, start, stop in spans] for spans in CONTENT["windows"]]
    task = {**CONTENT["task"], "quantile_levels": [0.1, 0.5, 0.9]}
    content = {**CONTENT, "task": task, "items": {"a": {"target": a}, "b": {"target": gaps}}, "windows": windows}
    done = forecast_task(content, model, max_steps=4, val_check_steps=2, **arguments)
    assert [len(window["target"]) for window in done.predictions] == [2, 2, 2]
    for window in done.predictions:
        for row in window["target"]:
            low, mid, high = (np.array(row[str(q)]) for q in (0.1, 0.5, 0.9))
            assert np.isfinite(low).all()
            assert (low <= mid).all()
            assert (mid <= high).all()
            assert row["predictions"] == row["0.5"]
    assert done.training_time_s > 0


def test_a_mean_is_the_point_forecast_where_the_metric_asks_for_one() -> None:
    small = {"hidden_size": 8, "max_steps": 2, "val_check_steps": 1, "loss": "MQLoss"}
    rows = []
    for metric in ("MASE", {"name": "RMSE"}):
        content = {**CONTENT, "task": {**CONTENT["task"], "eval_metric": metric}}
        rows.append(forecast_task(content, "MLP", **small).predictions[0]["target"][0])
    assert rows[0]["predictions"] == rows[0]["0.5"] == rows[1]["0.5"]
    np.testing.assert_allclose(rows[1]["predictions"], np.mean([rows[1][str(q)] for q in LEVELS_19], 0), rtol=1e-5)


def test_a_later_window_with_other_series_asks_for_refit() -> None:
    windows = [CONTENT["windows"][0], CONTENT["windows"][1][:1]]
    with pytest.raises(ValueError, match="window 1 has other series"):
        forecast_task({**CONTENT, "windows": windows}, "Naive")
    done = forecast_task({**CONTENT, "windows": windows}, "Naive", refit=True)
    assert [len(window["target"]) for window in done.predictions] == [2, 1]


def test_what_cannot_be_forecast_is_refused_by_name() -> None:
    def with_task(**changed: Any) -> dict[str, Any]:
        return {**CONTENT, "task": {**CONTENT["task"], **changed}}

    with pytest.raises(ValueError, match=r"quantile_levels=\[0.01\]"):
        forecast_task(with_task(quantile_levels=[0.01, 0.5]), "Naive")
    with pytest.raises(ValueError, match="val_size=2 is not allowed"):
        forecast_task(CONTENT, "Naive", val_size=2)
    with pytest.warns(UserWarning, match=r"\['price'\] of the task are not used"):
        forecast_task(with_task(known_dynamic_columns=["price"]), "Naive")


def test_an_interpreter_without_fev_says_so() -> None:
    if importlib.util.find_spec("fev") is not None:
        pytest.skip("fev is here")
    with pytest.raises(RuntimeError, match="No module named 'fev'"):
        export_task({"dataset_path": "none.parquet"}, sys.executable)


def test_fev_itself_exports_and_scores_the_same(tmp_path: Path) -> None:
    python = fev_python()
    task = write_example(tmp_path)
    content = export_task(task, python)
    for key in ("items", "windows", "targets"):
        assert content[key] == CONTENT[key]
    summary = score_task(task, TaskForecasts("SeasonalNaive", FROZEN["predictions"], 1.0, 2.0), python)
    assert summary["model_name"] == "SeasonalNaive"
    assert {name: summary[name] for name in FROZEN["scores"]} == pytest.approx(FROZEN["scores"], rel=1e-9)
    with pytest.raises(RuntimeError, match="wrong length"):
        score_task({**task, "horizon": 5}, TaskForecasts("x", FROZEN["predictions"], 1.0, 2.0), python)
