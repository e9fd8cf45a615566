from pathlib import Path
from typing import Any

import pytest

from vdn_forecast.evaluation.runner import Runner
from vdn_forecast.evaluation.suites import Line, Suite

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
