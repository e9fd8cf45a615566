"""Searches of one search file under other samplers, pruners and budgets; each is resumed where it stopped."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm

from vdn_forecast.search import trials_frame
from vdn_forecast.search.constraints import violation
from vdn_forecast.search.planned import panel_of
from vdn_forecast.search.sampler import SAMPLERS
from vdn_forecast.search.search_file import SearchPlan, read_search
from vdn_forecast.search.storage import is_finished, open_storage
from vdn_forecast.search.study import Search, Settings

FILE = "configs/search/comparison.yaml"


@dataclass(frozen=True)
class Bench:
    """A search file with its data read once.

    Attributes:
        plan: of the file.
        dataset, sizes: its data and split.
        storage: SQLite file of all studies.
    """

    plan: SearchPlan
    dataset: Any
    sizes: tuple[int, int]
    storage: Path

    @classmethod
    def open(cls, chosen: argparse.Namespace, name: str) -> "Bench":
        """From the command line's words."""
        plan = read_search(chosen.file)
        dataset, sizes = panel_of(plan, chosen.data)
        return cls(plan, dataset, sizes, Path(chosen.studies) / f"{plan.suite.name}-{name}.db")

    def run(
        self,
        name: str,
        total: int,
        seed: int,
        *,
        sampler: str = "random",
        pruner: BasePruner | None = None,
        constants: Mapping[str, Any] | None = None,
        firsts: Sequence[Mapping[str, Any]] | None = None,
    ) -> Search:
        """One study, run to so many finished trials in this process.

        Args:
            name: of the study.
            total: finished trials.
            seed, sampler, pruner, firsts: see `Settings`.
            constants: arguments in place of the file's.
        """
        space = self.plan.space.overridden(dict(constants or {}))
        settings = Settings(seed, pruner, SAMPLERS[sampler], name, firsts)
        storage = open_storage(self.storage)
        search = Search(space, self.plan.target, self.dataset, self.sizes, storage, settings)
        there = sum(map(is_finished, search.study.get_trials(deepcopy=False)))
        with tqdm(total=total, initial=there, desc=name, unit="trial") as bar:

            def tick(_trial: FrozenTrial) -> None:
                bar.update()

            search.run(total, progress=tick)
        return search


def ranked(search: Search) -> list[FrozenTrial]:
    """Complete trials, the best first: least beyond the constraints, then the lowest value."""
    done = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(done, key=lambda trial: (violation(trial), trial.values[0], trial.number))


def rows_of(search: Search, **columns: Any) -> pd.DataFrame:
    """The trials of a study with further columns in front."""
    table = trials_frame(search.study)
    for position, (name, value) in enumerate(columns.items()):
        table.insert(position, name, value)
    return table


def words(description: str | None) -> argparse.ArgumentParser:
    """The arguments that every command here has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--file", default=FILE, help=f"search file (default: {FILE})")
    parser.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR)")
    parser.add_argument("--studies", default="runs/search", help="folder of the SQLite files (default: runs/search)")
    parser.add_argument("--out", default="benchmarks/results/search", help="folder of the CSV files")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (default: 1)")
    return parser


def prepare(threads: int) -> None:
    """Settings of a process of our own."""
    import torch

    from vdn_forecast.evaluation.allocator import keep_memory

    torch.set_num_threads(threads)
    keep_memory()
