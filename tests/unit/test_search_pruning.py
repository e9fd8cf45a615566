"""Pruning through validation checks, and what is refused around it."""

import math

import numpy as np
import optuna
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.auto import RayOptions
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from search_panel import PANEL, H, auto, searched

from vdn_forecast import EVE, AutoEVE
from vdn_forecast.search import SearchError, trials_frame
from vdn_forecast.search.pruning import FeasibleMedianPruner, build_pruner
from vdn_forecast.search.storage import open_storage, result_of

# a learning rate of 1e-6 learns nothing: such a trial is behind from its first check on
SLOW_AND_FAST = {"learning_rate": CategoricalDistribution((1e-6, 1e-2)), "max_steps": 20, "val_check_steps": 4}


def test_steps_are_reported_at_validation_checks():
    found = searched(auto({"max_steps": 20, "val_check_steps": 5}, num_samples=1))
    (trial,) = found.results.trials
    assert list(trial.intermediate_values) == [5, 10, 15, 20]
    checks = np.minimum.accumulate(list(trial.intermediate_values.values()))
    assert list(trial.intermediate_values.values()) == list(checks)  # the best so far
    assert trial.intermediate_values[20] == result_of(trial)["val_loss"]
    assert result_of(trial)["steps"] == 20
    seen = [value for _, value in found.model.valid_trajectories]
    assert min(seen) == trial.intermediate_values[20]


@pytest.mark.parametrize("pruner", ["median", "halving", "hyperband"])
def test_trials_that_fall_behind_end_early(pruner):
    sampler = optuna.samplers.RandomSampler(seed=3)
    found = searched(auto(SLOW_AND_FAST, num_samples=8, pruner=pruner, search_alg=sampler))
    table = trials_frame(found.results)
    pruned, complete = table[table.state == "pruned"], table[table.state == "complete"]
    assert len(pruned) > 0
    assert (pruned.steps < 20).all()
    assert 1e-6 in set(pruned["param.learning_rate"])
    assert found.best_trial.params["learning_rate"] == 1e-2
    assert (complete.steps == 20).all()


def test_a_trial_at_its_last_step_is_completed():
    class Last(BasePruner):
        def prune(self, study, trial):
            return trial.last_step == 8

    assert list(trials_frame(searched(auto(num_samples=2, pruner=Last())).results).state) == ["complete"] * 2


def test_pruning_saves_steps_and_keeps_the_winner():
    sampler = optuna.samplers.RandomSampler(seed=3)  # the same configurations, whatever is pruned
    with_, without = (
        searched(auto(SLOW_AND_FAST, num_samples=7, pruner=name, search_alg=sampler)) for name in ("median", "none")
    )
    assert [t.params for t in with_.results.trials] == [t.params for t in without.results.trials]
    assert trials_frame(with_.results).steps.sum() < 0.9 * trials_frame(without.results).steps.sum()
    assert with_.best_trial.number == without.best_trial.number
    assert with_.best_trial.values == without.best_trial.values


def test_infeasible_trials_do_not_raise_the_bar():
    study = optuna.create_study(pruner=FeasibleMedianPruner(n_startup_trials=1, n_warmup_steps=0))
    for value, violated in ((1.0, 0.5), (1.0, 0.5), (5.0, -0.1), (6.0, 0.0)):
        trial = study.ask()
        trial.report(value, 10)
        trial.set_constraint("out", violated)
        study.tell(trial, value)
    between, behind = study.ask(), study.ask()
    between.report(5.2, 10)
    behind.report(7.0, 10)
    assert not between.should_prune()  # behind the infeasible ones alone
    assert behind.should_prune()
    plain = MedianPruner(n_startup_trials=1, n_warmup_steps=0)
    assert plain.prune(study, study.get_trials()[between.number])


def test_all_pruned_is_told(tmp_path):
    class Every(BasePruner):
        def prune(self, study, trial):
            return True

    with pytest.raises(SearchError, match=r"none of 3 finished trials was completed: 3 were pruned.*pruner='none'"):
        searched(auto(num_samples=3, pruner=Every()))


