"""The comparisons of benchmarks/search, at the size of a test."""

from pathlib import Path
from types import SimpleNamespace

import optuna
import pandas as pd
import pytest
import yaml

from benchmarks.search import compare, pruning
from benchmarks.search.studies import ranked
from vdn_forecast.search.search_file import read_search

ROOT = Path(__file__).parents[2]
FILE = {
    **{"name": "c", "protocol": "embedded", "datasets": {"AirPassengers": 12}, "model": "EVE", "constraints": {}},
    "space": {
        **{"n_units": 8, "hidden_size": 8, "head_size": 8, "latent_dim": 1, "depth": 1, "control": "off"},
        **{"max_steps": 8, "val_check_steps": 2, "windows_batch_size": 16},
        "learning_rate": [1e-6, 1e-2],
    },
}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(FILE))
    return ["--file", str(path), "--studies", str(tmp_path / "studies"), "--out", str(tmp_path / "out")]


def test_a_pruned_trial_is_never_ranked() -> None:
    """Optuna gives it the last value that it reported, a validation loss."""
    study = optuna.create_study()
    for value, pruned in ((2.0, False), (0.5, True), (1.0, False)):
        trial = study.ask()
        trial.report(value, 1)
        study.tell(trial, None if pruned else value, optuna.trial.TrialState.PRUNED if pruned else None)
    assert [trial.number for trial in ranked(SimpleNamespace(study=study))] == [2, 0]


def test_rounds_of_the_paper_and_equal_steps() -> None:
    assert compare.rungs() == [(24, 3), (8, 6), (3, 10)]
    assert compare.full_trials() == 15
    assert read_search(ROOT / compare.words(None).get_default("file")).suite.name == "comparison"


def test_comparison_at_equal_steps(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "CONFIGURATIONS", 4)
    monkeypatch.setattr(compare, "EPOCHS", (1, 2))
    monkeypatch.setattr(compare, "KEPT", 0.5)
    compare.main([*words, "--seeds", "1", "--epoch", "2"])
    summary = pd.read_csv(tmp_path / "out" / "compare.csv").set_index("method")
    trials = pd.read_csv(tmp_path / "out" / "search-compare.csv")
    assert list(summary.steps) == [16, 16, 16]
    assert (trials.state == "complete").all()
    rounds = trials[trials.method == "halving"]
    first, last = rounds[rounds.epochs == 1], rounds[rounds.epochs == 2]
    assert (len(first), len(last)) == (4, 2)
    best = first.sort_values("crps19").head(2)
    drawn = [name for name in trials if name.startswith("param.")]
    assert last[drawn].to_numpy().tolist() == best[drawn].to_numpy().tolist()
    assert summary.crps19["halving"] == last.crps19.min()
    # random search and halving draw the same configurations
    same = trials[(trials.method == "random")][drawn].to_numpy().tolist()
    assert same == first[drawn].head(len(same)).to_numpy().tolist()
    before = (tmp_path / "out" / "search-compare.csv").read_bytes()
    compare.main([*words, "--seeds", "1", "--epoch", "2"])  # nothing is run twice
    assert (tmp_path / "out" / "search-compare.csv").read_bytes() == before


def test_pruning_on_the_same_configurations(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruning.main([*words, "--trials", "6", "--pruners", "halving"])
    summary = pd.read_csv(tmp_path / "out" / "pruning.csv").set_index("pruner")
    trials = pd.read_csv(tmp_path / "out" / "search-pruning.csv")
    parts = [part.filter(like="param.").to_numpy().tolist() for _, part in trials.groupby("pruner")]
    assert parts[0] == parts[1]
    assert summary.pruned["halving"] > 0
    saved = 1 - summary.steps["halving"] / summary.steps["none"]
    assert summary.steps_saved["halving"] == pytest.approx(saved, abs=1e-7)  # the file holds eight digits
    capsys.readouterr()
    pruning.main([*words, "--trials", "6", "--replay"])
    replayed = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()[1:]}
    assert float(replayed["halving"][2]) == pytest.approx(summary.steps_saved["halving"], abs=1e-5)
    assert float(replayed["none"][2]) == 0
    assert len(list((tmp_path / "studies").glob("*.db"))) == 1
