"""The files of `configs/models`: complete, sourced, equally tuned, and refused by name where they are off."""

import inspect
import json
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from vdn_forecast import EVE
from vdn_forecast.evaluation import model_configs
from vdn_forecast.evaluation.cells import Cell
from vdn_forecast.evaluation.data import DATASETS
from vdn_forecast.evaluation.model_configs import CONFIG_DIR_VARIABLE, budget, find_config, model_names
from vdn_forecast.evaluation.models import BUILDERS, HOST_MODELS, NAIVE, build_loss, build_model, check_names
from vdn_forecast.evaluation.protocols import ltsf
from vdn_forecast.evaluation.suite_file import read_suite

ROOT = Path(__file__).parents[2]
PEERS = {
    *("Naive", "SeasonalNaive", "DLinear", "NLinear", "NHITS", "PatchTST", "iTransformer", "TimeMixer", "TSMixer"),
    *("TiDE", "DeepAR", "MLP", "NHITS-Normal", "NHITS-MQLoss", "T1", "T2", "T2-SM", "T3", "T4"),
}
TRIALS = 4  # what EVE may try on validation, everybody may
NOT_TUNED = {"Naive", "SeasonalNaive", "twin"}


def test_every_peer_has_a_file() -> None:
    assert set(model_names()) >= PEERS
    assert "budget" not in model_names()


@pytest.mark.parametrize("name", model_names())
def test_a_file_builds_its_model_on_every_dataset(name: str) -> None:
    config = find_config(name)
    assert config.source.strip()
    check_names(config)
    assert config.model in BUILDERS or config.model in NAIVE
    for dataset in {None, "AirPassengers", *(key.split("/")[0] for key in config.by_dataset)}:
        input_size = 36 if dataset == "AirPassengers" else 48
        model = build_model(name, 12, input_size, 12, dataset=dataset, n_series=2)
        if config.model in HOST_MODELS:
            assert isinstance(model, HOST_MODELS[config.model])
            assert (model.h, model.hparams["input_size"]) == (12, input_size)


@pytest.mark.parametrize("name", model_names())
def test_equal_tuning_effort(name: str) -> None:
    assert len(list(find_config(name).candidates())) == (1 if name in NOT_TUNED else TRIALS)


@pytest.mark.parametrize("name", [name for name in model_names() if find_config(name).neuralforecast_default])
def test_what_is_called_a_default_is_one(name: str) -> None:
    config = find_config(name)
    defaults = inspect.signature(HOST_MODELS[config.model]).parameters
    for argument in config.neuralforecast_default:
        assert config.arguments[argument] == defaults[argument].default, argument


def test_the_budget_is_eves() -> None:
    eve = {name: parameter.default for name, parameter in inspect.signature(EVE).parameters.items()}
    shared = budget()
    same = ("max_steps", "val_check_steps", "windows_batch_size", "inference_windows_batch_size", "valid_windows")
    assert {name: shared[name] for name in same} == {name: eve[name] for name in same}
    assert shared["early_stop_patience_steps"] == eve["patience_checks"]
    assert shared["best_weights"] is True


def test_arguments_of_a_dataset_and_of_one_horizon_there() -> None:
    rates = {
        (d, h): build_model("DLinear", h, 336, 96, dataset=d).learning_rate
        for d in ("ETTm2", "ETTm1")
        for h in (96, 336)
    }
    assert rates == {("ETTm2", 96): 1e-3, ("ETTm2", 336): 1e-2, ("ETTm1", 96): 1e-4, ("ETTm1", 336): 1e-4}
    assert build_model("DeepAR", 24, 36, 12).h_train == 24
    schedule = build_model("PatchTST", 12, 36, 12, dataset="ETTm1", max_steps=70, learning_rate=0.5)
    assert schedule.lr_scheduler_kwargs == {"max_lr": 0.5, "total_steps": 70, "pct_start": 0.4}


def test_cells_of_the_committed_rows_are_still_theirs() -> None:
    suite = read_suite(ROOT / "configs" / "benchmarks" / "first.yaml")
    rows = pd.read_csv(ROOT / "benchmarks" / "results" / "first.csv", dtype={"cell": str})
    lines = {line.label: line for line in suite.lines}
    for row in rows.drop_duplicates(["model", "dataset"]).to_dict("records"):
        arguments = json.loads(str(row["arguments"]))
        name = arguments.pop("model")
        cell = suite.cell(lines[str(row["model"])], str(row["dataset"]), int(row["seed"]), arguments)
        assert (name, cell.identity) == (cell.model, row["cell"])


