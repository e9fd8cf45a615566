"""`vdn-forecast search`: a search file's trials, run, resumed and written down as plain files."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial
from tqdm import tqdm

from .best_suite import best_suite
from .export import result_line, trials_frame
from .planned import find_study, open_search, panel_of
from .report import write_report
from .search_file import SearchPlan, read_search
from .storage import is_finished
from .study import Search
from .winner import SearchError, winner_of
from .workers import Crew


@dataclass(frozen=True)
class SearchFiles:
    """What a search leaves in its folder.

    Attributes:
        trials: CSV, one row per finished trial; written anew after each.
        best: suite file with the default configuration and the one found; only where a trial won.
        report: folder of the report page.
    """

    trials: Path
    best: Path
    report: Path

    @classmethod
    def of(cls, plan: SearchPlan, out: str | Path) -> "SearchFiles":
        """Those of one search."""
        folder = plan.folder(out)
        return cls(folder / "trials.csv", folder / "best.yaml", folder / "report")


def run_search(
    path: str | Path,
    out: str | Path = "runs",
    directory: str | Path | None = None,
    *,
    resume: bool = False,
    trials: int | None = None,
    workers: int = 0,
    threads: int | None = None,
) -> Path:
    """Run a search file to its number of finished trials; write trials and, at the end, the best configuration.

    A search that was killed is resumed: finished trials stay, those that were running are lost and drawn again.
    Several processes or machines may resume one search at a time where its storage is one that all of them reach.

    Args:
        path: the search file.
        out: folder of the results; the search's own is `out`/search-NAME.
        directory: benchmark data; None for VDN_DATA_DIR.
        resume: whether the search has begun; a new one is refused a study that has trials, and the other way round.
        trials: finished trials in all, in place of the file's.
        workers: processes beside this one; 0 runs the trials here. With one worker or none the same seed gives the
            same trials.
        threads: torch threads of each worker; None for one.

    Returns:
        The suite file with the winner's configuration.

    Raises:
        ValueError: a file or an argument outside of what is allowed, data that is too short, another study.
        FileNotFoundError: no such file or dataset.
        ConnectionError: a storage that cannot be reached.
        SearchError: no trial was completed, or none meets the constraints; trials are written all the same.
    """
    for name, value, least in (("workers", workers, 0), ("threads", threads, 1), ("trials", trials, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name}={value!r} is not allowed; give a number >= {least}")
    plan = read_search(path)
    total = plan.trials if trials is None else trials
    dataset, sizes = panel_of(plan, directory)  # data too short is refused before anything is written
    search = open_search(plan, out, dataset, sizes, existing=resume)
    begun = search.study.get_trials(deepcopy=False)
    if begun and not resume:
        raise ValueError(
            f"{path}: the search has begun, {sum(map(is_finished, begun))} trials are finished; go on with "
            "`search resume`, or give another name or --out"
        )
    if resume and not begun:
        raise ValueError(f"{path}: no search has begun on this data, space and storage; begin with `search run`")
    files = SearchFiles.of(plan, out)
    with _Progress(search, files, total) as progress:
        if not workers:
            search.run(total, timeout=plan.time_budget, progress=progress.look)
        elif sum(map(is_finished, begun)) < total:
            with Crew(workers, threads or 1, (path, out, directory, total)) as crew:
                crew.watch(progress.look)
        progress.look()
    write_best(plan, search.study, files)
    return files.best


def write_best(plan: SearchPlan, study: optuna.Study, files: SearchFiles) -> FrozenTrial:
    """Write the suite file of the winner; errors as of `winner_of`."""
    winner = winner_of(study, plan.target)
    suite = best_suite(plan, winner)
    head = (
        f"# What the search {plan.suite.name} found ({plan.path.name}, trial {winner.number}), beside the default.\n"
        f"#   vdn-forecast benchmark run {files.best}\n"
    )
    _replace(files.best, head + yaml.safe_dump(suite, sort_keys=False, allow_unicode=True))
    return winner


def write_trials(study: optuna.Study, path: Path) -> None:
    """Write all finished trials, whole or not at all."""
    _replace(path, trials_frame(study).to_csv(index=False))


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class _Progress:
    """A bar over trials, a line per finished one, and the CSV of them."""

    def __init__(self, search: Search, files: SearchFiles, total: int) -> None:
        self._search, self._files = search, files
        self._seen = {trial.number for trial in self._finished()}
        write_trials(search.study, files.trials)
        self._bar: Any = tqdm(
            total=total, initial=len(self._seen), desc=search.settings.name, unit="trial", file=sys.stderr
        )

    def _finished(self) -> list[FrozenTrial]:
        return [trial for trial in self._search.study.get_trials(deepcopy=False) if is_finished(trial)]

    def __enter__(self) -> "_Progress":
        return self

    def look(self, _trial: FrozenTrial | None = None) -> None:
        """Say what finished since the last look, whoever ran it."""
        new = [trial for trial in self._finished() if trial.number not in self._seen]
        if not new:
            return
        self._seen |= {trial.number for trial in new}
        write_trials(self._search.study, self._files.trials)
        for trial in new:
            self._bar.write(result_line(trial, self._search.target.objectives), file=sys.stderr)
        self._bar.update(len(new))

    def __exit__(self, *_: Any) -> None:
        self._bar.close()


def report_search(path: str | Path, out: str | Path = "runs") -> Path:
    """Write trials, best configuration and report of a search, finished or under way; returns the HTML page.

    Raises:
        ValueError: nothing has begun.
        ConnectionError: a storage that cannot be reached.
        ImportError: matplotlib is not installed.
    """
    plan = read_search(path)
    study, files = find_study(plan, out), SearchFiles.of(plan, out)
    write_trials(study, files.trials)
    try:
        winner: FrozenTrial | None = write_best(plan, study, files)
        why = ""
    except SearchError as error:
        winner, why = None, str(error)
    title = f"Search {plan.suite.name}: {plan.model} on {plan.dataset}, h = {plan.h}"
    return write_report(study, winner, why, title, files.report)
