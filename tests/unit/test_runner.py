import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from vdn_forecast.evaluation import attempt
from vdn_forecast.evaluation.panels import UserPanel
from vdn_forecast.evaluation.runner import Execution, Runner
from vdn_forecast.evaluation.suites import Line, Suite
from vdn_forecast_cli import main

TINY = {"n_units": 8, "hidden_size": 8, "head_size": 8, "max_steps": 3, "val_check_steps": 3}


def suite(*lines: Line, seeds: tuple[int, ...] = (1, 2)) -> Suite:
    return Suite("s", "embedded", ("AirPassengers",), {"AirPassengers": 12}, seeds, lines)


def run(folder: Path, chosen: Suite) -> Runner:
    runner = Runner(chosen, folder, None, "test")
    runner.run()
    return runner


SEARCHED = Line("EVE", "EVE", TINY, search={"dropout": [0.0, 0.5]})


def test_validation_chooses_and_every_seed_gets_a_test_row(tmp_path: Path) -> None:
    runner = run(tmp_path, suite(SEARCHED, Line("SeasonalNaive", "SeasonalNaive")))
    trials, rows = runner.trials.read(), runner.results.read()
    assert len(trials) == 2
    assert trials["mse"].isna().all()  # a trial never looks at the test split
    best = trials.loc[trials["val_crps19"].idxmin(), "arguments"]
    assert set(rows.loc[rows["model"] == "EVE", "arguments"]) == {best}
    assert list(rows["seed"]) == [1, 2, 1]
    assert rows["crps19"].notna().all()


def test_a_second_run_adds_nothing_and_a_lost_row_comes_back_the_same(tmp_path: Path) -> None:
    chosen = suite(SEARCHED)
    runner = run(tmp_path, chosen)
    whole = runner.results.path.read_text().splitlines()
    run(tmp_path, chosen)
    assert runner.results.path.read_text().splitlines() == whole
    runner.results.path.write_text("\n".join([*whole[:-1], whole[-1][:25]]))  # killed while it wrote
    again = run(tmp_path, chosen).results.read()
    scores = ["cell", "mse", "mae", "crps19", "val_crps19"]
    lost = dict(zip(whole[0].split(","), whole[-1].split(","), strict=False))
    assert again["cell"].iloc[-1] == lost["cell"]
    assert len(again) == 2
    fresh = run(tmp_path / "undisturbed", chosen).results.read()
    assert again[scores].equals(fresh[scores])


def test_a_failing_cell_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    broken = Line("broken", "EVE", {**TINY, "dropout": 2.0})
    runner = run(tmp_path, suite(broken, Line("SeasonalNaive", "SeasonalNaive")))
    assert runner.failures == 2
    assert list(runner.results.read()["model"]) == ["SeasonalNaive"]


def test_a_line_with_a_failed_trial_reads_no_test_data(tmp_path: Path) -> None:
    half = Line("half", "EVE", TINY, search={"dropout": [0.0, 2.0]})
    runner = run(tmp_path, suite(half))
    assert runner.failures == 1
    assert len(runner.trials.read()) == 1
    assert runner.results.read().empty


def test_another_default_is_another_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    from vdn_forecast.evaluation import models

    chosen = suite(Line("EVE", "EVE", TINY))
    before = chosen.cell(chosen.lines[0], "AirPassengers", 1, {}).identity
    builder = models.BUILDERS["EVE"]

    def changed(h: int, input_size: int, **arguments: Any) -> Any:
        return builder(h, input_size, **{"skip": False, **arguments})

    monkeypatch.setitem(models.BUILDERS, "EVE", changed)
    assert chosen.cell(chosen.lines[0], "AirPassengers", 1, {}).identity != before


NAIVE = Line("SeasonalNaive", "SeasonalNaive")
NAN = Line("diverges", "DLinear", {"max_steps": 1, "learning_rate": 1e36, "best_weights": False})


def failures(runner: Runner) -> list[tuple[str, str, str]]:
    rows = runner.failed.read()
    return list(zip(rows["model"], rows["split"], rows["kind"], strict=True))


def test_a_failed_cell_is_written_down_skipped_and_tried_again_on_request(tmp_path: Path) -> None:
    chosen = suite(NAN, NAIVE, seeds=(1,))
    runner = run(tmp_path, chosen)
    assert runner.failures == 1
    assert failures(runner) == [("diverges", "test", "error")]
    [error] = runner.failed.read()["error"]
    assert "not finite" in error
    assert "scores.py" in runner.failed.read()["where"].iloc[0]
    again = run(tmp_path, chosen)
    assert again.failures == 1  # the exit status still tells
    assert len(failures(again)) == 1
    third = Runner(chosen, tmp_path, None, "test", Execution(retry_failed=True))
    third.run()
    assert len(failures(third)) == 2
    assert list(third.results.read()["model"]) == ["SeasonalNaive"]


def test_a_failed_trial_is_skipped_too_and_its_line_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = suite(SEARCHED, seeds=(1,))
    built = attempt.run_cell

    def fails_once(cell: Any, *arguments: Any, **more: Any) -> Any:
        if cell.arguments["dropout"] == 0.5:
            raise RuntimeError("out of\nmemory")
        return built(cell, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "run_cell", fails_once)
        runner = run(tmp_path, chosen)
    assert failures(runner) == [("EVE", "trial", "error")]
    assert runner.failed.read()["error"].iloc[0] == "RuntimeError: out of | memory"
    assert runner.results.read().empty
    assert run(tmp_path, chosen).results.read().empty
    assert "1 cells failed in an earlier run" in capsys.readouterr().err
    fixed = Runner(chosen, tmp_path, None, "test", Execution(retry_failed=True))
    assert len(fixed.run()) == 1
    assert fixed.failures == 0


