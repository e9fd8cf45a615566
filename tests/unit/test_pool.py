"""The pool's rules, with workers that only pretend; real ones are in test_workers.py."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from vdn_forecast.evaluation.failures import TIME_LIMIT, WORKER_DIED
from vdn_forecast.evaluation.pool import Died, News, Pool, Started
from vdn_forecast.evaluation.schedule import Schedule, Task
from vdn_forecast.evaluation.suites import Line, Suite


class FakeWorker:
    """Says what its script holds for a task's seed; None stands for silence."""

    def __init__(self, script: dict[int, list[News | None]]) -> None:
        self.script, self.left, self.killed = script, list[News | None](), False

    def give(self, task: Task) -> None:
        assert not self.killed
        self.left = self.script[task.cell.seed]

    def news(self) -> News | None:
        return self.left.pop(0) if self.left else None

    def kill(self) -> None:
        self.killed = True


class FakeWorkers:
    def __init__(self, script: dict[int, list[News | None]]) -> None:
        self.script, self.started, self.closed = script, list[FakeWorker](), False

    def start(self) -> FakeWorker:
        self.started.append(FakeWorker(self.script))
        return self.started[-1]

    def wait(self, workers: Sequence[FakeWorker], timeout: float | None) -> None:
        time.sleep(0.001 if timeout is None else min(timeout, 0.001))

    def close(self) -> None:
        self.closed = True


def tasks(count: int) -> list[Task]:
    line = Line("DLinear", "DLinear")
    suite = Suite("s", "embedded", ("AirPassengers",), {"AirPassengers": 12}, tuple(range(count)), (line,))
    schedule = Schedule(suite, suite.datasets)
    found = [schedule.next() for _ in range(count)]
    assert schedule.next() is None
    return [task for task in found if task is not None]


def drain(pool: Pool) -> dict[int, object]:
    found: dict[int, object] = {}
    while not pool.idle:
        for outcome in pool.wait():
            found[outcome.task.cell.seed] = outcome.row if outcome.failure is None else outcome.failure.kind
    return found


def test_an_idle_worker_is_used_again() -> None:
    workers = FakeWorkers({0: [Started(), {"a": 0}], 1: [None, Started(), None, {"a": 1}], 2: [{"a": 2}]})
    pool = Pool(workers, 2, None, print)
    first, second, third = tasks(3)
    pool.submit(first)
    pool.submit(second)
    assert not pool.free
    assert drain(pool) == {0: {"a": 0}, 1: {"a": 1}}
    pool.submit(third)
    assert drain(pool) == {2: {"a": 2}}
    assert len(workers.started) == 2
    pool.close()
    assert workers.closed
    assert all(worker.killed for worker in workers.started)


def test_the_cell_of_a_dead_worker_runs_once_more(capsys: pytest.CaptureFixture[str]) -> None:
    workers = FakeWorkers({0: [Started(), Died("signal 9"), Started(), {"a": 0}]})
    pool = Pool(workers, 1, None, print)
    pool.submit(tasks(1)[0])
    assert drain(pool) == {0: {"a": 0}}
    assert len(workers.started) == 2
    assert "signal 9" in capsys.readouterr().out


def test_a_cell_that_kills_two_workers_has_failed_and_the_next_one_runs() -> None:
    workers = FakeWorkers({0: [Died("signal 9"), Died("signal 11"), None], 1: [{"a": 1}]})
    pool = Pool(workers, 1, None, print)
    first, second = tasks(2)
    pool.submit(first)
    assert drain(pool) == {0: WORKER_DIED}
    pool.submit(second)
    assert drain(pool) == {1: {"a": 1}}


def test_a_worker_out_of_time_is_killed_and_its_start_does_not_count() -> None:
    slow: list[News | None] = [*[None] * 100, Started(), {"a": 1}]
    workers = FakeWorkers({0: [Started()], 1: slow})
    pool = Pool(workers, 2, 0.05, print)
    for task in tasks(2):
        pool.submit(task)
    assert drain(pool) == {0: TIME_LIMIT, 1: {"a": 1}}
    assert [worker.killed for worker in workers.started] == [True, False]


def test_trials_come_before_the_test_cells_of_their_line_and_the_first_of_equals_is_chosen(tmp_path: Path) -> None:
    lines = (Line("EVE", "EVE", search={"dropout": [0.1, 0.2, 0.3]}), Line("Naive", "Naive"))
    suite = Suite("s", "embedded", ("AirPassengers",), {"AirPassengers": [6, 12]}, (1, 2), lines)
    schedule = Schedule(suite, suite.datasets)
    assert len(schedule) == 2 * (3 + 2 + 1)
    ready: list[Task] = []
    while (task := schedule.next()) is not None:
        ready.append(task)
    trials = [task for task in ready if task.trial]
    assert len(trials) == 6
    assert {task.cell.label for task in ready if not task.trial} == {"Naive"}
    for task, score in zip(reversed(trials[:3]), (0.5, 0.5, 0.9), strict=True):  # 0.3 and 0.2 alike, 0.1 worse
        assert schedule.next() is None
        assert schedule.settle(task, {"val_crps19": score}) == 0
    chosen = [schedule.next(), schedule.next()]
    assert [(task.cell.seed, task.cell.h, dict(task.cell.arguments)) for task in chosen if task] == [
        (1, 6, {"dropout": 0.2}),
        (2, 6, {"dropout": 0.2}),
    ]
    assert [schedule.settle(task, None) for task in trials[3:]] == [0, 0, 2]  # its two test cells are given up
    assert schedule.next() is None
