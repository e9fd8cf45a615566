"""What a network must be to win: few units outside of their band, nearly all alive. In Optuna's own terms."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..diagnostics import UnitSummary

DEFAULTS = {"out": 0.10, "alive": 0.95}
SIGN = {"out": "<=", "alive": ">="}
"""What each is held to."""


@dataclass(frozen=True)
class Constraints:
    """Caps and floors on shares of units, measured on validation with the trial's best weights.

    Attributes:
        out: cap on the share of units whose energy lies outside of the nominal band; None for no cap.
        alive: floor on the share of units with info above .005 nats; None for no floor.
    """

    out: float | None = DEFAULTS["out"]
    alive: float | None = DEFAULTS["alive"]

    @classmethod
    def of(cls, given: Mapping[str, float] | None) -> "Constraints":
        """From an argument: None for the defaults, {} for none, else caps and floors by name (others are off).

        Raises:
            ValueError: an unknown name, or a value outside of [0, 1].
            TypeError: no mapping.
        """
        if given is None:
            return cls()
        if not isinstance(given, Mapping):
            raise TypeError(f"constraints={given!r} is not allowed; give a mapping of {sorted(DEFAULTS)}, {{}} or None")
        unknown = sorted(map(str, set(given) - set(DEFAULTS)))
        if unknown:
            raise ValueError(f"constraints has unknown names {unknown}; known are {sorted(DEFAULTS)}")
        for name, value in given.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 <= value <= 1:
                raise ValueError(f"constraints: {name}={value!r} is not allowed; it must be a share in [0, 1]")
        return cls(given.get("out"), given.get("alive"))

    def __bool__(self) -> bool:
        return bool(self.as_dict())

    def as_dict(self) -> dict[str, float]:
        """Those that are on, by name."""
        return {name: bound for name, bound in (("out", self.out), ("alive", self.alive)) if bound is not None}

    def __str__(self) -> str:
        return ", ".join(f"{name} {SIGN[name]} {bound:g}" for name, bound in self.as_dict().items()) or "none"

    def violations(self, summary: UnitSummary) -> dict[str, float]:
        """How far beyond each constraint a network is, by name; zero or less is kept."""
        found = {}
        if self.out is not None:
            found["out"] = summary.out - self.out
        if self.alive is not None:
            found["alive"] = self.alive - summary.alive
        # a share of 19 / 20 must meet a floor of .95 whatever its last bit
        return {name: 0.0 if abs(value) < 1e-9 else value for name, value in found.items()}

    def declare(self, trial: optuna.Trial, summary: UnitSummary) -> None:
        """Tell Optuna, so that samplers and `best_trial` know."""
        for name, value in self.violations(summary).items():
            trial.set_constraint(name, value)


def is_feasible(trial: FrozenTrial) -> bool:
    """Whether a trial was completed and meets every constraint that it was given."""
    return trial.state is TrialState.COMPLETE and all(value <= 0 for value in trial.constraints.values())


def violation(trial: FrozenTrial) -> float:
    """Sum of what a trial is beyond its constraints; 0 where it meets them."""
    return math.fsum(max(value, 0.0) for value in trial.constraints.values())


def closest(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The completed trial that is least beyond its constraints, of equal ones the best; None without any."""
    done = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    return min(done, key=lambda trial: (violation(trial), trial.values[0], trial.number), default=None)
