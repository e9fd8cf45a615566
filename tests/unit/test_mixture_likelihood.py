import pytest
import torch
from torch.nn import functional as F

from vdn_forecast._mixture_likelihood import normal_mixture_nll, raw_mixture_nll
from vdn_forecast.losses import LatentMixture, RawMixture
from vdn_forecast.mixture import mixture_log_prob


def inputs(dtype: torch.dtype, components: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(4, 3, 1, generator=generator, dtype=dtype)
    loc = torch.randn(4, 3, 1, components, generator=generator, dtype=dtype).requires_grad_()
    scale = (torch.rand(4, 3, 1, components, generator=generator, dtype=dtype) + 0.1).requires_grad_()
    return y, loc, scale


@pytest.mark.parametrize("components", [1, 5])
def test_value_and_gradient_equal_autograd_through_the_plain_formula(components: int) -> None:
    y, loc, scale = inputs(torch.float64, components)
    weights = torch.rand(4, 3, 1, dtype=torch.float64)
    fast = normal_mixture_nll(y, loc, scale)
    plain = -mixture_log_prob(y, loc, scale)
    torch.testing.assert_close(fast, plain)
    for a, b in zip(
        torch.autograd.grad((weights * fast).sum(), (loc, scale)),
        torch.autograd.grad((weights * plain).sum(), (loc, scale)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_gradcheck() -> None:
    y, loc, scale = inputs(torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: normal_mixture_nll(y, a, b), (loc, scale))


def test_far_away_targets_keep_finite_values_and_gradients() -> None:
    y, loc, scale = inputs(torch.float32)
    value = normal_mixture_nll(y + 1e4, loc, scale)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(loc.grad).all()
    assert torch.isfinite(scale.grad).all()


def raw_inputs(s: int, m: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(4, s, 2, m, 3, generator=generator, dtype=torch.float64).requires_grad_()
    y = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    return y, raw


@pytest.mark.parametrize(("s", "m"), [(1, 1), (2, 4), (3, 1)])
def test_raw_outputs_give_the_value_and_gradient_of_the_rearranged_ones(s: int, m: int) -> None:
    y, raw = raw_inputs(s, m)
    weights = torch.rand(4, 3, dtype=torch.float64)
    by_step = raw.permute(0, 4, 2, 1, 3).flatten(3)  # [B, h, 2, S M]
    plain = -mixture_log_prob(y.unsqueeze(-1), by_step[:, :, None, 0], F.softplus(by_step[:, :, None, 1]) + 1e-3)
    fast = raw_mixture_nll(y, raw, 1e-3)
    torch.testing.assert_close(fast, plain.squeeze(-1))
    for a, b in zip(
        torch.autograd.grad((weights * fast).sum(), (y, raw)),
        torch.autograd.grad((weights * plain.squeeze(-1)).sum(), (y, raw)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_gradcheck_of_raw_outputs() -> None:
    y, raw = raw_inputs(2, 3)
    assert torch.autograd.gradcheck(lambda a, b: raw_mixture_nll(a, b, 1e-3), (y, raw))


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize("with_scaler", [False, True])
def test_the_loss_of_raw_outputs_is_that_of_the_usual_layout(with_base: bool, with_scaler: bool) -> None:
    _, raw = raw_inputs(2, 4)
    loss = LatentMixture(n_samples=2, n_components=4, objective={"mixture": 0.5})
    y = torch.randn(4, 3, 1, dtype=torch.float64)
    y[0, 1] = torch.nan
    mask = torch.rand(4, 3, 1, dtype=torch.float64)
    mask[0, 1] = 0.0
    base = torch.randn(4, 3, dtype=torch.float64).requires_grad_() if with_base else None
    shift, scale = (torch.randn(4, 1, 1), torch.rand(4, 1, 1) + 0.5) if with_scaler else (None, None)
    usual = raw.permute(0, 4, 2, 1, 3).flatten(2)  # [B, h, 2 S M]
    if base is not None:
        usual = torch.cat([usual[..., :8] + base.unsqueeze(-1), usual[..., 8:]], dim=-1)
    values = []
    for output in (usual, RawMixture(raw, base)):
        args = loss.scale_decouple(loss.domain_map(output), shift, scale)
        value = loss(y, args, mask)
        inputs = (raw,) if base is None else (raw, base)
        values.append((value, *torch.autograd.grad(value, inputs, retain_graph=True)))
    for a, b in zip(*values, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    "kwargs", [{"base": "studentt"}, {"trajectory": True}, {"objective": {"mixture": 1.0, "crps": 1.0}}]
)
def test_other_objectives_do_not_take_raw_outputs(kwargs: dict) -> None:
    assert LatentMixture().takes_raw
    assert not LatentMixture(**kwargs).takes_raw
