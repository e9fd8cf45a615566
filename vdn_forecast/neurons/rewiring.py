"""Learned edges: weak ones make room for those that would explain most of what the transition leaves over.

The idea of growing a sparse network where a dense one's gradient is largest is RigL's (arXiv 1911.11134); here both
sides are weighed in one unit, the KL's. Scores are computed for some rows at a time: no N x N table.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from .transitions import SparseTransition

_ROWS_AT_ONCE = 256


@torch.no_grad()
def rewire_(transition: SparseTransition, rest: Callable[[Tensor], Tensor], power: Tensor, swaps: int) -> Tensor:
    """Give every unit up to `swaps` better neighbours, in place; new edges start at weight 0.

    An edge's worth is what the KL would lose without it, A_ij^2 p_j; a candidate's what it would gain from it alone,
    E[r_i z_j]^2 / p_j, with p_j the second moment of z_j,t-1 (both up to 1 / 2 s_i^2, which all edges of a unit share).

    Args:
        transition: with edges.
        rest: of unit indices [n]: E[r_i,t z_j,t-1] for all j, [n, N], with r what the drift leaves over.
        power: p_j, [N].
        swaps: at most so many edges of a unit change.

    Returns:
        bool [N, degree], which edges were replaced.
    """
    _, edges = transition.weights()
    assert edges is not None
    raw = transition.raw_edges
    assert raw is not None
    n, degree = edges.shape
    swaps = min(swaps, degree, n - 1 - degree)
    replaced = torch.zeros_like(edges, dtype=torch.bool)
    if swaps < 1:
        return replaced
    power = power.clamp(min=1e-12)
    for rows in torch.arange(n, device=edges.device).split(_ROWS_AT_ONCE):
        known = transition.neighbours[rows]  # [n, degree]
        gain = rest(rows).square() / power
        gain.scatter_(1, known, -1.0).scatter_(1, rows.unsqueeze(1), -1.0)
        best = gain.topk(swaps, 1)
        worth = edges[rows].square() * power[known]
        weakest = worth.topk(swaps, 1, largest=False)  # the best candidate meets the weakest edge
        swap = best.values > weakest.values
        old = known.gather(1, weakest.indices)
        transition.neighbours[rows] = known.scatter(1, weakest.indices, torch.where(swap, best.indices, old))
        replaced[rows] = replaced[rows].scatter(1, weakest.indices, swap)
    raw.masked_fill_(replaced, 0.0)
    return replaced


@torch.no_grad()
def rest_of(mu: Tensor, variance: Tensor, transition: SparseTransition) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """(rest, power) of `rewire_` from posterior means [N, k, T, B] and variances that broadcast against them."""
    count = (mu.shape[2] - 1) * mu.shape[3]
    before = mu[:, :, :-1].flatten(1)
    left = (mu[:, :, 1:] - transition.drift(mu)[:, :, :-1]).flatten(1)
    power = before.square().sum(1) / count + variance.expand_as(mu)[:, :, :-1].sum((1, 2, 3)) / count
    return (lambda rows: left[rows] @ before.T / count), power


@torch.no_grad()
def forget_moments_(optimizer: Optimizer, parameter: Tensor, entries: Tensor) -> None:
    """Zero an optimiser's memory of some entries (bool, the parameter's shape): they now mean another edge."""
    for value in optimizer.state.get(parameter, {}).values():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            value.masked_fill_(entries, 0.0)
