"""`vdn-forecast search`: files, run, resume, workers, report, and the suite that comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from search_panel import study_in

from vdn_forecast.evaluation.model_configs import CONFIG_DIR_VARIABLE
from vdn_forecast.evaluation.suite_file import read_suite
from vdn_forecast.search.command import report_search, run_search
from vdn_forecast.search.search_file import NEEDED, OF_SUITE, OWN, RANGE, read_search
from vdn_forecast.search.storage import is_finished
from vdn_forecast_cli import main

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "configs" / "search").glob("*.yaml"))
SMALL: dict[str, Any] = {
    **{"n_units": 8, "hidden_size": 8, "head_size": 8, "latent_dim": 1, "depth": 1},
    **{"max_steps": 8, "val_check_steps": 4, "windows_batch_size": 16, "control": ["off", "batchnorm"]},
    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
}
FILE: dict[str, Any] = {
    **{"name": "s", "protocol": "embedded", "datasets": {"AirPassengers": 12}, "model": "EVE"},
    **{"trials": 4, "pruner": "none", "constraints": {}, "space": SMALL},
}


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a search file with changed keys; None leaves one out."""

    def write(**changes: Any) -> Path:
        content = {name: value for name, value in {**FILE, **changes}.items() if value is not None}
        path = tmp_path / "s.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_committed_searches_are_valid(path: Path) -> None:
    plan = read_search(path)
    assert plan.suite.name == path.stem
    assert {"kl_weight", "band_target", "band_width"} <= set(plan.space.dimensions)


def test_the_documented_search_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "search.md").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    plan = read_search(path)
    assert isinstance(plan.space.dimensions["kl_weight"].distribution, FloatDistribution)
    assert isinstance(plan.space.dimensions["n_units"].distribution, CategoricalDistribution)
    assert all(f"{key}:" in page for key in (*OF_SUITE, *OWN, *RANGE))


