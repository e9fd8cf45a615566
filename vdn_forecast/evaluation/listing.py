"""A suite's cells in words, before anything runs: every argument that a model ends up with."""

import json
from collections.abc import Iterator
from typing import Any

from .._compat import describe_arguments
from .cells import Cell
from .data import DATASETS
from .quiet import quiet_lightning
from .suites import Suite


def list_cells(suite: Suite) -> Iterator[str]:
    """Lines of text: per dataset, model and combination its cells and all its arguments.

    A star marks what the suite file sets; the other values are defaults of the model or of the runner. Of a line
    that searches, each combination is listed: a trial scores it on validation at the first seed, and the best one
    alone gets the cells of the other seeds.
    """
    for dataset in suite.datasets:
        protocol = suite.identity(dataset)
        yield f"{dataset}  h={suite.horizon[dataset]}  {protocol.identity}"
        for line in suite.lines:
            candidates = list(line.candidates())
            for number, candidate in enumerate(candidates, 1):
                cells = [suite.cell(line, dataset, seed, candidate) for seed in suite.seeds]
                cells = cells if cells[0].is_trained else cells[:1]
                trial = f"  (trial {number} of {len(candidates)})" if line.search else ""
                yield f"  {line.label}  model={line.model}{trial}"
                yield "    cells: " + ", ".join(f"seed {cell.seed} {cell.identity}" for cell in cells)
                yield from (f"    {text}" for text in _described(cells[0]))


def resolved_arguments(cell: Cell) -> dict[str, Any]:
    """Every argument of the cell's model, defaults included, as plain values; what cannot be written is its text."""
    with quiet_lightning():
        model = cell.build(DATASETS[cell.dataset].season)
    if not cell.is_trained:
        return dict(vars(model))
    plain = json.loads(describe_arguments(model))
    if "n_series" in plain:
        plain["n_series"] = "as many as the data has"
    return {**{name: str(value) for name, value in model.hparams.items()}, **plain}


def _described(cell: Cell) -> Iterator[str]:
    for name, value in sorted(resolved_arguments(cell).items()):
        mark = "*" if name in cell.arguments else " "
        yield f"{mark} {name} = {json.dumps(value, default=str)}"
