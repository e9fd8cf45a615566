"""Suite files: YAML against a typed schema, every unknown key refused by name."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from .data import DATASETS
from .model_configs import check_values, find_config
from .models import NAIVE
from .panels import Panel, SyntheticPanel, UserPanel
from .suites import PROTOCOLS, Line, Suite

TOP = ("name", "protocol", "datasets", "seeds", "models", "input_size", "defaults", "max_time", "windows", "paths")
TOP_NEEDED = ("name", "protocol", "datasets", "seeds", "models")
LINE = ("model", "arguments", "by_dataset", "search")
FILE_PANEL = ("h", "file", "split", "freq", "season")
SYNTHETIC = ("n_series", "n_rows", "seed")
RESERVED = {"h": "datasets", "input_size": "the key input_size", "random_seed": "seeds"}
"""Arguments of models that the suite sets itself, and where."""


def read_suite(path: str | Path) -> Suite:
    """Read a suite file.

    Args:
        path: YAML; files that it names are looked for beside it.

    Raises:
        ValueError: no YAML, a key that is unknown, missing or there twice, or a value outside of what is allowed.
    """
    path = Path(path)
    content = read_yaml(path)
    if isinstance(content, dict) and content.get("protocol") == "eve-paper":
        raise ValueError(f"{path}: 'eve-paper' has its own training loop: python -m benchmarks.eve_paper run {path}")
    return suite_of(str(path), content, path.parent)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises:
        ValueError: no YAML, or a key that is there twice.
    """
    text = path.read_text(encoding="utf-8")
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _refuse_doubles(str(path), tree)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error


