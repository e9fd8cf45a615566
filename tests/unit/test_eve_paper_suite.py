"""The suite file, its rows, and a run that is stopped and goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.eve_paper import suite as suite_module
from benchmarks.eve_paper.__main__ import main
from benchmarks.eve_paper.panels import Panel
from benchmarks.eve_paper.report import write_report
from benchmarks.eve_paper.settings import Settings
from benchmarks.eve_paper.suite import SCHEMA, PaperRunner, PaperSuite, read_paper_suite
from vdn_forecast.evaluation.protocols import eve_paper
from vdn_forecast.evaluation.suite_file import read_suite

FILE = Path(__file__).parents[2] / "configs" / "benchmarks" / "eve-paper.yaml"
TINY = replace(eve_paper(), input_size=6, h=2, ar_stride=1, sizes=(10, 5, 5), batch_size=8, epochs=2)
SMALL = Settings(hidden_size=4, n_units=5, warmup=2, ramp=2)
SUITE = PaperSuite("tiny", ("Exchange", "Weather"), ("paper-homeo", "paper-off", "paper-projection"), (0, 1), SMALL)


@pytest.fixture(autouse=True)
def tiny_panels(monkeypatch):
    """Two made-up datasets under the paper's names; ECL is not at hand."""

    def load(name, directory):
        if name == "ECL":
            raise FileNotFoundError("ECL is missing")
        rng = np.random.default_rng(len(name))
        return Panel(name, rng.normal(size=(2, 80)).astype(np.float32), ("a", "b"), "made up")

    monkeypatch.setattr(suite_module, "load_panel", load)


def runner(folder, suite=SUITE):
    return PaperRunner(suite, folder, command="test", protocol=TINY)


def figures(table):
    return table.drop(columns=["seconds"]).sort_values("cell", ignore_index=True)


def test_the_committed_suite_is_the_papers():
    found = read_paper_suite(FILE)
    assert set(found.datasets) == {"ECL", "TrafficL", "Exchange", "Weather"}
    assert found.regimes == ("paper-homeo", "paper-off", "paper-projection")
    assert found.seeds == (0, 1, 2, 3, 4)


def test_the_rounding_suite_differs_by_a_rounding_error_only():
    found = read_paper_suite(FILE.with_name("eve-paper-rounding.yaml"))
    assert found.name == "eve-paper-rounding"
    assert replace(found.settings, sigma_init=0.5) == Settings()
    assert abs(np.log(np.float32(found.settings.sigma_init)) - np.log(np.float32(0.5))) < 3e-7


def test_the_general_runner_says_where_this_suite_runs():
    with pytest.raises(ValueError, match=r"python -m benchmarks\.eve_paper run"):
        read_suite(FILE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [1]}, r"unknown keys \['seed'\]"),
        ({"seeds": None}, r"missing keys \['seeds'\]"),
        ({"protocol": "ltsf"}, "protocol='ltsf'"),
        ({"datasets": ["ETTh1"]}, "datasets: 'ETTh1' is not known"),
        ({"datasets": "ECL"}, "datasets='ECL' is not allowed; give a list"),
        ({"datasets": []}, "datasets is empty"),
        ({"regimes": ["homeo"]}, "regimes: 'homeo' is not known"),
        ({"seeds": [0, 0]}, "one of them repeats"),
        ({"seeds": [True]}, "seeds="),
        ({"seeds": [-1]}, "seeds="),
        ({"name": ""}, "name=''"),
        ({"settings": {"sigma": 0.5}}, "settings: 'sigma' is not known"),
        ({"settings": {"n_units": 8.0}}, "settings: n_units=8.0 is not allowed; give a number > 0 of type int"),
        ({"settings": {"kl_weight": -1.0}}, "settings: kl_weight=-1.0"),
        ({"settings": [1]}, "settings=.1. is not allowed; give a mapping"),
    ],
)
def test_a_wrong_suite_file_is_refused(tmp_path, change, message):
    content = {**yaml.safe_load(FILE.read_text()), **change}
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    with pytest.raises(ValueError, match=message):
        read_paper_suite(path)


def test_a_suite_file_must_be_a_mapping(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="must hold a mapping"):
        read_paper_suite(path)


def test_a_stopped_run_goes_on_to_the_same_table(tmp_path, monkeypatch):
    whole = runner(tmp_path / "whole").run()
    assert list(whole.columns) == list(SCHEMA.columns)
    assert len(whole) == 12
    assert whole.notna().all(axis=None)
    assert set(zip(whole["regime"], whole["variant"], strict=True)) == {
        *(("paper-homeo", "homeo"), ("paper-off", "projOFF"), ("paper-projection", "projON")),
    }
    np.testing.assert_allclose(whole["test_frac_too_low"] + whole["test_frac_too_high"], whole["test_out"], atol=1e-7)

    real, calls = suite_module.train, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(suite_module, "train", stopping)
    with pytest.raises(KeyboardInterrupt):
        runner(tmp_path / "part").run()
    path = tmp_path / "part" / "tiny.csv"
    path.write_bytes(path.read_bytes() + b"0123456789ab,name=eve")  # killed in the middle of a row
    rest = runner(tmp_path / "part").run()
    assert len(calls) == 4 + 1 + 8
    pd.testing.assert_frame_equal(figures(rest), figures(whole))
    runner(tmp_path / "part").run()
    assert len(calls) == 13


