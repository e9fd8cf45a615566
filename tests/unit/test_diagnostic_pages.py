"""Plots take a frame and return figure and axes; the page and `vdn-forecast diagnose` on saved models."""

import json
import re
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.models import DLinear
from tiny_models import PANEL, SMALL

from benchmarks.speed import diagnostics as speed
from benchmarks.studies import regimes
from benchmarks.studies import units as study
from vdn_forecast import AREVE, EVE, diagnose
from vdn_forecast.diagnostics.canvas import ABOVE, BELOW, one_model
from vdn_forecast.diagnostics.forecast_plots import calibration_plot, posteriors_plot, risk_coverage_plot
from vdn_forecast.diagnostics.plots import band_heatmap, training_dynamics, unit_ranking
from vdn_forecast_cli import main


@pytest.fixture(scope="module")
def nf() -> NeuralForecast:
    models = [
        EVE(n_units=6, depth=2, control="homeo", control_warmup=2, **SMALL),
        EVE(n_units=6, neuron="deterministic", alias="twin", **SMALL),
        AREVE(n_units=6, **SMALL),
    ]
    nf = NeuralForecast(models=models, freq="ME")
    nf.fit(PANEL, val_size=36)
    return nf


@pytest.fixture(scope="module")
def frames(nf):
    return diagnose(nf), diagnose(nf, PANEL)


