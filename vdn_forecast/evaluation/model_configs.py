"""One YAML file per model of the runners: its arguments, where they come from, what validation may choose.

The files are `configs/models/*.yaml` of the repository; an installed package carries them as
`vdn_forecast/configs/models`. Files in the folder that VDN_MODEL_CONFIGS names come first: one of the same name
replaces, another one adds. `budget.yaml` holds what every trained model of NeuralForecast gets beside its own.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from .data import DATASETS

CONFIG_DIR_VARIABLE = "VDN_MODEL_CONFIGS"
BUDGET = "budget"
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class ModelConfig:
    """What a file says.

    Attributes:
        name: of the model and the file.
        model: key of `models.BUILDERS`, or "Naive", "SeasonalNaive".
        source: paper, repository and script of the arguments.
        look_back: of the source's own runs; None where it has none.
        loss: name of a loss, or `name` with its arguments; None for the model's own.
        arguments: of the model; the text "h" stands for the horizon.
        by_dataset: further ones per dataset, or per "dataset/horizon", which comes last.
        neuralforecast_default: names among `arguments` for which no source was found: NeuralForecast's default.
        search: argument to the values that validation may choose from, jointly.
        notes: what differs from the source.
    """

    name: str
    model: str
    source: str
    look_back: int | None = None
    loss: str | Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    by_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    neuralforecast_default: tuple[str, ...] = ()
    search: Mapping[str, list[Any]] = field(default_factory=dict)
    notes: str = ""

    def arguments_for(self, dataset: str | None, h: int) -> dict[str, Any]:
        """Arguments on one dataset at one horizon."""
        further = [self.by_dataset.get(key, {}) for key in (dataset, f"{dataset}/{h}") if key is not None]
        merged = {**self.arguments, **{name: value for part in further for name, value in part.items()}}
        return {name: h if value == "h" else value for name, value in merged.items()}

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Every combination of `search`."""
        for values in product(*self.search.values()):
            yield dict(zip(self.search, values, strict=True))


def config_folders() -> list[Path]:
    """Where files are looked for, first to last.

    Raises:
        ValueError: VDN_MODEL_CONFIGS names no folder.
    """
    packaged = _PACKAGE / "configs" / "models"
    folders = [packaged if packaged.is_dir() else _PACKAGE.parent / "configs" / "models"]
    chosen = os.environ.get(CONFIG_DIR_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise ValueError(f"{CONFIG_DIR_VARIABLE}={chosen!r} is no folder")
        folders.insert(0, Path(chosen))
    return folders


def model_names() -> list[str]:
    """Names of all models, sorted."""
    found = {path.stem for folder in config_folders() for path in folder.glob("*.yaml")}
    return sorted(found - {BUDGET})


def find_config(name: str) -> ModelConfig:
    """The configuration of one model.

    Raises:
        ValueError: an unknown name, or a file that says what is not allowed.
    """
    if name not in model_names():
        raise ValueError(f"model={name!r} is not known; choose one of {model_names()}")
    return _read(_file(name))


def budget() -> dict[str, Any]:
    """Training budget of every trained model of NeuralForecast, by argument."""
    path = _file(BUDGET)
    content = _mapping(path)
    check_values(path, "", content)
    return content


def _file(name: str) -> Path:
    return next(path for folder in config_folders() if (path := folder / f"{name}.yaml").is_file())


def _mapping(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping at its top")
    return content


@cache
def _parsed(path: Path, changed: int) -> ModelConfig:
    content = _mapping(path)
    known = {item.name for item in fields(ModelConfig)} - {"name"}
    unknown, missing = sorted(set(content) - known), sorted({"model", "source"} - set(content))
    if unknown or missing:
        raise ValueError(f"{path}: unknown keys {unknown}, missing keys {missing}; known are {sorted(known)}")
    for key in ("arguments", "by_dataset", "search"):
        if not isinstance(content.get(key, {}), dict):
            raise ValueError(f"{path}: {key}={content[key]!r} is not allowed; it must be a mapping")
    check_values(path, "arguments.", content.get("arguments", {}))
    for key, further in content.get("by_dataset", {}).items():
        dataset, _, horizon = str(key).partition("/")
        if dataset not in DATASETS or not (horizon.isdigit() or "/" not in str(key)):
            raise ValueError(f"{path}: by_dataset.{key} is not known; write a dataset of {sorted(DATASETS)}, or one/h")
        check_values(path, f"by_dataset.{key}.", further)
    for name, values in content.get("search", {}).items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{path}: search.{name}={values!r} is not allowed; give a list of values")
        check_values(path, f"search.{name} ", dict(enumerate(values)))
    names = tuple(content.pop("neuralforecast_default", ()))
    foreign = sorted(set(names) - set(content.get("arguments", {})))
    if foreign:
        raise ValueError(f"{path}: neuralforecast_default names {foreign}, which are not among the arguments")
    return ModelConfig(path.stem, neuralforecast_default=names, **content)


def _read(path: Path) -> ModelConfig:
    return _parsed(path, path.stat().st_mtime_ns)


def check_values(path: Path | str, where: str, values: Mapping[Any, Any]) -> None:
    """YAML reads 1e-4 as a text; only 1.0e-4 is a number.

    Args:
        path, where: what the message names, in front of a value's name.
        values: by name.

    Raises:
        ValueError: no mapping, or a text that is a number.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{path}: {where.rstrip('.')}={values!r} is not allowed; it must be a mapping")
    for name, value in values.items():
        if not isinstance(value, str):
            continue
        try:
            number = float(value)
        except ValueError:
            continue
        raise ValueError(f"{path}: {where}{name}={value!r} is a text for YAML; write {number}")
