"""Score paths of the lines of a suite, and compare: `python -m benchmarks.paths run | table --help`.

    python -m benchmarks.paths run configs/benchmarks/paths.yaml --out benchmarks/results/paths
    python -m benchmarks.paths table benchmarks/results/paths

`run` writes one small parquet per line, dataset and seed (its scores at every scored origin) and skips what is there.
`table` writes `paths.csv`: differences of the model's own paths from each other way of joining the same marginals, and
from the own paths of each other model of the folder, with the protocol's paired block bootstrap over seeds and origins.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.cells import versions
from vdn_forecast.evaluation.data import DATASETS, load_dataset
from vdn_forecast.evaluation.differences import block_length, paired_difference
from vdn_forecast.evaluation.suite_file import read_suite

from ..rows import write_csv
from .orders import ORDERS
from .scoring import OWN, score_cell

SCORES = ("variogram_score", "energy_score")


def run(suite_file: Path, out: Path, only: list[str] | None, lines: list[str] | None) -> None:
    """Every cell that has no file yet."""
    suite = read_suite(suite_file)
    chosen = [line for line in suite.lines if not lines or line.label in lines]
    work = [(d, seed, line) for d in only or suite.datasets for seed in suite.seeds for line in chosen]
    out.mkdir(parents=True, exist_ok=True)
    command = f"python -m benchmarks.paths run {suite_file}"
    for dataset, seed, line in tqdm(work, desc="paths", unit="cell", file=sys.stderr):
        cell = suite.cell(line, dataset, seed, {})
        path = out / f"{cell.identity}.parquet"
        if path.exists():
            continue
        table = score_cell(cell, load_dataset(dataset))
        run_as = {"cell": cell.identity, "versions": versions(), "command": command}
        table = table.assign(dataset=dataset, model=line.label, seed=seed, h=cell.h, **run_as)
        temporary = path.with_suffix(".tmp")
        table.to_parquet(temporary, index=False)
        temporary.replace(path)


def compare(folder: Path) -> pd.DataFrame:
    """Each model's own paths against other ways of joining its marginals, and against every other model's own paths.

    Raises:
        ValueError: no results in the folder.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise ValueError(f"{folder} holds no results; `run` writes them")
    scores = pd.concat([pd.read_parquet(path) for path in files], ignore_index=True)
    rows = []
    for key, part in scores.groupby(["dataset", "h"], sort=True):
        assert isinstance(key, tuple)
        dataset, h = str(key[0]), int(part["h"].iloc[0])
        models = sorted(part["model"].unique())
        for model, score in itertools.product(models, SCORES):
            # [origins, models x ways x seeds], seeds in order: the bootstrap must not depend on the files' names
            wide = part.pivot(index="origin", columns=["model", "paths", "seed"], values=score).sort_index(axis=1)
            stride = int(np.diff(wide.index.to_numpy())[0])
            block = block_length(h, DATASETS[dataset].season, stride)
            others = [(model, name, name) for name in ORDERS] + [(each, OWN, each) for each in models if each != model]
            for other_model, way, against in others:
                ours, theirs = _shared(wide[model][OWN], wide[other_model][way])
                found = paired_difference(ours, theirs, block)
                mean = float(theirs.mean())
                rows.append(
                    {
                        "dataset": dataset,
                        "model": model,
                        "h": h,
                        "score": score,
                        "against": against,
                        "own": float(ours.mean()),
                        "other": mean,
                        "relative": found.mean / mean,
                        "relative_low": found.low / mean,
                        "relative_high": found.high / mean,
                        "p": found.p,
                        "seeds": len(theirs),
                        "origins": found.origins,
                        "blocks": found.origins / found.block,
                    }
                )
    return pd.DataFrame(rows)


def _shared(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the seeds that both have, [seeds, origins] each."""
    seeds = ours.dropna(axis=1).columns.intersection(theirs.dropna(axis=1).columns)
    return ours[seeds].to_numpy().T, theirs[seeds].to_numpy().T


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paths", description=__doc__)
    commands = parser.add_subparsers(dest="do", required=True)
    running = commands.add_parser("run", help="score what is missing")
    running.add_argument("suite", type=Path)
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--only", nargs="+", help="these datasets")
    running.add_argument("--lines", nargs="+", help="these lines")
    running.add_argument("--threads", type=int, default=1)
    tabling = commands.add_parser("table", help="compare, write paths.csv")
    tabling.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    if chosen.do == "run":
        torch.set_num_threads(chosen.threads)
        keep_memory()
        run(chosen.suite, chosen.out, chosen.only, chosen.lines)
        return
    table = compare(chosen.folder)
    write_csv(table, chosen.folder / "paths.csv")
    print(table.drop(columns=["h", "blocks"]).to_string(index=False, float_format="%.4g"))


if __name__ == "__main__":
    main()
