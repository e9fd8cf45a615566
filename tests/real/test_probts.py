"""The protocol `probts` and the checksums on the published data."""

from pathlib import Path

import numpy as np
import pytest

from vdn_forecast.evaluation.cells import Cell, run_cell
from vdn_forecast.evaluation.checksums import verify_file
from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.protocols import probts
from vdn_forecast.evaluation.sources import user_panel

WINDOWS = {"ETTh1": 29, "ETTh2": 29, "ETTm1": 119, "Weather": 109, "Exchange": 15, "ILI": 2}


def needs_raw(folder: Path) -> None:
    """Skip where Exchange and ILI are there as datasetsforecast has them only."""
    if not (folder / "raw").is_dir():
        pytest.skip("the data folder has no raw/: no original scale of Exchange and ILI")


@pytest.mark.real
@pytest.mark.parametrize("dataset", WINDOWS)
def test_naive_repeat_under_probts_equals_a_computation_on_the_original_values(dataset: str, data_dir: Path) -> None:
    if dataset in ("Exchange", "ILI"):
        needs_raw(data_dir)
    protocol, h = probts(dataset), 24 if dataset == "ILI" else 96
    data = load_dataset(dataset, data_dir, scale=protocol.data_scale)
    row, done = run_cell(Cell(protocol, dataset, h, "Naive", "Naive", 1), data, "test")
    assert done.windows is not None
    assert len(done.windows.windows) == WINDOWS[dataset]
    first = sum(data.borders[:2])
    ratios = []
    for origin in first + 96 * np.arange(WINDOWS[dataset]):
        y = data.values[origin : origin + h]
        ratios.append(np.abs(y - data.values[origin - 1]).sum() / np.abs(y).sum())
    assert row["nmae"] == pytest.approx(np.mean(ratios), rel=1e-5)
    assert 0 < row["crps_ratio"] < row["nmae"] * 1.5
    assert row["crps_ratio_se"] > 0


@pytest.mark.real
@pytest.mark.parametrize("dataset", ["Exchange", "ILI"])
def test_original_values_standardised_with_train_rows_are_the_published_ones(dataset: str, data_dir: Path) -> None:
    needs_raw(data_dir)
    published = load_dataset(dataset, data_dir)
    original = load_dataset(dataset, data_dir, scale="original")
    assert (published.scale, original.scale) == ("standardised", "original")
    assert published.series == original.series
    assert published.index.equals(original.index)
    np.testing.assert_allclose(original.scaled().values, published.values, atol=1e-5)
    with pytest.raises(ValueError, match="standardised"):
        probts(dataset).prepare(published)


@pytest.mark.real
def test_a_file_that_differs_from_the_published_sums_is_refused(data_dir: Path, tmp_path: Path) -> None:
    sums = data_dir / "SHA256SUMS"
    if not sums.is_file():
        pytest.skip("the data folder has no SHA256SUMS")
    name = "longhorizon2/all_six_datasets/ETTh1/Y_df.csv"
    assert verify_file(data_dir / name, data_dir) in sums.read_text()
    copy = tmp_path / name
    copy.parent.mkdir(parents=True)
    copy.write_bytes((data_dir / name).read_bytes().replace(b"5.827", b"5.828", 1))
    (tmp_path / "SHA256SUMS").write_text(sums.read_text())
    with pytest.raises(ValueError, match=r"Y_df\.csv has changed"):
        load_dataset("ETTh1", tmp_path)


@pytest.mark.real
def test_a_users_own_wide_csv(data_dir: Path) -> None:
    path = data_dir / "subsets" / "ECL_7of321.csv"
    if not path.is_file():
        pytest.skip("the data folder has no subsets/ECL_7of321.csv")
    panel = user_panel(path, (18_412, 2_632, 5_260), "h", season=24)
    assert panel.values.shape == (26_304, 7)
    assert panel.name == "ECL_7of321"