def test_pruners_by_name():
    kinds = {"median": FeasibleMedianPruner, "hyperband": HyperbandPruner, "halving": SuccessiveHalvingPruner}
    for name, kind in kinds.items():
        assert type(build_pruner(name, 1200, 50)) is kind
    assert type(build_pruner("none", 1, 1)) is type(build_pruner(None, 1, 1)) is NopPruner
    own = MedianPruner()
    assert build_pruner(own, 1, 1) is own


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"pruner": "medain"}, ValueError, "medain"),
        ({"pruner": 3}, TypeError, "pruner=3"),
        ({"objective": "mse"}, ValueError, "objective='mse'"),
        ({"objective": ["out", "crps19"]}, ValueError, "objective="),
        ({"objective": ["crps19", "out"], "pruner": "median"}, ValueError, "two objectives"),
        ({"objective": "crps19", "loss": __import__("neuralforecast").losses.pytorch.MAE()}, ValueError, "loss=MAE"),
        ({"num_samples": 0}, ValueError, "num_samples=0"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"seed": 1.5}, ValueError, r"seed=1\.5"),
        ({"backend": "hyperopt"}, ValueError, "backend='hyperopt'"),
        ({"search_alg": "tpe"}, TypeError, "search_alg='tpe'"),
        ({"storage": "trials.csv"}, ValueError, r"storage='trials\.csv'"),
        ({"constraints": {"dead": 0}}, ValueError, "dead"),
        ({"backend": "ray", "constraints": {"out": 0.1}}, ValueError, "backend='ray'"),
        ({"backend": "ray", "pruner": "median"}, ValueError, "backend='ray'"),
        ({"backend": "ray", "storage": "s.db"}, ValueError, "backend='ray'"),
        ({"cpus": 2}, TypeError, "cpus"),
        ({"config": {"learning_rate": FloatDistribution(1e-4, 1e-2), "depth": 0}}, ValueError, "depth=0"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_at_construction(kwargs, error, match):
    with pytest.raises(error, match=match):
        AutoEVE(h=H, **kwargs)


@pytest.mark.parametrize(
    ("storage", "error", "match"),
    [
        ("postgresql://me:secret@localhost:1/none", ConnectionError, r"storage='postgresql://me"),
        ("nosuchdb://x", ConnectionError, "nosuchdb"),
        ("/proc/none/s.db", ConnectionError, "cannot be used"),
        ("trials.csv", ValueError, "trials.csv"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_named_without_its_password(storage, error, match):
    with pytest.raises(error, match=match) as caught:
        open_storage(storage)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "s.db"
    path.write_text("not a database, " * 100)
    with pytest.raises(ConnectionError, match="cannot be reached"):
        open_storage(path)
    assert path.read_text().startswith("not a database")


@pytest.mark.slow
def test_ray_backend_ranks_the_best_check():
    ray = pytest.importorskip("ray")
    from ray import tune

    ray.init(num_cpus=1, include_dashboard=False, ignore_reinit_error=True, log_to_driver=False)
    try:
        fixed = {"n_units": 8, "hidden_size": 8, "head_size": 8, "input_size": 24, "depth": 1, "latent_dim": 1}
        fixed |= {"max_steps": 20, "val_check_steps": 5, "windows_batch_size": 16, "accelerator": "cpu"}
        config = {**fixed, "learning_rate": tune.choice([1e-3, 0.3]), "callbacks": []}
        model = AutoEVE(h=H, backend="ray", num_samples=2, config=config, ray_options=RayOptions(cpus=1))
        nf = NeuralForecast(models=[model], freq="ME")
        nf.fit(PANEL, val_size=24)
    finally:
        ray.shutdown()
    found = nf.models[0]
    best = min(result.metrics_dataframe["loss"].min() for result in found.results)
    assert type(found.model) is EVE
    assert math.isclose(float(found.model.best_value), best, rel_tol=1e-5)
    assert np.isfinite(nf.predict()["AutoEVE"]).all()