def test_other_settings_are_other_cells(tmp_path):
    first = runner(tmp_path)
    names = {first.identity(d, r, s) for d in SUITE.datasets for r in SUITE.regimes for s in SUITE.seeds}
    other = PaperRunner(replace(SUITE, settings=replace(SMALL, kl_weight=2e-3)), tmp_path, protocol=TINY)
    names |= {
        other.identity("Exchange", "paper-off", 0),
        PaperRunner(SUITE, tmp_path).identity("Exchange", "paper-off", 0),
    }
    assert len(names) == 14
    text = other.protocol_text.removeprefix(TINY.identity)
    assert text == ";hidden_size=4;n_units=5;kl_weight=0.002;warmup=2;ramp=2"
    assert PaperRunner(replace(SUITE, settings=Settings()), tmp_path).protocol_text == eve_paper().identity


def test_data_that_is_not_at_hand_and_cells_that_fail_do_not_stop_the_rest(tmp_path, monkeypatch, capsys):
    real = suite_module.train

    def failing(values, protocol, regime, settings, seed, after_epoch):
        if regime.name == "paper-off":
            raise FloatingPointError("no epoch is finite")
        return real(values, protocol, regime, settings, seed, after_epoch)

    monkeypatch.setattr(suite_module, "train", failing)
    started = runner(tmp_path, replace(SUITE, datasets=("ECL", "Exchange")))
    table = started.run()
    assert sorted(zip(table["group"], table["regime"], table["seed"], strict=True)) == [
        ("Exchange", regime, seed) for regime in ("paper-homeo", "paper-projection") for seed in (0, 1)
    ]
    assert started.failures == 6 + 2
    said = capsys.readouterr().err
    assert said.count("ECL is missing") == 6
    assert "no epoch is finite" in said


def test_only_must_name_datasets_of_the_suite(tmp_path):
    with pytest.raises(ValueError, match="'ECL' is not in the suite"):
        runner(tmp_path).run(["ECL"])
    assert set(runner(tmp_path).run(["Weather"])["group"]) == {"Weather"}


def test_report_writes_tables_and_figures(tmp_path):
    runner(tmp_path).run()
    path = write_report(tmp_path / "tiny.csv", tmp_path / "report")
    text = path.read_text()
    for variant in ("homeo", "projOFF", "projON"):
        assert text.count(f"| {variant} | ours | ") == text.count(f"| {variant} | author's | ") == 2
    for name in ("aggregate.csv", "paired.csv", "correlations.csv", "figure4.png", "figure5.png", "figure5-author.png"):
        assert (path.parent / name).stat().st_size > 0
    assert len(pd.read_csv(path.parent / "aggregate.csv")) == 6
    assert set(pd.read_csv(path.parent / "correlations.csv")["source"]) == {"ours", "author"}


def test_report_of_a_suite_that_has_begun(tmp_path):
    """One run of a cell has no deviation and no correlation; the tables come all the same."""
    runner(tmp_path, replace(SUITE, seeds=(0,), regimes=("paper-off",))).run()
    path = write_report(tmp_path / "tiny.csv", tmp_path / "report")
    assert not (path.parent / "figure5.png").exists()
    assert "nan" not in path.read_text()


def test_report_refuses_what_is_no_result(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        write_report(tmp_path / "none.csv", tmp_path)
    runner(tmp_path, replace(SUITE, datasets=("Weather",), seeds=(0,))).run()
    path = tmp_path / "tiny.csv"
    table = pd.read_csv(path)
    table.iloc[:0].to_csv(tmp_path / "empty.csv", index=False)
    with pytest.raises(ValueError, match="holds no rows"):
        write_report(tmp_path / "empty.csv", tmp_path)
    table.loc[0, "protocol"] = "another"
    table.to_csv(tmp_path / "mixed.csv", index=False)
    with pytest.raises(ValueError, match="several protocols"):
        write_report(tmp_path / "mixed.csv", tmp_path)


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(suite_module, "eve_paper", lambda: TINY)
    path = tmp_path / "suite.yaml"
    content = {**yaml.safe_load(FILE.read_text()), "datasets": ["ECL", "Weather"], "seeds": [0, 1]}
    content["settings"] = {"hidden_size": 4, "n_units": 5, "warmup": 2, "ramp": 2}
    path.write_text(yaml.safe_dump(content))
    out = str(tmp_path / "out")
    assert main(["run", str(path), "--out", out, "--only", "Weather", "--threads", "1"]) == 0
    assert main(["run", str(path), "--out", out]) == 1  # ECL is not at hand
    capsys.readouterr()
    assert main(["report", str(Path(out) / "eve-paper.csv"), "--out", out]) == 0
    assert capsys.readouterr().out.strip() == str(Path(out) / "tables.md")
    rows = pd.read_csv(Path(out) / "eve-paper.csv")
    assert (rows["command"] == f"python -m benchmarks.eve_paper run {path}").all()
