"""The paper's suite on the published data."""

from pathlib import Path

import numpy as np
import pytest
from datasetsforecast.long_horizon import LongHorizon
from datasetsforecast.long_horizon2 import LongHorizon2

from benchmarks.eve_paper.panels import load_panel
from benchmarks.eve_paper.settings import REGIMES, Settings
from benchmarks.eve_paper.tables import published_runs
from benchmarks.eve_paper.training import train
from vdn_forecast.evaluation.protocols import eve_paper


@pytest.mark.real
@pytest.mark.parametrize("dataset", ["Weather", "Exchange"])
def test_values_are_those_of_datasetsforecast(dataset: str, data_dir: Path) -> None:
    if dataset == "Weather":
        frame = LongHorizon2.load(str(data_dir), dataset, normalize=True)
    else:
        frame, _, _ = LongHorizon.load(str(data_dir), dataset, cache=False)
    panel = load_panel(dataset, data_dir)
    groups = list(frame.groupby("unique_id", sort=True))
    assert len(groups) == len(panel.series)
    for (name, part), series, values in zip(groups, panel.series, panel.values, strict=True):
        assert str(name) == series
        np.testing.assert_allclose(values, part.sort_values("ds")["y"].to_numpy(np.float32), rtol=1e-6, atol=1e-7)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_a_run_on_exchange_is_a_pair_of_the_authors(regime: str, data_dir: Path) -> None:
    found = train(load_panel("Exchange", data_dir).values, eve_paper(), REGIMES[regime], Settings(), 4)
    runs = published_runs().set_index(["group", "variant", "seed"])
    author = runs.loc[("Exchange", REGIMES[regime].variant, 4)]
    assert found["steps"] == 240
    assert abs(found["best_epoch"] - author["best_epoch"]) <= 2
    assert 1 / 1.5 < found["test_mse"] / author["test_mse"] < 1.5
    assert abs(found["test_out"] - author["test_out"]) < 0.10
