"""Workers that are processes of this machine, spawned: nothing of the parent's threads or locks comes along."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from .allocator import keep_memory
from .attempt import Recording, Shelf, attempt
from .data import PanelData
from .failures import as_failure
from .pool import Died, News, Started
from .schedule import Task
from .suites import Suite

_PATIENCE = 5.0  # seconds for a killed process to be gone


class Processes:
    """Starts processes.

    Args:
        suite: whose cells they run.
        directory: benchmark data; None for VDN_DATA_DIR.
        recording: what cells leave behind.
        threads: torch threads of each.
        fingerprints: of the datasets, filled before a cell is given.
    """

    def __init__(
        self,
        suite: Suite,
        directory: str | Path | None,
        recording: Recording,
        threads: int,
        fingerprints: Mapping[str, str],
    ) -> None:
        self.settings = (suite, directory, recording, threads)
        self.fingerprints = fingerprints

    def start(self) -> "ProcessWorker":
        """A new process."""
        return ProcessWorker(self.settings, self.fingerprints)

    def wait(self, workers: Sequence["ProcessWorker"], timeout: float | None) -> None:
        """Return when a process sent something or ended, or after `timeout` seconds."""
        wait([each for worker in workers for each in (worker.pipe, worker.process.sentinel)], timeout)

    def close(self) -> None:
        """Nothing is shared."""


class ProcessWorker:
    """One process; see `pool.Worker`."""

    def __init__(
        self, settings: tuple[Suite, str | Path | None, Recording, int], fingerprints: Mapping[str, str]
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        # no daemon: those may have no children, and a model's data loader may want some
        self.process = context.Process(target=_serve, args=(other, *settings), daemon=False)
        self.process.start()
        other.close()
        self.fingerprints = fingerprints

    def give(self, task: Task) -> None:
        """Send a cell."""
        with contextlib.suppress(OSError):  # it died while it was idle: `news` will say so
            self.pipe.send((task, self.fingerprints[task.cell.dataset]))

    def news(self) -> News | None:
        """What it sent, or that it is gone."""
        alive = self.process.is_alive()  # before the pipe: its last words count
        try:
            if self.pipe.poll():
                return self.pipe.recv()
        except (EOFError, OSError):
            alive = False
        if alive:
            return None
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        return Died(f"signal {-code}" if code is not None and code < 0 else f"exit status {code}")

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.join(_PATIENCE)
        self.pipe.close()


def _serve(pipe: Connection, suite: Suite, directory: str | Path | None, recording: Recording, threads: int) -> None:
    """The process's life: cells until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()
    shelf = Shelf(suite, directory)

    def data(dataset: str) -> PanelData:
        found = shelf.get(dataset)
        pipe.send(Started())
        return found

    with contextlib.suppress(EOFError, OSError):
        while True:
            task, fingerprint = pipe.recv()
            try:
                done: News = attempt(task, data, fingerprint, recording)
            except BaseException as error:  # a model that calls sys.exit
                done = as_failure(error)
            pipe.send(done)


def end_with_parent() -> None:
    """A parent that is killed takes its workers along: their rows would have nobody to write them."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