def test_run_report_and_resume(file: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    path, out = file(), tmp_path / "out"
    assert main(["search", "run", str(path), "--out", str(out), "--trials", "2"]) == 0
    best = out / "search-s" / "best.yaml"
    assert capsys.readouterr().out == f"{best}\n"
    rows = pd.read_csv(out / "search-s" / "trials.csv")
    assert list(rows.number) == [0, 1]
    assert main(["search", "run", str(path), "--out", str(out)]) == 2
    assert "search resume" in capsys.readouterr().err
    assert main(["search", "resume", str(path), "--out", str(out)]) == 0
    after = pd.read_csv(out / "search-s" / "trials.csv")
    assert len(after) == 4
    pd.testing.assert_frame_equal(after.head(2)[list(rows)], rows, check_dtype=False)
    capsys.readouterr()

    suite = read_suite(best)
    default, found = suite.lines
    assert default.arguments == {}
    winner = after.loc[after.crps19.idxmin()]
    assert found.arguments["learning_rate"] == winner["param.learning_rate"]
    assert found.arguments["control"] == winner["param.control"]
    assert found.arguments["max_steps"] == 8
    assert not {"h", "input_size", "random_seed", "logger", "devices"} & set(found.arguments)

    assert main(["search", "report", str(path), "--out", str(out)]) == 0
    html = (out / "search-s" / "report" / "report.html").read_text()
    assert capsys.readouterr().out == f"{out / 'search-s' / 'report' / 'report.html'}\n"
    assert f"trial {int(winner.number)}" in html
    assert "4 finished trials" in html
    pictures = {path.stem for path in (out / "search-s" / "report").glob("*.png")}
    assert {
        "history-crps19",
        "slice-kl-crps19",
        "slice-band-crps19",
        "importance-crps19",
        "checks",
        "bands",
    } <= pictures


def test_the_benchmark_runs_what_was_found_and_trains_the_same_model(
    file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = {name: SMALL[name] for name in ("control", "learning_rate")}
    usual = {name: value for name, value in SMALL.items() if name not in searched}
    (tmp_path / "EVE.yaml").write_text(yaml.safe_dump({"model": "EVE", "source": "a test", "arguments": usual}))
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    found = run_search(file(trials=2, space=searched), tmp_path)
    content = yaml.safe_load(found.read_text())
    assert not set(usual) & set(content["models"]["EVE-found"]["arguments"])
    assert main(["benchmark", "run", str(found), "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(tmp_path / "s-best.csv").set_index("model")
    assert list(rows.index) == ["EVE", "EVE-found"]
    trials = pd.read_csv(tmp_path / "search-s" / "trials.csv")
    # AirPassengers has so few validation windows that search and benchmark score the same ones
    assert rows.val_crps19["EVE-found"] == pytest.approx(trials.crps19.min(), rel=1e-4)
    assert rows.val_crps19["EVE"] == pytest.approx(trials.crps19[0], rel=1e-4)
    assert content["seeds"] == [1]


def test_two_objectives_and_two_workers(file: Callable[..., Path], tmp_path: Path) -> None:
    """Two processes, one storage: all trials, none doubled; the front is reported."""
    run_search(file(objective=["crps19", "out"], constraints={"out": 1.0}, trials=4), tmp_path, workers=2)
    study = study_in(tmp_path / "search-s" / "study.db")
    finished = [trial for trial in study.trials if is_finished(trial)]
    assert len(finished) == len(pd.read_csv(tmp_path / "search-s" / "trials.csv")) == 4
    assert len({trial.user_attrs["worker"] for trial in finished}) in (1, 2)  # one may be slow to start
    assert len({str(trial.params) for trial in finished}) == 4
    page = report_search(tmp_path / "s.yaml", tmp_path).read_text()
    assert "Pareto front" in page
    assert (tmp_path / "search-s" / "report" / "front.png").exists()


def test_a_search_without_a_winner_says_so_and_keeps_its_trials(file: Callable[..., Path], tmp_path: Path, capsys: Any):
    space = {**SMALL, "control": "off", "band_target": 50.0}
    path = file(space=space, constraints={"out": 0.1}, trials=2)
    assert main(["search", "run", str(path), "--out", str(tmp_path)]) == 1
    assert "the closest is trial" in capsys.readouterr().err
    rows = pd.read_csv(tmp_path / "search-s" / "trials.csv")
    assert list(rows.feasible) == [False, False]
    assert not (tmp_path / "search-s" / "best.yaml").exists()
    page = report_search(path, tmp_path).read_text()
    assert "0 of 2 complete trials are feasible" in page
    assert "the closest is trial" in page


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"modle": "EVE"}, "modle"),
        ({"model": None}, "missing keys ['model']"),
        ({"model": "NHITS"}, "model='NHITS' cannot be searched"),
        ({"model": "EVA"}, "model='EVA' is not known"),
        ({"datasets": {"AirPassengers": [12, 24]}}, "one dataset and one horizon"),
        ({"datasets": {"AirPassenger": 12}}, "AirPassenger"),
        ({"protocol": "ltfs"}, "ltfs"),
        ({"trials": 0}, "num_samples=0"),
        ({"seed": -1}, "seed=-1"),
        ({"seeds": []}, "seeds=[]"),
        ({"objective": "mse"}, "objective='mse'"),
        ({"objective": ["crps19", "out"], "pruner": "median"}, "two objectives"),
        ({"constraints": {"dead": 0}}, "dead"),
        ({"constraints": 3}, "constraints=3"),
        ({"pruner": "medain"}, "medain"),
        ({"pruner": 3}, "pruner=3"),
        ({"sampler": "grid"}, "sampler='grid'"),
        ({"time_budget": -1}, "time_budget=-1"),
        ({"storage": "s.csv"}, "s.csv"),
        ({"space": {"kl_wieght": 0.1}}, "kl_wieght"),
        ({"space": {"kl_wieght": {"low": 0.1, "high": 1.0}}}, "kl_wieght"),
        ({"space": {"kl_weight": {"low": 1.0, "high": 0.1}}}, "low=1.0, high=0.1"),
        ({"space": {"kl_weight": {"low": 0.0, "high": 0.1, "log": True}}}, "low"),
        ({"space": {"kl_weight": {"low": 0.1}}}, "missing keys ['high']"),
        ({"space": {"kl_weight": {"low": "a", "high": 1}}}, "low='a'"),
        ({"space": {"kl_weight": []}}, "kl_weight=[]"),
        ({"space": {"n_units": -3}}, "n_units=-3"),
        ({"space": {"input_size": 3}}, "input_size"),
        ({"space": {"random_seed": 3}}, "random_seed"),
        ({"space": [1]}, "space"),
        ({"datasets": {"AirPassengers": 100}}, "h=100"),
        ({"input_size": 90}, "96 rows"),
    ],
    ids=str,
)
def test_bad_files_are_refused_before_anything_is_written(
    file: Callable[..., Path], tmp_path: Path, capsys: Any, changes: dict[str, Any], match: str
) -> None:
    path, out = file(**changes), tmp_path / "out"
    assert main(["search", "run", str(path), "--out", str(out)]) == 2
    assert match in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["report"], "no search has begun"),
        (["resume"], "no search has begun"),
        (["run", "--workers", "-1"], "workers=-1"),
        (["run", "--trials", "0"], "trials=0"),
    ],
    ids=str,
)
def test_bad_words_are_refused(file: Callable[..., Path], tmp_path: Path, capsys: Any, words: list[str], match: str):
    action, *options = words
    assert main(["search", action, str(file()), "--out", str(tmp_path / "out"), *options]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_storage_with_another_space_is_refused(file: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    run_search(file(trials=1), tmp_path)
    path = file(space={**SMALL, "n_units": 16})
    assert main(["search", "resume", str(path), "--out", str(tmp_path)]) == 2
    assert "space.n_units" in capsys.readouterr().err


def test_needed_keys_are_known() -> None:
    assert set(NEEDED) <= {*OF_SUITE, *OWN}
    with pytest.raises(FileNotFoundError):
        read_search("nowhere.yaml")


def test_whole_numbers_make_whole_ranges(file: Callable[..., Path]) -> None:
    space = {**SMALL, "head_size": {"low": 4, "high": 12, "step": 4}, "dropout": {"low": 0, "high": 0.5}}
    dimensions = read_search(file(space=space)).space.dimensions
    assert dimensions["head_size"].distribution == IntDistribution(4, 12, step=4)
    assert dimensions["dropout"].distribution == FloatDistribution(0.0, 0.5)
