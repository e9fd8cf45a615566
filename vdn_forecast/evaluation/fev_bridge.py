"""Between fev and this package: a task as plain JSON, and scores of forecasts for it. Imports nothing of this package.

fev lives well in an environment of its own, so that this file is also a script there:

    python fev_bridge.py export task.json content.json              # task.json: arguments of fev.Task
    python fev_bridge.py score task.json forecasts.json scores.json
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


def describe_task(task: Any) -> dict[str, Any]:
    """A fev `Task` as plain values, what a model may see of it and no more.

    Args:
        task: of fev 0.10 or later, with its data at hand.

    Returns:
        `task` (its own dictionary), `targets`, `items` (id -> target -> values, None where missing, up to the last
        row that any window shows) and `windows`, each a list of (id, first row, row after the last) in the order
        that its forecasts must have.
    """
    import fev

    full = task.load_full_dataset()
    stamps = {str(item[task.id_column]): np.asarray(item[task.timestamp_column]) for item in full}
    windows: list[list[tuple[str, int, int]]] = []
    for window in task.iter_windows():
        past, _ = window.get_input_data()
        spans = []
        for item in past:
            name, seen = str(item[task.id_column]), np.asarray(item[task.timestamp_column])
            first = int(np.searchsorted(stamps[name], seen[0]))
            spans.append((name, first, first + len(seen)))
        windows.append(spans)
    shown = {name: max((s[2] for spans in windows for s in spans if s[0] == name), default=0) for name in stamps}
    items: dict[str, dict[str, list[float | None]]] = {}
    for item in full:
        name = str(item[task.id_column])
        columns = {column: np.asarray(item[column], dtype=float)[: shown[name]] for column in task.target_columns}
        items[name] = {c: [None if np.isnan(y) else float(y) for y in values] for c, values in columns.items()}
    return {
        "fev_version": fev.__version__,
        "task": task.to_dict(),
        "targets": list(task.target_columns),
        "items": items,
        "windows": windows,
    }


def score_forecasts(task: Any, forecasts: dict[str, Any]) -> dict[str, Any]:
    """fev's own summary of forecasts, `model_name`, `test_error` and every metric among it.

    Args:
        task: a fev `Task`.
        forecasts: `model`, `predictions` (one mapping of target to rows per window), and perhaps
            `training_time_s`, `inference_time_s`.
    """
    summary: dict[str, Any] = task.evaluation_summary(
        forecasts["predictions"],
        model_name=forecasts["model"],
        training_time_s=forecasts.get("training_time_s"),
        inference_time_s=forecasts.get("inference_time_s"),
        trained_on_this_dataset=True,
    )
    return summary


def write_json(path: str | Path, content: Any) -> None:
    """Write a file whole or not at all."""
    temporary = Path(path).with_suffix(".tmp")
    temporary.write_text(json.dumps(content, default=str))
    os.replace(temporary, path)


def main(arguments: list[str]) -> int:
    """The script; 2 where the words are off."""
    if len(arguments) < 3 or (arguments[0], len(arguments)) not in (("export", 3), ("score", 4)):
        print(__doc__, file=sys.stderr)
        return 2
    import fev

    task = fev.Task(**json.loads(Path(arguments[1]).read_text()))
    if arguments[0] == "export":
        write_json(arguments[2], describe_task(task))
    else:
        write_json(arguments[3], score_forecasts(task, json.loads(Path(arguments[2]).read_text())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
