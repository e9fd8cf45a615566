"""What a forecast loses without a group of units, measured in one batch at every check."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from neuralforecast import NeuralForecast
from tiny_models import PANEL, SMALL

from vdn_forecast import AREVE, ARVAE, EVE, diagnose
from vdn_forecast._compat import count_windows
from vdn_forecast.diagnostics.use import group_use
from vdn_forecast.losses import LatentMixture
from vdn_forecast.models.replacement import rise_without_groups, spaced_anew

CLASSES = [(EVE, {"n_units": 12}), (EVE, {"n_units": 12, "depth": 2}), (AREVE, {"n_units": 12}), (ARVAE, {})]


def trained(cls, **kwargs):
    nf = NeuralForecast(models=[cls(**{**SMALL, **kwargs})], freq="ME")
    nf.fit(PANEL, val_size=36)
    return nf


def all_windows(model, dataset):
    return torch.arange(count_windows(model, dataset, "val"))


@pytest.mark.parametrize(("cls", "kwargs"), CLASSES, ids=lambda each: str(each))
def test_one_batch_agrees_with_a_pass_per_group(cls, kwargs):
    """With a Student-t base the validation loss is crps19 itself; the draws are the same."""
    nf = trained(cls, loss=LatentMixture(base="studentt"), max_steps=40, kl_weight=1e-4, **kwargs)
    model, dataset = nf.models[0], nf.dataset
    before = {name: t.clone() for name, t in model.state_dict().items()}
    stream = torch.get_rng_state()
    rise = rise_without_groups(model, dataset, "val", all_windows(model, dataset))
    assert torch.equal(torch.get_rng_state(), stream)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    table = group_use(model, dataset)
    assert rise.shape == (len(model.layers), model.layers[0].n_units)
    for group in table.to_dict("records"):
        units = slice(group["first"], group["last"] + 1)
        assert rise[group["layer"], units] == pytest.approx(group["use"], abs=1e-4 * group["crps19"])
    assert all(layer.z_transform is None for layer in model.layers)
    assert np.abs(rise).max() > 0


def test_what_the_head_does_not_read_is_of_no_use():
    nf = trained(
        EVE,
        **{"n_units": 16, "max_steps": 150, "skip": False, "anchor": "mean", "kl_weight": 1e-4, "head": "linear"},
        learning_rate=1e-2,
    )
    model = nf.models[0]
    with torch.no_grad():
        next(p for p in model.network.head.parameters() if p.ndim > 1)[:, 8:] = 0.0
    rise = rise_without_groups(model, nf.dataset, "val", all_windows(model, nf.dataset))[0]
    assert rise[:8].sum() > 0
    assert np.abs(rise[8:]).max() < 1e-6 * PANEL["y"].mean()


def test_every_check_has_use_and_who_is_alive_by_its_mean():
    nf = trained(EVE, n_units=12, max_steps=32)
    found = diagnose(nf)
    units = found.units.set_index(["step", "unit"])
    use = units["use"].unstack()
    assert len(use) == 8
    assert (use.nunique(axis=1) <= 8).all()
    assert use.nunique().min() > 1
    for check in (0, 3, 7):
        mean = use.iloc[max(0, check - 4) : check + 1].mean()
        expected = (units["info"].unstack().iloc[check] > 0.005) & (mean > 0)
        assert (units["alive"].unstack().iloc[check] == expected).all()
        assert found.summary["alive_units"].iloc[check] == expected.sum()


@pytest.mark.parametrize("off", ["use_windows", "record_windows"])
def test_it_may_be_switched_off(off):
    model = EVE(n_units=12, **SMALL)
    setattr(model, off, 0)
    nf = NeuralForecast(models=[model], freq="ME")
    nf.fit(PANEL, val_size=36)
    if off == "record_windows":
        assert not len(model.history.checks)
    else:
        found = diagnose(nf)
        assert not {"use", "alive"} & set(found.units)
        assert "alive_units" not in found.summary


@given(n=st.integers(1, 5000), limit=st.integers(1, 64), turn=st.integers(0, 10_000))
def test_windows_are_different_ones_all_over_the_range(n, limit, turn):
    indices = spaced_anew(n, limit, turn)
    assert len(indices.unique()) == len(indices) == min(n, limit)
    assert 0 <= int(indices.min()) <= int(indices.max()) < n
    gaps = torch.diff(indices).tolist()
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_turns_see_other_windows():
    seen = {int(i) for turn in range(0, 500, 50) for i in spaced_anew(1000, 20, turn)}
    assert len(seen) > 150
