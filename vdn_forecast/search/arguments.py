"""Arguments of an Auto class: what is refused before anything runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler

from .._compat import OptunaOptions
from ..neurons.checks import require_choice, require_int
from .constraints import Constraints
from .pruning import build_pruner
from .spaces import Dimension
from .storage import JOURNAL, SQLITE

BACKENDS = ("optuna", "ray")
_TAKEN = ("storage", "study_name", "sampler", "pruner")


class Shared:
    """Holds a thing that copies share: NeuralForecast deep-copies its models, and a copied storage is another one."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared":
        return self


def check_auto_arguments(
    *,
    h: Any,
    num_samples: Any,
    n_jobs: Any,
    seed: Any,
    backend: Any,
    search_alg: Any,
    constraints: Any,
    objectives: tuple[str, ...],
    pruner: Any,
    storage: Any,
) -> None:
    """Check what the parts of a search do not check before it runs.

    Args:
        objectives: resolved.
        pruner: None where the user gave none.
        others: as of `AutoVariational`.

    Raises:
        ValueError: by name.
        TypeError: a sampler, a pruner or constraints of the wrong kind.
    """
    require_int("h", h, 1)
    require_int("num_samples", num_samples, 1)
    require_int("seed", seed, 0)
    require_choice("backend", backend, BACKENDS)
    if n_jobs != -1:
        require_int("n_jobs", n_jobs, 1)
    Constraints.of(constraints)
    built = build_pruner(pruner, 100, 10)
    if len(objectives) == 2 and not isinstance(built, NopPruner):
        raise ValueError(
            f"pruner={pruner!r} is not allowed with two objectives {list(objectives)}: Optuna prunes by one value only"
        )
    if backend == "ray":
        refused = {"constraints": constraints or None, "pruner": pruner, "storage": storage}
        for name, value in refused.items():
            if value is not None:
                raise ValueError(f"{name}={value!r} is not allowed with backend='ray', only with 'optuna'")
        if objectives != ("val_loss",) and len(objectives) == 2:
            raise ValueError(f"objective={list(objectives)} is not allowed with backend='ray', which ranks one loss")
        return
    if search_alg is not None and not isinstance(search_alg, BaseSampler):
        raise TypeError(f"search_alg={search_alg!r} is not allowed; give a sampler of Optuna or None")
    if isinstance(storage, str) and "://" not in storage and not storage.endswith((*SQLITE, *JOURNAL)):
        raise ValueError(f"storage={storage!r} is not known; give a file ending in {(*SQLITE, *JOURNAL)}, or a URL")


def least_input_size(value: Any, dimension: Dimension | None) -> int:
    """The shortest look-back that a trial may have: data too short for it is too short for all.

    Args:
        value: of trial 0, or a categorical domain of Ray Tune.
        dimension: where it is searched; None where it is not.
    """
    distribution: Any = value if dimension is None else dimension.distribution
    for name in ("categories", "choices"):
        if hasattr(distribution, name):
            return int(min(getattr(distribution, name)))
    return int(getattr(distribution, "low", getattr(distribution, "lower", value)))


def without_study_options(options: OptunaOptions | None) -> tuple[OptunaOptions | None, Mapping[str, Any]]:
    """NeuralForecast's options without those for `create_study`, and these.

    Raises:
        ValueError: an option for `create_study` that a search sets itself.
    """
    given = dict(getattr(options, "create_study_kwargs", None) or {})
    given.pop("load_if_exists", None)
    unknown = sorted(set(given) - set(_TAKEN))
    if unknown:
        raise ValueError(f"create_study_kwargs: {unknown} are not allowed; known are {sorted(_TAKEN)}")
    if options is None:
        return None, given
    return replace(options, create_study_kwargs=None), given
