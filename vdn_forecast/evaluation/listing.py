"""A suite's cells in words, before anything runs: every argument that a model ends up with."""

import json
from collections.abc import Iterator
from typing import Any

from .._compat import describe_arguments
from .cells import Cell
from .data import DATASETS
from .quiet import quiet_lightning
from .suites import Line, Suite


def list_cells(suite: Suite) -> Iterator[str]:
    """Lines of text: the suite's settings, then per dataset, horizon, model and combination its cells and arguments.

    A star marks what the suite file sets; the other values are defaults of the suite, the model or the runner. Of a
    line that searches, each combination is listed: a trial scores it on validation at the first seed, and the best
    one alone gets the cells of the other seeds.
    """
    yield f"suite {suite.name}"
    yield from (f"  {text}" for text in _settings(suite))
    for dataset in suite.datasets:
        protocol = suite.identity(dataset)
        for h in suite.horizons(dataset):
            yield f"{dataset}  h={h}  {protocol.identity}"
            for line in suite.lines:
                yield from _cells(suite, line, dataset, h)


def _settings(suite: Suite) -> Iterator[str]:
    yield f"* protocol = {suite.protocol}"
    yield f"* seeds = {list(suite.seeds)}"
    for name, meaning in (("input_size", "the protocol's"), ("max_time", "no limit")):
        value = getattr(suite, name)
        yield f"  {name} = null ({meaning})" if value is None else f"* {name} = {value:g}"
    for name in ("windows", "paths"):
        value = getattr(suite, name)
        yield f"{'*' if value else ' '} {name} = {json.dumps(value)}"
    for dataset in suite.datasets:
        if dataset in suite.panels:
            described: dict[str, Any] = suite.panels[dataset].described()
        else:
            info = DATASETS[dataset]
            described = {"benchmark": info.family, "freq": info.freq, "season": info.season}
        yield f"* datasets.{dataset} = {json.dumps({'h': list(suite.horizons(dataset)), **described})}"


def _cells(suite: Suite, line: Line, dataset: str, h: int) -> Iterator[str]:
    candidates = list(line.candidates())
    for number, candidate in enumerate(candidates, 1):
        cells = [suite.cell(line, dataset, seed, candidate, h) for seed in suite.seeds_of(line)]
        trial = f"  (trial {number} of {len(candidates)})" if line.search else ""
        yield f"  {line.label}  model={line.model}{trial}"
        yield "    cells: " + ", ".join(f"seed {cell.seed} {cell.identity}" for cell in cells)
        yield from (f"    {text}" for text in _described(cells[0], suite.season(dataset)))


def resolved_arguments(cell: Cell, season: int) -> dict[str, Any]:
    """Every argument of the cell's model, defaults included, as plain values; what cannot be written is its text."""
    with quiet_lightning():
        model = cell.build(season)
    if not cell.is_trained:
        return dict(vars(model))
    plain = json.loads(describe_arguments(model))
    if "n_series" in plain:
        plain["n_series"] = "as many as the data has"
    return {**{name: str(value) for name, value in model.hparams.items()}, **plain}


def _described(cell: Cell, season: int) -> Iterator[str]:
    for name, value in sorted(resolved_arguments(cell, season).items()):
        mark = "*" if name in cell.arguments else " "
        yield f"{mark} {name} = {json.dumps(value, default=str)}"
