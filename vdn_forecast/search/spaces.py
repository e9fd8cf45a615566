"""What is searched: constants, Optuna distributions and conditions, by argument name of a model class."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from .._compat import base_argument_names, trainer_argument_names
from .sampler import first_trial

WIDTHS = {"kl_width": ("kl_min", "kl_max"), "band_width": ("band_lower", "band_upper")}
"""Names that stand for an upper bound as lower bound + width, so that no bounds are ever reversed."""
RESERVED = {
    "h": "the argument h",
    "loss": "the argument loss",
    "valid_loss": "the argument valid_loss",
    "alias": "the argument alias",
}
"""Arguments of models that a search sets itself, and from what."""

Suggest = Callable[[Any], Mapping[str, Any]]


@dataclass(frozen=True)
class Dimension:
    """One thing that is drawn.

    Attributes:
        distribution: Optuna's.
        default: value of trial 0; None for one of the sampler's.
        only: where it is drawn at all: other names and the values that they must have. Elsewhere the model's default
            stays.
    """

    distribution: BaseDistribution
    default: Any = None
    only: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Space:
    """Everything that a trial's configuration is made of.

    Attributes:
        model: class whose arguments these are.
        dimensions: what is drawn, in order: a name stands behind those that its `only` reads.
        constants: arguments that are the same in every trial.
        function: a user's own Optuna function; what it returns comes before dimensions of the same name.
    """

    model: type
    dimensions: Mapping[str, Dimension]
    constants: Mapping[str, Any] = field(default_factory=dict)
    function: Suggest | None = None

    def overridden(self, config: Mapping[str, Any] | Suggest | None) -> "Space":
        """This space with a user's entries in place of its own, by name.

        Args:
            config: argument to an Optuna distribution (drawn in every trial) or to a constant; or a function of a
                trial that returns such constants; or None.

        Raises:
            ValueError: an unknown or reserved argument, two entries for one bound, or nothing left to search.
            TypeError: neither mapping nor function.
        """
        if config is None:
            return self.checked()
        if not isinstance(config, Mapping):
            if not callable(config):
                raise TypeError(f"config={config!r} is not allowed; give a mapping, a function of a trial, or None")
            return Space(self.model, self.dimensions, self.constants, config).checked()
        check_names(self.model, config)
        drawn = {name: entry for name, entry in config.items() if isinstance(entry, BaseDistribution)}
        constants = {**self.constants, **{name: entry for name, entry in config.items() if name not in drawn}}
        dimensions = {name: d for name, d in self.dimensions.items() if name not in {*config, *_replaced(config)}}
        for name, distribution in drawn.items():
            constants.pop(name, None)
            known = self.dimensions.get(name)
            default = known.default if known is not None else defaults_of(self.model).get(name)
            dimensions[name] = Dimension(distribution, default)
        ordered = [name for name in (*self.dimensions, *drawn) if name in dimensions]
        return Space(self.model, {name: dimensions[name] for name in ordered}, constants, self.function).checked()

    def checked(self) -> "Space":
        """This space, if a trial can be drawn from it.

        Raises:
            ValueError: nothing to search, an unknown argument, or an argument that the model refuses.
        """
        trial = first_trial(self.defaults())
        try:
            found = self.suggest(trial)
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"config failed on a trial: {type(error).__name__}: {error}") from error
        check_names(self.model, found)
        if not trial.distributions:
            raise ValueError(
                f"the space is empty: every argument is constant ({sorted(self.constants)}); give at least one "
                "Optuna distribution"
            )
        return self

    def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, Any]:
        """The model's arguments of one trial.

        Raises:
            ValueError: an unknown argument among what the user's function returns.
        """
        chosen = dict(self.constants)
        if self.function is not None:
            own = self.function(trial)
            if not isinstance(own, Mapping):
                raise ValueError(f"config(trial) returned {own!r}; it must return a mapping of arguments")
            check_names(self.model, own)
            late = sorted(name for name, value in own.items() if isinstance(value, BaseDistribution))
            if late:
                raise ValueError(f"config(trial) returned distributions for {late}; draw from them: trial.suggest_...")
            chosen |= own
        usual = defaults_of(self.model)
        replaced = _replaced(chosen)
        for name, dimension in self.dimensions.items():
            applies = all(chosen.get(other, usual.get(other)) in values for other, values in dimension.only.items())
            if name not in chosen and name not in replaced and applies:
                chosen[name] = draw(trial, name, dimension.distribution)
        return with_upper_bounds(chosen, usual)

    def first(self) -> dict[str, Any]:
        """The arguments of trial 0."""
        return self.suggest(first_trial(self.defaults()))

    def defaults(self) -> dict[str, Any]:
        """Values of trial 0 by name: the dimensions', and the class's own for what a user's function may name."""
        return {**defaults_of(self.model), **{name: d.default for name, d in self.dimensions.items()}}

    def described(self) -> dict[str, str]:
        """Each entry as text: what must be the same for trials to stand in one study."""
        found = {name: json.dumps(value, sort_keys=True, default=_text) for name, value in self.constants.items()}
        for name, d in self.dimensions.items():
            only = {other: list(values) for other, values in d.only.items()}
            found[name] = distribution_to_json(d.distribution) + (f" where {json.dumps(only)}" if only else "")
        if self.function is not None:
            found["function"] = f"{self.function.__module__}.{getattr(self.function, '__qualname__', 'function')}"
        return found


