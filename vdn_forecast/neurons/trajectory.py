"""KL of a factorised posterior over trajectories to a transition, in closed form, and the prior rolled forward.

    KL_i,t = ln(s/sigma_t) + [sigma_t^2 + (mu_t - phi mu_t-1 - sum_j A_j mu_j,t-1)^2 + phi^2 sigma_t-1^2
             + sum_j A_j^2 sigma_j,t-1^2] / (2 s^2) - 1/2

No latent is sampled. A factorised posterior cannot follow an AR(1) prior for nothing: whatever it does, n steps cost a
unit at least `committed_rate` nats (after delta-VAE, arXiv 1901.03416).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .prior import kl_standard
from .transitions import SparseTransition, Transition


def trajectory_kl(mu: Tensor, log_sigma: Tensor, transition: Transition) -> Tensor:
    """KL per unit, patch and window, nats, summed over k: [N, T, B].

    Args:
        mu: posterior means, [N, k, T, B].
        log_sigma: log posterior scales, [N, k, T, B] or [N, k, 1, 1].
        transition: the prior.
    """
    log_initial = transition.initial_log_scale.view(*mu.shape[:2], 1, 1)
    first = kl_standard(mu[:, :, :1] * torch.exp(-log_initial), log_sigma[:, :, :1] - log_initial)
    if mu.shape[2] == 1:
        return first.sum(1)
    log_s = transition.log_scale.view(*mu.shape[:2], 1, 1)
    residual = mu[:, :, 1:] - transition.drift(mu[:, :, :-1])
    later, earlier = (log_sigma, log_sigma) if log_sigma.shape[2] == 1 else (log_sigma[:, :, 1:], log_sigma[:, :, :-1])
    passed_on = transition.drift_variance(torch.exp(2.0 * earlier))
    precision = torch.exp(-2.0 * log_s)
    rest = kl_standard(residual * precision.sqrt(), later - log_s) + 0.5 * precision * passed_on
    return torch.cat([first, rest], 2).sum(1)


def committed_rate(n_steps: int, phi: float, ratio: float | None = None) -> float:
    """What a factorised posterior pays at least against an AR(1) prior without neighbours, nats.

    1/2 [(n - 2) ln(1 + phi^2) + ln(1 + phi^2 v_1 / s^2)], with v_1 = s^2 / (1 - phi^2) (the second logarithm is then
    -ln(1 - phi^2)) unless told otherwise. The least is reached by posterior variances alone, the means at zero.

    Args:
        n_steps: n >= 2.
        phi: memory, inside (-1, 1).
        ratio: v_1 / s^2; None for the stationary one.
    """
    ratio = 1.0 / (1.0 - phi**2) if ratio is None else ratio
    return 0.5 * ((n_steps - 2) * math.log1p(phi**2) + math.log1p(phi**2 * ratio))


@dataclass(frozen=True)
class ContextMoments:
    """Second moments of contexts a_t = (c_t, 1), means over windows of sums over patches, [D + 1, D + 1] each.

    Where posterior means are linear in the context and scales do not depend on it, the KL's mean over windows needs
    nothing else: its cost does then not grow with windows x patches x units.

    Attributes:
        n_patches: T.
        first: of a_1.
        later: of a_2 .. a_T.
        earlier: of a_1 .. a_T-1.
        cross: a_t a_t-1', t = 2 .. T.
    """

    n_patches: int
    first: Tensor
    later: Tensor
    earlier: Tensor
    cross: Tensor

    @classmethod
    def of(cls, context: Tensor) -> "ContextMoments":
        """Of contexts [B, T, D]."""
        b, t, _ = context.shape
        a = torch.cat([context, context.new_ones(b, t, 1)], -1)
        scale = 1.0 / b
        first, last = a[:, 0], a[:, -1]
        flat = a.flatten(0, 1)
        everything = flat.T @ flat
        of_first = first.T @ first
        cross = a[:, 1:].flatten(0, 1).T @ a[:, :-1].flatten(0, 1)
        later, earlier = everything - of_first, everything - last.T @ last
        return cls(t, of_first * scale, later * scale, earlier * scale, cross * scale)


def moment_kl(
    weight: Tensor, log_sigma: Tensor, moments: ContextMoments, transition: Transition
) -> tuple[Tensor, Tensor]:
    """Mean over windows of the KL, summed over patches and k, and of the energy: two [N].

    The same as `trajectory_kl` for mu_t = weight (c_t, 1) and scales without a context.

    Args:
        weight: [N, k, D + 1], the bias last.
        log_sigma: [N, k].
        moments: of the contexts.
        transition: the prior.
    """
    log_initial = transition.initial_log_scale
    of_first = _quadratic(weight, moments.first, weight)  # [N, k]
    energy = of_first + _quadratic(weight, moments.later, weight)
    kl = 0.5 * of_first * torch.exp(-2.0 * log_initial) + _scale_part(log_sigma - log_initial)
    steps = moments.n_patches - 1
    if steps:
        log_s = transition.log_scale
        moved = transition.drift(weight)
        residual = (
            energy
            - of_first
            - 2.0 * _quadratic(weight, moments.cross, moved)
            + _quadratic(moved, moments.earlier, moved)
        )
        passed_on = transition.drift_variance(torch.exp(2.0 * log_sigma))
        precision = torch.exp(-2.0 * log_s)
        kl = kl + 0.5 * precision * (residual + steps * passed_on) + steps * _scale_part(log_sigma - log_s)
    return kl.sum(1), energy.mean(1) / moments.n_patches


def _quadratic(left: Tensor, moment: Tensor, right: Tensor) -> Tensor:
    """left' moment right for every unit and latent, [N, k]."""
    return ((left @ moment) * right).sum(-1)