def test_a_cell_over_its_time_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    endless = Line("endless", "DLinear", {"max_steps": 10**6, "val_check_steps": 10**6})
    chosen = suite(endless, NAIVE, seeds=(1,))
    runner = Runner(chosen, tmp_path, None, "test", Execution(max_time=1.5))
    assert list(runner.run()["model"]) == ["SeasonalNaive"]
    assert failures(runner) == [("endless", "test", "time limit")]
    row = runner.failed.read().iloc[0]
    assert row["error"] == "took more than max_time=1.5 seconds"
    assert 1.5 <= row["seconds"] < 15
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_horizon_longer_than_the_test_split_is_a_failed_cell(tmp_path: Path) -> None:
    chosen = Suite("s", "embedded", ("AirPassengers",), {"AirPassengers": [12, 48]}, (1,), (NAIVE,))
    runner = run(tmp_path, chosen)
    assert list(runner.results.read()["h"]) == [12]
    assert "h=48 is not allowed; the split has 24 rows" in runner.failed.read()["error"].iloc[0]


def own_panel(folder: Path, change: float = 0.0, season: int = 7) -> Suite:
    values = np.random.default_rng(0).normal(size=(80, 2))
    values[60, 1] += change
    path = folder / "mine.csv"
    stamps = pd.date_range("2024-01-01", periods=80, freq="D")
    pd.DataFrame(values, columns=["a", "b"]).assign(date=stamps).to_csv(path, index=False)
    panels = {"mine": UserPanel(path, (40, 20, 20), "D", season)}
    horizon = {"mine": 3, "AirPassengers": 12}
    return Suite("s", "embedded", ("mine", "AirPassengers"), horizon, (1,), (NAIVE,), 10, panels)


@pytest.mark.parametrize("changed", [{"change": 0.5}, {"season": 5}])
def test_rows_of_other_data_are_refused_and_the_other_datasets_go_on(
    tmp_path: Path, changed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = Runner(own_panel(tmp_path), tmp_path / "out", None, "test")
    assert first.run(["mine"])["dataset_fingerprint"].notna().all()
    runner = Runner(own_panel(tmp_path, **changed), tmp_path / "out", None, "test")
    rows = runner.run()
    assert list(runner.refused) == ["mine"]
    assert list(rows["dataset"]) == ["mine", "AirPassengers"]
    assert "restore the data" in capsys.readouterr().err
    back = Runner(own_panel(tmp_path), tmp_path / "out", None, "test")
    assert len(back.run()) == 2
    assert back.refused == {}


def test_a_dataset_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    chosen = own_panel(tmp_path)
    (tmp_path / "mine.csv").unlink()
    runner = Runner(chosen, tmp_path / "out", None, "test")
    assert list(runner.run()["dataset"]) == ["AirPassengers"]
    assert "mine.csv" in runner.refused["mine"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": -1}, "workers=-1"),
        ({"threads": 0}, "threads=0"),
        ({"executor": "slurm"}, "executor='slurm'"),
        ({"address": "auto"}, "only with ray"),
        ({"max_time": -1.0}, "max_time=-1"),
    ],
)
def test_an_impossible_execution_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Execution(**changes)


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    runner = Runner(suite(NAIVE), tmp_path, None, "test", Execution(executor="ray"))
    with pytest.raises(ImportError, match="pip install"):
        runner.run()


def write(folder: Path, **changes: Any) -> str:
    content = {
        "name": "s",
        "protocol": "embedded",
        "seeds": [1],
        "datasets": {"AirPassengers": 12},
        "models": {"Naive": {"model": "Naive"}, "diverges": {"model": NAN.model, "arguments": dict(NAN.arguments)}},
    }
    path = folder / "s.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}))
    return str(path)


def test_the_exit_status_tells_that_cells_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "run", write(tmp_path), "--out", str(tmp_path / "out")]
    assert main(words) == 1
    assert "AirPassengers h=12 diverges seed 1: failed" in capsys.readouterr().err
    assert main(words) == 1
    assert main([*words, "--retry-failed"]) == 1
    assert len((tmp_path / "out" / "s-failures.csv").read_text().splitlines()) == 3
    write(tmp_path, models={"Naive": {"model": "Naive"}})
    assert main(words) == 0
    assert len((tmp_path / "out" / "s.csv").read_text().splitlines()) == 2


def test_some_lines_alone(tmp_path: Path) -> None:
    words = ["benchmark", "run", write(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*words, "--lines", "Naive"]) == 0
    table = pd.read_csv(tmp_path / "out" / "s.csv")
    assert list(table["model"]) == ["Naive"]
    assert main(words) == 1  # the others are still missing
    assert pd.read_csv(tmp_path / "out" / "s.csv")["cell"].tolist() == table["cell"].tolist()


def test_what_the_user_must_put_right_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["benchmark", "run", write(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*words, "--only", "ETTh9"]) == 2
    assert "dataset='ETTh9' is not in the suite" in capsys.readouterr().err
    assert main([*words, "--lines", "Naiv"]) == 2
    assert "line='Naiv' is not in the suite; it has ['Naive', 'diverges']" in capsys.readouterr().err
    assert main([*words, "--address", "auto"]) == 2
    assert main(["benchmark", "run", write(tmp_path, modles={})]) == 2
    assert "unknown keys ['modles']" in capsys.readouterr().err
    assert main(["benchmark", "run", str(tmp_path / "none.yaml")]) == 2
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "s.csv").write_text("cell,score\na,1\n")
    write(tmp_path)
    assert main(words) == 2
    assert "another schema" in capsys.readouterr().err
    with pytest.raises(ValueError, match="another schema"):
        main(["--traceback", *words])
