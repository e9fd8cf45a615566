"""The first thing a stranger runs, shortened."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from vdn_forecast.evaluation.demo import LINES, demo
from vdn_forecast.evaluation.results import ResultTable
from vdn_forecast_cli import main


def test_the_demo_leaves_a_leaderboard_and_a_picture_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("VDN_DATA_DIR", raising=False)
    table = demo(out=tmp_path, seeds=(1,), max_steps=5)
    folder = tmp_path / "demo-AirPassengers"
    assert set(table["model"]) == set(LINES)
    assert table["crps19"].is_monotonic_increasing
    assert (folder / "fan_chart.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(folder / "leaderboard.csv").shape == table.shape
    printed = capsys.readouterr()
    assert all(line in printed.out for line in LINES)
    assert "GPU available" not in printed.err
    assert "Seed set" not in printed.err
    before = (folder / "results.csv").read_bytes()
    demo(out=tmp_path, seeds=(1,), max_steps=5)
    assert (folder / "results.csv").read_bytes() == before
    assert len(ResultTable(folder / "results.csv").cells()) == len(LINES)


def test_help_does_not_import_torch() -> None:
    code = "import sys; from vdn_forecast_cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules, 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "benchmark" in done.stdout


def test_an_unknown_command_ends_with_2() -> None:
    with pytest.raises(SystemExit) as end:
        main(["forecast"])
    assert end.value.code == 2
