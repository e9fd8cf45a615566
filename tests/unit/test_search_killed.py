"""A search killed at random moments ends as an undisturbed one: same trials, same winner."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from killed_runs import all_gone
from search_panel import another_process, auto, searched, study_in, wait_for_trials

from vdn_forecast import AutoEVE
from vdn_forecast.search.command import run_search
from vdn_forecast.search.storage import is_finished, is_lost

TOTAL, STEPS = 6, 40


def small(**kwargs) -> AutoEVE:
    return auto({"max_steps": STEPS}, seed=7, **kwargs)


def figures(found: AutoEVE) -> list[tuple]:
    trials = [trial for trial in found.results.trials if not is_lost(trial)]
    return [(trial.params, trial.values, trial.intermediate_values, trial.state) for trial in trials]


@pytest.fixture(scope="module")
def undisturbed() -> AutoEVE:
    return searched(small(num_samples=TOTAL))


def kill_in_the_middle(path: Path, finished: int, chance: random.Random) -> dict[int, tuple]:
    """Kill -9 the search some moment in a trial after so many others; returns the trials that were finished.

    Within a trial: between two of them a kill may hit the few milliseconds in which a trial is nobody's.
    """
    with another_process(path, 10_000, STEPS) as process:
        wait_for_trials(path, finished, process)
        before = len(study_in(path).trials)
        wait_for_trials(path, before, process)
        while not any(trial.user_attrs.get("worker") for trial in study_in(path).trials[before:]):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    return {t.number: (t.params, t.values) for t in study_in(path).trials if t.state.is_finished() and not is_lost(t)}


@pytest.mark.parametrize("name", ["s.db", pytest.param("s.journal", marks=pytest.mark.slow)])
def test_a_killed_search_is_resumed(undisturbed, tmp_path, name):
    path = tmp_path / name
    kept = kill_in_the_middle(path, 2, random.Random(0))
    assert 2 <= len(kept) < TOTAL
    found = searched(small(num_samples=TOTAL, storage=path, study_name="s"))
    after = {t.number: (t.params, t.values) for t in found.results.trials}
    assert all(after[number] == trial for number, trial in kept.items())
    assert figures(found) == figures(undisturbed)
    assert found.best_trial.values == undisturbed.best_trial.values
    assert float(found.model.best_value) == float(undisturbed.model.best_value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_three_kills_change_nothing(undisturbed, tmp_path, seed):
    path, chance = tmp_path / "s.db", random.Random(seed)
    kept: dict[int, tuple] = {}
    for number in (1, 2, 4):
        now = kill_in_the_middle(path, number, chance)
        assert all(now[each] == trial for each, trial in kept.items())
        kept = now
    found = searched(small(num_samples=TOTAL, storage=path, study_name="s"))
    assert figures(found)[:TOTAL] == figures(undisturbed)


@pytest.mark.slow
def test_a_killed_command_takes_its_workers_along(tmp_path):
    """`vdn-forecast search`, two workers, killed from outside; then resumed to its total."""
    space = {**{"n_units": 8, "hidden_size": 8, "head_size": 8, "depth": 1}, "max_steps": STEPS, "val_check_steps": 4}
    content = {"name": "s", "protocol": "embedded", "datasets": {"AirPassengers": 12}, "model": "EVE", "space": space}
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump({**content, "trials": TOTAL, "constraints": {}}))
    command = [sys.executable, "-m", "vdn_forecast_cli", "search", "run", str(file), "--out", str(tmp_path)]
    with subprocess.Popen([*command, "--workers", "2"], stderr=subprocess.DEVNULL, start_new_session=True) as process:
        storage = tmp_path / "search-s" / "study.db"
        while not storage.exists():
            assert process.poll() is None
            time.sleep(0.1)
        wait_for_trials(storage, 1, process)
        process.kill()
    assert all_gone(process.pid)
    kept = {t.number: (t.params, t.values) for t in study_in(storage).trials if is_finished(t)}
    run_search(file, tmp_path, resume=True)
    after = [t for t in study_in(storage).trials if is_finished(t)]
    assert len(after) == TOTAL
    now = {t.number: (t.params, t.values) for t in after}
    assert all(now[number] == trial for number, trial in kept.items())
