"""The space as Ray Tune domains: NeuralForecast's other backend."""

import copy
from collections.abc import Collection, Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from .spaces import WIDTHS, Space, check_names


def ray_config(space: Space, config: Any) -> dict[str, Any]:
    """A dict of Ray Tune domains and constants.

    Ray knows no conditions: every dimension is drawn in every trial, and what a regime does not read changes nothing.

    Args:
        space: the default one.
        config: a user's domains and constants by name, in place of the space's own; None for none.

    Raises:
        ValueError: an unknown or reserved argument, or nothing to search.
        TypeError: no mapping.
    """
    own = {} if config is None else config
    if not isinstance(own, Mapping):
        raise TypeError(f"config={config!r} is not allowed with backend='ray'; give a mapping of Ray Tune domains")
    check_names(space.model, own)
    domains = {name: _domain(dimension.distribution) for name, dimension in space.dimensions.items()}
    for width, (_, upper) in WIDTHS.items():
        if upper in own:
            domains.pop(width, None)
    found = {**space.constants, **domains, **own}
    if not any(hasattr(value, "sample") for value in found.values()):
        raise ValueError("the space is empty: every argument is constant; give at least one Ray Tune domain")
    return found


def ray_search(search_alg: Any, seed: int) -> Any:
    """A search algorithm of Ray Tune; random search where the user gave none."""
    if search_alg is not None:
        return copy.deepcopy(search_alg)
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return BasicVariantGenerator(random_state=seed)


def best_ray_config(results: Any, reserved: Collection[str]) -> dict[str, Any]:
    """Arguments of the trial with the lowest validation loss at any of its checks, not at its last one."""
    found = results.get_best_result(metric="loss", mode="min", scope="all").config
    return {name: value for name, value in found.items() if name not in reserved}


def _domain(distribution: Any) -> Any:
    from ray import tune

    if isinstance(distribution, CategoricalDistribution):
        return tune.choice(list(distribution.choices))
    low, high = distribution.low, distribution.high
    if isinstance(distribution, IntDistribution):
        return (tune.lograndint if distribution.log else tune.randint)(low, high + 1)
    assert isinstance(distribution, FloatDistribution)
    return (tune.loguniform if distribution.log else tune.uniform)(low, high)
