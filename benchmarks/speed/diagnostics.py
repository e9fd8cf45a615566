"""What measuring the units at every validation check costs a training, A B A B in one process.

    python benchmarks/speed/diagnostics.py --rounds 5 --out benchmarks/results/diagnostics.csv

A round fits EVE (and AREVE) twice on the same synthetic panel, with and without (`record_windows = 0`), in turns that
change places from round to round; what is trained is bit-identical. A busy machine's noise in the paired ratio of whole
fits is larger than what it looks for: the share of a fit spent in `record_check` and in noting the loss's terms (which
goes on without measuring, too), by the clock, stands beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from tqdm import tqdm

from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.cells import versions
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.sources import synthetic_panel
from vdn_forecast.models.history import History
from vdn_forecast.models.recording import RecordedModel


class Clock:
    """Seconds spent in some methods."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def on(self, owner: type, name: str) -> Iterator[None]:
        """Time every call of a method within the block."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)
        try:
            yield
        finally:
            setattr(owner, name, method)


def fit_seconds(name: str, data: TimeSeriesDataset, recorded: bool, chosen: argparse.Namespace) -> tuple[float, float]:
    """Seconds of a fit, and of what is measured here within it."""
    model = BUILDERS[name](
        h=96,
        input_size=336,
        max_steps=chosen.steps,
        val_check_steps=chosen.check_every,
        patience_checks=0,
        **QUIET_TRAINER,
    )
    if not recorded:
        model.record_windows = 0
    clock = Clock()
    with quiet_lightning(), clock.on(RecordedModel, "record_check"), clock.on(History, "note"):
        start = time.perf_counter()
        model.fit(data, val_size=chosen.rows // 5)
        return time.perf_counter() - start, clock.seconds


def main() -> None:
    """Measure and write one row per model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["EVE", "AREVE"])
    parser.add_argument("--series", type=int, default=7)
    parser.add_argument("--rows", type=int, default=11_520)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--check-every", type=int, default=50, help="steps between validation checks (default: EVE's)")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    keep_memory()
    dataset = as_dataset(synthetic_panel(chosen.series, chosen.rows).values)
    rows = []
    for name in chosen.models:
        found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for number in tqdm(range(chosen.rounds), desc=name):
            for recorded in (True, False) if number % 2 else (False, True):
                found[recorded].append(fit_seconds(name, dataset, recorded, chosen))
        ratios = [a[0] / b[0] for a, b in zip(found[True], found[False], strict=True)]
        shares = [inside / whole for whole, inside in found[True]]
        rows.append(
            {
                "panel": f"{chosen.series} x {chosen.rows}",
                "model": name,
                "steps": chosen.steps,
                "check_every": chosen.check_every,
                "fit_seconds_median": statistics.median(whole for whole, _ in found[True]),
                "times_without_median": statistics.median(ratios),
                "times_without_min": min(ratios),
                "times_without_max": max(ratios),
                "share_by_clock_median": statistics.median(shares),
                "share_by_clock_max": max(shares),
                "rounds": chosen.rounds,
                "threads": torch.get_num_threads(),
                "versions": versions(),
                "command": f"python benchmarks/speed/diagnostics.py --models {' '.join(chosen.models)} --series "
                f"{chosen.series} --rows {chosen.rows} --rounds {chosen.rounds} --steps {chosen.steps} "
                f"--check-every {chosen.check_every}",
            }
        )
    table = pd.DataFrame(rows)
    print(table.drop(columns=["versions", "command"]).to_string(index=False, float_format="%.4f"))
    if chosen.out:
        temporary = chosen.out.with_suffix(".tmp")
        table.to_csv(temporary, index=False, float_format="%.4f")
        temporary.replace(chosen.out)


if __name__ == "__main__":
    main()
