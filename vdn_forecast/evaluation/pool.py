"""Several workers over one suite's cells: who is busy with what, for how long, and what becomes of it if one dies."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .attempt import Outcome, out_of_time
from .failures import WORKER_DIED, Failure
from .schedule import Task

ATTEMPTS = 2
"""How often a cell is given to a worker before it counts as the one that kills them."""


@dataclass(frozen=True)
class Started:
    """A worker has read its data and begins with the cell: its time runs."""


@dataclass(frozen=True)
class Died:
    """A worker is gone."""

    reason: str


News = Started | Died | Failure | dict[str, Any]
"""What a worker tells: that it started, is gone, why its cell failed, or the cell's row."""


class Worker(Protocol):
    """A process somewhere that runs one cell at a time."""

    def give(self, task: Task) -> None:
        """Let it run a cell."""

    def news(self) -> News | None:
        """What it said since the last call; None for nothing yet."""

    def kill(self) -> None:
        """End it at once."""


class Workers(Protocol):
    """Where workers come from."""

    def start(self) -> Worker:
        """A new one."""

    def wait(self, workers: Sequence[Any], timeout: float | None) -> None:
        """Return when one of some busy workers may have news, or after `timeout` seconds."""

    def close(self) -> None:
        """Free what the workers share."""


@dataclass(eq=False)
class _Busy:
    worker: Worker
    task: Task
    given: float
    started: float | None = None


class Pool:
    """Runs cells on up to `size` workers.

    Args:
        workers: where they come from.
        size: how many at a time.
        max_time: seconds that a cell may take on its worker, which is killed then.
        say: what prints one line.
    """

    def __init__(self, workers: Workers, size: int, max_time: float | None, say: Callable[[str], None]) -> None:
        self.workers, self.size, self.max_time, self.say = workers, size, max_time, say
        self._idle: list[Worker] = []
        self._busy: list[_Busy] = []
        self._given: dict[Task, int] = {}

    @property
    def free(self) -> bool:
        """Whether a cell may be submitted."""
        return len(self._busy) < self.size

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy

    def submit(self, task: Task) -> None:
        """Give a cell to a worker."""
        worker = self._idle.pop() if self._idle else self.workers.start()
        self._given[task] = self._given.get(task, 0) + 1
        self._busy.append(_Busy(worker, task, time.perf_counter()))
        worker.give(task)

    def wait(self) -> list[Outcome]:
        """Wait for at least one cell to end."""
        while True:
            self.workers.wait([busy.worker for busy in self._busy], self._patience())
            found = [outcome for busy in list(self._busy) for outcome in self._look(busy)]
            if found or not self._busy:
                return found

    def close(self) -> None:
        """End every worker; cells under way are lost."""
        for worker in [*self._idle, *(busy.worker for busy in self._busy)]:
            worker.kill()
        self._idle, self._busy = [], []
        self.workers.close()

    def _patience(self) -> float | None:
        """Seconds until the next worker is out of time."""
        started = [busy.started for busy in self._busy if busy.started is not None]
        if self.max_time is None or not started:
            return None
        return max(0.0, min(started) + self.max_time - time.perf_counter())

    def _look(self, busy: _Busy) -> list[Outcome]:
        news = busy.worker.news()
        while isinstance(news, Started):
            busy.started = time.perf_counter()
            news = busy.worker.news()
        seconds = time.perf_counter() - (busy.started or busy.given)
        if news is None:
            if self.max_time is None or busy.started is None or seconds < self.max_time:
                return []
            busy.worker.kill()
            news = out_of_time(self.max_time)
        elif not isinstance(news, Died):
            self._idle.append(busy.worker)
        self._busy.remove(busy)
        if isinstance(news, Died):
            busy.worker.kill()
            if self._given[busy.task] < ATTEMPTS:
                self.say(f"{busy.task.name}: its worker died ({news.reason}), runs once more")
                self.submit(busy.task)
                return []
            news = Failure(WORKER_DIED, f"{ATTEMPTS} workers died on it, the last with {news.reason}")
        if isinstance(news, Failure):
            return [Outcome(busy.task, None, news, seconds)]
        return [Outcome(busy.task, news, None, seconds)]
