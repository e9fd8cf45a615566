"""Run a suite's cells, resumable at any moment; validation chooses, the test split is read once per row."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from .cells import Cell, run_cell
from .data import PanelData, load_dataset
from .results import ResultTable
from .suites import Line, Suite


class Runner:
    """Runs what is missing of a suite.

    Args:
        suite: what to run.
        folder: where `<name>.csv` (test rows) and `<name>-trials.csv` (validation only) lie.
        directory: benchmark data; None for VDN_DATA_DIR.
        command: what the rows say they came from.
    """

    def __init__(self, suite: Suite, folder: str | Path, directory: str | Path | None, command: str) -> None:
        self.suite, self.directory, self.command = suite, directory, command
        self.failures = 0
        self.results = ResultTable(Path(folder) / f"{suite.name}.csv")
        self.trials = ResultTable(Path(folder) / f"{suite.name}-trials.csv")

    def run(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Run every missing trial and cell; returns all rows of the results file.

        A cell that fails is reported on the terminal and left out, the others go on. Several processes may run
        one suite at a time on different datasets: rows are appended whole.

        Args:
            only: these datasets of the suite; None for all.

        Raises:
            ValueError: a dataset that the suite does not have.
        """
        datasets = self.suite.datasets if only is None else tuple(only)
        for dataset in datasets:
            if dataset not in self.suite.datasets:
                raise ValueError(f"dataset={dataset!r} is not in the suite; it has {list(self.suite.datasets)}")
        total = sum(self._size(line) for line in self.suite.lines) * len(datasets)
        with tqdm(total=total, desc=self.suite.name, unit="cell", file=sys.stderr) as bar:
            for dataset in datasets:
                data = load_dataset(dataset, self.directory, self.suite.identity(dataset).data_scale)
                for line in self.suite.lines:
                    chosen = self._choose(line, dataset, data, bar)
                    if chosen is None:
                        bar.write(f"{dataset} {line.label}: a trial is missing, test rows wait for it", file=sys.stderr)
                        bar.update(len(self._seeds(line)))
                        continue
                    for seed in self._seeds(line):
                        self._run(self.suite.cell(line, dataset, seed, chosen), data, self.results, bar)
        return self.results.read()

    def _seeds(self, line: Line) -> tuple[int, ...]:
        return self.suite.seeds if "Naive" not in line.model else self.suite.seeds[:1]

    def _size(self, line: Line) -> int:
        trials = len(list(line.candidates())) if line.search else 0
        return trials + len(self._seeds(line))

    def _choose(self, line: Line, dataset: str, data: PanelData, bar: Any) -> dict[str, Any] | None:
        """The combination of `search` with the lowest validation crps19 at the first seed; None if one failed."""
        if not line.search:
            return {}
        scored: list[tuple[float, dict[str, Any]]] = []
        for candidate in line.candidates():
            cell = self.suite.cell(line, dataset, self.suite.seeds[0], candidate)
            row = self._run(cell, data, self.trials, bar)
            if row is not None:
                scored.append((float(row["val_crps19"]), candidate))
        complete = len(scored) == len(list(line.candidates()))
        return min(scored, key=lambda pair: pair[0])[1] if complete else None

    def _run(self, cell: Cell, data: PanelData, table: ResultTable, bar: Any) -> Mapping[str, Any] | None:
        """The cell's row, run now or before; None where it failed."""
        is_trial = table is self.trials
        name = f"{cell.dataset} {cell.label} seed {cell.seed}" + (" trial" if is_trial else "")
        bar.set_postfix_str(name)
        started = time.perf_counter()
        try:
            row = table.find(cell.identity)
            if row is None:
                row, _ = run_cell(cell, data, self.command, test=not is_trial)
                table.append(row)
                score = row.get("crps19", row["val_crps19"])
                bar.write(f"{name}: crps19 {score:.4f}, {time.perf_counter() - started:.0f} s", file=sys.stderr)
        except Exception as error:
            self.failures += 1
            bar.write(f"{name}: failed, {type(error).__name__}: {error}", file=sys.stderr)
            return None
        finally:
            bar.update()
        return row
