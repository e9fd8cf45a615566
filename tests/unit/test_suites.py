import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from vdn_forecast.evaluation.cells import run_cell
from vdn_forecast.evaluation.schedule import Schedule
from vdn_forecast.evaluation.sources import synthetic_panel
from vdn_forecast.evaluation.suite_file import FILE_PANEL, LINE, SYNTHETIC, TOP, read_suite

CONFIGS = Path(__file__).parents[2] / "configs" / "benchmarks"
SUITE = {
    "name": "s",
    "protocol": "embedded",
    "seeds": [1, 2],
    "datasets": {"AirPassengers": 12},
    "defaults": {"max_steps": 3},
    "models": {
        "EVE": {"model": "EVE", "search": {"dropout": [0.0, 0.1], "control": ["off", "batchnorm"]}},
        "SeasonalNaive": {"model": "SeasonalNaive"},
    },
}


def write(folder: Path, content: dict[str, object]) -> Path:
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


# lines of a leaderboard that another suite began
FURTHER_LINES = {"twins", "searched", "searched-ili", "series", "peers", "rivals", "five"}
FURTHER_LINES |= {"advised", "advised-twins", "advised-ensembles", "advised-five", "series-five"}
OWN_RUNNER = set(CONFIGS.glob("eve-paper*.yaml"))  # read by test_eve_paper_suite.py


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.yaml")) - OWN_RUNNER), ids=lambda path: path.stem)
def test_committed_suites_are_valid(path: Path) -> None:
    suite = read_suite(path)
    assert suite.lines
    leaderboard = path.stem
    for lines in sorted(FURTHER_LINES, key=len, reverse=True):
        leaderboard = leaderboard.removesuffix(f"-{lines}")
    assert suite.name == leaderboard


def test_the_documented_suite_is_valid(tmp_path: Path) -> None:
    page = (CONFIGS.parents[1] / "docs" / "suites.md").read_text()
    path = tmp_path / "shop.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    suite = read_suite(path)
    assert suite.horizons("shop") == (24, 48)
    assert suite.panels["shop"].described()["file"] == str(tmp_path / "shop.csv")
    assert all(f"`{key}`" in page or f"{key}:" in page for key in (*TOP, *LINE, *FILE_PANEL, *SYNTHETIC))


def test_validation_may_choose_the_look_back(tmp_path: Path) -> None:
    line = {"model": "DLinear", "arguments": {"max_steps": 2}, "search": {"input_size": [24, 36]}}
    suite = read_suite(write(tmp_path, {**SUITE, "models": {"DLinear": line}}))
    short, usual = (suite.cell(suite.lines[0], "AirPassengers", 1, chosen) for chosen in suite.lines[0].candidates())
    assert (short.build(12).input_size, usual.build(12).input_size) == (24, 36)
    assert [cell.described()["input_size"] for cell in (short, usual)] == [24, 36]
    assert short.described()["protocol"] == usual.described()["protocol"]  # the same targets: one table
    assert json.loads(short.described()["arguments"])["input_size"] == 24
    assert short.identity != usual.identity
    data = suite.load("AirPassengers", None)
    rows = [run_cell(cell, data, "test", test=False) for cell in (short, usual)]
    assert [done.model.input_size for _, done in rows] == [24, 36]
    assert rows[0][1].validation.count.sum() == rows[1][1].validation.count.sum()


def test_every_combination_of_a_search_is_a_candidate(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, SUITE))
    candidates = list(suite.lines[0].candidates())
    assert len(candidates) == 4
    assert {"dropout": 0.1, "control": "off"} in candidates
    assert suite.lines[0].arguments == {"max_steps": 3}
    assert suite.lines[1].arguments == {}


def test_a_search_may_be_a_list_of_alternatives(tmp_path: Path) -> None:
    alternatives = [{}, {"dropout": 0.1, "control": "off"}, {"dropout": 0.2}]
    line = {"model": "EVE", "arguments": {"dropout": 0.3}, "search": alternatives}
    suite = read_suite(write(tmp_path, {**SUITE, "models": {"EVE": line}}))
    assert list(suite.lines[0].candidates()) == alternatives
    cells = [suite.cell(suite.lines[0], "AirPassengers", 1, chosen) for chosen in alternatives]
    assert [cell.arguments["dropout"] for cell in cells] == [0.3, 0.1, 0.2]
    assert len(Schedule(suite, ["AirPassengers"])) == len(alternatives) + len(suite.seeds)


