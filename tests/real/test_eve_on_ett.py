"""A short EVE on real data through the whole path: protocol, fit, best weights, exact scores."""

from pathlib import Path

import pytest

from vdn_forecast.evaluation.cells import Cell, run_cell
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.protocols import ltsf
from vdn_forecast.evaluation.results import SCHEMA

SHORT = {
    "max_steps": 100,
    "val_check_steps": 20,
    "valid_windows": 512,
    "n_units": 64,
    "hidden_size": 64,
    "head_size": 64,
    "n_components": 2,
    "n_predict_samples": 2,
}


@pytest.mark.real
def test_a_hundred_steps_give_a_calibrated_forecast_that_beats_repeating_the_last_value(data_dir: Path) -> None:
    data, protocol = load_dataset("ETTh1", data_dir), ltsf("ETTh1")
    naive, _ = run_cell(Cell(protocol, "ETTh1", 96, "Naive", "Naive", 1), data, "test")
    row, done = run_cell(Cell(protocol, "ETTh1", 96, "EVE", "EVE", 1, SHORT), data, "test")
    assert set(row) <= set(SCHEMA)
    assert done.test is not None
    assert set(done.test.count.tolist()) == {2785.0}
    assert row["crps19"] < 0.7 * naive["crps19"]
    assert row["mse"] < 0.5 * naive["mse"]
    assert 0.65 < row["coverage80"] < 0.95
    best = min(value for step, value in done.model.valid_trajectories if step > 0)
    assert float(done.model.metrics["ptl/val_loss"]) == pytest.approx(best)
