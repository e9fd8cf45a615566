"""Processes that run one search's trials side by side."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..evaluation.allocator import keep_memory
from ..evaluation.processes import end_with_parent
from .planned import open_search, panel_of
from .search_file import read_search
from .winner import SearchError

_LOOK = 1.0  # seconds between looks at the trials
_DEATHS = 3  # of workers, before the search gives up: a machine without memory kills every one

Work = tuple[str | Path, str | Path, str | Path | None, int]
"""Search file, results folder, data folder, finished trials in all."""


class Crew:
    """So many processes on one study, each with its own connection to the storage.

    A worker that dies is replaced; its trial is failed and drawn again.

    Args:
        size: processes.
        threads: torch threads of each.
        work: what they run.

    Raises:
        SearchError: on `watch`, when workers keep dying.
    """

    def __init__(self, size: int, threads: int, work: Work) -> None:
        self.size, self.threads, self.work = size, threads, work
        self._deaths = 0
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[Any] = []

    def __enter__(self) -> "Crew":
        self._processes = [self._start() for _ in range(self.size)]
        return self

    def _start(self) -> Any:
        process = self._context.Process(target=_serve, args=(self.threads, self.work))
        process.start()
        return process

    def watch(self, look: Callable[[], Any]) -> None:
        """Wait for all of them; `look` is called every second."""
        while self._processes:
            time.sleep(_LOOK)
            look()
            for process in [each for each in self._processes if not each.is_alive()]:
                self._processes.remove(process)
                if process.exitcode == 0:
                    continue
                self._deaths += 1
                if self._deaths > _DEATHS:
                    raise SearchError(f"{self._deaths} workers died, the last one with exit code {process.exitcode}")
                self._processes.append(self._start())

    def __exit__(self, *_: Any) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def _serve(threads: int, work: Work) -> None:
    """A worker's life: trials until the study has all."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_memory()
    path, out, directory, total = work
    plan = read_search(path)
    search = open_search(plan, out, *panel_of(plan, directory), existing=True)
    search.run(total, timeout=plan.time_budget)
