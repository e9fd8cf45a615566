"""The root search behind `vdn_forecast.mixture.mixture_quantiles`: safeguarded Halley steps on the mixture's
CDF.

Rows are standardised first (mean 0, standard deviation 1), so that every tolerance is a share of the
mixture's standard deviation and the result follows an affine change of unit. The first steps are made for all
levels of all rows together; once most are done the pairs (level, row) that are left are gathered, for a few more
steps in the precision given and the rest (several modes, low density) in double precision.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from vdn_forecast._table_inverse import table_quantiles, worth_a_table

_CPU_ELEMENTS = 2**21  # elements of one temporary: 8 MB in float32; smaller pieces are slower
_GPU_ELEMENTS = 2**23  # 32 MB in float32
_ROW = 64  # mixtures side by side in a table
_SCALE_FLOOR = 1e-6  # in standard deviations: a narrower component is a step at the accuracy promised
_MARGIN = 1e-3  # widens the first bracket: it is a point when all components are equal
_WIDTH = 2e-6  # a bracket this narrow is a result
_MIN_DENSITY = 0.02  # below it float32's rounding of the CDF moves the root by more than 1e-5: finish in double
_DENSE_STEPS = 3  # of all pairs, before the first gathering,
_DENSE_SHARE = 0.7  # or until so many are done
_SINGLE_BLOCKS = (1, 1, 2)  # steps between two gatherings in the precision given,
_DOUBLE_BLOCKS = (4,) * 64  # then in double precision


class _Search(NamedTuple):
    """State of the search, each [Q, n] in standard deviations: point, bracket and size of the last step."""

    x: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    last: torch.Tensor


def _kernel_sums(
    x: torch.Tensor, loc: torch.Tensor, inverse: torch.Tensor, df: int | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sums over components of CDF, density and its slope; x [Q, n], loc, inverse scale [C, n] -> [Q, n]."""
    if df is None:
        inverse = inverse * math.sqrt(0.5)
        # [Q, C, n], in units of sqrt(2) scales; bounded, because exp(-z^2) in denormal numbers is several
        # times slower
        z = (x.unsqueeze(-2) - loc).mul_(inverse).clamp_(-6.5, 6.5)
        density = z.square().neg_().exp_().mul_(inverse)
        total = density.sum(-2).mul_(1 / math.sqrt(math.pi))
        slope = density.mul_(z).mul_(inverse).sum(-2).mul_(-2 / math.sqrt(math.pi))
        return torch.erf_(z).sum(-2).add_(loc.shape[0]).mul_(0.5), total, slope
    z = (x.unsqueeze(-2) - loc).mul_(inverse)
    # Student-t, by powers of cos^2 = df / (df + z^2) (Abramowitz and Stegun 26.7.3-4; see
    # mixture.component_cdf)
    odd = df % 2 == 1
    cos2 = z.square().add_(df).reciprocal_().mul_(df)
    cos = cos2.sqrt()
    sin = (z * cos).mul_(1 / math.sqrt(df))
    density = (cos2 ** ((df + 1) // 2)).mul_(inverse)
    if not odd:
        density.mul_(cos)
    slope = -(density * z).mul_(cos2).mul_(inverse).sum(-2).mul_((df + 1) / df)
    series = torch.ones_like(z)
    for top in range(df - 3, 1 if odd else 0, -2):
        series.mul_(cos2).mul_(top / (top + 1)).add_(1)
    term = series.mul_(sin)
    if odd:
        term.mul_(cos).add_(torch.atan(z.mul_(1 / math.sqrt(df)))).mul_(2 / math.pi)
    constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    return 0.5 * (term.sum(-2) + loc.shape[0]), density.sum(-2).mul_(constant), slope.mul_(constant)


def _steps(
    search: _Search,
    level: torch.Tensor,
    loc: torch.Tensor,
    inverse: torch.Tensor,
    df: int | None,
    count: int,
    precise: bool,
) -> tuple[_Search, torch.Tensor]:
    """At most `count` safeguarded Halley steps; level [Q, n or 1], loc, inverse [C, n] -> state, done."""
    x, low, high, last = search
    c = loc.shape[0]
    # Halley's error is about step^3 / s^2, s the narrowest scale: under 1e-6 when the step is under this
    small = 1e-2 * inverse.amax(0).pow(-2 / 3)  # [n]
    done = torch.zeros_like(x, dtype=torch.bool)
    for _ in range(count):
        cdf, density, slope = _kernel_sums(x, loc, inverse, df)
        gap = cdf - c * level
        below = gap < 0
        low, high = torch.where(below, x, low), torch.where(below, high, x)
        newton = gap / density
        step = newton / (1 - 0.5 * newton * slope / density).clamp_(0.5, 2.0)
        new = x - step
        # also false for the NaN or inf of a vanishing density
        good = (new >= low) & (new <= high) & (step.abs() <= 0.5 * last)
        new = torch.where(good, new, 0.5 * (low + high))
        converged = good & (step.abs() < small)
        if precise:
            converged |= high - low < _WIDTH
        else:
            converged &= density > _MIN_DENSITY * c  # the others wait for double precision
        last = (new - x).abs()
        x = torch.where(done, x, new)
        done |= converged
        if bool(done.all()):
            break
    return _Search(x, low, high, last), done


def _finish(
    start: _Search,
    search: _Search,
    todo: torch.Tensor,
    level: torch.Tensor,
    loc: torch.Tensor,
    inverse: torch.Tensor,
    df: int | None,
) -> torch.Tensor:
    """Finish the pairs in `todo` [Q, n] in blocks of steps over ever fewer of them; returns x [Q, n]."""
    x = search.x
    which, rows = todo.nonzero(as_tuple=True)  # K pairs
    pairs = _Search(*(part[which, rows].unsqueeze(0) for part in search))  # each [1, K]
    for block, steps in enumerate(_SINGLE_BLOCKS + _DOUBLE_BLOCKS):
        precise = block >= len(_SINGLE_BLOCKS)
        if block == len(_SINGLE_BLOCKS):
            # the bracket afresh: float32's rounding of the CDF may have put the root outside of it
            first = _Search(*(part[which, rows].unsqueeze(0) for part in start))
            pairs = _Search(*(part.double() for part in first._replace(x=pairs.x)))
        dtype = pairs.x.dtype
        pair_loc, pair_inverse = (part.index_select(1, rows).to(dtype) for part in (loc, inverse))  # [C, K]
        pair_level = level[which].T.to(dtype)  # [1, K]
        pairs, done = _steps(pairs, pair_level, pair_loc, pair_inverse, df, steps, precise)
        x[which, rows] = pairs.x[0].to(x.dtype)
        left = (~done[0]).nonzero().squeeze(1)
        if left.numel() == 0:
            break
        which, rows, pairs = which[left], rows[left], _Search(*(part[:, left] for part in pairs))
    return x


def _start(z: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int | None) -> _Search:
    """Moment-matched start and bracket; z [Q, 1] component quantiles, loc, scale [C, n] -> [Q, n]."""
    # F(min_c(loc_c) + min_c(s_c z)) <= level <= F(max_c(loc_c) + max_c(s_c z)): looser than the
    # componentwise bracket but without a temporary of [Q, C, n]
    narrow, wide = scale.amin(0), scale.amax(0)
    low = loc.amin(0) + torch.minimum(narrow * z, wide * z) - _MARGIN
    high = loc.amax(0) + torch.maximum(narrow * z, wide * z) + _MARGIN
    x = z / math.sqrt(1.0 if df is None else df / (df - 2))  # the standard deviation is 1
    if df is None:
        # Cornish-Fisher with the mixture's third and fourth moments, which are in closed form; bounded, as
        # the expansion is of use near the Normal only
        variance = scale.square()
        skew = (loc * (loc.square() + 3 * variance)).mean(0).clamp_(-1, 1)
        excess = ((loc.square() + 6 * variance) * loc.square() + 3 * variance.square()).mean(0).sub_(3).clamp_(-1, 1)
        x = x + (z**2 - 1) * (skew / 6) + (z**3 - 3 * z) * (excess / 24) - (2 * z**3 - 5 * z) * (skew**2 / 36)
    x = torch.minimum(torch.maximum(x, low), high)
    return _Search(x, low, high, torch.full_like(x, float("inf")))


def _search_rows(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor, scores: torch.Tensor, df: int | None
) -> torch.Tensor:
    """Quantiles of a chunk; loc, scale [n, C], sorted levels and their component quantiles [Q] -> [n, Q]."""
    centre = loc.mean(-1)  # [n]
    # components first: the inner, vectorised dimension is then the long one
    loc_t, scale_t = (loc - centre.unsqueeze(-1)).T.contiguous(), scale.T.contiguous()  # [C, n]
    unit = torch.maximum(loc_t.abs().amax(0), scale_t.amax(0))  # against under- and overflow of the squares
    within = 1.0 if df is None else df / (df - 2)
    std = unit * ((loc_t / unit).square().mean(0) + within * (scale_t / unit).square().mean(0)).sqrt()
    loc_t = loc_t / std
    scale_t = (scale_t / std).clamp_(min=_SCALE_FLOOR)
    inverse = scale_t.reciprocal()
    level = levels.unsqueeze(-1)  # [Q, 1], double
    start = _start(scores.to(loc.dtype).unsqueeze(-1), loc_t, scale_t, df)
    search = start
    for _ in range(_DENSE_STEPS):
        search, done = _steps(search, level.to(loc.dtype), loc_t, inverse, df, 1, precise=False)
        if int(done.sum()) > _DENSE_SHARE * done.numel():
            break
    x = search.x if bool(done.all()) else _finish(start, search, ~done, level, loc_t, inverse, df)
    # where the density vanishes rounding may swap neighbours
    x = torch.cummax(x, dim=0).values
    return x.mul_(std).add_(centre).T


def search_quantiles(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor, scores: torch.Tensor, df: int | None
) -> torch.Tensor:
    """Quantiles of many mixtures, in chunks of bounded memory.

    Args:
        loc: Locations, [rows, C].
        scale: Positive scales, [rows, C].
        levels: Sorted levels in (0, 1), double, [Q].
        scores: The standard component's quantiles at these levels, double, [Q].
        df: None for Normal components, else the Student-t's degrees of freedom.

    Returns:
        Quantiles, [rows, Q], dtype of `loc`.
    """
    n, c = loc.shape
    if not bool(worth_a_table(loc.T, levels, df).any()):
        return _searched(loc, scale, levels, scores, df)
    order = torch.arange(-(-n // _ROW) * _ROW, device=loc.device).clamp_(max=n - 1)  # the last row fills the last piece
    pieces = (part[order].view(-1, _ROW, c).transpose(1, 2).contiguous() for part in (loc, scale))
    return search_windows(next(pieces), next(pieces), levels, scores, df).view(-1, len(levels))[:n]


def search_windows(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor, scores: torch.Tensor, df: int | None
) -> torch.Tensor:
    """`search_quantiles` of [B, C, h], components in the middle: [B, h, Q]."""
    b, c, h = loc.shape
    tabled = worth_a_table(loc, levels, df)
    others = ~tabled
    out = loc.new_empty(b, h, len(levels))
    if bool(others.any()):
        rows = (part.transpose(1, 2).reshape(-1, c) for part in (loc, scale))
        out[..., others] = _searched(next(rows), next(rows), levels[others], scores[others], df).view(b, h, -1)
    if not bool(tabled.any()):
        return out
    out[..., tabled], good = table_quantiles(loc, scale, levels[tabled])
    window, step = (~good).nonzero(as_tuple=True)
    if len(window):
        rest = loc[window, :, step], scale[window, :, step]
        left = _searched(*rest, levels[tabled], scores[tabled], df)  # [rows, levels]
        out[window.unsqueeze(1), step.unsqueeze(1), tabled.nonzero().squeeze(1)] = left
    return torch.cummax(out, dim=-1).values  # neighbours found in two ways may differ by their errors


def _searched(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor, scores: torch.Tensor, df: int | None
) -> torch.Tensor:
    """By the search alone."""
    budget = _CPU_ELEMENTS if loc.device.type == "cpu" else _GPU_ELEMENTS
    step = max(1, budget // (loc.shape[-1] * len(levels)))
    out = loc.new_empty(loc.shape[0], len(levels))
    for start in range(0, loc.shape[0], step):
        piece = slice(start, start + step)
        out[piece] = _search_rows(loc[piece], scale[piece], levels, scores, df)
    return out