def test_a_cell_is_named_by_what_it_runs(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, SUITE))
    line = suite.lines[0]
    one = suite.cell(line, "AirPassengers", 1, {"dropout": 0.1})
    assert one.identity == suite.cell(line, "AirPassengers", 1, {"dropout": 0.1}).identity
    others = [
        suite.cell(line, "AirPassengers", 2, {"dropout": 0.1}),
        suite.cell(line, "AirPassengers", 1, {"dropout": 0.2}),
    ]
    assert len({one.identity, *(cell.identity for cell in others)}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [1]}, "unknown keys .*seed"),
        ({"protocol": "ltfs"}, "ltfs"),
        ({"datasets": {"ETTh9": 96}}, "ETTh9"),
        ({"datasets": {"AirPassengers": 0}}, "AirPassengers=0"),
        ({"models": {"EVE": {"model": "EVA"}}}, "EVA"),
        ({"models": {"EVE": {"model": "EVE", "argument": {}}}}, "models.EVE: unknown keys"),
        ({"models": {"EVE": {}}}, "missing keys"),
        ({"models": {}}, "models="),
        ({"models": {"EVE": {"model": "EVE", "arguments": {"h": 3}}}}, "models.EVE.arguments: 'h'"),
        ({"models": {"EVE": {"model": "EVE", "search": {"random_seed": [1]}}}}, "random_seed"),
        ({"models": {"EVE": {"model": "EVE", "search": {"dropout": 0.1}}}}, "dropout=0.1"),
        ({"models": {"EVE": {"model": "EVE", "by_dataset": {"ETTh9": {}}}}}, "ETTh9"),
        ({"models": {"N": {"model": "Naive", "arguments": {"season": 3}}}}, "takes no arguments"),
        ({"models": ["EVE"]}, "models="),
        ({"defaults": {"learning_rate": "1e-4"}}, "learning_rate='1e-4' is a text for YAML; write 0.0001"),
        ({"models": {"EVE": {"model": "EVE", "search": {"dropout": [0.1, "1e-1"]}}}}, "is a text for YAML"),
        ({"models": {"EVE": {"model": "EVE", "search": "owm"}}}, "search='owm'"),
        ({"models": {"EVE": {"model": "EVE", "search": [{"dropout": 0.1}]}}}, "at least two"),
        ({"models": {"EVE": {"model": "EVE", "search": [{"dropout": 0.1}, {"dropout": 0.1}]}}}, "search.1.=.*twice"),
        ({"models": {"EVE": {"model": "EVE", "search": [{}, {"h": 3}]}}}, "search.1.: 'h'"),
        ({"models": {"EVE": {"model": "EVE", "search": [{}, 3]}}}, "search.1.=3"),
        ({"models": {"EVE": {"model": "EVE", "search": [{}, {"input_size": 0}]}}}, "search.1.: input_size=0"),
        ({"models": {"EVE": {"model": "EVE", "search": {"input_size": [24, "36"]}}}}, "search: input_size='36'"),
        ({"models": {"EVE": {"model": "EVE", "search": {"input_size": 24}}}}, "input_size=24"),
        ({"models": {"EVE": {"model": "EVE", "arguments": {"input_size": 24}}}}, "arguments: 'input_size'"),
        ({"defaults": {"input_size": 24}}, "defaults: 'input_size'"),
        ({"seeds": []}, "seeds="),
        ({"seeds": [1, 1]}, "seeds="),
        ({"seeds": 3}, "seeds="),
        ({"seeds": [True]}, "seeds="),
        ({"input_size": 0}, "input_size=0"),
        ({"max_time": 0}, "max_time=0"),
        ({"max_time": "1h"}, "max_time='1h'"),
        ({"windows": 1}, "windows=1"),
        ({"paths": "yes"}, "paths='yes'"),
        ({"name": "a/b"}, "name='a/b'"),
        ({"datasets": {"AirPassengers": [12, 12]}}, "AirPassengers="),
        ({"datasets": {"AirPassengers": []}}, "AirPassengers="),
        ({"datasets": {"AirPassengers": True}}, "AirPassengers=True"),
        ({"datasets": {"AirPassengers": {"h": 12, "file": "a.csv"}}}, "one of the benchmark's"),
        ({"datasets": {"mine": {"h": 12, "file": "a.csv", "split": [1, 2]}}}, "missing keys .*freq"),
        ({"datasets": {"mine": {"h": 12, "file": "a.csv", "freq": "h", "split": [1, 2]}}}, "split="),
        ({"datasets": {"mine": {"h": 12, "file": "a.csv", "freq": 1, "split": [1, 2, 3]}}}, "freq=1"),
        ({"datasets": {"mine": {"h": 12, "file": "a", "freq": "h", "split": [1, 2, 3], "season": 0}}}, "season=0"),
        ({"datasets": {"big": {"h": 12, "synthetic": {"n_series": 2}}}}, "missing keys .*n_rows"),
        ({"datasets": {"big": {"h": 12, "synthetic": {"n_series": 0, "n_rows": 5}}}}, "n_series=0"),
        ({"datasets": {"big": {"h": 12, "synthetic": {"n_series": 1, "n_rows": 5}, "freq": "h"}}}, "unknown .*freq"),
    ],
)
def test_a_typo_is_refused_by_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_suite(write(tmp_path, {**SUITE, **change}))


