"""Which trial is refitted, and what is said where none can be."""

from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState

from .constraints import DEFAULTS, closest, is_feasible
from .objective import Target
from .storage import is_lost, result_of


class SearchError(RuntimeError):
    """A search that ended without a winner."""


def winner_of(study: optuna.Study, target: Target) -> FrozenTrial:
    """The best feasible trial.

    Of one objective the lowest value. Of two, among the trials of the feasible Pareto front whose out is at most the
    cap (the default one, .10, where none is set), the one of the lowest first objective; where the front has none
    such, the one with the lowest out. Of equal trials the first.

    Raises:
        SearchError: no completed trial, or none that meets the constraints; the message names their errors or the
            closest trial.
    """
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if not done:
        raise SearchError(_nothing_completed(trials))
    feasible = [trial for trial in done if is_feasible(trial)]
    if not feasible:
        raise SearchError(_nothing_feasible(done, target))
    if len(target.objectives) == 1:
        return min(feasible, key=lambda trial: (trial.values[0], trial.number))
    cap = DEFAULTS["out"] if target.constraints.out is None else target.constraints.out
    front = pareto_front(feasible)
    held = [trial for trial in front if trial.values[1] <= cap + 1e-9]
    if held:
        return min(held, key=lambda trial: (trial.values[0], trial.number))
    return min(front, key=lambda trial: (trial.values[1], trial.values[0], trial.number))


def pareto_front(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Those that no other one equals or beats in both objectives and beats in one, in their order."""
    return [trial for trial in trials if not any(_dominates(other, trial) for other in trials)]


def _dominates(one: FrozenTrial, other: FrozenTrial) -> bool:
    pairs = list(zip(one.values, other.values, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _nothing_completed(trials: list[FrozenTrial]) -> str:
    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    failed = [trial for trial in trials if trial.state is TrialState.FAIL and not is_lost(trial)]
    errors = Counter(str(trial.user_attrs.get("error", "")) for trial in failed)
    listed = "; ".join(f"{count} x {' '.join(text.split())[:300]}" for text, count in errors.most_common(3))
    return (
        f"none of {pruned + len(failed)} finished trials was completed: {pruned} were pruned, {len(failed)} failed"
        + (f" ({listed})" if listed else "")
        + (". Give a gentler pruner, or pruner='none'" if pruned and not failed else "")
    )


def _nothing_feasible(done: list[FrozenTrial], target: Target) -> str:
    best = closest(done)
    assert best is not None
    units = {name: result_of(best).get(name) for name in target.constraints.as_dict()}
    shown = ", ".join(f"{name} {value:.3g}" for name, value in units.items() if value is not None)
    return (
        f"no trial of {len(done)} completed ones meets {target.constraints}; the closest is trial {best.number} "
        f"({shown}, {target.objectives[0]} {best.values[0]:.6g}) with {best.params}. Loosen `constraints` "
        "({} for none), search longer, or keep control='off' out of the space: the other regimes hold the band"
    )