def with_upper_bounds(arguments: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with every width replaced by lower bound + width; `usual` gives lower bounds not among them."""
    found = dict(arguments)
    for width, (lower, upper) in WIDTHS.items():
        if width in found:
            found[upper] = found.get(lower, usual[lower]) + found.pop(width)
    return found


def draw(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """One value.

    Raises:
        ValueError: a distribution that is none of Optuna's three.
    """
    if isinstance(distribution, FloatDistribution):
        d = distribution
        return trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    raise ValueError(f"{name}={distribution!r} is not allowed; give a Float-, Int- or CategoricalDistribution")


def check_names(model: type, entries: Mapping[str, Any]) -> None:
    """Refuse what no trial's model could take.

    Raises:
        ValueError: an unknown argument, one that the search sets itself, or two entries for one bound.
    """
    for name in entries:
        if name in RESERVED:
            raise ValueError(f"config: {name!r} is not allowed here; it is set from {RESERVED[name]}")
    known = set(inspect.signature(model).parameters) | trainer_argument_names() | base_argument_names() | set(WIDTHS)
    unknown = sorted(set(map(str, entries)) - known)
    if unknown:
        raise ValueError(f"config has unknown arguments {unknown}; see {model.__name__}, or {sorted(WIDTHS)}")
    for width, (_, upper) in WIDTHS.items():
        if width in entries and upper in entries:
            raise ValueError(f"config: {width!r} and {upper!r} are not allowed together; give one of them")


@cache
def _defaults_of(model: type) -> tuple[tuple[str, Any], ...]:
    parameters = inspect.signature(model).parameters.values()
    given = {p.name: p.default for p in parameters if p.default is not p.empty}
    own = getattr(model, "DEFAULTS", {})  # of a class whose signature is another's
    given = {name: own.get(name) if value is None else value for name, value in given.items()}
    given = {name: value for name, value in given.items() if value is not None}
    for width, (lower, upper) in WIDTHS.items():
        if lower in given and upper in given:
            given[width] = round(given[upper] - given[lower], 12)
    return tuple(given.items())


def defaults_of(model: type) -> dict[str, Any]:
    """Default arguments of a class, those that are None left out, and the widths that follow from them."""
    return dict(_defaults_of(model))


def _replaced(entries: Mapping[str, Any]) -> set[str]:
    """The other name of every bound that an entry sets."""
    pairs = [(width, upper) for width, (_, upper) in WIDTHS.items()]
    return {w for w, u in pairs if u in entries} | {u for w, u in pairs if w in entries}


def _text(value: Any) -> str:
    """What JSON has no form for, without addresses in memory: they differ among processes."""
    return f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else type(value).__name__