def test_the_known_keys_stand_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"known are \['datasets', 'defaults', 'input_size', 'max_time'"):
        read_suite(write(tmp_path, {**SUITE, "max_tim": 3}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold keys"),
        ("- a", "must hold keys"),
        ("name: [", "no YAML"),
        ("name: s\nname: t\n", "line 1: keys .'name'. are there twice"),
        ("name: s\nmodels:\n  EVE: {model: EVE}\n  EVE: {model: T1}\n", "line 3: keys .'EVE'."),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_suite(path)


def test_a_dataset_may_have_several_horizons(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, {**SUITE, "datasets": {"AirPassengers": [6, 12]}}))
    assert suite.horizons("AirPassengers") == (6, 12)
    line = suite.lines[1]
    with pytest.raises(ValueError, match="horizons"):
        suite.cell(line, "AirPassengers", 1, {})
    short, long = (suite.cell(line, "AirPassengers", 1, {}, h) for h in (6, 12))
    assert (short.h, long.h) == (6, 12)
    assert short.identity != long.identity
    one = read_suite(write(tmp_path, {**SUITE, "datasets": {"AirPassengers": 12}}))
    assert one.cell(line, "AirPassengers", 1, {}).identity == long.identity


def test_a_file_of_ones_own_is_found_beside_the_suite(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-01-01", periods=40, freq="D")
    values = np.arange(80.0).reshape(40, 2)
    pd.DataFrame(values, columns=["a", "b"]).assign(date=stamps).to_csv(tmp_path / "mine.csv", index=False)
    mine = {"h": 3, "file": "mine.csv", "split": [20, 10, 10], "freq": "D", "season": 7}
    suite = read_suite(write(tmp_path, {**SUITE, "datasets": {"mine": mine}}))
    data = suite.load("mine", None)
    assert (data.name, data.borders, suite.season("mine")) == ("mine", (20, 10, 10), 7)
    assert data.values.tolist() == values.tolist()


def test_a_synthetic_panel_has_its_name_from_the_suite(tmp_path: Path) -> None:
    big = {"h": 3, "synthetic": {"n_series": 2, "n_rows": 50}}
    data = read_suite(write(tmp_path, {**SUITE, "datasets": {"big": big}})).load("big", None)
    assert (data.name, data.values.shape) == ("big", (50, 2))


def test_a_fingerprint_says_what_a_figure_depends_on(tmp_path: Path) -> None:
    data = synthetic_panel(2, 50)
    assert data.fingerprint == synthetic_panel(2, 50).fingerprint
    assert data.fingerprint.startswith("50x2-")
    values = data.values.copy()
    values[-1, -1] += 1e-9
    others = [
        replace(data, values=values),
        replace(data, values=data.values.reshape(25, 4)),
        replace(data, info=replace(data.info, borders=(20, 10))),
        replace(data, info=replace(data.info, season=7)),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 5
