"""Search files: YAML against a typed schema, datasets and protocols as in suite files."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import BaseStorage

from ..evaluation.model_configs import check_values, find_config
from ..evaluation.quiet import QUIET_TRAINER, quiet_lightning
from ..evaluation.suite_file import checked_seconds, known_keys, model_arguments, read_yaml, suite_of
from ..evaluation.suites import Suite
from ..models import VariationalModel
from .arguments import check_auto_arguments
from .autos import AUTOS
from .constraints import Constraints
from .default_space import default_space
from .objective import Target, build_model, resolve_objectives
from .pruning import build_pruner
from .sampler import SAMPLERS
from .spaces import Space, defaults_of
from .storage import open_storage
from .study import Settings

SEARCHED: dict[str, type[VariationalModel]] = {auto.model_class.__name__: auto.model_class for auto in AUTOS}
"""Classes that a model file may name to be searched."""
OF_SUITE = ("name", "protocol", "datasets", "input_size")
OWN = (
    *("model", "trials", "seed", "seeds", "objective", "constraints"),
    *("sampler", "pruner", "time_budget", "storage", "space"),
)
NEEDED = ("name", "protocol", "datasets", "model")
RANGE = ("low", "high", "log", "step")


@dataclass(frozen=True)
class SearchPlan:
    """What a search file says.

    Attributes:
        path: the file.
        suite: the default configuration on the search's dataset, horizon and protocol.
        dataset, h: its only ones.
        model: name of the file of `configs/models`.
        space: what is drawn.
        target: what is trained and scored.
        trials: finished trials wanted.
        seed: of the sampler.
        sampler: key of `SAMPLERS`.
        pruner: by name; None where there are two objectives.
        time_budget: seconds after which no further trial begins; None for no limit.
        storage: as of `open_storage`; None for the results folder's `study.db`.
        content: the file's own keys and values.
    """

    path: Path
    suite: Suite
    dataset: str
    h: int
    model: str
    space: Space
    target: Target
    trials: int
    seed: int
    sampler: str
    pruner: str | None
    time_budget: float | None
    storage: str | None
    content: Mapping[str, Any]

    def folder(self, out: str | Path) -> Path:
        """Where its results lie."""
        return Path(out) / f"search-{self.suite.name}"

    def settings(self) -> Settings:
        """Sampler, pruner and name of its study."""
        steps = {**defaults_of(self.space.model), **self.space.first()}
        pruner = build_pruner(self.pruner, int(steps["max_steps"]), int(steps["val_check_steps"]))
        return Settings(self.seed, pruner, SAMPLERS[self.sampler], self.suite.name)

    def open(self, out: str | Path, *, existing: bool = False) -> BaseStorage:
        """The storage of its study; errors as of `open_storage`.

        Args:
            out: folder of the results.
            existing: whether a file that is not there is refused, with a ValueError.
        """
        where = str(self.folder(out) / "study.db" if self.storage is None else self.storage)
        if existing and "://" not in where and not Path(where).exists():
            raise ValueError(f"{self.path}: no search has begun, {where} does not exist; begin with `search run`")
        return open_storage(where, self.suite.name)


def read_search(path: str | Path) -> SearchPlan:
    """Read a search file.

    Args:
        path: YAML; files that it names are looked for beside it.

    Raises:
        ValueError: no YAML, a key that is unknown, missing or there twice, or a value outside of what is allowed.
    """
    path = Path(path)
    content = known_keys(str(path), read_yaml(path), (*OF_SUITE, *OWN), NEEDED)
    model = content["model"]
    config = find_config(model)
    if config.model not in SEARCHED:
        raise ValueError(f"model={model!r} cannot be searched; choose one of {sorted(SEARCHED)}")
    seeds = content.get("seeds", [1])
    suite = suite_of(
        str(path),
        {name: content[name] for name in OF_SUITE if name in content}
        | {"seeds": seeds, "models": {model: {"model": model}}},
        path.parent,
    )
    if len(suite.datasets) != 1 or len(suite.horizons(suite.datasets[0])) != 1:
        raise ValueError(f"datasets={content['datasets']!r} is not allowed; a search has one dataset and one horizon")
    dataset = suite.datasets[0]
    h = suite.horizons(dataset)[0]
    trials, seed = content.get("trials", 30), content.get("seed", 1)
    given = content.get("objective")
    objectives = resolve_objectives(given, None, None)
    pruner = content.get("pruner", "median" if len(objectives) == 1 else None)
    try:
        check_auto_arguments(
            h=h,
            num_samples=trials,
            n_jobs=1,
            seed=seed,
            backend="optuna",
            search_alg=None,
            constraints=content.get("constraints"),
            objectives=objectives,
            pruner=pruner,
            storage=content.get("storage"),
        )
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    sampler, time_budget = content.get("sampler", "tpe"), content.get("time_budget")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler={sampler!r} is not known; choose one of {sorted(SAMPLERS)}")
    limits = Constraints.of(content.get("constraints"))
    if "constraints" not in content and len(objectives) == 2:
        limits = replace(limits, out=None)
    entries = read_space(f"{path}: space", content.get("space", {}))
    fixed = {"input_size": suite.identity(dataset).input_size, "random_seed": suite.seeds[0]}
    known = {**QUIET_TRAINER, **config.arguments_for(dataset, h), **fixed}
    clash = sorted(set(entries) & set(fixed))
    if clash:
        raise ValueError(f"{path}: space: {clash} are not allowed here; set the keys input_size and seeds")
    space = default_space(SEARCHED[config.model], h).overridden({**known, **entries})
    target = Target(h, None, None, objectives, limits)
    with quiet_lightning():
        build_model(space.model, target, space.first())
    return SearchPlan(
        path,
        suite,
        dataset,
        h,
        model,
        space,
        target,
        trials,
        seed,
        sampler,
        pruner,
        checked_seconds("time_budget", time_budget),
        content.get("storage"),
        content,
    )


def read_space(where: str, found: Any) -> dict[str, Any]:
    """Entries of a space: a value is a constant, a list the values to choose from, low and high a range.

    Args:
        where: what messages name.
        found: by argument.

    Raises:
        ValueError: an entry outside of what is allowed.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{where}={found!r} is not allowed; give entries by argument")
    model_arguments(where, {name: entry for name, entry in found.items() if not isinstance(entry, dict)})
    return {name: _entry(f"{where}.{name}", entry) for name, entry in found.items()}


def _entry(where: str, entry: Any) -> Any:
    if isinstance(entry, list):
        if not entry:
            raise ValueError(f"{where}={entry!r} is not allowed; give at least one value to choose from")
        return CategoricalDistribution(entry)
    if not isinstance(entry, dict):
        return entry
    known_keys(where, entry, RANGE, RANGE[:2])
    check_values(where, "", entry)
    low, high, step, log = entry["low"], entry["high"], entry.get("step"), entry.get("log", False)
    for name, value in (("low", low), ("high", high), ("step", 1 if step is None else step)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: {name}={value!r} is not allowed; give a number")
    if not isinstance(log, bool):
        raise ValueError(f"{where}: log={log!r} is not allowed; give true or false")
    if low > high:
        raise ValueError(f"{where}: low={low!r}, high={high!r} is not allowed; low must not exceed high")
    whole = all(isinstance(value, int) for value in (low, high, 1 if step is None else step))
    try:
        distribution: BaseDistribution
        if whole:
            distribution = IntDistribution(low, high, log=log, step=1 if step is None else step)
        else:
            distribution = FloatDistribution(float(low), float(high), log=log, step=step)
    except ValueError as error:
        raise ValueError(f"{where}={entry!r} is not allowed: {error}") from error
    return distribution
