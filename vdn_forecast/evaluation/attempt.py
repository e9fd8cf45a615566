"""One attempt at a cell: its row, or why there is none. Runs in this process, in a worker or on a cluster."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .cells import run_cell
from .data import PanelData
from .failures import TIME_LIMIT, Failure, as_failure
from .schedule import Task
from .suites import Suite
from .time_limit import TimeLimitExceeded, time_limit

_KEPT = 2  # datasets: at the border of two, workers go to and fro


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        task: the cell.
        row: of the results; None where it failed.
        failure: why there is no row.
        seconds: wall time.
    """

    task: Task
    row: dict[str, Any] | None
    failure: Failure | None
    seconds: float


@dataclass(frozen=True)
class Recording:
    """What a cell leaves behind beside its row's figures; see `run_cell`.

    Attributes:
        command: what the row says it came from.
        folder: of the errors per origin and per step; None for none.
        windows: whether those of every window are kept.
        paths: whether joint sample paths are scored.
    """

    command: str
    folder: Path | None = None
    windows: bool = False
    paths: bool = False


class Shelf:
    """The datasets read last.

    Args:
        suite: whose datasets.
        directory: benchmark data; None for VDN_DATA_DIR.
    """

    def __init__(self, suite: Suite, directory: str | Path | None) -> None:
        self.suite, self.directory = suite, directory
        self._data: dict[str, PanelData] = {}

    def get(self, dataset: str) -> PanelData:
        """The data, read at the first call; errors as of `Suite.load`."""
        if dataset not in self._data:
            data = self.suite.load(dataset, self.directory)
            while len(self._data) >= _KEPT:
                self._data.pop(next(iter(self._data)))
            self._data[dataset] = data
        return self._data[dataset]


def attempt(
    task: Task,
    data: Callable[[str], PanelData],
    fingerprint: str,
    recording: Recording,
    max_time: float | None = None,
) -> dict[str, Any] | Failure:
    """Run a cell; whatever it raises becomes a failure.

    Args:
        task: the cell.
        data: gives a dataset by name.
        fingerprint: what the dataset's must be.
        recording: what it leaves behind.
        max_time: seconds after which this thread is interrupted; None where somebody else looks after that.
    """
    try:
        panel = data(task.cell.dataset)
        if panel.fingerprint != fingerprint:
            raise ValueError(f"dataset {panel.name!r} changed during the run: {panel.fingerprint}, was {fingerprint}")
        with time_limit(max_time):
            row, _ = run_cell(
                task.cell,
                panel,
                recording.command,
                test=not task.trial,
                folder=recording.folder,
                windows=recording.windows,
                paths=recording.paths,
            )
            return row
    except TimeLimitExceeded:
        return out_of_time(max_time)
    except Exception as error:
        return as_failure(error)


def out_of_time(max_time: float | None) -> Failure:
    """The failure of a cell that took longer than it may."""
    assert max_time is not None
    return Failure(TIME_LIMIT, f"took more than max_time={max_time:g} seconds")


class InProcess:
    """Runs cells one after the other, here.

    Args:
        shelf: where the data comes from.
        fingerprints: of the datasets, filled before a cell is submitted.
        recording: what they leave behind.
        max_time: seconds that a cell may take.
    """

    def __init__(
        self, shelf: Shelf, fingerprints: Mapping[str, str], recording: Recording, max_time: float | None = None
    ) -> None:
        self.shelf, self.fingerprints, self.recording, self.max_time = shelf, fingerprints, recording, max_time
        self._task: Task | None = None

    @property
    def free(self) -> bool:
        """Whether a cell may be submitted."""
        return self._task is None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._task is None

    def submit(self, task: Task) -> None:
        """Take a cell."""
        self._task = task

    def wait(self) -> list[Outcome]:
        """Run it."""
        assert self._task is not None
        task, self._task = self._task, None
        started = time.perf_counter()
        dataset = task.cell.dataset
        found = attempt(task, self.shelf.get, self.fingerprints[dataset], self.recording, self.max_time)
        seconds = time.perf_counter() - started
        if isinstance(found, Failure):
            return [Outcome(task, None, found, seconds)]
        return [Outcome(task, found, None, seconds)]

    def close(self) -> None:
        """Nothing is left behind."""
