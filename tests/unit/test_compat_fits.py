"""Whole fits and forecasts on gathered windows equal those on NeuralForecast's."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from compat_models import EXOG, QUIET, GatherLinear, Linear, one_batch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss
from neuralforecast.tsdataset import TimeSeriesDataset
from neuralforecast.utils import AirPassengersPanel, AirPassengersStatic

from vdn_forecast._compat import FlooredNorm, PanelWindows, window_batches


def fitted(cls, df, static=None, val_size=0, **kwargs):
    nf = NeuralForecast(models=[cls(alias="m", **{"h": 12, "input_size": 24, **QUIET, **kwargs})], freq="ME")
    nf.fit(df, static_df=static, val_size=val_size)
    return nf


@pytest.fixture
def panel():
    """Two airlines, the second one shorter."""
    df = AirPassengersPanel.copy()
    return pd.concat([df[df.unique_id == "Airline1"], df[df.unique_id == "Airline2"].iloc[40:]])


@pytest.mark.parametrize("kwargs", [{}, EXOG, {"start_padding_enabled": True, "step_size": 2}])
def test_whole_fits_on_all_windows_are_those_of_neuralforecast(panel, kwargs):
    """windows_batch_size=None trains on every valid window: no randomness is left but the order of a sum."""
    static = AirPassengersStatic if "stat_exog_list" in kwargs else None
    train, future = (part for _, part in panel.groupby(panel.ds > "1959-12-31"))
    runs = []
    for cls in (Linear, GatherLinear):
        nf = fitted(cls, train, static, val_size=24, windows_batch_size=None, **kwargs)
        model = nf.models[0]
        runs.append((model, nf.predict(futr_df=future).m, nf.predict_insample(step_size=12).m))
    (plain, *expected), (ours, *found) = runs
    np.testing.assert_allclose(ours.valid_trajectories, plain.valid_trajectories, rtol=1e-5)
    np.testing.assert_allclose(ours.train_trajectories, plain.train_trajectories, rtol=1e-4)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("kwargs", [{}, {"futr_exog_list": ["trend"]}])
def test_recursion_and_cross_validation_are_those_of_neuralforecast(panel, kwargs):
    outcomes = []
    for cls in (Linear, GatherLinear):
        train = panel[panel.ds < "1959-01-01"]
        nf = fitted(cls, train, windows_batch_size=None, **kwargs)
        far = nf.predict(h=24, futr_df=panel[panel.ds >= "1959-01-01"])
        near = nf.predict(futr_df=panel[panel.ds >= "1959-01-01"])  # gathered again after a dense one
        cv = nf.cross_validation(panel, n_windows=3, step_size=5, val_size=12)
        refit = nf.cross_validation(panel, n_windows=2, step_size=6, val_size=12, refit=True)
        outcomes.append([frame.m.to_numpy() for frame in (far, near, cv, refit)])
    for a, b in zip(*outcomes, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4)


def test_training_steps_see_exactly_windows_batch_size_windows(panel):
    nf = fitted(GatherLinear, panel, windows_batch_size=40, max_steps=4)
    assert nf.models[0].seen == [40] * 4
    nf = fitted(GatherLinear, panel, windows_batch_size=5000, max_steps=2)  # with repetition
    assert nf.models[0].seen == [5000] * 2
    again = fitted(GatherLinear, panel, windows_batch_size=5000, max_steps=2)
    assert again.models[0].train_trajectories == nf.models[0].train_trajectories


def test_index_is_built_once_per_fit_and_anew_when_sizes_change(panel, monkeypatch):
    built = []
    original = PanelWindows.__init__
    monkeypatch.setattr(
        PanelWindows, "__init__", lambda self, p, m, spec: (built.append(spec), original(self, p, m, spec))[1]
    )
    dataset = TimeSeriesDataset.from_df(panel)[0]
    model = GatherLinear(h=12, input_size=24, max_steps=4, **QUIET)
    model.fit(dataset, val_size=12)
    model.fit(dataset, val_size=0, test_size=30)
    assert [(spec.val_size, spec.test_size) for spec in built] == [(12, 0), (0, 30)]


def test_a_fitted_model_carries_no_data_and_survives_errors(panel):
    nf = fitted(GatherLinear, panel)
    model = nf.models[0]
    assert "_windows_source" not in vars(model)
    copy.deepcopy(model)
    nf.predict()
    copy.deepcopy(nf)
    assert "_windows_source" not in vars(model)
    assert "PanelWindows" not in str(pickle.dumps(model))
    dataset = TimeSeriesDataset.from_df(panel)[0]
    with pytest.raises(KeyError), model.gather_windows(dataset):
        raise KeyError
    assert model._windows_source is None
    with model.gather_windows(dataset) as shown:
        batch = one_batch(shown)
        assert shown.temporal.data_ptr() == dataset.temporal.data_ptr()
        assert batch["temporal"].tolist() == [[0], [1]]
    with pytest.raises(RuntimeError, match="outside of `gather_windows`"):
        model._create_windows(batch, "train")
    with pytest.raises(ValueError, match="idx must be int"):
        shown[torch.tensor(0)]


def test_other_datasets_pass_through(panel):
    class Other(TimeSeriesDataset): ...

    dataset = TimeSeriesDataset.from_df(panel)[0]
    other = Other(dataset.temporal, dataset.temporal_cols, dataset.indptr, y_idx=0)
    model = GatherLinear(h=12, input_size=24, windows_batch_size=10, max_steps=2, **QUIET)
    with model.gather_windows(other) as shown:
        assert shown is other
    model.fit(other, val_size=12)  # dense batches, windows found per step
    assert 10 in model.seen
    assert np.isfinite(model.predict(other)).all()


def test_double_precision_windows(panel):
    plain, ours = (
        fitted(cls, panel, windows_batch_size=None, precision="64-true").predict().m for cls in (Linear, GatherLinear)
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-6)


@pytest.mark.parametrize("scaler", ["standard", "floored"])
def test_window_batches_give_what_forward_takes(panel, scaler):
    model = GatherLinear(h=12, input_size=24, loss=DistributionLoss("Normal"), **EXOG, **QUIET)
    if scaler == "floored":
        model.scaler = FlooredNorm()
    dataset = TimeSeriesDataset.from_df(panel, AirPassengersStatic)[0]
    model.fit(dataset, val_size=24)
    model.set_test_size(12)
    before = copy.deepcopy(model.state_dict())
    last = model.scaler.x_shift
    for step, n in [("val", 26), ("predict", 2), ("train", None)]:
        batches = list(window_batches(model, dataset, step, batch_size=5))
        assert {len(b["y"]) for b in batches[:-1]} <= {5}
        if n is not None:
            assert sum(len(b["y"]) for b in batches) == n
        for b in batches:
            w = len(b["y"])
            assert b["y"].shape == b["mask"].shape == (w, 12, 1)
            assert b["loc"].shape == b["scale"].shape == (w, 1, 1)
            assert model(b["windows_batch"]).shape == (w, 12, 2)
            assert not b["windows_batch"]["insample_y"].requires_grad
        whole = next(iter(window_batches(model, dataset, step, 10**6)))
        back = whole["windows_batch"]["insample_y"] * whole["scale"] + whole["loc"]
        flat = dataset.temporal[dataset.indptr[0] : dataset.indptr[1], 0]
        if step == "predict":
            torch.testing.assert_close(whole["y"][0, :, 0], flat[-12:])
            torch.testing.assert_close(back[0, :, 0], flat[-36:-12])
        picked = torch.tensor([1, 0])
        some = next(iter(window_batches(model, dataset, step, 10, indices=picked)))
        assert torch.equal(some["y"], whole["y"][picked])
        assert torch.equal(some["series"], whole["series"][picked])
    assert torch.is_grad_enabled()
    assert model.scaler.x_shift is last
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_window_batches_draw_training_windows(panel):
    model = GatherLinear(h=12, input_size=24, **QUIET)
    dataset = TimeSeriesDataset.from_df(panel)[0]
    model.val_size = 24
    state = torch.get_rng_state()
    draws = [
        list(window_batches(model, dataset, "train", 16, n_windows=40, generator=torch.Generator().manual_seed(3)))
        for _ in range(2)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert [len(b["y"]) for b in draws[0]] == [16, 16, 8]
    assert all(torch.equal(a["y"], b["y"]) for a, b in zip(*draws, strict=True))
    for b in draws[0]:  # rows after the train part read as zero and masked
        assert torch.equal(b["y"] * b["mask"], b["y"])
    some, every = (next(iter(window_batches(model, dataset, "val", 99, n_windows=n))) for n in (4, 999))
    assert (len(some["y"]), len(every["y"])) == (4, 26)  # evaluation windows never repeat
    with pytest.raises(ValueError, match="n_windows and indices"):
        next(iter(window_batches(model, dataset, "train", 16, torch.tensor([0]), n_windows=4)))
    with pytest.raises(ValueError, match="'val' or 'predict'"):
        next(iter(window_batches(model, dataset, "test", 16)))
