"""The scripts that time training steps."""

import sys

import pandas as pd
import pytest

from benchmarks.speed import growth, step_time


def test_models_are_timed_in_turn_and_ratios_are_to_eve(tmp_path, monkeypatch):
    out = tmp_path / "rows.csv"
    words = ["--series", "2", "--rows", "600", "--rounds", "2", "--steps", "5", "--models", "EVE.small", "NHITS"]
    monkeypatch.setattr(sys, "argv", ["step_time.py", *words, "--out", str(out)])
    step_time.main()
    rows = pd.read_csv(out).set_index("model")
    assert list(rows.index) == ["EVE", "EVE.small", "NHITS"]  # EVE is there unasked
    assert (rows["times_eve_median"]["EVE"], rows["panel"]["EVE"]) == (1.0, "2 x 600")
    assert (rows["step_ms_min"] <= rows["step_ms_median"]).all()
    assert "--models EVE.small NHITS" in rows["command"]["EVE"]


def test_an_unknown_model_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["step_time.py", "--models", "Oracle"])
    with pytest.raises(SystemExit):
        step_time.main()
    assert "PatchTST" in capsys.readouterr().err


def test_growth_along_an_axis(tmp_path, monkeypatch):
    assert growth.slope([1, 10, 100], [2.0, 20.0, 200.0]) == pytest.approx(1)
    out = tmp_path / "rows.csv"
    words = ["--largest", "256", "--rounds", "1", "--steps", "4", "--out", str(out)]
    for axis in ("units", "series", "units"):  # measured again, an axis replaces its rows
        monkeypatch.setattr(sys, "argv", ["growth.py", "--axes", axis, *words])
        growth.main()
    rows = pd.read_csv(out)
    assert list(rows["axis"]) == ["series"] * 2 + ["units"] * 2
    assert list(rows["size"]) == [7, 100, 64, 256]
    assert rows["exponent"].notna().all()
