"""Quantiles of wide Normal mixtures from a table: what `search_quantiles` tries first where components are many.

A table of `vdn_forecast._mixture_table` knows CDF, density and the density's slope at its nodes to the accuracy of the
sinc series. Between two nodes they make a quintic, whose error goes with the sixth power of the grid's step over the
narrowest scale, and Newton's steps on it invert it. One exponential per node and component takes the place of an
exponential and an error function per level, component and step of a search. Mixtures with a component too narrow for
the grid, and those whose density nearly vanishes at a quantile, are left to the search.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vdn_forecast._mixture_table import mixture_table, node_step

_NODES, _REACH = 49, 9.0
_TAIL = 4.5  # scales of a component that must lie within the reach: what is beyond them is under 4e-6
_COARSE = 0.58  # limit of the grid's step where a component lies, over its scale: the accuracy promised follows from it
_MIN_DENSITY = 0.03  # at a quantile, per standard deviation: below it rounding of the CDF moves it by more than 1e-5
_LEVELS = (0.04, 0.96)  # beyond them the density of a Normal is too near to that
_MIN_COMPONENTS = 24  # fewer are found faster by the search
_CELLS = 150_000  # of one table: fits the second-level cache
_NEWTON_STEPS = 2


def worth_a_table(loc: Tensor, levels: Tensor, df: int | None) -> Tensor:
    """For which levels a table is of use, [Q] bool; loc [..., C, h]."""
    inside = (levels >= _LEVELS[0]) & (levels <= _LEVELS[1])
    return inside & (df is None and loc.dtype == torch.float32 and loc.shape[-2] >= _MIN_COMPONENTS)


def table_quantiles(loc: Tensor, scale: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles to 1e-5 of the mixture's standard deviation.

    Args:
        loc, scale: [B, C, h].
        levels: sorted, double, [Q].

    Returns:
        [B, h, Q], and where they are to be had, [B, h] bool.
    """
    b, _, h = loc.shape
    found, good = loc.new_empty(b, h, len(levels)), torch.empty(b, h, dtype=torch.bool, device=loc.device)
    rows = max(1, _CELLS // (_NODES * h))
    for start in range(0, b, rows):
        piece = slice(start, start + rows)
        x, dense = _inverse(loc[piece], scale[piece], levels.to(loc.dtype))
        found[piece], good[piece] = x.view(-1, h, len(levels)), dense.view(-1, h) & _wide(loc[piece], scale[piece])
    return found, good


def _wide(loc: Tensor, scale: Tensor) -> Tensor:
    """Whether the grid resolves every component, [B, h] bool; loc, scale [B, C, h]."""
    loc = loc - loc.mean(1, keepdim=True)
    variance = torch.addcmul(loc.square(), scale, scale).mean(1, keepdim=True)
    # the grid's step at a component is step * sqrt(1 + loc^2), in standard deviations
    ratio = (loc.square() + variance).div_(scale.square()).amax(1)
    outermost = torch.add(loc.abs_(), scale, alpha=_TAIL).amax(1)
    fine = ratio < (_COARSE / node_step(_NODES, _REACH)) ** 2
    return fine & (outermost < _REACH * variance.squeeze(1).sqrt())


def _inverse(loc: Tensor, scale: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """Quantiles [n, Q] of [B, C, h] and whether the density is high at all of them, [n]."""
    table = mixture_table(loc, scale, _NODES, _REACH)
    grid, n = table.grid, table.cdf.shape[1]
    cdf = table.cdf.T.contiguous()  # [n, K]
    left = torch.searchsorted(cdf, level.expand(n, -1).contiguous()).sub_(1).clamp_(0, _NODES - 2)  # [n, Q]
    width = grid.width[left]
    first = left.T.mul(n).add_(torch.arange(n, device=cdf.device)).int().reshape(-1)  # [Q n], into [K, n]
    places = (first, first + n)  # of an interval's ends
    width = width.T.contiguous()

    def at(values: Tensor, end: int) -> Tensor:
        return values.reshape(-1).index_select(0, places[end]).view(-1, n)

    bend = grid.slope @ table.density
    start, end = at(table.cdf, 0), at(table.cdf, 1)
    rise = (end - start).clamp_(min=1e-9)
    per = width / rise
    a, b = at(table.density, 0).mul_(per), at(table.density, 1).mul_(per)
    per = per * width
    p, q = at(bend, 0).mul_(per).mul_(0.5), at(bend, 1).mul_(per).mul_(0.5)
    # a u + p u^2 + third u^3 + fourth u^4 + fifth u^5 rises from 0 to 1 with slopes a, b and bends 2 p, 2 q
    third = torch.add(q, a, alpha=-6).sub_(b, alpha=4).sub_(p, alpha=3).add_(10)
    fourth = torch.mul(a, 8).add_(b, alpha=7).add_(p, alpha=3).sub_(q, alpha=2).sub_(15)
    fifth = torch.sub(q, p).sub_(a, alpha=3).sub_(b, alpha=3).add_(6)
    share = torch.sub(level.unsqueeze(1), start).div_(rise).clamp_(0, 1)
    u = share.clone()
    for _ in range(_NEWTON_STEPS):  # Horner's scheme of the quintic and, beside it, of its slope
        value = torch.addcmul(fourth, fifth, u)
        slope = torch.addcmul(value, fifth, u)
        for coefficient in (third, p, a):
            value = torch.addcmul(coefficient, value, u)
            slope = torch.addcmul(value, slope, u)
        u.sub_(value.mul_(u).sub_(share).div_(slope.clamp_(min=0.1))).clamp_(0, 1)
    dense = ((end - start) > _MIN_DENSITY * width).all(0) & table.resolved
    x = torch.addcmul(grid.x[left].T, width, u)
    return torch.addcmul(table.centre, x, table.std).T, dense
