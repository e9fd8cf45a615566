"""The first trials are given configurations; every other's draw depends on the seed, its place and the history."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

Factory = Callable[[int], BaseSampler]
"""Makes a sampler from a seed."""
SAMPLERS: dict[str, Factory] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "random": lambda seed: RandomSampler(seed=seed),
}


class SearchSampler(BaseSampler):
    """Optuna's TPE, or another sampler, seeded anew for each trial.

    A sampler with one running generator would, after a kill, draw its first numbers again. Here a trial's draw is a
    function of seed, history and place, so that a search that was killed goes on as if nothing had happened. A
    trial's place is its number without the trials before it that were lost.

    Args:
        seed: of all draws.
        firsts: values by name of the first trials, in order (a search's own first is the default configuration);
            brought into a distribution that does not hold them.
        place: a trial's number to its place; see `place_of`.
        inner: makes each trial's sampler; or a user's sampler, used as it is for all trials but the first.
        claim: called with every trial as soon as it exists; None for nothing.
    """

    def __init__(
        self,
        seed: int,
        firsts: Sequence[Mapping[str, Any]],
        place: Callable[[int], int],
        inner: Factory | BaseSampler = SAMPLERS["tpe"],
        claim: Callable[[FrozenTrial], None] | None = None,
    ) -> None:
        self.seed, self.firsts, self.place, self.inner = seed, [dict(each) for each in firsts], place, inner
        self.claim = claim
        self._live: dict[int, tuple[int, BaseSampler]] = {}

    def reseed_rng(self) -> None:
        """Optuna calls this in each thread; our own draws differ by trial already."""
        if isinstance(self.inner, BaseSampler):
            self.inner.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Say whose trial this is, and make its sampler."""
        if self.claim is not None:
            self.claim(trial)
        place = self.place(trial.number)
        state = np.random.SeedSequence([self.seed, place]).generate_state(1)
        inner = self.inner if isinstance(self.inner, BaseSampler) else self.inner(int(state[0]))
        self._live[trial.number] = (place, inner)
        inner.before_trial(study, trial)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """What is drawn jointly; nothing for the first trials."""
        place, inner = self._live[trial.number]
        return {} if place < len(self.firsts) else inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Joint draws."""
        place, inner = self._live[trial.number]
        return {} if place < len(self.firsts) else inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """One draw; the first trials take their own value where there is one."""
        place, inner = self._live[trial.number]
        first = self.firsts[place] if place < len(self.firsts) else {}
        given = first.get(param_name)
        none = isinstance(param_distribution, CategoricalDistribution) and None in param_distribution.choices
        if given is not None or (none and param_name in first):  # elsewhere None says nothing
            return nearest(param_distribution, given)
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Drop the trial's sampler."""
        _, inner = self._live.pop(trial.number, (0, None))
        if inner is not None:
            inner.after_trial(study, trial, state, values)


def first_trial(defaults: Mapping[str, Any]) -> optuna.Trial:
    """A trial 0 of no study that is kept."""
    sampler = SearchSampler(0, [defaults], lambda number: 0)
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        return optuna.create_study(sampler=sampler).ask()
    finally:
        optuna.logging.set_verbosity(level)


def nearest(distribution: BaseDistribution, value: Any) -> Any:
    """A default, or what comes nearest to it in a distribution; of categories the first."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else distribution.choices[0]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return distribution.low
    inside = min(max(value, distribution.low), distribution.high)
    if distribution.step is not None and not distribution.log:
        steps = round((inside - distribution.low) / distribution.step)
        inside = min(distribution.low + steps * distribution.step, distribution.high)
    return int(inside) if isinstance(distribution, IntDistribution) else float(inside)
