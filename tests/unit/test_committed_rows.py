"""Rows that were run keep their identity: a suite finds them again, whatever arguments the models got since."""

import csv
from pathlib import Path

import pytest

from vdn_forecast.evaluation.suite_file import read_suite

ROOT = Path(__file__).parents[2]
STUDIES = (
    *("areve", "background", "batchnorm", "floor", "found", "objective", "samples", "scaling", "series", "small"),
    "window_scale",
)
TABLES = {  # by table: the suites that write it
    "benchmarks/results/first.csv": ["configs/benchmarks/first.yaml"],
    "benchmarks/results/ltsf.csv": [
        f"configs/benchmarks/ltsf{lines}.yaml"
        for lines in (
            *("", "-twins", "-searched", "-searched-ili", "-series", "-peers", "-rivals", "-five"),
            *("-advised", "-advised-twins", "-advised-ensembles", "-advised-five", "-series-five"),
        )
    ],
    "benchmarks/results/bound.csv": ["configs/benchmarks/bound.yaml"],
    "benchmarks/results/areve.csv": ["configs/benchmarks/areve.yaml"],
    "benchmarks/results/etth1-best.csv": ["benchmarks/results/search-etth1/best.yaml"],
    **{f"benchmarks/results/{name}.csv": [f"configs/benchmarks/{name}.yaml"] for name in ("probts", "probts-96")},
    "benchmarks/results/ltsf-long.csv": [f"configs/benchmarks/ltsf-long{lines}.yaml" for lines in ("", "-advised")],
    "benchmarks/results/small.csv": ["configs/benchmarks/small.yaml"],
    **{f"benchmarks/studies/results/{name}.csv": [f"benchmarks/studies/{name}.yaml"] for name in STUDIES},
}


@pytest.mark.parametrize("table", TABLES)
def test_suites_find_their_committed_rows(table):
    with (ROOT / table).open(newline="") as file:
        rows = list(csv.DictReader(file))
    present = {(row["dataset"], row["model"]) for row in rows}
    suites = [read_suite(ROOT / suite_file) for suite_file in TABLES[table]]
    known = {
        suite.cell(line, dataset, seed, chosen, h).identity
        for suite in suites
        for line in suite.lines
        for dataset in suite.datasets
        if (dataset, line.label) in present
        for h in suite.horizons(dataset)
        for seed in suite.seeds
        for chosen in line.candidates()
    }
    lost = [(row["dataset"], row["model"], row["seed"]) for row in rows if row["cell"] not in known]
    assert not lost


@pytest.mark.parametrize("table", [*TABLES, "benchmarks/results/ltsf-trials.csv"])
def test_commands_name_a_suite_of_this_repository(table):
    with (ROOT / table).open(newline="") as file:
        commands = {row["command"] for row in csv.DictReader(file)}
    assert {name for command in commands for name in command.split() if name.endswith(".yaml")} <= {
        str(path.relative_to(ROOT)) for path in ROOT.glob("[!.]*/**/*.yaml")
    }
