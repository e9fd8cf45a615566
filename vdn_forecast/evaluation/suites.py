"""Benchmark suites: what is compared, and what each model may choose on validation."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .cells import Cell
from .data import DATASETS, PanelData, load_dataset
from .models import NAIVE
from .panels import Panels
from .protocols import Protocol, embedded, ltsf, probts

PROTOCOLS = {
    "ltsf": ltsf,
    "probts": probts,
    "embedded": lambda dataset, input_size=None: embedded(input_size or 36),
}


@dataclass(frozen=True)
class Line:
    """One line of the leaderboard.

    Attributes:
        label: its name.
        model: what `build_model` knows.
        arguments: fixed arguments of the model.
        by_dataset: further ones per dataset, each with its reason in the YAML file.
        search: what validation chooses from at the first seed: argument name to its values, jointly, or a list of
            alternatives, each some arguments; `input_size` may be among them (the targets stay the same). The word
            "own" in a suite file stands for the search of the model's own file in `configs/models`.
    """

    label: str
    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    search: Mapping[str, list[Any]] | Sequence[Mapping[str, Any]] = field(default_factory=dict)

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Every alternative or combination of `search`; one empty one without."""
        if not isinstance(self.search, Mapping):
            yield from map(dict, self.search)
            return
        for values in itertools.product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))


@dataclass(frozen=True)
class Suite:
    """What a suite file says.

    Attributes:
        name: of the results files.
        protocol: key of `PROTOCOLS`.
        datasets: keys of `DATASETS` or of `panels`.
        horizon: h per dataset, one or several.
        seeds: of the test rows; the first also of validation trials.
        lines: of the leaderboard.
        input_size: another look-back than the protocol's.
        panels: datasets of one's own and synthetic ones.
        max_time: seconds that one cell may take; None for no limit.
        windows: whether the errors of every window are kept, beside those of every origin.
        paths: whether joint sample paths are scored.
    """

    name: str
    protocol: str
    datasets: tuple[str, ...]
    horizon: Mapping[str, int | Sequence[int]]
    seeds: tuple[int, ...]
    lines: tuple[Line, ...]
    input_size: int | None = None
    panels: Panels = field(default_factory=dict)
    max_time: float | None = None
    windows: bool = False
    paths: bool = False

    def of_lines(self, labels: Sequence[str]) -> "Suite":
        """The same with some of its lines.

        Raises:
            ValueError: a line that the suite does not have.
        """
        for label in labels:
            if label not in (known := [line.label for line in self.lines]):
                raise ValueError(f"line={label!r} is not in the suite; it has {known}")
        return replace(self, lines=tuple(line for line in self.lines if line.label in labels))

    def identity(self, dataset: str) -> Protocol:
        """The protocol of one dataset."""
        return PROTOCOLS[self.protocol](dataset, self.input_size)

    def horizons(self, dataset: str) -> tuple[int, ...]:
        """All h of one dataset."""
        found = self.horizon[dataset]
        return (found,) if isinstance(found, int) else tuple(found)

    def season(self, dataset: str) -> int:
        """Steps of one season."""
        return self.panels[dataset].season if dataset in self.panels else DATASETS[dataset].season

    def load(self, dataset: str, directory: str | Path | None) -> PanelData:
        """The data of one dataset; errors as of `load_dataset` and `user_panel`."""
        if dataset in self.panels:
            return self.panels[dataset].load(dataset)
        return load_dataset(dataset, directory, self.identity(dataset).data_scale)

    def seeds_of(self, line: Line) -> tuple[int, ...]:
        """Seeds of a line's test rows: one where nothing is drawn."""
        return self.seeds[:1] if line.model in NAIVE else self.seeds

    def cell(self, line: Line, dataset: str, seed: int, chosen: Mapping[str, Any], h: int | None = None) -> Cell:
        """One cell of a line.

        Args:
            line, dataset, seed: of this suite.
            chosen: what validation chose of `search`.
            h: one of the dataset's horizons; None for its only one.

        Raises:
            ValueError: no `h` where the dataset has several.
        """
        horizons = self.horizons(dataset)
        if h is None and len(horizons) > 1:
            raise ValueError(f"h=None is not allowed; {dataset} has the horizons {list(horizons)}")
        arguments = {**line.arguments, **line.by_dataset.get(dataset, {}), **chosen}
        return Cell(
            self.identity(dataset), dataset, horizons[0] if h is None else h, line.label, line.model, seed, arguments
        )