@pytest.fixture(scope="module")
def saved(nf, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "nf"
    nf.save(str(path))
    return path


def rendered(figure) -> None:
    from vdn_forecast.evaluation.report_html import png

    assert png(figure).startswith(b"\x89PNG")


def test_the_heatmap_shows_every_unit_at_every_check(frames):
    units = frames[0].units
    figure, axis = band_heatmap(units, "EVE")
    rendered(figure)
    (image,) = axis.images
    values = np.asarray(image.get_array())
    assert values.shape == (12, 3)  # two layers of six
    mine = units[units["model"] == "EVE"]
    assert (values == 0).sum() == (mine["place"] == "inside").sum()
    assert (values < 0).sum() == (mine["place"] == "below").sum()
    assert (values > 0).sum() == (mine["place"] == "above").sum()


def test_the_ranking_is_in_order_and_coloured_by_place(frames):
    figure, axes = unit_ranking(frames[0].units, "EVE", step=8)
    rendered(figure)
    mine = frames[0].units.query("model == 'EVE' and step == 8").sort_values("energy", ascending=False)
    points = axes[0].collections[-1]
    np.testing.assert_allclose(points.get_offsets()[:, 1], mine["energy"])
    from matplotlib.colors import to_rgba

    below = [np.allclose(colour, to_rgba(BELOW)) for colour in points.get_facecolors()]
    above = [np.allclose(colour, to_rgba(ABOVE)) for colour in points.get_facecolors()]
    assert below == (mine["place"] == "below").tolist()
    assert above == (mine["place"] == "above").tolist()
    _, axes = unit_ranking(frames[0].units, "twin")
    assert len(axes) == 1  # a twin has no KL
    with pytest.raises(ValueError, match=r"step=5 has no check; choose from \[4, 8, 12\]"):
        unit_ranking(frames[0].units, "EVE", step=5)


@pytest.mark.parametrize("name", ["EVE", "twin", "AREVE"])
def test_training_dynamics(frames, name):
    figure, axes = training_dynamics(frames[0].summary, name)
    rendered(figure)
    line = axes[0, 0].lines[0]
    mine = frames[0].summary.query("model == @name")
    np.testing.assert_allclose(line.get_xydata(), mine[["step", "train_forecast"]])
    drawn = {text.get_text() for text in axes[0, 1].get_legend().get_texts()} if axes[0, 1].get_legend() else set()
    assert drawn == {"EVE": {"KL", "band"}, "twin": set(), "AREVE": {"KL", "look-back"}}[name]


def test_forecast_plots(frames):
    looked = frames[1]
    for figure, axes in (
        posteriors_plot(looked.posteriors, "EVE"),
        calibration_plot(looked.calibration, "EVE"),
        risk_coverage_plot(looked.risk_coverage, "EVE"),
        risk_coverage_plot(looked.risk_coverage, "twin"),
    ):
        rendered(figure)
        assert len(np.ravel(axes)) >= 2
    _, axes = calibration_plot(looked.calibration, "twin")
    mine = looked.calibration.query("model == 'twin' and kind == 'reliability'")
    np.testing.assert_allclose(axes[0].lines[1].get_xydata(), mine[["level", "share"]])
    assert sum(bar.get_height() * 1 / 20 for bar in axes[1].patches) == pytest.approx(1)


def test_plots_refuse_what_does_not_fit(frames):
    units = frames[0].units
    with pytest.raises(ValueError, match=r"models \['EVE', 'twin', 'AREVE'\]; say which"):
        band_heatmap(units)
    with pytest.raises(ValueError, match="model='x'"):
        band_heatmap(units, "x")
    with pytest.raises(ValueError, match=r"lacks \['step'\]"):
        band_heatmap(frames[1].units, "EVE")
    with pytest.raises(ValueError, match="posteriors is empty"):
        posteriors_plot(pd.DataFrame())
    assert "kl" not in one_model(units, "twin", (), "units")


def test_plots_without_matplotlib_say_what_to_install(frames, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"vdn-forecast\[plots\]"):
        training_dynamics(frames[0].summary, "EVE")


def test_the_command_writes_a_page_that_needs_nothing_else(saved, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", str(saved), "--out", str(tmp_path / "out")]) == 0
    page = tmp_path / "out" / "report.html"
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text()
    sources = re.findall(r'src="([^"]{20})', text)
    assert len(sources) == 20
    assert all(source.startswith("data:image/png") for source in sources)
    assert not re.findall(r'(?:href|src)="(?!data:)', text)
    for name in ("EVE (EVE)", "twin (EVE)", "AREVE (AREVE)", "Does certainty rank errors?"):
        assert name in text
    units = pd.read_csv(tmp_path / "out" / "history-units.csv")
    assert len(units) == 3 * (12 + 6 + 6)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}  # no log folder
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_the_command_looks_at_given_data(nf, tmp_path):
    nf.save(str(tmp_path / "bare"), save_dataset=False)
    PANEL.to_csv(tmp_path / "panel.csv", index=False)
    assert main(["diagnose", str(tmp_path / "bare"), "--out", str(tmp_path / "a")]) == 0
    text = (tmp_path / "a" / "report.html").read_text()
    assert "needs a NeuralForecast that keeps its data" in text  # the history alone, and why
    command = ["diagnose", str(tmp_path / "bare"), "--data", str(tmp_path / "panel.csv"), "--out", str(tmp_path / "b")]
    assert main([*command, "--max-windows", "60"]) == 0
    assert pd.read_csv(tmp_path / "b" / "data-summary.csv")["windows"].tolist() == [60, 60, 60]


def test_what_is_no_saved_model_ends_with_2_and_says_why(saved, tmp_path, capsys):
    def said(*arguments: str) -> str:
        assert main(["diagnose", *arguments, "--out", str(tmp_path / "out")]) == 2
        return capsys.readouterr().err

    assert "is no folder" in said(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "has no configuration.json" in said(str(tmp_path / "empty"))
    for name, change in (("torn", lambda raw: raw[: len(raw) // 2]), ("foreign", lambda raw: b"no safetensors")):
        shutil.copytree(saved, tmp_path / name)
        weights = tmp_path / name / "AREVE_0.safetensors"
        (weights,) = [weights] if weights.exists() else sorted((tmp_path / name).glob("AREVE*.safetensors"))
        weights.write_bytes(change(weights.read_bytes()))
        assert "cannot be loaded" in said(str(tmp_path / name))
    shutil.copytree(saved, tmp_path / "broken")
    (tmp_path / "broken" / "configuration.json").write_text(json.dumps({"x": 1}))
    assert "cannot be loaded" in said(str(tmp_path / "broken"))
    other = NeuralForecast(models=[DLinear(h=12, input_size=24, max_steps=1, enable_progress_bar=False)], freq="ME")
    other.fit(PANEL)
    other.save(str(tmp_path / "dlinear"))
    assert "no model of vdn_forecast" in said(str(tmp_path / "dlinear"))
    assert "is no file" in said(str(saved), "--data", str(tmp_path / "no.csv"))
    (tmp_path / "data.txt").write_text("x")
    assert "give a .csv or a .parquet" in said(str(saved), "--data", str(tmp_path / "data.txt"))
    PANEL.groupby("unique_id").head(20).to_csv(tmp_path / "short.csv", index=False)
    assert "longest series of df has 20 rows" in said(str(saved), "--data", str(tmp_path / "short.csv"))
    assert not (tmp_path / "out").exists()


def test_what_recording_costs_is_measured_in_pairs(tmp_path, monkeypatch):
    out = tmp_path / "row.csv"
    words = [
        "--models",
        "EVE",
        "--series",
        "1",
        "--rows",
        "1500",
        "--rounds",
        "1",
        "--steps",
        "2",
        "--check-every",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["diagnostics.py", *words, "--out", str(out)])
    speed.main()
    row = pd.read_csv(out).iloc[0]
    assert 0 < row["share_by_clock_median"] < 1
    assert row["times_without_median"] > 0
    assert "--check-every 2" in row["command"]
    assert row["versions"]


@pytest.mark.real
def test_the_study_of_units_writes_its_tables_and_resumes(tmp_path, monkeypatch, data_dir):
    words = ["--datasets", "ILI", "--seeds", "0", "--origins", "60", "--max-steps", "2", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["units.py", "--lines", "EVE", "EVE, no control", *words])
    study.main()
    risk, units = (pd.read_csv(tmp_path / name) for name in ("risk_coverage.csv", "units.csv"))
    assert len(risk) == 2 * 2 * 2 * 5
    assert risk["windows"].unique() == units["windows"].unique() == [60 * 7]
    held, free = units["out"]
    assert held < free  # balanced after training
    before = [(tmp_path / name).read_bytes() for name in ("risk_coverage.csv", "units.csv")]
    study.main()
    assert [(tmp_path / name).read_bytes() for name in ("risk_coverage.csv", "units.csv")] == before


@pytest.mark.real
def test_the_regime_map_has_a_row_per_cell_resumes_and_draws(tmp_path, monkeypatch, data_dir):
    words = ["--datasets", "ILI", "--regimes", "balance", "off", "--kl-weights", ".001", "--bands", ".3", "1"]
    words += ["--max-steps", "2", "--max-windows", "64", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["regimes.py", *words])
    regimes.main()
    table = pd.read_csv(tmp_path / "regimes.csv")
    assert list(table["control"]) == ["balance", "balance", "off"]
    assert list(table["band_target"]) == [0.3, 1.0, 1.0]
    assert table["crps19"].to_numpy() == pytest.approx(table["crps19"][0], rel=1e-6)  # two steps: before the warm-up
    assert (table["out"][:2] < table["out"][2]).all()
    before = (tmp_path / "regimes.csv").read_bytes()
    regimes.main()
    assert (tmp_path / "regimes.csv").read_bytes() == before
    monkeypatch.setattr(sys, "argv", ["regimes.py", *words, "--plot"])
    regimes.main()
    assert (tmp_path / "regimes-ILI.png").stat().st_size > 10_000
