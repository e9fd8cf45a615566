"""The first thing to run: EVE beside its twin and NeuralForecast's models, a leaderboard and a fan chart."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from neuralforecast import NeuralForecast
from tqdm import tqdm

from .cells import Cell, run_cell
from .data import PanelData, data_directory, load_dataset
from .fan_chart import LEVELS, fan_chart
from .leaderboard import as_text, leaderboard
from .models import build_model
from .protocols import Protocol, embedded, ltsf
from .quiet import quiet_lightning
from .results import ResultTable

SEEDS = (1, 2, 3)
LINES = ("EVE", "twin", "NHITS", "DLinear", "SeasonalNaive")


@dataclass(frozen=True)
class DemoPlan:
    """What the demo runs: the embedded panel, or ETTh1 where benchmark data is at hand."""

    dataset: str
    protocol: Protocol
    h: int
    steps: dict[str, int]


def plan(directory: str | Path | None, max_steps: int | None = None) -> DemoPlan:
    """ETTh1, h = 96, on the standard protocol where a data folder is given; else AirPassengersPanel, h = 12."""
    if data_directory(directory) is None:
        steps = 300 if max_steps is None else max_steps
        # as many windows a step for every model: NeuralForecast's default is four times EVE's
        budget = {"max_steps": steps, "val_check_steps": 50, "windows_batch_size": 256}
        return DemoPlan("AirPassengers", embedded(), 12, budget)
    return DemoPlan("ETTh1", ltsf("ETTh1"), 96, {} if max_steps is None else {"max_steps": max_steps})


def demo(
    directory: str | Path | None = None,
    out: str | Path = "runs",
    seeds: Sequence[int] = SEEDS,
    max_steps: int | None = None,
) -> pd.DataFrame:
    """Run the demo; write `leaderboard.csv`, `results.csv` and `fan_chart.png` under `out`/demo-<dataset>.

    Finished cells are kept: a second call, or one after a kill, runs what is missing.

    Args:
        directory: benchmark data; None for VDN_DATA_DIR, and without that the embedded panel.
        out: where to write.
        seeds: of every trained model.
        max_steps: training steps of every model; None for 300 on the embedded panel, else each model's own.

    Returns:
        The leaderboard.
    """
    started = time.perf_counter()
    todo = plan(directory, max_steps)
    data = load_dataset(todo.dataset, directory)
    folder = Path(out) / f"demo-{todo.dataset}"
    results = ResultTable(folder / "results.csv")
    cells = [
        Cell(todo.protocol, todo.dataset, todo.h, line, line, seed, todo.steps if "Naive" not in line else {})
        for line in LINES
        for seed in (seeds if "Naive" not in line else seeds[:1])
    ]
    there = results.cells()
    wanted = {cell.identity for cell in cells}
    with tqdm(total=len(cells) + 1, desc="demo", unit="cell", file=sys.stderr) as bar:
        for cell in cells:
            if cell.identity not in there:
                bar.set_postfix_str(f"{cell.label}, seed {cell.seed}")
                row, _ = run_cell(cell, data, command="vdn-forecast demo")
                results.append(row)
            bar.update()
        rows = results.read()
        table = leaderboard(rows[rows["cell"].isin(wanted)])
        table.to_csv(folder / "leaderboard.csv", index=False)
        bar.set_postfix_str("fan chart")
        draw_fan(data, todo, seeds[0], folder / "fan_chart.png")
        bar.update()
    print(f"\n{todo.dataset}, h = {todo.h}, {todo.protocol.identity}\n\n{as_text(table)}")
    print(f"\n{time.perf_counter() - started:.0f} s; results and fan chart in {folder}")
    return table


def draw_fan(data: PanelData, todo: DemoPlan, seed: int, path: Path) -> None:
    """Fit EVE once more on train and validation rows and draw the first test window with sample paths."""
    import matplotlib
    from matplotlib import pyplot

    scaled = todo.protocol.prepare(data)
    known = sum(scaled.borders[:2])
    arguments: dict[str, Any] = {"random_seed": seed, **todo.steps}
    with quiet_lightning():
        model = build_model("EVE", todo.h, todo.protocol.input_size, data.info.season, **arguments)
        forecaster = NeuralForecast(models=[model], freq=data.info.freq)
        history = scaled.frame(known)
        forecaster.fit(history, val_size=scaled.borders[1])
        forecast = forecaster.predict(level=list(LEVELS))
        paths = forecaster.simulate(n_paths=12, seed=seed)
    future = scaled.frame(known + todo.h)
    future = future[future["ds"] > history["ds"].max()]
    backend = matplotlib.get_backend()
    matplotlib.use("agg")
    figure, _ = fan_chart(
        history, forecast, "EVE", paths, future, shown_history=min(4 * todo.h, todo.protocol.input_size)
    )
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
    matplotlib.use(backend)
