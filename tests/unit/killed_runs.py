"""Help for tests that kill a run of `vdn-forecast benchmark run` and compare what it leaves."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml

MEASURED = ["fit_seconds", "predict_seconds", "peak_mb", "versions", "command"]
"""Columns in which two runs of one cell may differ."""
TINY = {"max_steps": 4, "val_check_steps": 2}
SUITE = {
    "name": "s",
    "protocol": "ltsf",
    "input_size": 24,
    "seeds": [1, 2, 3],
    "datasets": {"small": {"h": [6, 12], "synthetic": {"n_series": 2, "n_rows": 400}}, "AirPassengers": 6},
    "defaults": TINY,
    "models": {
        "EVE": {
            "model": "EVE",
            "arguments": {"n_units": 8, "hidden_size": 8, "head_size": 8},
            "search": {"dropout": [0.0, 0.3]},
        },
        "DLinear": {"model": "DLinear"},
        "Naive": {"model": "Naive"},
    },
}
ROWS = 3 * (3 + 3 + 1)
DEADLINE = 900.0


def write_suite(folder: Path) -> Path:
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump(SUITE))
    return path


def words(suite: Path, out: Path, *more: str) -> list[str]:
    return ["benchmark", "run", str(suite), "--out", str(out), "--threads", "1", *more]


def start(suite: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    """The public command, in a process group of its own."""
    command = [sys.executable, "-m", "vdn_forecast_cli", *words(suite, out, *more)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_in_the_middle(suite: Path, out: Path, chance: random.Random, *more: str) -> int:
    """Kill -9 the command a random moment after it wrote a random number of rows; its process group."""
    tables = [out / "s.csv", out / "s-trials.csv"]
    wanted = sum(map(lines, tables)) + chance.randint(2, 5)
    process = start(suite, out, *more)
    until = time.monotonic() + DEADLINE
    while sum(map(lines, tables)) < wanted and process.poll() is None:
        assert time.monotonic() < until, "the run writes no rows"
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.5))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it was killed"
    return process.pid


def living(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def all_gone(group: int, seconds: float = 30) -> bool:
    """Whether nothing of a process group runs any more, after some time at most."""
    if not os.path.isdir("/proc/self"):
        return True
    until = time.monotonic() + seconds
    while living(group) and time.monotonic() < until:
        time.sleep(0.05)
    return not living(group)


def figures(out: Path, *, in_order: bool) -> list[pd.DataFrame]:
    """Both tables without what a clock and a memory counter say."""
    tables = [pd.read_csv(out / name, dtype={"cell": str}).drop(columns=MEASURED) for name in ("s.csv", "s-trials.csv")]
    return tables if in_order else [table.sort_values("cell", ignore_index=True) for table in tables]


def kept(out: Path) -> dict[str, bytes]:
    """The files of errors per origin and step of cells that have a row; a cell that was killed may have left some."""
    cells = set(figures(out, in_order=True)[0]["cell"])
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.parquet") if path.stem in cells}
