"""Negative log-likelihood of a Normal mixture with its gradient in closed form: the hot path of training."""

import math
from typing import Any

import torch
import torch.nn.functional as F
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


class _RawMixtureNLL(torch.autograd.Function):
    """The same from a head's raw outputs: softplus, base and both gradients in one place, h innermost throughout."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, raw: Tensor, scale_floor: float) -> Tensor:
        """y [B, h], raw [B, S, 2, M, h] -> [B, h]."""
        loc, raw_scale = raw[:, :, 0], raw[:, :, 1]  # [B, S, M, h]
        inverse = F.softplus(raw_scale).add_(scale_floor).reciprocal_()
        z = torch.sub(y[:, None, None], loc).mul_(inverse)
        log_density = inverse.log().addcmul_(z, z, value=-0.5)
        top = log_density.amax((1, 2), keepdim=True)  # [B, 1, 1, h]
        weight = log_density.sub_(top).exp_()
        total = weight.sum((1, 2), keepdim=True)
        ctx.save_for_backward(weight.div_(total), z, inverse, raw_scale)
        constant = math.log(raw.shape[1] * raw.shape[3]) + 0.5 * math.log(2 * math.pi)
        return constant - (top + total.log_())[:, 0, 0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        """As `_NormalMixtureNLL`, d/draw_scale times softplus' slope; d/dy is minus the sum of d/dloc."""
        responsibility, z, inverse, raw_scale = ctx.saved_tensors
        b, s, m, h = z.shape
        share = (responsibility * grads[0][:, None, None]).mul_(inverse)
        grad = z.new_empty(b, s, 2, m, h)
        by_loc = torch.mul(share, z).neg_()  # not straight into `grad`: a sum over its strides is slow
        grad[:, :, 0] = by_loc
        torch.addcmul(share, by_loc, z, out=grad[:, :, 1]).mul_(raw_scale.sigmoid())
        by_y = by_loc.sum((1, 2)).neg_() if ctx.needs_input_grad[0] else None
        return by_y, grad, None  # type: ignore


def raw_mixture_nll(y: Tensor, raw: Tensor, scale_floor: float) -> Tensor:
    """−log mean over s, m of N(y; loc, softplus(raw scale) + scale_floor), differentiable once in `y` and `raw`.

    Args:
        y: [B, h].
        raw: [B, S, 2, M, h], locations and raw scales.
        scale_floor: positive.

    Returns:
        [B, h], nats.
    """
    if raw.dtype in (torch.float16, torch.bfloat16):  # under autocast
        y, raw = y.float(), raw.float()
    nll: Tensor = _RawMixtureNLL.apply(y, raw, scale_floor)
    return nll


def with_background(nll: Tensor, background: float) -> Tensor:
    """−log(p + background) from nll = −log p, any shape: no observation costs more than −log(background)."""
    if background == 0:
        return nll
    return -torch.logaddexp(-nll, nll.new_tensor(math.log(background)))
