"""Storage, resume, several processes, constraints and objectives through `AutoEVE`."""

from pathlib import Path

import numpy as np
import optuna
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.utils import AirPassengersPanel
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from search_panel import PANEL, SMALL, VAL, H, another_process, auto, searched, study_in, wait_for_trials

from vdn_forecast import AutoEVE
from vdn_forecast.search import SearchError, trials_frame
from vdn_forecast.search.storage import is_lost, result_of, worker_id


def figures(study: optuna.Study) -> list[tuple]:
    """Parameters, value and checks of every finished trial, in order."""
    trials = [t for t in study.trials if not is_lost(t)]
    return [(t.params, t.values, t.intermediate_values, t.state) for t in trials]


@pytest.mark.parametrize("name", ["s.db", "s.journal"])
def test_a_study_goes_on_to_the_total_asked_for(tmp_path, name):
    path = tmp_path / name
    whole = searched(auto(num_samples=6)).results
    assert len(searched(auto(num_samples=3, storage=path, study_name="s")).results.trials) == 3
    for _ in range(2):  # the second time nothing is left to do
        found = searched(auto(num_samples=6, storage=str(path), study_name="s"))
        assert figures(found.results) == figures(whole)
    assert found.results.study_name.startswith("s-")
    assert figures(study_in(path)) == figures(whole)


def test_a_named_study_lies_in_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    searched(auto(num_samples=1, study_name="mine"))
    assert len(study_in(Path("runs/mine.db")).trials) == 1


def test_an_open_storage_is_shared_by_copies():
    storage = optuna.storages.InMemoryStorage()
    searched(auto(num_samples=1, storage=storage, study_name="s"))
    assert len(storage.get_all_studies()) == 1


def test_a_lost_trial_is_run_again_and_the_search_ends_as_if_nothing_had_happened(tmp_path):
    """A trial whose process is gone: failed, not counted, and drawn again."""
    whole = searched(auto(num_samples=5)).results
    path = tmp_path / "s.journal"
    first = searched(auto(num_samples=2, storage=path, study_name="s"))
    study = study_in(path)
    lost = study.ask()
    host, _, start = worker_id().split("|")
    lost.set_user_attr("worker", f"{host}|{2**22 + 1}|{start}")
    found = searched(auto(num_samples=5, storage=path, study_name="s"))
    assert found.results.trials[2].state is TrialState.FAIL
    assert is_lost(found.results.trials[2])
    assert figures(found.results) == figures(whole)
    assert figures(first.results) == figures(found.results)  # the same storage


def test_a_trial_of_a_living_process_is_waited_for(tmp_path):
    path = tmp_path / "s.journal"
    searched(auto(num_samples=1, storage=path, study_name="s"))
    trial = study_in(path).ask()
    trial.set_user_attr("worker", worker_id())
    found = searched(auto(num_samples=2, storage=path, study_name="s", time_budget=3))
    assert [t.state for t in found.results.trials] == [TrialState.COMPLETE, TrialState.RUNNING]


def test_another_space_is_refused_by_what_differs(tmp_path):
    path = tmp_path / "s.journal"
    searched(auto(num_samples=1, storage=path, study_name="s"))
    with pytest.raises(ValueError, match=r"another search.*space.n_units"):
        searched(auto({"n_units": 16}, storage=path, study_name="s"))
    with pytest.raises(ValueError, match="constraints"):
        searched(auto(constraints=None, storage=path, study_name="s"))
    with pytest.raises(ValueError, match=r"space\.learning_rate"):
        searched(auto({"learning_rate": FloatDistribution(1e-4, 1)}, storage=path, study_name="s"))
    assert len(study_in(path).trials) == 1


@pytest.mark.parametrize("total", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_two_processes_on_one_storage(tmp_path, total):
    """This one and another."""
    path = tmp_path / "s.db"
    with another_process(path, total) as process:
        wait_for_trials(path, 1, process)
        mine = searched(auto(num_samples=total, storage=path, study_name="s", seed=7))
        assert process.wait(300) == 0
    study = study_in(path)
    finished = [trial for trial in study.trials if not is_lost(trial)]
    assert len(finished) == total
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in finished)
    assert len({str(trial.params) for trial in finished}) == total
    assert len({trial.user_attrs["worker"] for trial in finished}) == 2
    first = [t for t in finished if t.params["learning_rate"] == 1e-3 and t.params["control"] == "off"]
    assert len(first) == 1  # one default configuration, whoever ran it
    assert mine.best_trial.number == study.best_trial.number


def test_threads_run_as_many_trials():
    found = searched(auto(num_samples=5, n_jobs=2, pruner="none")).results
    assert [(t.state, t.user_attrs.get("where")) for t in found.trials] == [(TrialState.COMPLETE, None)] * 5