def _scale_part(log_ratio: Tensor) -> Tensor:
    """(r^2 - 1) / 2 - ln r, exact near r = 1."""
    return 0.5 * torch.expm1(2.0 * log_ratio) - log_ratio


def roll_forward(z: Tensor, eps: Tensor, transition: Transition) -> Tensor:
    """Latents of the coming patches, [N, k, J, S, B].

    Args:
        z: latents now, [N, k, S, B].
        eps: standard normal numbers, [N, k, J, S, B or 1]; no gradient.
        transition: the prior; a deterministic one adds no noise.
    """
    if transition.deterministic:
        scale, eps = z.new_ones(z.shape[:2]), torch.zeros_like(eps)
    else:
        scale = torch.exp(transition.log_scale).to(z.dtype)
    if isinstance(transition, SparseTransition) and transition.raw_edges is None:
        steps: Tensor = _Scan.apply(z, transition.memory().to(z.dtype), scale, eps)
        return steps
    noise = eps * scale.view(*z.shape[:2], 1, 1, 1)
    path, move = [], transition.mover()
    for step in noise.unbind(2):
        z = move(z) + step
        path.append(z)
    return torch.stack(path, 2)


class _Scan(torch.autograd.Function):
    """z_j = phi z_j-1 + s eps_j: two operations a step while it is in the cache, in either direction, and no graph."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, phi: Tensor, scale: Tensor, eps: Tensor) -> Tensor:
        """z [N, k, S, B], phi [N], scale [N, k], eps [N, k, J, S, B or 1] -> [N, k, J, S, B]."""
        factor, width = phi.view(-1, 1, 1, 1), scale[..., None, None]
        out = z.new_empty(*z.shape[:2], eps.shape[2], *z.shape[2:])
        before = z
        for noise, step in zip(eps.unbind(2), out.unbind(2), strict=True):
            step.copy_(noise)
            before = step.mul_(width).addcmul_(factor, before)
        ctx.save_for_backward(z, factor, eps, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """The same recursion backwards gives each latent's whole gradient; the rest are inner products with it."""
        z, factor, eps, out = ctx.saved_tensors
        total, by_phi, by_scale = (torch.zeros_like(z, memory_format=torch.contiguous_format) for _ in range(3))
        steps = zip(grads[0].unbind(2), (z, *out.unbind(2)[:-1]), eps.unbind(2), strict=True)
        for given, before, noise in reversed(list(steps)):
            total.mul_(factor).add_(given)
            by_phi.addcmul_(total, before)
            by_scale.addcmul_(total, noise)
        return factor * total, by_phi.sum((1, 2, 3)), by_scale.sum((2, 3)), None
