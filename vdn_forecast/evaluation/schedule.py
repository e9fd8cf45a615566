"""The order of a suite's cells: a line's validation trials before its test cells. Nothing runs here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .cells import Cell
from .failures import TEST, TRIAL
from .results import cell_identity
from .suites import Line, Suite


@dataclass(frozen=True, eq=False)
class Task:
    """One cell to run, on validation alone or on the test split too.

    Attributes:
        cell: what to run.
        trial: whether it only scores a combination of `search` on validation.
        group: number of its dataset, horizon and line in the schedule.
        candidate: number of its combination; 0 for a test cell.
    """

    cell: Cell
    trial: bool
    group: int
    candidate: int = 0

    @property
    def split(self) -> str:
        """`TRIAL` or `TEST`, as the table of failures calls it."""
        return TRIAL if self.trial else TEST

    @property
    def name(self) -> str:
        """For the terminal."""
        cell = self.cell
        return f"{cell.dataset} h={cell.h} {cell.label} seed {cell.seed}" + (" trial" if self.trial else "")

    @cached_property
    def key(self) -> str:
        """The cell's identity; of a cell whose model cannot be built, a name for its failures."""
        return self.cell.identity if self.refusal is None else self._fallback

    @cached_property
    def refusal(self) -> Exception | None:
        """What building the model raises; None where it can be built."""
        try:
            _ = self.cell.identity
        except Exception as error:
            return error
        return None

    @property
    def _fallback(self) -> str:
        cell = self.cell
        return cell_identity(
            unbuildable=cell.model,
            protocol=cell.protocol.identity,
            dataset=cell.dataset,
            h=cell.h,
            label=cell.label,
            seed=cell.seed,
            arguments=dict(cell.arguments),
        )


@dataclass
class _Group:
    """The cells of one line on one dataset and horizon."""

    dataset: str
    h: int
    line: Line
    candidates: list[dict[str, Any]]
    waiting: list[Task] = field(default_factory=list)
    open_trials: int = 0
    scores: dict[int, float] = field(default_factory=dict)


class Schedule:
    """Hands out cells as they become ready, dataset by dataset.

    Args:
        suite: whose cells.
        datasets: which of its datasets.
    """

    def __init__(self, suite: Suite, datasets: Sequence[str]) -> None:
        self.suite = suite
        self._groups: list[_Group] = []
        for dataset in datasets:
            for h in suite.horizons(dataset):
                for line in suite.lines:
                    self._add(_Group(dataset, h, line, list(line.candidates())))

    def __len__(self) -> int:
        """All cells, trials included."""
        return sum(
            len(group.candidates) * bool(group.line.search) + len(self.suite.seeds_of(group.line))
            for group in self._groups
        )

    def next(self) -> Task | None:
        """A cell that may run now; None where there is none, or none before another one is settled."""
        for group in self._groups:
            if group.waiting:
                return group.waiting.pop(0)
        return None

    def settle(self, task: Task, row: Mapping[str, Any] | None) -> int:
        """Say that a cell has its row, or None where it has none.

        Returns:
            How many test cells will not run, because a trial of their line has no row.
        """
        if not task.trial:
            return 0
        group = self._groups[task.group]
        group.open_trials -= 1
        if row is not None:
            group.scores[task.candidate] = float(row["val_crps19"])
        if group.open_trials:
            return 0
        if len(group.scores) < len(group.candidates):
            return len(self.suite.seeds_of(group.line))
        # of equal scores the first combination, in whatever order they came
        best = min(sorted(group.scores), key=lambda number: group.scores[number])
        self._add_tests(task.group, group.candidates[best])
        return 0

    def _add(self, group: _Group) -> None:
        number = len(self._groups)
        self._groups.append(group)
        if not group.line.search:
            self._add_tests(number, {})
            return
        for index, candidate in enumerate(group.candidates):
            cell = self.suite.cell(group.line, group.dataset, self.suite.seeds[0], candidate, group.h)
            group.waiting.append(Task(cell, True, number, index))
        group.open_trials = len(group.candidates)

    def _add_tests(self, number: int, chosen: Mapping[str, Any]) -> None:
        group = self._groups[number]
        for seed in self.suite.seeds_of(group.line):
            cell = self.suite.cell(group.line, group.dataset, seed, chosen, group.h)
            group.waiting.append(Task(cell, False, number))
