"""Errors per origin, step and window: what they average to, what lies on disk, and that a row never lacks them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vdn_forecast.evaluation.cells import Cell, run_cell
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.error_files import read_errors, write_errors
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.origin_errors import OriginErrors
from vdn_forecast.evaluation.protocols import Protocol, embedded
from vdn_forecast.evaluation.results import SCHEMA
from vdn_forecast.evaluation.scores import ForecastBlock, ScoreSums

H = 12
PROBTS = Protocol("probts", 1, 36, 6, "restored")


def cell(protocol: Protocol | None = None) -> Cell:
    return Cell(protocol or embedded(), "AirPassengers", H, "SeasonalNaive", "SeasonalNaive", 1)


def test_origins_and_windows_hold_the_mean_errors_of_their_forecasts() -> None:
    data = load_dataset("AirPassengers")
    done = evaluate(NaiveModel(12), data, embedded(), H, windows=True)
    assert done.origins is not None
    assert done.test is not None
    origins = np.arange(120, 144 - H + 1)
    error = np.stack([data.values[o : o + H] - data.values[o - 12 : o] for o in origins])  # [origins, h, series]
    by_window = done.origins.by_window(data.series).pivot(index="origin", columns="series", values="mae")
    np.testing.assert_allclose(by_window[list(data.series)], np.abs(error).mean(1), rtol=1e-5)
    by_origin = done.origins.by_origin()
    np.testing.assert_allclose(by_origin["mse"], (error**2).mean((1, 2)), rtol=1e-5)
    assert by_origin["origin"].tolist() == list(range(len(origins)))
    for name in ("crps19", "mse", "mae"):
        assert by_origin[name].mean() == pytest.approx(done.test.summary()[name], rel=1e-5)


def test_windows_are_kept_only_where_asked_for() -> None:
    done = evaluate(NaiveModel(12), load_dataset("AirPassengers"), embedded(), H)
    assert done.origins is not None
    assert done.origins.windows is None
    with pytest.raises(ValueError, match="not kept"):
        done.origins.by_window(("a", "b"))


def test_pieces_of_an_origin_may_come_in_any_order() -> None:
    rng = torch.Generator().manual_seed(1)
    y, quantiles = torch.randn(6, 4, generator=rng), torch.randn(6, 4, 19, generator=rng).sort(-1).values
    series, origin = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 0, 1, 2])
    tables = []
    for order in ([[0, 1, 2, 3, 4, 5]], [[5, 0], [3], [1, 4, 2]]):
        errors, sums = OriginErrors(2, 3, windows=True), ScoreSums(2, 4)
        for part in order:
            block = ForecastBlock(series[part], y[part], y[part] + 1, quantiles[part], origin=origin[part])
            errors.update(block, sums.update(block))
        tables.append((errors.by_origin(), errors.by_window(("a", "b"))))
    for one, other in zip(*tables, strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("windows", [False, True])
def test_a_cell_writes_its_errors_beside_its_row(tmp_path: Path, windows: bool) -> None:
    data = load_dataset("AirPassengers")
    row, _ = run_cell(cell(), data, "test", folder=tmp_path, windows=windows)
    assert set(row) <= set(SCHEMA)
    name = cell().identity
    origins, steps = (read_errors(tmp_path, kind, name) for kind in ("origins", "steps"))
    assert origins is not None
    assert steps is not None
    assert origins.dtypes.map(str).to_dict() == {
        "origin": "int32",
        "crps19": "float32",
        "mse": "float32",
        "mae": "float32",
    }
    assert steps["step"].tolist() == list(range(1, H + 1))
    for table in (origins, steps):
        assert table["crps19"].mean() == pytest.approx(row["crps19"], rel=1e-5)
    found = read_errors(tmp_path, "windows", name)
    assert (found is not None) is windows
    if found is not None:
        assert len(found) == row["num_windows"] * len(data.series)
        assert found.groupby("origin")["mse"].mean().to_numpy() == pytest.approx(origins["mse"], rel=1e-5)
        assert set(found["series"]) == set(data.series)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_row_holds_every_new_measure(tmp_path: Path) -> None:
    data = load_dataset("AirPassengers")
    row, _ = run_cell(cell(), data, "test", paths=True)
    assert row["dataset_fingerprint"] == data.fingerprint
    assert data.fingerprint.startswith("144x2-")
    assert (row["num_windows"], row["mase_season"]) == (13, 12)
    for name in ("mase", "wql", "sql", "energy_score", "variogram_score", "coverage80_cal", "width90_cal"):
        assert np.isfinite(row[name]), name
    assert "independent steps" in row["data_note"]
    assert not list(tmp_path.iterdir())


def test_a_trial_writes_nothing_about_the_test_split(tmp_path: Path) -> None:
    row, _ = run_cell(cell(), load_dataset("AirPassengers"), "test", test=False, folder=tmp_path, windows=True)
    assert not list(tmp_path.rglob("*"))
    assert "mase" not in row


def test_probts_keeps_its_ratio_per_origin(tmp_path: Path) -> None:
    row, _ = run_cell(cell(PROBTS), load_dataset("AirPassengers"), "test", folder=tmp_path)
    origins = read_errors(tmp_path, "origins", cell(PROBTS).identity)
    assert origins is not None
    assert origins["crps_ratio"].mean() == pytest.approx(row["crps_ratio"], rel=1e-6)
    # on the original scale, with the same levels, fev's WQL averaged over windows is ProbTS's CRPS
    assert row["wql"] == pytest.approx(row["crps_ratio"], rel=1e-6)


def test_a_fingerprint_follows_the_data() -> None:
    data = load_dataset("AirPassengers")
    assert data.fingerprint == load_dataset("AirPassengers").fingerprint
    changed = data.values.copy()
    changed[3, 1] += 1e-9
    assert replace(data, values=changed).fingerprint != data.fingerprint
    assert replace(data, series=("a", "b")).fingerprint != data.fingerprint


def test_files_that_are_not_there_or_damaged(tmp_path: Path) -> None:
    assert read_errors(tmp_path, "origins", "abc") is None
    with pytest.raises(ValueError, match="kind='rows'"):
        read_errors(tmp_path, "rows", "abc")
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "abc.parquet").write_bytes(b"PAR1 half")
    with pytest.raises(ValueError, match=r"abc\.parquet"):
        read_errors(tmp_path, "steps", "abc")


def test_a_write_that_fails_leaves_the_file_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = evaluate(NaiveModel(12), load_dataset("AirPassengers"), embedded(), H)
    write_errors(tmp_path, "abc", done, ("a", "b"))
    before = (tmp_path / "origins" / "abc.parquet").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vdn_forecast.evaluation.error_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_errors(tmp_path, "abc", done, ("a", "b"))
    assert (tmp_path / "origins" / "abc.parquet").read_bytes() == before
    assert not list(tmp_path.rglob("*.tmp"))


def test_files_of_a_whole_suite_stay_small(tmp_path: Path) -> None:
    """Six datasets, six models, three seeds at h = 96: 29,031 origins a model and seed, below 15 MB in all."""
    rng = np.random.default_rng(1)
    done = evaluate(NaiveModel(12), load_dataset("AirPassengers"), embedded(), H)
    assert done.origins is not None
    n = 11_425  # ETTm1, the longest
    smooth = np.convolve(rng.standard_normal(n + 95) ** 2, np.ones(96) / 96, "valid")
    done.origins.sums = {
        name: torch.from_numpy(smooth * scale) for name, scale in (("crps19", 1), ("mse", 2), ("mae", 1.4))
    }
    done.origins.count = torch.ones(n, dtype=torch.float64)
    write_errors(tmp_path, "abc", done, ("a", "b"))
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert size * 29_031 / n * 6 * 3 < 8e6
