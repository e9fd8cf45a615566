"""Rows that were run keep their identity: a suite finds them again, whatever arguments the models got since."""

import csv
import itertools
from pathlib import Path

import pytest

from vdn_forecast.evaluation.suite_file import read_suite

ROOT = Path(__file__).parents[2]
TABLES = {
    "configs/benchmarks/first.yaml": "benchmarks/results/first.csv",
    "configs/benchmarks/ltsf.yaml": "benchmarks/results/ltsf.csv",
    **{
        f"benchmarks/studies/{name}.yaml": f"benchmarks/studies/results/{name}.csv"
        for name in ("background", "floor", "objective", "scaling")
    },
}


@pytest.mark.parametrize("suite_file", TABLES)
def test_a_suite_finds_its_committed_rows(suite_file):
    suite = read_suite(ROOT / suite_file)
    with (ROOT / TABLES[suite_file]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    present = {(row["dataset"], row["model"]) for row in rows}
    known = {
        suite.cell(line, dataset, seed, dict(zip(line.search, values, strict=True))).identity
        for line in suite.lines
        for dataset in suite.datasets
        if (dataset, line.label) in present
        for seed in suite.seeds
        for values in itertools.product(*line.search.values())
    }
    lost = [(row["dataset"], row["model"], row["seed"]) for row in rows if row["cell"] not in known]
    assert not lost
