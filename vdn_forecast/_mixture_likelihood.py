"""Negative log-likelihood of a Normal mixture with its gradient in closed form: the hot path of training."""

import math
from typing import Any

import torch
from torch import Tensor


class _NormalMixtureNLL(torch.autograd.Function):
    """−log mean_c N(y; loc_c, scale_c); the backward pass reuses responsibilities instead of a graph of ten steps."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """y [...], loc and scale [..., C] -> [...]."""
        inverse = scale.reciprocal()
        z = (y.unsqueeze(-1) - loc).mul_(inverse)
        log_density = inverse.log().addcmul_(z, z, value=-0.5)  # up to a constant
        top = log_density.amax(-1, keepdim=True)
        weight = log_density.sub_(top).exp_()
        total = weight.sum(-1, keepdim=True)
        ctx.save_for_backward(weight.div_(total), z, inverse)
        constant = math.log(loc.shape[-1]) + 0.5 * math.log(2 * math.pi)
        return constant - (top + total.log()).squeeze(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor]:
        """d/dloc = −r z / scale, d/dscale = r (1 − z^2) / scale, with r the responsibilities."""
        responsibility, z, inverse = ctx.saved_tensors
        share = (grads[0].unsqueeze(-1) * responsibility).mul_(inverse)
        by_loc = (share * z).neg_()
        return None, by_loc, torch.addcmul(share, by_loc, z)


def normal_mixture_nll(y: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """−log mean_c N(y; loc_c, scale_c), differentiable once in `loc` and `scale`, not in `y`.

    Args:
        y: [...].
        loc, scale: [..., C]; scale positive.

    Returns:
        [...], nats.
    """
    if loc.dtype in (torch.float16, torch.bfloat16):  # under autocast
        loc, scale = loc.float(), scale.float()
    nll: Tensor = _NormalMixtureNLL.apply(y, loc, scale)
    return nll
