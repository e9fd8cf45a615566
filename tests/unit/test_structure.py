"""Who imports whom, no private names of NeuralForecast, no long files, no pickle."""

import ast
import inspect
from pathlib import Path

import pytest
from neuralforecast.common._base_auto import BaseAuto
from neuralforecast.common._base_model import BaseModel
from neuralforecast.core import NeuralForecast
from neuralforecast.losses import pytorch as nf_losses
from neuralforecast.tsdataset import TimeSeriesDataset, TimeSeriesLoader

import vdn_forecast

ROOT = Path(vdn_forecast.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# What a part may import of the package, besides itself.
MAY_IMPORT = {
    "neurons": set(),
    "_compat": set(),
    "frames": set(),
    "series_identity": {"frames"},
    "_version": set(),
    "control": {"neurons"},
    "losses": {"neurons", "_compat"},
    "models": {"neurons", "_compat", "control", "losses"},
    "sample_paths": {"neurons", "_compat", "control", "losses", "models"},
    # its page and its fan chart are those of a benchmark
    "diagnostics": {
        *("neurons", "_compat", "control", "losses", "models", "frames", "_version", "evaluation", "sample_paths"),
    },
    # the command's part of a search reads datasets and writes reports as a benchmark does
    "search": {
        *("neurons", "_compat", "control", "losses", "models", "diagnostics", "evaluation", "frames", "_version"),
        "sample_paths",
    },
    "evaluation": {"neurons", "_compat", "control", "losses", "models", "frames", "_version"},
}
PARTS = {
    "mixture": "losses",
    "_loss_arguments": "losses",
    "_quantile_search": "losses",
    "_mixture_likelihood": "losses",
    "_mixture_error": "losses",
    "_mixture_table": "losses",
    "_table_inverse": "losses",
    "mixture_scores": "losses",
}
ON_TOP = {"__init__", "cli"}  # may import everything
PLAIN_TORCH = {"neurons", "control"}


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to."""
    first = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return PARTS.get(first, first)


def imports(path: Path, type_checking: bool = False) -> list[str]:
    """Absolute names of all modules that a file imports, also inside functions."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not type_checking:
            skipped.update(child for statement in node.body for child in ast.walk(statement))
    package = ["vdn_forecast", *path.relative_to(ROOT).parts[:-1]]
    found = []
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def module_file(name: str) -> Path | None:
    """The file of the package behind an imported name, which may be a module or something in one."""
    parts = name.split(".")
    if parts[0] != "vdn_forecast":
        return None
    for end in (len(parts), len(parts) - 1):
        path = ROOT.joinpath(*parts[1:end])
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                return candidate
    raise AssertionError(f"{name} is no module of the package")


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_dependency_rule(path):
    part = part_of(path)
    if part in ON_TOP:
        return
    assert part in MAY_IMPORT, f"{part} has no place in the dependency rule"
    for name in imports(path, type_checking=True):
        target = module_file(name)
        if target is not None:
            other = part_of(target)
            assert other in {part, *MAY_IMPORT[part]}, f"{path.name} of {part} imports {name} of {other}"


def test_the_rule_itself_points_one_way():
    for part, others in MAY_IMPORT.items():
        for other in others:
            assert part not in MAY_IMPORT[other]
            assert MAY_IMPORT[other] <= others | {other}


def test_no_circle_of_modules():
    graph = {path: {module_file(name) for name in imports(path)} - {None, path} for path in FILES}
    done: set[Path] = set()

    def visit(path: Path, trail: tuple[Path, ...]) -> None:
        assert path not in trail, " -> ".join(str(each.relative_to(ROOT)) for each in (*trail, path))
        if path not in done:
            for other in graph[path]:
                # a package's __init__ re-exports its own files, which may import each other
                if other != path.parent / "__init__.py":
                    visit(other, (*trail, path))
            done.add(path)

    for path in FILES:
        visit(path, ())
    assert len(done) == len(FILES)


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) in PLAIN_TORCH], ids=str)
def test_plain_torch(path):
    assert not {name.split(".")[0] for name in imports(path)} & {
        "neuralforecast",
        "pytorch_lightning",
        "lightning",
    }


def private_names_of_neuralforecast() -> set[str]:
    """Methods and module names with one leading underscore that NeuralForecast may change at will."""
    names: set[str] = set()
    classes = [value for value in vars(nf_losses).values() if inspect.isclass(value)]
    losses = [cls for cls in classes if cls.__module__ == nf_losses.__name__]
    own = [cls for cls in BaseModel.__mro__ if cls.__module__.startswith("neuralforecast.")]
    for cls in (*own, BaseAuto, NeuralForecast, TimeSeriesDataset, TimeSeriesLoader, *losses):
        names |= {name for name in vars(cls) if name.startswith("_") and not name.startswith("__")}
    return names - {name for name in names if name.startswith("_abc_")}


@pytest.mark.parametrize("path", [p for p in FILES if part_of(p) != "_compat"], ids=str)
def test_private_names_stay_in_compat(path):
    modules = [
        name
        for name in imports(path)
        if name.startswith("neuralforecast.") and any(part.startswith("_") for part in name.split("."))
    ]
    assert modules == []
    private = private_names_of_neuralforecast()
    assert {"_create_windows", "_normalization", "_parse_windows"} <= private
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            used.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            used.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used.add(node.value)  # getattr and monkeypatching
    assert used & private == set()


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_nothing_reads_a_pickle_or_runs_text(path):
    forbidden = {
        "torch.load",
        "torch.save",
        "yaml.load",
        "yaml.unsafe_load",
        "pandas.read_pickle",
        "pd.read_pickle",
    }
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", *forbidden}, f"line {node.lineno}: {called}"
    assert not {name.split(".")[0] for name in imports(path)} & {
        "pickle",
        "cloudpickle",
        "dill",
        "joblib",
        "marshal",
    }


def test_public_names_have_docstrings():
    for name in vdn_forecast.__all__:
        if not name.startswith("__"):
            assert inspect.getdoc(getattr(vdn_forecast, name))
