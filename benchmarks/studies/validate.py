"""Score the lines of a suite file on validation alone: the tool behind the notes of this folder.

    python benchmarks/studies/validate.py benchmarks/studies/NAME.yaml --only ETTh1 Weather

Every line, dataset and seed becomes one row of `benchmarks/studies/results/NAME.csv`; what is there is not run again.
The test split is never looked at.
"""

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.cells import run_cell
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.results import ResultTable
from vdn_forecast.evaluation.suite_file import read_suite

FOLDER = Path("benchmarks/studies/results")


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("suite", type=Path)
    parser.add_argument("--only", nargs="+", help="these datasets")
    parser.add_argument("--lines", nargs="+", help="these lines")
    parser.add_argument("--seeds", nargs="+", type=int, help="these seeds instead of the file's")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    keep_memory()
    suite = read_suite(chosen.suite)
    table = ResultTable(FOLDER / f"{suite.name}.csv")
    datasets = chosen.only or suite.datasets
    if unknown := sorted(set(datasets) - set(suite.datasets)):
        parser.error(f"argument --only: {unknown} are not in {chosen.suite}: {list(suite.datasets)}")
    lines = suite.of_lines(chosen.lines).lines if chosen.lines else suite.lines
    command = f"python benchmarks/studies/validate.py {chosen.suite}"
    work = [(d, line, seed) for d in datasets for seed in chosen.seeds or suite.seeds for line in lines]
    for dataset, line, seed in (bar := tqdm(work, desc=suite.name, unit="run", file=sys.stderr)):
        cell = suite.cell(line, dataset, seed, {})
        if table.find(cell.identity) is None:
            row, _ = run_cell(cell, load_dataset(dataset), command, test=False)
            table.append(row)
            bar.write(
                f"{dataset} {line.label} {seed}: crps19 {row['val_crps19']:.4f} mse {row['val_mse']:.4f} "
                f"{row['steps']} steps {row['fit_seconds']:.0f} s",
                file=sys.stderr,
            )


if __name__ == "__main__":
    main()