def test_runner_options_are_part_of_a_cell() -> None:
    def identity(**arguments: Any) -> str:
        return Cell(ltsf("ETTh1"), "ETTh1", 96, "NHITS", "NHITS", 1, arguments).identity

    assert len({identity(), identity(fast_windows=False), identity(best_weights=False)}) == 3
    assert identity() == identity(fast_windows=True)


def write(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def test_a_folder_of_ones_own_replaces_and_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "DLinear", {"model": "DLinear", "source": "mine", "arguments": {"learning_rate": 0.5}})
    write(tmp_path, "mine", {"model": "MLP", "source": "mine", "arguments": {"hidden_size": 8}})
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    assert build_model("DLinear", 12, 36, 12).learning_rate == 0.5
    assert build_model("mine", 12, 36, 12).hparams["hidden_size"] == 8
    assert {"mine", "NHITS"} <= set(model_names())
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(ValueError, match="none' is no folder"):
        model_names()


def test_the_wheel_carries_the_files() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["configs/models"] == "vdn_forecast/configs/models"


def test_an_installed_package_reads_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "configs", "x", "")
    write(tmp_path / "configs" / "models", "only", {"model": "Naive", "source": "mine"})
    monkeypatch.setattr(model_configs, "_PACKAGE", tmp_path)
    assert model_names() == ["only"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": "DLinear"}, "missing keys .*source"),
        ({"model": "DLinear", "source": "s", "argument": {}}, "unknown keys .*'argument'"),
        ({"model": "DLiner", "source": "s"}, "DLiner"),
        ({"model": "DLinear", "source": "s", "arguments": {"learning_rte": 0.1}}, "learning_rte"),
        ({"model": "DLinear", "source": "s", "by_dataset": {"ETTh9": {}}}, "ETTh9"),
        ({"model": "DLinear", "source": "s", "by_dataset": {"ETTh1/x": {}}}, "ETTh1/x"),
        ({"model": "DLinear", "source": "s", "by_dataset": {"ETTh1": {"rate": 1}}}, "by_dataset.ETTh1 .*rate"),
        ({"model": "DLinear", "source": "s", "search": {"rate": [1]}}, "search .*rate"),
        ({"model": "DLinear", "source": "s", "search": {"learning_rate": 0.1}}, "search.learning_rate=0.1"),
        ({"model": "DLinear", "source": "s", "neuralforecast_default": ["h"]}, "neuralforecast_default .*'h'"),
        ("model: DLinear\nsource: s\narguments: {learning_rate: 1e-4}\n", "learning_rate='1e-4' is a text"),
        ("model: DLinear\nsource: s\nsearch: {learning_rate: [1e-4]}\n", "is a text"),
        ("- DLinear", "must hold a mapping"),
        ({"model": "DLinear", "source": "s", "loss": "MES"}, "loss='MES'"),
        ({"model": "DLinear", "source": "s", "arguments": {"lr_scheduler": "Step"}}, "lr_scheduler='Step'"),
        ({"model": "DeepAR", "source": "s", "arguments": {"fast_windows": True}}, "DeepAR is recurrent"),
    ],
)
def test_a_typo_in_a_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    write(tmp_path, "wrong", content)
    monkeypatch.setenv(CONFIG_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match=message):
        build_model("wrong", 12, 36, 12)


def test_a_typo_in_what_overrides_a_file_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'NHITS': a suite has unknown arguments .*dropout"):
        build_model("NHITS", 12, 36, 12, dropout=0.1)
    with pytest.raises(ValueError, match=r"model='NHIST' is not known; choose one of .*'NHITS'"):
        build_model("NHIST", 12, 36, 12)
    with pytest.raises(ValueError, match="valid_windows=9 is not allowed without fast_windows"):
        build_model("NHITS", 12, 36, 12, fast_windows=False, valid_windows=9)
    with pytest.raises(ValueError, match="input_size=36 is not allowed for TimeMixer"):
        build_model("TimeMixer", 12, 36, 12, n_series=2)
    with pytest.raises(ValueError, match=r"loss=.*distribtion"):
        build_loss({"name": "DistributionLoss", "distribtion": "Normal"})


def test_a_suite_may_take_a_models_own_search(tmp_path: Path) -> None:
    suite = {"name": "s", "protocol": "ltsf", "seeds": [1], "datasets": {"ETTh1": 96}}
    write(tmp_path, "s", {**suite, "models": {"TiDE": {"model": "TiDE", "search": "own"}}})
    (line,) = read_suite(tmp_path / "s.yaml").lines
    assert line.search == find_config("TiDE").search
    assert set(find_config("TiDE").by_dataset) - set(DATASETS) == {"ETTh1/336", "ETTh1/720"}
