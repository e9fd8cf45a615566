"""Benchmark suites from YAML, checked: what is compared, and what each model may choose on validation."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from .cells import Cell
from .data import DATASETS
from .model_configs import find_config
from .models import NAIVE
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
        search: argument name to the values to choose from on validation, jointly, at the first seed. The word
            "own" in a suite file stands for the search of the model's own file in `configs/models`.
    """

    label: str
    model: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    search: Mapping[str, list[Any]] = field(default_factory=dict)

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Every combination of `search`; one empty one without."""
        for values in itertools.product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))


@dataclass(frozen=True)
class Suite:
    """What a suite file says.

    Attributes:
        name: of the results files.
        protocol: key of `PROTOCOLS`.
        datasets: keys of `DATASETS`.
        horizon: h per dataset.
        seeds: of the test rows; the first also of validation trials.
        lines: of the leaderboard.
        input_size: another look-back than the protocol's.
    """

    name: str
    protocol: str
    datasets: tuple[str, ...]
    horizon: Mapping[str, int]
    seeds: tuple[int, ...]
    lines: tuple[Line, ...]
    input_size: int | None = None

    def identity(self, dataset: str) -> Protocol:
        """The protocol of one dataset."""
        return PROTOCOLS[self.protocol](dataset, self.input_size)

    def cell(self, line: Line, dataset: str, seed: int, chosen: Mapping[str, Any]) -> Cell:
        """One cell of a line with the arguments that validation chose."""
        arguments = {**line.arguments, **line.by_dataset.get(dataset, {}), **chosen}
        return Cell(self.identity(dataset), dataset, self.horizon[dataset], line.label, line.model, seed, arguments)


def read_suite(path: str | Path) -> Suite:
    """Read a suite file.

    Raises:
        ValueError: an unknown or missing key, or a value outside of what is allowed.
    """
    content = yaml.safe_load(Path(path).read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping at its top")
    if content.get("protocol") == "eve-paper":
        raise ValueError(f"{path}: 'eve-paper' has its own training loop: python -m benchmarks.eve_paper run {path}")
    known = {"name", "protocol", "datasets", "seeds", "models", "input_size", "defaults"}
    _refuse_unknown(str(path), content, known, needed=known - {"input_size", "defaults"})
    if content["protocol"] not in PROTOCOLS:
        raise ValueError(f"protocol={content['protocol']!r} is not known; choose one of {sorted(PROTOCOLS)}")
    horizon = {}
    for dataset, h in content["datasets"].items():
        if dataset not in DATASETS:
            raise ValueError(f"datasets: {dataset!r} is not known; choose from {sorted(DATASETS)}")
        if not isinstance(h, int) or h < 1:
            raise ValueError(f"datasets: {dataset}={h!r} is not allowed; give a horizon >= 1")
        horizon[dataset] = h
    defaults = content.get("defaults", {})
    lines = []
    for label, entry in content["models"].items():
        names = {item.name for item in fields(Line)} - {"label"}
        _refuse_unknown(f"models.{label}", entry, names, needed={"model"})
        try:
            config = find_config(entry["model"])
        except ValueError as error:
            raise ValueError(f"models.{label}: {error}") from error
        if entry.get("search") == "own":
            entry = {**entry, "search": config.search}
        trained = entry["model"] not in NAIVE
        arguments = {**(defaults if trained else {}), **entry.get("arguments", {})}
        lines.append(Line(label, **{**entry, "arguments": arguments}))
    return Suite(
        name=content["name"],
        protocol=content["protocol"],
        datasets=tuple(horizon),
        horizon=horizon,
        seeds=tuple(content["seeds"]),
        lines=tuple(lines),
        input_size=content.get("input_size"),
    )


def _refuse_unknown(where: str, found: Mapping[str, Any], known: set[str], needed: set[str]) -> None:
    unknown, missing = sorted(set(found) - known), sorted(needed - set(found))
    if unknown or missing:
        raise ValueError(f"{where}: unknown keys {unknown}, missing keys {missing}; known are {sorted(known)}")
