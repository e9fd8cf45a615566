from pathlib import Path

import pytest
import yaml

from vdn_forecast.evaluation.suites import read_suite

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


OWN_RUNNER = set(CONFIGS.glob("eve-paper*.yaml"))  # read by test_eve_paper_suite.py


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.yaml")) - OWN_RUNNER), ids=lambda path: path.stem)
def test_committed_suites_are_valid(path: Path) -> None:
    suite = read_suite(path)
    assert suite.lines
    assert suite.name == path.stem


def test_every_combination_of_a_search_is_a_candidate(tmp_path: Path) -> None:
    suite = read_suite(write(tmp_path, SUITE))
    candidates = list(suite.lines[0].candidates())
    assert len(candidates) == 4
    assert {"dropout": 0.1, "control": "off"} in candidates
    assert suite.lines[0].arguments == {"max_steps": 3}
    assert suite.lines[1].arguments == {}


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
    ],
)
def test_a_typo_is_refused_by_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_suite(write(tmp_path, {**SUITE, **change}))
