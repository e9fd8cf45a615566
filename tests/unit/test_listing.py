"""`benchmark list` shows every argument and runs nothing."""

from pathlib import Path

import pytest
import yaml

import vdn_forecast_cli
from vdn_forecast.evaluation.listing import resolved_arguments
from vdn_forecast.evaluation.suite_file import read_suite

SUITE = {
    "name": "s",
    "protocol": "embedded",
    "seeds": [1, 2],
    "datasets": {"AirPassengers": 12},
    "models": {
        "EVE": {"model": "EVE", "arguments": {"max_steps": 3}, "search": {"dropout": [0.0, 0.1]}},
        "SeasonalNaive": {"model": "SeasonalNaive"},
    },
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


def test_every_cell_and_argument_is_listed(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vdn_forecast_cli.main(["benchmark", "list", str(suite)]) == 0
    text = capsys.readouterr().out
    read = read_suite(suite)
    eve, naive = read.lines
    cell = read.cell(eve, "AirPassengers", 2, {"dropout": 0.1})
    assert f"seed 2 {cell.identity}" in text
    assert text.count("trial 1 of 2") == text.count("trial 2 of 2") == 1
    assert "* max_steps = 3" in text
    assert "* dropout = 0.1" in text
    assert "  kl_weight = " in text
    assert "season = 12" in text
    assert text.count(read.cell(naive, "AirPassengers", 1, {}).identity) == 1
    assert read.cell(naive, "AirPassengers", 2, {}).identity not in text


def test_arguments_are_those_of_the_built_model(suite: Path) -> None:
    read = read_suite(suite)
    cell = read.cell(read.lines[0], "AirPassengers", 1, {"dropout": 0.1})
    found = resolved_arguments(cell, 12)
    model = cell.build(12)
    assert set(found) == set(model.hparams)
    assert (found["dropout"], found["max_steps"], found["random_seed"]) == (0.1, 3, 1)


def test_settings_and_datasets_of_ones_own_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    big = {"h": [3, 6], "synthetic": {"n_series": 2, "n_rows": 50}}
    naive = {"SeasonalNaive": {"model": "SeasonalNaive"}}
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**SUITE, "datasets": {"big": big}, "models": naive, "max_time": 90}))
    assert vdn_forecast_cli.main(["benchmark", "list", str(path)]) == 0
    text = capsys.readouterr().out
    assert "* max_time = 90\n" in text
    assert "  input_size = null" in text
    assert '"n_rows": 50, "seed": 0' in text
    assert "big  h=3  " in text
    assert "big  h=6  " in text
    assert "season = 24" in text
