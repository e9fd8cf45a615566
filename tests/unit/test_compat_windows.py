"""Gathered windows equal NeuralForecast's own on awkward panels; draws are uniform and touch little."""

import numpy as np
import pandas as pd
import pytest
import torch
from compat_models import GatherLinear, Linear, one_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast.tsdataset import TimeSeriesDataset
from torch.utils._python_dispatch import TorchDispatchMode

from vdn_forecast._compat import GatherWindows, Panel, PanelWindows, WindowSpec, gather


def make_dataset(sizes, *, gaps=0.0, masked_series=None, weight=False, static=False, seed=0):
    """Panel whose y counts the rows, so that windows can be told apart."""
    rng = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum(sizes)).astype(np.int32)
    n = int(indptr[-1])
    mask = (rng.random(n) >= gaps).astype(np.float32)
    if masked_series is not None:
        mask[indptr[masked_series] : indptr[masked_series + 1]] = 0.0
    columns = {"y": 1.0 + np.arange(n), "x": rng.normal(size=n)}
    if weight:
        columns["sample_weight"] = rng.random(n)
    columns["available_mask"] = mask
    table = np.stack(list(columns.values()), axis=1).astype(np.float32)
    return TimeSeriesDataset(
        temporal=table,
        temporal_cols=pd.Index(list(columns)),
        indptr=indptr,
        y_idx=0,
        static=rng.normal(size=(len(sizes), 2)).astype(np.float32) if static else None,
        static_cols=pd.Index(["s0", "s1"]) if static else None,
    )


def make_models(val_size=0, test_size=0, predict_step_size=1, **kwargs):
    """The same model on NeuralForecast's windows and on ours; all valid windows in training by default."""
    kwargs = {"h": 3, "input_size": 5, "windows_batch_size": None, **kwargs}
    models = Linear(**kwargs), GatherLinear(**kwargs)
    for model in models:
        model.val_size, model.test_size, model.predict_step_size = val_size, test_size, predict_step_size
    return models


def create(model, dataset, step, dense=False):
    """Everything that one call of `_create_windows` offers, gathered: windows, static, weights, columns."""
    if isinstance(model, GatherWindows):
        with model.gather_windows(dataset, dense=dense) as shown:
            windows, static, _, valid, weight, cols = model._create_windows(one_batch(shown), step)
    else:
        windows, static, _, valid, weight, cols = model._create_windows(one_batch(dataset), step)
    parts = [table[valid] for table in (windows, static, weight) if table is not None]
    return [part.flatten(1) for part in parts], list(cols), windows


def sorted_rows(parts):
    rows = torch.cat(parts, dim=1).numpy()
    return rows[np.lexsort(rows.T[::-1])]


def assert_same_training_windows(dataset, **kwargs):
    plain, ours = make_models(**kwargs)
    try:
        expected, cols, _ = create(plain, dataset, "train")
    except Exception as error:
        if "too short for training" not in str(error) and "No windows available" not in str(error):
            raise
        for dense in (False, True):
            with pytest.raises(ValueError, match=r"No windows available for training: input_size=\d+, h="):
                create(ours, dataset, "train", dense)
        return
    for dense in (False, True):
        found, our_cols, _ = create(ours, dataset, "train", dense)
        assert our_cols == cols
        assert [part.shape for part in found] == [part.shape for part in expected]
        np.testing.assert_array_equal(sorted_rows(found), sorted_rows(expected))


def assert_same_evaluation_windows(dataset, step, **kwargs):
    plain, ours = make_models(**kwargs)
    try:
        expected, cols, tensor = create(plain, dataset, step)
    except RuntimeError:
        with pytest.raises(ValueError, match=f"No windows available for step '{step}'"):
            create(ours, dataset, step)
        return
    found, our_cols, lazy = create(ours, dataset, step)
    assert our_cols == cols
    assert lazy.shape == tuple(tensor.shape)
    assert len(lazy) == len(tensor)
    assert lazy.device == tensor.device
    for ours_part, expected_part in zip(found, expected, strict=True):
        assert torch.equal(ours_part, expected_part)
    some = torch.tensor([len(lazy) - 1, 0])
    assert torch.equal(lazy[some], tensor[some])