def suite_of(where: str, content: Any, folder: Path) -> Suite:
    """A suite from what its file holds; errors as of `read_suite`.

    Args:
        where: what messages name.
        content: keys and values.
        folder: where files that it names are looked for.
    """
    content = known_keys(where, content, TOP, TOP_NEEDED)
    if not isinstance(content["name"], str) or Path(content["name"]).name != content["name"]:
        raise ValueError(f"name={content['name']!r} is not allowed; give a text that can name a file")
    if content["protocol"] not in PROTOCOLS:
        raise ValueError(f"protocol={content['protocol']!r} is not known; choose one of {sorted(PROTOCOLS)}")
    horizon: dict[str, tuple[int, ...]] = {}
    panels: dict[str, Panel] = {}
    for dataset, entry in _mapping("datasets", content["datasets"]).items():
        if isinstance(entry, dict):
            panels[dataset], entry = _panel(dataset, entry, folder)
        elif dataset not in DATASETS:
            raise ValueError(
                f"datasets: {dataset!r} is not known; choose from {sorted(DATASETS)}, or describe your own with the "
                f"keys {list(FILE_PANEL)}, a synthetic one with ['h', 'synthetic']"
            )
        horizon[dataset] = _horizons(dataset, entry)
    seeds = content["seeds"]
    if (
        not isinstance(seeds, list)
        or not seeds
        or not all(_is_int(s, 0) for s in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise ValueError(f"seeds={seeds!r} is not allowed; give a list of different numbers >= 0")
    input_size = content.get("input_size")
    if input_size is not None and not _is_int(input_size, 1):
        raise ValueError(f"input_size={input_size!r} is not allowed; give a number of rows >= 1, or leave it out")
    for name in ("windows", "paths"):
        if not isinstance(content.get(name, False), bool):
            raise ValueError(f"{name}={content[name]!r} is not allowed; give true or false")
    defaults = model_arguments("defaults", content.get("defaults", {}))
    models = _mapping("models", content["models"])
    return Suite(
        name=content["name"],
        protocol=content["protocol"],
        datasets=tuple(horizon),
        horizon=horizon,
        seeds=tuple(seeds),
        lines=tuple(_line(str(label), entry, defaults, tuple(horizon)) for label, entry in models.items()),
        input_size=input_size,
        panels=panels,
        max_time=checked_seconds("max_time", content.get("max_time")),
        windows=content.get("windows", False),
        paths=content.get("paths", False),
    )


def checked_seconds(name: str, value: Any) -> float | None:
    """A limit of time.

    Raises:
        ValueError: neither None nor a number above zero.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{name}={value!r} is not allowed; give seconds > 0, or leave it out")
    return float(value)


def _line(label: str, entry: Any, defaults: Mapping[str, Any], datasets: tuple[str, ...]) -> Line:
    where = f"models.{label}"
    entry = known_keys(where, entry, LINE, ("model",))
    model = entry["model"]
    try:
        config = find_config(model)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    arguments = model_arguments(f"{where}.arguments", entry.get("arguments", {}))
    by_dataset = _mapping(f"{where}.by_dataset", entry.get("by_dataset", {}), empty=True)
    for dataset, values in by_dataset.items():
        if dataset not in datasets and dataset not in DATASETS:
            raise ValueError(f"{where}.by_dataset: {dataset!r} is not known; the suite has {list(datasets)}")
        model_arguments(f"{where}.by_dataset.{dataset}", values)
    search = entry.get("search", {})
    search = dict(config.search) if search == "own" else _search(f"{where}.search", search)
    if model not in NAIVE:
        arguments = {**defaults, **arguments}
    elif arguments or by_dataset or search:
        raise ValueError(f"{where}: model={model!r} takes no arguments")
    return Line(label, model, arguments, by_dataset, search)


def _search(where: str, found: Any) -> dict[str, list[Any]] | list[dict[str, Any]]:
    """Values by argument, or alternatives that differ; else a ValueError."""
    if isinstance(found, list):
        alternatives = [_choices(f"{where}[{number}]", some) for number, some in enumerate(found)]
        for number, some in enumerate(alternatives):
            if some in alternatives[:number]:
                raise ValueError(f"{where}[{number}]={some!r} stands there twice")
        if len(alternatives) < 2:
            raise ValueError(f"{where}={found!r} is not allowed; give at least two alternatives")
        return alternatives
    values_of = _choices(where, found)
    for name, values in values_of.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: {name}={values!r} is not allowed; give a list of values to choose from")
    return values_of


def _choices(where: str, found: Any) -> dict[str, Any]:
    """As `model_arguments`; a look-back, or several, may be among what validation chooses from."""
    found = _mapping(where, found, empty=True)
    sizes = found.get("input_size", 1)
    for size in sizes if isinstance(sizes, list) else [sizes]:
        if not _is_int(size, 1):
            raise ValueError(f"{where}: input_size={size!r} is not allowed; give a number of rows >= 1")
    model_arguments(where, {name: value for name, value in found.items() if name != "input_size"})
    return found


def _panel(name: str, entry: dict[str, Any], folder: Path) -> tuple[Panel, Any]:
    """A dataset that the file describes itself, and its horizons as they stand there."""
    where = f"datasets.{name}"
    if name in DATASETS:
        raise ValueError(f"{where}: this name is one of the benchmark's; give your data another one, or {name} only h")
    if "synthetic" in entry:
        known_keys(where, entry, ("h", "synthetic"), ("h", "synthetic"))
        shape = known_keys(f"{where}.synthetic", entry["synthetic"], SYNTHETIC, SYNTHETIC[:2])
        for key, value in shape.items():
            if not _is_int(value, 0 if key == "seed" else 1):
                raise ValueError(f"{where}.synthetic: {key}={value!r} is not allowed; give a number >= 1 (seed: >= 0)")
        return SyntheticPanel(**shape), entry["h"]
    known_keys(where, entry, FILE_PANEL, FILE_PANEL[:4])
    file, split, freq, season = entry["file"], entry["split"], entry["freq"], entry.get("season", 1)
    if not isinstance(file, str) or not isinstance(freq, str):
        raise ValueError(f"{where}: file={file!r}, freq={freq!r} are not allowed; give two texts")
    if not isinstance(split, list) or len(split) != 3 or not all(_is_int(part, 1) for part in split):
        raise ValueError(f"{where}: split={split!r} is not allowed; give rows of train, validation and test, each >= 1")
    if not _is_int(season, 1):
        raise ValueError(f"{where}: season={season!r} is not allowed; give a number of rows >= 1")
    return UserPanel((folder / file).resolve(), (split[0], split[1], split[2]), freq, season), entry["h"]


def _horizons(dataset: str, entry: Any) -> tuple[int, ...]:
    found = entry if isinstance(entry, list) else [entry]
    if not found or not all(_is_int(h, 1) for h in found) or len(set(found)) < len(found):
        raise ValueError(
            f"datasets: {dataset}={entry!r} is not allowed; give a horizon >= 1, or several different ones"
        )
    return tuple(found)


def model_arguments(where: str, found: Any) -> dict[str, Any]:
    """Arguments of a model by name, none of those that the suite sets; else a ValueError."""
    found = _mapping(where, found, empty=True)
    for name in found:
        if name in RESERVED:
            raise ValueError(f"{where}: {name!r} is not allowed here; the suite sets it from {RESERVED[name]}")
        value = found[name]
        check_values(where, f"{name} " if isinstance(value, list) else "", _numbered(name, value))
    return found


def _numbered(name: str, value: Any) -> dict[Any, Any]:
    return dict(enumerate(value)) if isinstance(value, list) else {name: value}


def _mapping(where: str, found: Any, *, empty: bool = False) -> dict[Any, Any]:
    if not isinstance(found, dict) or not (found or empty):
        raise ValueError(f"{where}={found!r} is not allowed; give names and values")
    return found


def known_keys(where: str, found: Any, known: Collection[str], needed: Collection[str]) -> dict[str, Any]:
    """The mapping itself, if it has all needed keys and none that is unknown; else a ValueError."""
    if not isinstance(found, dict):
        raise ValueError(f"{where} must hold keys and values, not {found!r}; known keys are {sorted(known)}")
    unknown = sorted(map(str, set(found) - set(known)))
    missing = sorted(set(needed) - set(found))
    if unknown or missing:
        raise ValueError(f"{where}: unknown keys {unknown}, missing keys {missing}; known are {sorted(known)}")
    return found


def _refuse_doubles(where: str, node: yaml.Node) -> None:
    """YAML keeps the last of two equal keys and says nothing: a model's line would be lost."""
    if isinstance(node, yaml.MappingNode):
        names = [key.value for key, _ in node.value]
        doubles = sorted({str(name) for name in names if names.count(name) > 1})
        if doubles:
            raise ValueError(f"{where}, line {node.start_mark.line + 1}: keys {doubles} are there twice")
        for _, value in node.value:
            _refuse_doubles(where, value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_doubles(where, value)


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
