"""Real workers: processes, and actors of a local Ray cluster."""

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vdn_forecast.evaluation.panels import SyntheticPanel
from vdn_forecast.evaluation.runner import Execution, Runner
from vdn_forecast.evaluation.suites import Line, Suite

pytestmark = pytest.mark.slow

NAIVE = Line("Naive", "Naive")
DLINEAR = Line("DLinear", "DLinear", {"max_steps": 3, "val_check_steps": 3})
ENDLESS = Line("endless", "DLinear", {"max_steps": 10**6, "val_check_steps": 10**6})
BROKEN = Line("broken", "DLinear", {"max_steps": 3, "learning_rate": 1e38})


def suite(*chosen: Line, seeds: tuple[int, ...] = (1, 2)) -> Suite:
    panels = {"small": SyntheticPanel(2, 300)}
    return Suite("s", "ltsf", ("small",), {"small": [6, 12]}, seeds, chosen, 24, panels)


def figures(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_index("cell").sort_index()[["mse", "mae", "crps19", "val_crps19", "dataset_fingerprint"]]


def kinds(runner: Runner) -> list[tuple[str, int, str]]:
    rows = runner.failed.read()
    return sorted(zip(rows["model"], rows["h"], rows["kind"], strict=True))


@pytest.mark.parametrize("more", [{"workers": 2}, {"workers": 1, "executor": "ray"}], ids=["processes", "ray"])
def test_workers_give_the_rows_and_failures_of_one_process(tmp_path: Path, more: dict[str, Any]) -> None:
    if "executor" in more:
        pytest.importorskip("ray")
    chosen = suite(BROKEN, DLINEAR, NAIVE)
    here = Runner(chosen, tmp_path / "here", None, "test")
    there = Runner(chosen, tmp_path / "there", None, "test", Execution(**more))
    expected = figures(here.run())
    assert len(expected) == 6
    pd.testing.assert_frame_equal(figures(there.run()), expected, check_exact=True)
    files = [sorted(path.stem for path in (tmp_path / name / "steps").iterdir()) for name in ("here", "there")]
    assert files[0] == files[1] == sorted(expected.index)
    assert kinds(there) == kinds(here) == [("broken", 6, "error")] * 2 + [("broken", 12, "error")] * 2


def test_a_cluster_that_runs_already_is_joined_by_its_address(tmp_path: Path) -> None:
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        chosen = suite(DLINEAR, NAIVE, seeds=(1,))
        expected = figures(Runner(chosen, tmp_path / "here", None, "test").run())
        execution = Execution(workers=1, executor="ray", address=cluster.address)
        there = Runner(chosen, tmp_path / "there", None, "test", execution)
        pd.testing.assert_frame_equal(figures(there.run()), expected, check_exact=True)
        assert len(cluster.list_all_nodes()) == 1  # it was joined, and it goes on
    finally:
        cluster.shutdown()


@pytest.mark.parametrize("more", [{"workers": 1}, {"workers": 1, "executor": "ray"}], ids=["processes", "ray"])
def test_a_worker_out_of_time_is_killed_and_the_others_go_on(tmp_path: Path, more: dict[str, Any]) -> None:
    if "executor" in more:
        pytest.importorskip("ray")
    runner = Runner(suite(ENDLESS, NAIVE, seeds=(1,)), tmp_path, None, "test", Execution(max_time=2, **more))
    assert list(runner.run()["model"]) == ["Naive", "Naive"]
    assert kinds(runner) == [("endless", 6, "time limit"), ("endless", 12, "time limit")]
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_noticed_and_its_cell_runs_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = Runner(suite(DLINEAR, NAIVE), tmp_path, None, "test", Execution(workers=1))
    killed: list[int] = []

    def kill_after_the_first_row() -> None:
        until = time.monotonic() + 120
        while runner.results.read().empty and time.monotonic() < until:
            time.sleep(0.005)
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
            killed.append(child.pid or 0)

    thread = threading.Thread(target=kill_after_the_first_row)
    thread.start()
    rows = runner.run()
    thread.join()
    assert len(killed) == 1
    assert runner.failures == 0
    assert len(rows) == len(set(rows["cell"])) == 6
    assert "died (signal 9), runs once more" in capsys.readouterr().err
