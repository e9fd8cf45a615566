"""Timing scripts: what they write, and what the roofline counts."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.speed import footprint, phases, roofline


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_memory_of_a_large_parent_is_not_the_childs():
    code = "from vdn_forecast.evaluation.evaluator import peak_memory_mb; print(peak_memory_mb())"
    memory = bytearray(b"1") * (3 * 2**30)  # in use while the child starts
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(memory) / 2**20 > 3000
    assert 50 < float(found.stdout) < 2000


def test_the_roofline_counts_forward_and_backward_products():
    weight = torch.randn(5, 7, requires_grad=True)
    x = torch.randn(3, 5, requires_grad=True)
    with roofline.Products() as products:
        (x @ weight).sum().backward()
    assert len(products.found) == 3  # forward, and the gradients of both operands
    assert roofline.operations(products.found) == 3 * 2 * 3 * 5 * 7


def test_a_roofline_row(tmp_path, monkeypatch):
    out = tmp_path / "roofline.csv"
    monkeypatch.setattr(roofline, "SQUARE", 64)
    monkeypatch.setattr(
        sys, "argv", ["roofline", "--models", "EVE.small", "--rounds", "1", "--steps", "8", "--out", str(out)]
    )
    roofline.main()
    (row,) = pd.read_csv(out).to_dict("records")
    assert row["step_ms"] >= row["network_ms"] > 0
    assert row["step_times_ideal"] == pytest.approx(row["step_ms"] / row["ideal_ms"], rel=1e-3)
    # six maps (encoder, means, scales, hidden layer, output, skip) and two gradients each, one where y comes in
    assert row["products"] == 6 + 2 * 6 - 2


def test_phases_are_measured_in_turn_and_memory_apart(tmp_path, monkeypatch):
    out = tmp_path / "phases.csv"
    words = ["--series", "2", "--rows", "900", "--origins", "5", "--rounds", "2", "--models", "DLinear", "EVE"]
    monkeypatch.setattr(sys, "argv", ["phases", *words, "--out", str(out)])
    phases.main()
    rows = pd.read_csv(out).set_index("model")
    assert list(rows.index) == ["EVE", "DLinear"]  # all ratios are to EVE
    for phase in phases.PHASES:
        assert (rows[f"{phase}_times_eve"]["EVE"], rows[f"{phase}_seconds"].min() > 0) == (1, True)
        assert (rows[f"{phase}_times_eve_min"] <= rows[f"{phase}_times_eve_max"]).all()
    assert rows["memory_mb"].between(0.01, 3000).all()
    assert "--models DLinear EVE" in rows["command"]["EVE"]


def test_a_fit_is_measured_in_its_own_process(tmp_path, monkeypatch):
    out = tmp_path / "footprint.csv"
    words = ["--parts", "import", "many series", "--series", "20", "--steps", "2", "--rounds", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["footprint", *words])
    footprint.main()
    rows = pd.read_csv(out).set_index("part")
    assert rows["seconds"].gt(0).all()
    assert rows["neuralforecast"]["import"] > rows["seconds"]["import"] > 0.001
    assert rows["peak_mb"]["many series"] > rows["before_mb"]["many series"] * 0.99
    assert 0 < rows["start"]["many series"] < rows["seconds"]["many series"]
