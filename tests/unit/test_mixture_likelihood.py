import pytest
import torch

from vdn_forecast._mixture_likelihood import normal_mixture_nll
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