PANELS = {
    "even": {"sizes": [30, 30, 30]},
    "uneven, shorter than a window": {"sizes": [40, 7, 3, 1, 25]},
    "gaps": {"sizes": [40, 7, 12, 25], "gaps": 0.4},
    "one wholly masked": {"sizes": [30, 20, 9], "gaps": 0.2, "masked_series": 1},
    "static and weights": {"sizes": [30, 6, 11], "gaps": 0.2, "weight": True, "static": True},
    "too short": {"sizes": [4, 3]},
}
HOLDOUTS = [(0, 0), (4, 0), (0, 6), (5, 4), (3, 20)]


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("start_padding_enabled", [False, True])
@pytest.mark.parametrize("step_size", [1, 3])
@pytest.mark.parametrize("threshold", [0.0, 0.5, [0.3, 1.0]])
def test_training_windows_are_those_of_neuralforecast(panel, start_padding_enabled, step_size, threshold, monkeypatch):
    monkeypatch.setattr(gather, "_CHUNK", 7)  # chunks that begin and end within series
    dataset = make_dataset(**PANELS[panel])
    for val_size, test_size in HOLDOUTS:
        assert_same_training_windows(
            dataset,
            val_size=val_size,
            test_size=test_size,
            start_padding_enabled=start_padding_enabled,
            step_size=step_size,
            training_data_availability_threshold=threshold,
        )


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("futr", [None, ["x"]])
def test_evaluation_windows_are_those_of_neuralforecast(panel, stride, futr):
    dataset = make_dataset(**PANELS[panel])
    for val_size, test_size in [*HOLDOUTS, (3, 0), (2, 2), (25, 3), (60, 0), (0, 3), (4, 60)]:
        sizes = {"val_size": val_size, "test_size": test_size, "futr_exog_list": futr}
        assert_same_evaluation_windows(dataset, "predict", predict_step_size=stride, **sizes)
        if val_size:
            assert_same_evaluation_windows(dataset, "val", step_size=stride, **sizes)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_windows_of_random_panels(data):
    draw = data.draw
    dataset = make_dataset(
        draw(st.lists(st.integers(1, 22), min_size=1, max_size=5)),
        gaps=draw(st.sampled_from([0.0, 0.1, 0.6])),
        weight=draw(st.booleans()),
        static=draw(st.booleans()),
        seed=draw(st.integers(0, 99)),
    )
    common = {
        "h": draw(st.integers(1, 5)),
        "input_size": draw(st.integers(1, 9)),
        "val_size": draw(st.integers(0, 8)),
        "test_size": draw(st.integers(0, 8)),
        "step_size": draw(st.integers(1, 4)),
    }
    thresholds = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    assert_same_training_windows(
        dataset,
        start_padding_enabled=draw(st.booleans()),
        training_data_availability_threshold=[draw(thresholds), draw(thresholds)],
        **common,
    )
    assert_same_evaluation_windows(dataset, "predict", predict_step_size=draw(st.integers(1, 4)), **common)
    if common["val_size"]:
        assert_same_evaluation_windows(dataset, "val", **common)


def index_of(sizes, mask=None, **spec):
    total = sum(sizes)
    mask = torch.ones(total) if mask is None else mask
    panel = Panel.from_flat(mask[:, None], np.append(0, np.cumsum(sizes)), max(sizes))
    return PanelWindows(panel, 0, WindowSpec(**{"input_size": 4, "h": 2, **spec}))


@pytest.mark.parametrize("n", [5, 20, 30])  # repeats dropped, permutation, all but a few
@pytest.mark.parametrize("masked", [False, True])
def test_draws_are_uniform_without_repetition(n, masked):
    mask = torch.ones(24 + 5 + 13)
    if masked:
        mask[[3, 4, 5, 6, 7, 20, 30]] = 0.0
    index = index_of([24, 5, 13], mask)
    series, g = torch.arange(3), torch.Generator().manual_seed(0)
    total, rounds = int(index.count.sum()), 4000
    assert n <= total
    window = {key: i for i, key in enumerate(zip(*map(torch.Tensor.tolist, index.draw(series, None)), strict=True))}
    assert len(window) == total
    hits, first = np.zeros(total), np.zeros(total)
    for _ in range(rounds):
        drawn = [window[key] for key in zip(*map(torch.Tensor.tolist, index.draw(series, n, g)), strict=True)]
        assert len(set(drawn)) == n
        hits[drawn] += 1
        first[drawn[0]] += 1
    share = n / total
    if n < total:
        # Each count is binomial; drawing without repetition lowers the sum's variance by (1 - 1/total).
        chi2 = ((hits - rounds * share) ** 2).sum() / (rounds * share * (1 - share)) * (1 - 1 / total)
        assert abs(chi2 - (total - 1)) < 4 * np.sqrt(2 * (total - 1))
    chi2 = ((first - rounds / total) ** 2).sum() / (rounds / total)
    assert abs(chi2 - (total - 1)) < 4 * np.sqrt(2 * (total - 1))


def test_draws_repeat_only_when_windows_are_too_few():
    index = index_of([9])
    total = int(index.count.sum())
    _, start = index.draw(torch.tensor([0]), total, torch.Generator().manual_seed(0))
    assert len(start.unique()) == total
    _, start = index.draw(torch.tensor([0]), 10 * total, torch.Generator().manual_seed(0))
    assert len(start) == 10 * total
    assert len(start.unique()) == total


def test_draws_do_not_depend_on_loader_order_and_use_the_generator_given():
    index = index_of([30, 20, 25, 9])
    orders = [torch.tensor([0, 1, 3]), torch.tensor([3, 0, 1])]
    draws = [torch.stack(index.draw(order, 12, torch.Generator().manual_seed(5))) for order in orders]
    assert torch.equal(*draws)
    assert set(draws[0][0].tolist()) <= {0, 1, 3}
    torch.manual_seed(7)
    by_global = torch.stack(index.draw(orders[0], 12))
    state = torch.get_rng_state()
    index.draw(orders[0], 12, torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert torch.equal(torch.stack(index.draw(orders[0], 12)), by_global)


class LargestStorage(TorchDispatchMode):
    """Remembers the largest memory, in bytes, of what operations returned, views of `panel` aside."""

    def __init__(self, panel):
        super().__init__()
        self.panel, self.largest = panel.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() != self.panel:
                self.largest = max(self.largest, tensor.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("complete", [True, False])
def test_a_draw_touches_nothing_of_the_size_of_the_panel(complete):
    mask = torch.ones(1_000_000)
    if not complete:
        mask[::1000] = 0.0
    index = index_of([400_000, 500_000, 100_000], mask, input_size=96, h=24)
    kept = [v.numel() for v in vars(index).values() if isinstance(v, torch.Tensor)]
    assert max(kept) <= (3 if complete else 1_000_000)
    with LargestStorage(index.panel.temporal) as memory:
        series, start = index.draw(torch.arange(3), 64)
        index.gather(series, start)
    assert memory.largest <= 64 * 120 * 8  # the windows' row numbers, int64