# ---------------------------------------------------------------------- objectives and constraints


def test_infeasible_trials_never_win_and_the_sampler_knows():
    wide = {"control": SMALL["control"], "band_target": 1.0, "band_lower": 0.2, "band_upper": 5.0}
    found = searched(auto(wide, num_samples=8, constraints={"out": 0.2}, pruner="none"))
    table = trials_frame(found.results)
    assert 0 < table.feasible.sum() < 8
    assert (table.out[table.feasible] <= 0.2).all()
    assert found.best_trial.number == table[table.feasible].crps19.idxmin()
    assert found.best_trial.number == found.results.best_trial.number  # Optuna agrees
    assert all(set(trial.constraints) == {"out"} for trial in found.results.trials)


def test_nobody_feasible_names_the_closest_and_keeps_the_study(tmp_path):
    model = auto({"control": "off", "band_target": 50.0}, constraints={"out": 0.1}, storage=tmp_path / "s.journal")
    with pytest.raises(SearchError, match=r"meets out <= 0.1; the closest is trial \d \(out 1, crps19") as caught:
        searched(model)
    assert "learning_rate" in str(caught.value)
    assert len(study_in(tmp_path / "s.journal").trials) == 4


def test_two_objectives_keep_the_front_and_refit_by_the_rule():
    wide = {"band_target": 1.0, "band_lower": 0.2, "band_upper": 5.0}
    found = searched(auto(wide, num_samples=6, objective=["crps19", "out"], constraints=None))
    table = trials_frame(found.results)
    assert found.target.constraints.as_dict() == {"alive": 0.95}
    front = {trial.number for trial in found.results.best_trials}
    assert found.best_trial.number in front
    held = table[table.number.isin(front) & (table.out <= 0.1)]
    wanted = held.crps19.idxmin() if len(held) else table[table.number.isin(front)].out.idxmin()
    assert found.best_trial.number == wanted
    assert np.isfinite(float(found.model.best_value))


def test_validation_loss_is_ranked_by_its_best_check():
    found = searched(auto(valid_loss=MAE(), num_samples=3))
    for trial in found.results.trials:
        assert trial.values[0] == min(trial.intermediate_values.values()) == result_of(trial)["val_loss"]


def test_all_failed_trials_are_told_with_their_errors():
    fixed = {**SMALL, "control": "off", "callbacks": [Breaks()]}

    def config(trial):
        return {**fixed, "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1.0)}

    model = AutoEVE(h=H, config=config, num_samples=3, constraints={})
    with pytest.raises(SearchError, match=r"0 were pruned, 3 failed \(3 x RuntimeError: no luck"):
        searched(model)


class Breaks(__import__("pytorch_lightning").Callback):
    """Ends every training."""

    def on_train_start(self, trainer, pl_module):
        raise RuntimeError("no luck")


def test_some_failed_trials_do_not_end_the_search():
    class Sometimes(Breaks):
        def on_train_start(self, trainer, pl_module):
            if pl_module.learning_rate > 2e-3:
                raise RuntimeError("no luck")

    found = searched(auto({"callbacks": [Sometimes()]}, num_samples=5))
    table = trials_frame(found.results)
    assert list(table.state.unique()) == ["complete", "failed"]
    assert len(table) == 5
    assert set(table.error.dropna()) == {"RuntimeError: no luck"}


def test_data_too_short_is_refused_before_any_trial(tmp_path):
    short = AirPassengersPanel[["unique_id", "ds", "y"]].groupby("unique_id").head(45)
    nf = NeuralForecast(models=[auto(storage=tmp_path / "s.journal", study_name="s")], freq="ME")
    with pytest.raises(ValueError, match=r"45|21 rows"):
        nf.fit(short, val_size=VAL)
    assert not (tmp_path / "s.journal").exists()
    with pytest.raises(ValueError, match="val_size"):
        nf.fit(PANEL, val_size=5)


def test_time_budget_ends_the_search():
    found = searched(auto(num_samples=10_000, time_budget=2.0))
    assert 1 <= len(found.results.trials) < 100


def test_study_options_of_neuralforecast_are_taken(tmp_path):
    from neuralforecast.common._base_auto import OptunaOptions

    seen = []
    options = OptunaOptions(
        study_kwargs={"callbacks": [lambda study, trial: seen.append(trial.number)]},
        create_study_kwargs={"storage": str(tmp_path / "s.journal"), "study_name": "s"},
    )
    searched(auto(num_samples=2, optuna_options=options, search_alg=optuna.samplers.RandomSampler(seed=1)))
    assert seen == [0, 1]
    assert len(study_in(tmp_path / "s.journal").trials) == 2
