"""Constraints on shares of units, in Optuna's terms."""

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vdn_forecast.diagnostics import UnitSummary
from vdn_forecast.search.constraints import Constraints, closest, is_feasible, violation

share = st.floats(0, 1)


def summary(low: float = 0.0, high: float = 0.0, alive: float = 1.0) -> UnitSummary:
    return UnitSummary(low, high, alive, alive, 100, 50)


def study_of(*trials: tuple[float, UnitSummary], constraints: Constraints | None = None) -> optuna.Study:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for value, units in trials:
        trial = study.ask()
        (constraints or Constraints()).declare(trial, units)
        study.tell(trial, value)
    return study


def test_defaults_and_none():
    assert Constraints.of(None).as_dict() == {"out": 0.10, "alive": 0.95}
    assert not Constraints.of({})
    assert Constraints.of({"alive": 0.5}).as_dict() == {"alive": 0.5}
    assert str(Constraints.of(None)) == "out <= 0.1, alive >= 0.95"


@pytest.mark.parametrize(
    ("given_", "error", "match"),
    [
        ({"dead": 0.1}, ValueError, "dead"),
        ({"out": 1.2}, ValueError, r"out=1.2"),
        ({"alive": -0.1}, ValueError, "alive"),
        ({"alive": True}, ValueError, "alive=True"),
        ({"out": "small"}, ValueError, "out='small'"),
        (0.1, TypeError, "mapping"),
    ],
)
def test_bad_constraints_are_refused_by_name(given_, error, match):
    with pytest.raises(error, match=match):
        Constraints.of(given_)


@given(low=st.floats(0, 0.5), high=st.floats(0, 0.5), alive=share, cap=share, floor=share)
def test_feasible_is_what_the_words_say(low, high, alive, cap, floor):
    units = summary(low, high, alive)
    found = Constraints(cap, floor).violations(units)
    assert (max(found.values()) <= 0) == (units.out <= cap + 1e-9 and alive >= floor - 1e-9)


def test_the_best_trial_is_feasible_though_another_one_scores_better():
    study = study_of((1.0, summary(low=0.2)), (2.0, summary(0.05, 0.05)), (3.0, summary()), (0.5, summary(alive=0.9)))
    assert [is_feasible(trial) for trial in study.trials] == [False, True, True, False]
    assert study.best_trial.number == 1
    assert violation(study.trials[0]) == pytest.approx(0.1)
    assert violation(study.trials[1]) == 0.0


def test_closest():
    study = study_of((1.0, summary(low=0.3)), (2.0, summary(low=0.2)), (1.5, summary(low=0.2)), (0.1, summary(high=1)))
    with pytest.raises(ValueError, match="feasible"):
        _ = study.best_trial
    found = closest(study.trials)
    assert found is not None
    assert found.number == 2
    assert closest([]) is None
