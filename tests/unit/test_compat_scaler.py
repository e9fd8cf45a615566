"""FlooredNorm: masked statistics, the floor, and the unit of y."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdn_forecast._compat import FlooredNorm, typical_deviation


def _norm(floor: float = 0.0) -> FlooredNorm:
    norm = FlooredNorm()
    norm.floor.fill_(floor)
    return norm


def _windows(seed: int, b: int = 5, t: int = 20, c: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(b, t, c, 1, generator=g) * 3 + 7
    mask = (torch.rand(b, t, 1, 1, generator=g) > 0.3).float()
    mask[:, -4:] = 0.0  # the horizon, as `_normalization` passes it
    return x, mask


@pytest.mark.parametrize("gaps", ["any", "none", "the same in all", "in one"])
def test_statistics_equal_a_plain_computation(gaps: str):
    x, mask = _windows(0)
    if gaps != "any":  # windows without gaps take a shorter way
        mask[:, :-4] = 1.0
    if gaps == "the same in all":
        mask[:, :3] = 0.0
    if gaps == "in one":
        mask[1, 5] = 0.0
    norm = _norm(0.5)
    z = norm.transform(x, mask)
    for b in range(len(x)):
        rows = x[b][mask[b, :, 0, 0] > 0].double().numpy()[..., 0]  # [n, C]
        std = rows.std(axis=0)
        scale = np.append(np.sqrt(std[0] ** 2 + 0.25), std[1:])
        np.testing.assert_allclose(norm.x_shift[b, 0, :, 0], rows.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(norm.x_scale[b, 0, :, 0], scale, rtol=1e-5)
    torch.testing.assert_close(norm.inverse_transform(z), x)
    torch.testing.assert_close(z, (x - norm.x_shift) / norm.x_scale)


def test_a_fixed_scale_is_the_floor_for_every_window_and_the_windows_own_without_one():
    x, mask = _windows(3)
    fixed, own = FlooredNorm(1.0, fixed=True), _norm(0.0)
    z = fixed.transform(x, mask)
    torch.testing.assert_close(z, own.transform(x, mask))  # no floor yet
    fixed.floor.fill_(2.5)
    z = fixed.transform(x, mask)
    assert (fixed.x_scale[:, :, 0] == 2.5).all()
    torch.testing.assert_close(fixed.x_scale[:, :, 1:], own.x_scale[:, :, 1:])
    torch.testing.assert_close(fixed.x_shift, own.x_shift)
    torch.testing.assert_close(fixed.inverse_transform(z), x)


def test_masked_values_do_not_reach_the_statistics():
    x, mask = _windows(1)
    expected = _norm(0.1)
    expected.transform(x, mask)
    for poison in (torch.nan, torch.inf, -1e30):
        norm = _norm(0.1)
        z = norm.transform(torch.where(mask > 0, x, poison), mask)
        assert torch.equal(norm.x_shift, expected.x_shift)
        assert torch.equal(norm.x_scale, expected.x_scale)
        assert z[(mask > 0).expand_as(z)].isfinite().all()


@pytest.mark.parametrize("level", [0.0, 1.0, 1234.567, -3e7])
def test_constant_windows_have_unit_scale_without_floor_and_the_floor_with_it(level):
    x = torch.full((2, 50, 2, 1), level)
    mask = torch.ones(2, 50, 1, 1)
    norm = _norm(0.0)
    assert torch.equal(norm.transform(x, mask), torch.zeros_like(x))
    assert (norm.x_scale == 1).all()
    norm = _norm(0.25)
    norm.transform(x, mask)
    assert (norm.x_scale[:, :, 0] == 0.25).all()
    assert (norm.x_scale[:, :, 1] == 1).all()  # the floor is not for exogenous channels


def test_wholly_masked_window_is_finite():
    norm = _norm(0.5)
    z = norm.transform(torch.full((1, 6, 2, 1), 3.0), torch.zeros(1, 6, 1, 1))
    assert z.isfinite().all()
    assert norm.x_shift.eq(0).all()


def test_float32_noise_on_an_exogenous_level_is_not_amplified():
    x = torch.full((1, 200, 2, 1), 1e6)
    x[0, ::2, 1] += 0.0625  # one float32 step at 1e6
    norm = _norm()
    norm.transform(x, torch.ones(1, 200, 1, 1))
    assert norm.x_scale[0, 0, 1, 0] == 1


@settings(max_examples=50, deadline=None)
@given(st.floats(-12, 12), st.integers(0, 1000))
def test_y_is_scale_equivariant(log_factor, seed):
    x, mask = _windows(seed, c=1)
    factor = 10.0**log_factor
    z = _norm(0.3).transform(x, mask)
    scaled = _norm(0.3 * factor).transform(x * factor, mask)
    torch.testing.assert_close(scaled, z, rtol=1e-4, atol=1e-5)
    power = 2.0 ** round(log_factor)
    assert torch.equal(_norm(0.25 * power).transform(x * power, mask), _norm(0.25).transform(x, mask))


def test_statistics_hold_no_graph_and_the_module_copies():
    x, mask = _windows(2)
    norm = _norm(0.1)
    x.requires_grad_()
    z = norm.transform(x, mask)
    assert not norm.x_shift.requires_grad
    assert not norm.x_scale.requires_grad
    z.sum().backward()
    assert torch.equal(copy.deepcopy(norm).x_scale, norm.x_scale)
    assert list(norm.state_dict()) == ["floor"]
    assert norm.floor.shape == ()
    assert norm.floor.dtype == torch.float32


def test_inverse_without_statistics_is_an_error():
    with pytest.raises(RuntimeError, match="call transform first"):
        FlooredNorm().inverse_transform(torch.zeros(1))


def test_half_precision_keeps_its_dtype():
    x, mask = _windows(3)
    norm = _norm(0.1)
    assert norm.transform(x.bfloat16(), mask.bfloat16()).dtype == torch.bfloat16


def _panel() -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [40, 3, 25, 60, 0, 30]
    indptr = np.append(0, np.cumsum(sizes)).astype(np.int32)
    rows = np.stack([np.ones(indptr[-1]), rng.normal(5, 2, indptr[-1])], axis=1)  # mask, y
    rows[indptr[2] : indptr[3], 1] = 1e6 + 0.1  # constant series
    rows[indptr[3] + 3, 1] = np.nan
    rows[indptr[3] + 5 : indptr[3] + 20, 0] = 0.0
    rows[indptr[3] + 7, 1] = np.inf  # masked
    rows[indptr[5] : indptr[6], 0] = 0.0  # wholly masked
    return torch.tensor(rows, dtype=torch.float32), indptr


@pytest.mark.parametrize("n_holdout", [0, 5, 39])
def test_floor_equals_a_plain_computation(n_holdout):
    temporal, indptr = _panel()
    stds = []
    for a, b in itertools.pairwise(indptr):
        rows = temporal[a : max(a, b - n_holdout)].double().numpy()
        y = rows[(rows[:, 0] > 0) & np.isfinite(rows[:, 1]), 1]
        if len(y) and y.std() > 1e-9 * abs(y.mean()):
            stds.append(y.std())
    assert typical_deviation(temporal, indptr, 1, 0, n_holdout) == pytest.approx(np.median(stds), rel=1e-9)
    norm = FlooredNorm()
    norm.estimate_floor(temporal, indptr, 1, 0, n_holdout)
    assert norm.floor.item() == pytest.approx(0.1 * np.median(stds), rel=1e-6)


def test_floor_is_zero_where_nothing_varies():
    temporal, indptr = _panel()
    assert typical_deviation(temporal, indptr, 1, 0, n_holdout=60) == 0.0  # no train rows
    temporal[:, 1] = 0.1
    norm = _norm(1.0)
    norm.estimate_floor(temporal, indptr, 1, 0, 0)
    assert norm.floor == 0.0
