"""Workers on a Ray cluster: a local one, or one at an address. Ray is an optional package."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .attempt import Recording, Shelf, attempt
from .failures import Failure, as_failure
from .pool import Died, News, Started
from .schedule import Task


class RayWorkers:
    """Starts actors. Data travels through Ray's object store: nodes need the package, but no data folder.

    Args:
        shelf: where the data comes from, here.
        recording: what cells leave behind; files are written here, not on the node.
        threads: torch threads, and CPUs that Ray keeps for each worker.
        fingerprints: of the datasets, filled before a cell is given.
        address: of a cluster, as `ray.init` takes it; None for a local one.
        size: workers; 0 for as many as the cluster has CPUs for.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: no cluster at the address.
    """

    def __init__(
        self,
        shelf: Shelf,
        recording: Recording,
        threads: int,
        fingerprints: Mapping[str, str],
        address: str | None,
        size: int,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError("executor='ray' needs Ray: pip install ray") from error
        self.ray, self.shelf, self.fingerprints, self.folder = ray, shelf, fingerprints, recording.folder
        self._mine = not ray.is_initialized()
        if self._mine:
            local = {"num_cpus": size * threads or None, "include_dashboard": False} if address is None else {}
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **local)
        self.size = size or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        self._actor = ray.remote(num_cpus=threads, max_restarts=0)(_Actor)
        self._settings = (recording, threads)
        self._stored: dict[str, Any] = {}

    def start(self) -> "RayWorker":
        """A new actor."""
        return RayWorker(self.ray, self._actor.remote(*self._settings), self)

    def stored(self, dataset: str) -> Any:
        """A dataset's place in the object store."""
        if dataset not in self._stored:
            self._stored[dataset] = self.ray.put(self.shelf.get(dataset))
        return self._stored[dataset]

    def wait(self, workers: Sequence["RayWorker"], timeout: float | None) -> None:
        """Return when an actor is up, done or gone, or after `timeout` seconds."""
        self.ray.wait([worker.pending for worker in workers], num_returns=1, timeout=timeout)

    def close(self) -> None:
        """Leave the cluster, unless the caller was on it before."""
        if self._mine:
            self.ray.shutdown()


class RayWorker:
    """One actor; see `pool.Worker`."""

    def __init__(self, ray: Any, actor: Any, workers: RayWorkers) -> None:
        self.ray, self.actor, self.workers = ray, actor, workers
        self.pending: Any = None
        self._task: Task | None = None

    def give(self, task: Task) -> None:
        """The cell starts once the actor is up and has answered: its time does not run while Ray starts."""
        self._task, self.pending = task, self.actor.ready.remote()

    def news(self) -> News | None:
        """What it answered, or that it is gone."""
        if not self.ray.wait([self.pending], timeout=0)[0]:
            return None
        try:
            answer = self.ray.get(self.pending)
            if self._task is None:
                found, files = answer
                self._keep(files)
                return found
            task, self._task = self._task, None
            dataset = task.cell.dataset
            stored, fingerprint = self.workers.stored(dataset), self.workers.fingerprints[dataset]
            self.pending = self.actor.run.remote(task, stored, fingerprint)
        except self.ray.exceptions.RayActorError as error:
            return Died(str(error).splitlines()[0])
        except Exception as error:  # the data could not be read, the answer not be sent
            return as_failure(error)
        return Started()

    def _keep(self, files: Mapping[str, bytes]) -> None:
        """Write what a cell left on its node; a kill leaves each file whole or away."""
        for name, content in files.items():
            path = Path(self.workers.folder or ".") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(content)
            os.replace(temporary, path)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(Exception):  # it may be gone, and Ray with it
            self.ray.kill(self.actor)


class _Actor:
    """What runs on the cluster."""

    def __init__(self, recording: Recording, threads: int) -> None:
        import torch

        from .allocator import keep_memory

        torch.set_num_threads(threads)
        keep_memory()
        self.recording = recording

    def ready(self) -> bool:
        """Whether it is up."""
        return True

    def run(self, task: Task, data: Any, fingerprint: str) -> tuple[dict[str, Any] | Failure, dict[str, bytes]]:
        """Run a cell: what became of it, and the files that it left, by their place in the folder."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            here = replace(self.recording, folder=None if self.recording.folder is None else folder)
            try:
                found = attempt(task, lambda _: data, fingerprint, here)
            except BaseException as error:  # a model that calls sys.exit
                found = as_failure(error)
            files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}
        return found, files
