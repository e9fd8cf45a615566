"""Run a suite's cells, resumable at any moment; validation chooses, the test split is read once per row."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from .attempt import InProcess, Outcome, Recording, Shelf
from .cells import versions
from .failures import Failure, FailureTable, as_failure
from .pool import Pool
from .results import ResultTable
from .schedule import Schedule, Task
from .suite_file import checked_seconds
from .suites import Suite
from .time_limit import can_limit_time

EXECUTORS = ("local", "ray")


@dataclass(frozen=True)
class Execution:
    """How cells are run; none of it changes a figure but `threads`, in its last digits.

    Attributes:
        workers: processes beside this one; 0 runs the cells in this process (with Ray: as many as it has CPUs for).
        threads: torch threads of each worker; None for one. This process's own are left as they are.
        executor: "local" or "ray".
        address: of a Ray cluster; None for a local one.
        max_time: seconds that a cell may take, in place of the suite's. A worker is killed; this process is
            interrupted by an alarm signal, which waits for a single call into compiled code to end.
        retry_failed: whether cells that failed in an earlier run are tried again.

    Raises:
        ValueError: a value outside of what is allowed.
    """

    workers: int = 0
    threads: int | None = None
    executor: str = "local"
    address: str | None = None
    max_time: float | None = None
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers={self.workers!r} is not allowed; give a number >= 0")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads={self.threads!r} is not allowed; give a number >= 1")
        if self.executor not in EXECUTORS:
            raise ValueError(f"executor={self.executor!r} is not known; choose one of {EXECUTORS}")
        if self.address is not None and self.executor != "ray":
            raise ValueError(f"address={self.address!r} is not allowed with executor={self.executor!r}, only with ray")
        checked_seconds("max_time", self.max_time)


class Runner:
    """Runs what is missing of a suite.

    Args:
        suite: what to run.
        folder: where `<name>.csv` (test rows), `<name>-trials.csv` (validation only) and `<name>-failures.csv` lie,
            and the folders of `error_files`.
        directory: benchmark data; None for VDN_DATA_DIR.
        command: what the rows say they came from.
        execution: where cells run, and for how long.

    Attributes:
        failures: cells without a row because they failed, now or in an earlier run.
        refused: dataset to the reason why none of its cells ran.

    Raises:
        ValueError: a time limit where this thread cannot be interrupted, or files of another schema.
    """

    def __init__(
        self,
        suite: Suite,
        folder: str | Path,
        directory: str | Path | None,
        command: str,
        execution: Execution | None = None,
    ) -> None:
        self.suite, self.directory, self.command = suite, directory, command
        self.execution = Execution() if execution is None else execution
        self.max_time = suite.max_time if self.execution.max_time is None else self.execution.max_time
        if self.max_time is not None and self._is_here and not can_limit_time():
            raise ValueError(f"max_time={self.max_time!r} cannot interrupt this thread; give workers >= 1")
        self.failures = 0
        self.refused: dict[str, str] = {}
        self.results = ResultTable(Path(folder) / f"{suite.name}.csv")
        self.trials = ResultTable(Path(folder) / f"{suite.name}-trials.csv")
        self.failed = FailureTable(Path(folder) / f"{suite.name}-failures.csv")
        self._recording = Recording(command, Path(folder), suite.windows, suite.paths)
        self._shelf = Shelf(suite, directory)
        self._fingerprints: dict[str, str] = {}
        self._skipped = 0

    @property
    def _is_here(self) -> bool:
        return self.execution.executor == "local" and self.execution.workers == 0

    def run(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Run every missing trial and cell; returns all rows of the results file.

        A cell that fails is written down with its error and left out, now and in later runs; the others go on. So
        do the other datasets where one cannot be read or is not what it was. Several processes may run one suite at
        a time on different datasets: rows are appended whole.

        Args:
            only: these datasets of the suite; None for all.

        Raises:
            ValueError: a dataset that the suite does not have.
            ImportError: Ray is wanted and not installed.
        """
        datasets = self.suite.datasets if only is None else tuple(only)
        for dataset in datasets:
            if dataset not in self.suite.datasets:
                raise ValueError(f"dataset={dataset!r} is not in the suite; it has {list(self.suite.datasets)}")
        self.failures = self._skipped = 0
        schedule = Schedule(self.suite, datasets)
        # without smoothing the time left is that of the mean cell run here; rows that are there already do not count
        with tqdm(total=len(schedule), desc=self.suite.name, unit="cell", file=sys.stderr, smoothing=0) as bar:
            with closing(self._executor(bar)) as executor:
                while True:
                    while executor.free and (task := self._next(schedule, bar)) is not None:
                        executor.submit(task)
                    if executor.idle:
                        break
                    for outcome in executor.wait():
                        self._record(outcome, schedule, bar)
            if self._skipped:
                _say(bar, f"{self._skipped} cells failed in an earlier run, see {self.failed.path}: --retry-failed")
        return self.results.read()

    def _executor(self, bar: Any) -> InProcess | Pool:
        chosen = self.execution
        if self._is_here:
            return InProcess(self._shelf, self._fingerprints, self._recording, self.max_time)
        threads = chosen.threads or 1

        def say(text: str) -> None:
            _say(bar, text)

        if chosen.executor == "ray":
            from .ray_workers import RayWorkers

            cluster = RayWorkers(
                self._shelf, self._recording, threads, self._fingerprints, chosen.address, chosen.workers
            )
            return Pool(cluster, cluster.size, self.max_time, say)
        from .processes import Processes

        processes = Processes(self.suite, self.directory, self._recording, threads, self._fingerprints)
        return Pool(processes, chosen.workers, self.max_time, say)

    def _next(self, schedule: Schedule, bar: Any) -> Task | None:
        """The next cell to run; those on the way that need not or cannot run are settled."""
        while (task := schedule.next()) is not None:
            if not self._is_usable(task.cell.dataset, bar):
                self._settle(task, None, schedule, bar, ran=False)
                continue
            row = None if task.refusal else self._table(task).find(task.key)
            if row is None and not self.execution.retry_failed and self.failed.last(task.key, task.split) is not None:
                self.failures += 1
                self._skipped += 1
            elif row is None and task.refusal is not None:
                self._record(Outcome(task, None, as_failure(task.refusal), 0.0), schedule, bar)
                continue
            elif row is None:
                bar.set_postfix_str(task.name)
                return task
            self._settle(task, row, schedule, bar, ran=False)
        return None

    def _record(self, outcome: Outcome, schedule: Schedule, bar: Any) -> None:
        """Write down what became of a cell, and say it."""
        task, row = outcome.task, outcome.row
        if row is not None:
            self._table(task).append(row, once=True)
            _say(bar, f"{task.name}: crps19 {row.get('crps19', row['val_crps19']):.4f}, {outcome.seconds:.0f} s")
        elif outcome.failure is not None:
            self.failures += 1
            self.failed.append(_failure_row(task, outcome.failure, outcome.seconds, self.command))
            _say(bar, f"{task.name}: failed, {outcome.failure.error}")
        self._settle(task, row, schedule, bar, ran=True)

    def _settle(self, task: Task, row: Mapping[str, Any] | None, schedule: Schedule, bar: Any, ran: bool) -> None:
        given_up = schedule.settle(task, row)
        if given_up and task.cell.dataset not in self.refused:
            where = f"{task.cell.dataset} h={task.cell.h} {task.cell.label}"
            _say(bar, f"{where}: a trial is missing, test rows wait for it")
        if not ran:
            bar.initial += 1
        bar.initial += given_up
        bar.update(1 + given_up)

    def _table(self, task: Task) -> ResultTable:
        return self.trials if task.trial else self.results

    def _is_usable(self, dataset: str, bar: Any) -> bool:
        """Whether a dataset can be read and is what the rows on disk were made from."""
        if dataset in self._fingerprints or dataset in self.refused:
            return dataset not in self.refused
        try:
            found = self._shelf.get(dataset).fingerprint
            scale = self.suite.identity(dataset).data_scale
            for table in (self.results, self.trials):
                _refuse_other_data(table, dataset, scale, found)
        except Exception as error:  # whatever is wrong with one dataset, the others go on
            self.refused[dataset] = f"{type(error).__name__}: {error}"
            _say(bar, f"{dataset}: not run, {self.refused[dataset]}")
            return False
        self._fingerprints[dataset] = found
        return True


def _refuse_other_data(table: ResultTable, dataset: str, scale: str, fingerprint: str) -> None:
    rows = table.rows()
    original = rows["protocol"].astype(str).str.contains("scale=restored", regex=False)
    same = rows[(rows["dataset"] == dataset) & (original == (scale == "original"))]
    others = sorted(set(same["dataset_fingerprint"].dropna()) - {fingerprint})
    if others:
        raise ValueError(
            f"{table.path} holds rows of {dataset} with the fingerprint {others[0]}, the data at hand has {fingerprint}"
            ": other values, split, frequency or season; restore the data, or name another results folder"
        )


def _failure_row(task: Task, failure: Failure, seconds: float, command: str) -> dict[str, Any]:
    return {
        "cell": task.key,
        **task.cell.described(),
        "split": task.split,
        "kind": failure.kind,
        "error": failure.error,
        "where": failure.where,
        "seconds": seconds,
        "versions": versions(),
        "command": command,
    }


def _say(bar: Any, text: str) -> None:
    bar.write(" ".join(text.split()), file=sys.stderr)
