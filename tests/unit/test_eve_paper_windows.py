"""The author's windows, data and identity, against plain references."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from eve_paper_reference import plain_windows
from sklearn.preprocessing import StandardScaler

from benchmarks.eve_paper.panels import SIZES, PublishedSize, as_published, load_panel
from benchmarks.eve_paper.windows import make_loaders
from vdn_forecast.evaluation.data import DatasetInfo, PanelData
from vdn_forecast.evaluation.protocols import eve_paper, ltsf


def panel(values, series, name="Weather"):
    index = pd.date_range("2020", periods=len(values), freq="h")
    return PanelData(name, values, index, series, DatasetInfo("user", "", "h", 24))


def test_identity_is_frozen_hashable_and_says_everything():
    protocol = eve_paper()
    assert protocol.identity == (
        "name=eve-paper;version=1;input_size=336;h=96;ar_stride=4;splits=(0.7, 0.9, 1.0);sizes=(400, 200, 200);"
        "batch_size=256;epochs=20"
    )
    assert {protocol: 1}[eve_paper()] == 1
    assert protocol != replace(protocol, h=192)
    assert protocol.identity != ltsf("Weather").identity
    with pytest.raises(FrozenInstanceError):
        protocol.h = 192


@pytest.mark.parametrize(("n_series", "rows"), [(8, 7_588), (21, 52_695)])
@pytest.mark.parametrize("seed", [0, 4])
def test_windows_are_the_authors(n_series, rows, seed):
    want = plain_windows(n_series, rows, seed)
    got = eve_paper().draw(n_series, rows, seed)
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours, np.array(theirs))


@pytest.mark.parametrize("dataset", SIZES)
def test_splits_part_the_origins(dataset):
    rows = SIZES[dataset].n_rows
    train, validation, test = eve_paper().origins(rows)
    n = rows - 436
    assert (train.start, test.stop) == (340, rows - 96)
    assert (train.stop, validation.stop) == (340 + int(0.7 * n), 340 + int(0.9 * n))
    assert validation.stop == 340 + int((0.7 + 0.2) * n)  # as the author's code adds them up
    assert (train.stop, validation.stop) == (validation.start, test.start)


@pytest.mark.parametrize(("dataset", "steps"), {"Exchange": 12, "Weather": 32, "ECL": 501, "TrafficL": 1346}.items())
def test_steps_per_epoch(dataset, steps):
    size, protocol = SIZES[dataset], replace(eve_paper(), input_size=3, h=1, ar_stride=0)
    values = np.zeros((size.n_series, 2_100), dtype=np.float32)
    train, validation, test = make_loaders(values, protocol, 0)
    assert len(train) == steps
    assert len(validation) == len(test) == -(-200 * size.n_series // 256)


def test_loaders_give_the_windows_in_order_and_shuffle_train_only():
    values = np.arange(2 * 200, dtype=np.float32).reshape(2, 200)
    protocol = replace(eve_paper(), input_size=5, h=2, ar_stride=1, sizes=(20, 6, 6), batch_size=8)
    drawn = protocol.draw(2, 200, 3)
    train, validation, test = make_loaders(values, protocol, 3)
    for loader, pairs in ((validation, drawn[1]), (test, drawn[2])):
        batches = list(loader)
        assert [len(x) for x, _ in batches] == [8, 4]
        for row, (series, origin) in enumerate(pairs):
            x, y = batches[row // 8][0][row % 8], batches[row // 8][1][row % 8]
            np.testing.assert_array_equal(x, values[series, origin - 5 : origin])
            np.testing.assert_array_equal(y, values[series, origin : origin + 2])
    firsts = [np.concatenate([y[:, 0].numpy() for _, y in train]) for _ in range(2)]
    assert [len(first) for first in firsts] == [40, 40]
    allowed = {values[series, origin] for series, origin in drawn[0]}
    assert all(set(first) == allowed for first in firsts)
    assert (firsts[0] != firsts[1]).any()
    x, y = validation.dataset[1]
    assert (x.shape, y.shape) == ((5,), (2,))


def test_bad_windows_are_refused():
    protocol = eve_paper()
    with pytest.raises(ValueError, match=r"n_rows=1000 .* 394 origins cannot give 400"):
        protocol.origins(1_000)
    with pytest.raises(ValueError, match="seed=-1"):
        protocol.draw(1, 7_588, -1)
    small = replace(protocol, input_size=3, h=1, ar_stride=0, sizes=(20, 5, 5))
    with pytest.raises(ValueError, match="batch_size=256 is not allowed with 20 train windows"):
        make_loaders(np.zeros((1, 100), dtype=np.float32), small, 0)


def test_values_are_those_of_the_published_loader():
    rng = np.random.default_rng(0)
    table = rng.normal(3, 2, (50, 3))
    table[:, 1] = 5.0  # a constant series is only centred
    size = PublishedSize(3, 40, 10)
    found = as_published(panel(table, ("b", "C", "a")), size)
    want = StandardScaler().fit(table[:30]).transform(table[:40])
    assert found.series == ("C", "a", "b")
    assert found.values.dtype == np.float32
    assert found.values.shape == (3, 40)
    np.testing.assert_allclose(found.values, want[:, [1, 2, 0]].T, rtol=1e-6, atol=1e-6)
    plain = as_published(panel(table, ("b", "C", "a")), replace(size, held_out=None))
    np.testing.assert_array_equal(plain.values, table[:40, [1, 2, 0]].T.astype(np.float32))


def test_data_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"'Weather' has 50 rows of 2 series; the paper's suite needs 60 of 2"):
        as_published(panel(np.zeros((50, 2)), ("a", "b")), PublishedSize(2, 60, None))
    with pytest.raises(ValueError, match="needs 40 of 3"):
        as_published(panel(np.zeros((50, 2)), ("a", "b")), PublishedSize(3, 40, None))
    with pytest.raises(ValueError, match="'ETTh1' is not in the paper's suite"):
        load_panel("ETTh1")
