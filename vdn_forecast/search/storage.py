"""Where trials are kept, and which of them lost the process that ran them."""

import os
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

FOLDER = Path("runs")
SQLITE, JOURNAL = (".db", ".sqlite", ".sqlite3"), (".journal", ".log", ".jsonl")
STALE_AFTER = 1800.0  # seconds without a sign of life before a trial of another machine counts as lost
UNCLAIMED_AFTER = 60.0  # the same for a trial that was asked for and never began
_LOCK_TIMEOUT = 120  # seconds that a write waits for other processes' writes
_TRIES = 5
UNKNOWN = "unknown"
RESULT = "result"
"""Attribute of a trial, see `result_of`."""


def open_storage(storage: str | Path | BaseStorage | None, study_name: str | None = None) -> BaseStorage:
    """Open, or make, what trials are kept in.

    Args:
        storage: a file (`.db`, `.sqlite`, `.sqlite3`: SQLite; `.journal`, `.log`, `.jsonl`: a journal), any URL that
            SQLAlchemy knows, a storage of Optuna, or None: in memory, and for a study with a name the SQLite file
            `runs/NAME.db`.
        study_name: of the study.

    Raises:
        ValueError: a file of another kind, or a name that cannot name a file.
        ConnectionError: a storage that cannot be reached.
    """
    if isinstance(storage, BaseStorage):
        return storage
    if storage is None:
        if study_name is None:
            return InMemoryStorage()
        if Path(study_name).name != study_name or not study_name:
            raise ValueError(f"study_name={study_name!r} is not allowed; give a text that can name a file")
        storage = FOLDER / f"{study_name}.db"
    if isinstance(storage, str) and "://" in storage:
        return _relational(storage)
    path = Path(storage)
    if path.suffix not in (*SQLITE, *JOURNAL):
        raise ValueError(
            f"storage={str(storage)!r} is not known; give a file ending in {SQLITE} (SQLite) or {JOURNAL} (journal), "
            "or a URL such as postgresql://..."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in SQLITE:
            return _relational(f"sqlite:///{path}")
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise ConnectionError(f"storage={str(path)!r} cannot be used: {type(error).__name__}: {error}") from error


def _relational(url: str) -> BaseStorage:
    import sqlalchemy.exc
    from sqlalchemy.engine import make_url

    shown = url
    connect = {"timeout": _LOCK_TIMEOUT} if url.startswith("sqlite") else {}
    for attempt in range(_TRIES):
        try:
            shown = make_url(url).render_as_string(hide_password=True)
            return RDBStorage(url, engine_kwargs={"connect_args": connect})
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.IntegrityError) as error:
            # two processes that make the tables of one new file at once get in each other's way
            if attempt == _TRIES - 1:
                raise _unreachable(shown, error) from error
            time.sleep(0.1 * 2**attempt)
        except Exception as error:
            raise _unreachable(shown, error) from error
    raise AssertionError


def _unreachable(url: str, error: Exception) -> ConnectionError:
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    return ConnectionError(f"storage={url!r} cannot be reached: {type(error).__name__}: {reason}")


def result_of(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial wrote down beside its values: seconds, steps, shares of units; empty where it came to nothing."""
    return dict(trial.user_attrs.get(RESULT, {}))


def worker_id() -> str:
    """Host, process and when the process began: no later process is taken for this one."""
    return f"{socket.gethostname()}|{os.getpid()}|{_process_start(os.getpid())}"


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended without having been finished: its process was killed, or it was one too many."""
    return trial.state is TrialState.FAIL and "error" not in trial.user_attrs


def is_finished(trial: FrozenTrial) -> bool:
    """Whether a trial counts among those that were asked for: complete, pruned, or failed with an error."""
    return trial.state.is_finished() and not is_lost(trial)


def fail_lost(study: optuna.Study) -> int:
    """Fail the running trials whose process is gone; returns how many those were."""
    found = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if _is_gone(trial):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            found += 1
    return found


def place_of(study: optuna.Study, number: int) -> int:
    """A trial's number without the lost trials before it; no two trials that count share one."""
    trials = study.get_trials(deepcopy=False)
    return sum(trial.number < number and not is_lost(trial) for trial in trials)


def _is_gone(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:
        begun = trial.datetime_start
        return begun is not None and (datetime.now() - begun).total_seconds() > UNCLAIMED_AFTER
    host, process, start = worker.split("|")
    if host == socket.gethostname() and start != UNKNOWN:
        return _process_start(int(process)) != start
    first = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
    return time.time() - float(trial.user_attrs.get("beat", first)) > STALE_AFTER


def _process_start(process: int) -> str:
    """When a process began, in the system's own unit; "gone" where there is none, `UNKNOWN` where nothing tells."""
    if os.name == "nt":  # signal 0 would end the process
        return UNKNOWN
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return "gone"
    except PermissionError:
        pass
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "runs"  # macOS: a number that was given again is taken for the same process
    return "gone" if state[0] in ("Z", "X") else state[19]
