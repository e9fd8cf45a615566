"""Equal-weight mixtures of C location-scale components: plain torch, no NeuralForecast.

Everywhere `loc` and `scale` have shape [..., C] (components last) and the unit of the target; `df=None`
means Normal components, `df` in `STUDENT_DFS` means Student-t components with that many degrees of freedom,
for which the CDF is elementary (torch has none). No function draws samples. The search for quantiles is in
`vdn_forecast._quantile_search`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy import special

from vdn_forecast._quantile_search import search_quantiles, search_windows

STUDENT_DFS = (3, 4, 5, 7, 10)
"""Degrees of freedom with an elementary CDF that are offered (all have a finite variance)."""

LEVELS_19 = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""The levels .05, .10, ..., .95 of `crps19`."""

_PAIR_NODES = 16  # Gauss-Jacobi nodes of `mixture_crps_quadrature`: error under 4e-5 of the scale for every df
_CHUNK_ELEMENTS = 2**18  # elements of one temporary: fits the CPU's cache, which is faster than larger pieces


def check_df(df: int | None) -> None:
    """Raise ValueError unless `df` is None or one of `STUDENT_DFS`."""
    if df is not None and (isinstance(df, bool) or df not in STUDENT_DFS):
        raise ValueError(f"df must be None (Normal) or one of {STUDENT_DFS}, got {df!r}.")


def component_variance(df: int | None) -> float:
    """Variance of the standard component: 1 for Normal, df / (df - 2) for Student-t."""
    return 1.0 if df is None else df / (df - 2)


def component_cdf(x: torch.Tensor, df: int | None = None) -> torch.Tensor:
    """CDF of the standard Normal or Student-t, elementwise.

    Student-t by Abramowitz and Stegun (1964), 26.7.3 (odd df) and 26.7.4 (even df). Absolute error within a
    few ulp of 1; the Student-t's lower tail has no better *relative* accuracy than that.

    Args:
        x: Standardised values, any shape.
        df: None for Normal, or one of `STUDENT_DFS`.

    Returns:
        Probabilities, the shape of `x`.

    Raises:
        ValueError: If `df` is not offered.
    """
    check_df(df)
    if df is None:
        return torch.special.ndtr(x)
    cos2 = df / (df + x * x)
    sin = x / torch.sqrt(df + x * x)
    odd = df % 2 == 1
    series = torch.ones_like(x)
    # Horner over cos^2: odd 1 + 2/3 cos^2 + 2*4/(3*5) cos^4 + ..; even 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ..
    for top in range(df - 3, 1 if odd else 0, -2):
        series = 1 + cos2 * (top / (top + 1)) * series
    if odd:
        return 0.5 + (torch.atan(x / math.sqrt(df)) + sin * torch.sqrt(cos2) * series) / math.pi
    return 0.5 + 0.5 * sin * series


def component_log_prob(x: torch.Tensor, df: int | None = None) -> torch.Tensor:
    """Log-density of the standard Normal or Student-t, elementwise; the shape of `x`."""
    check_df(df)
    if df is None:
        return -0.5 * x * x - 0.5 * math.log(2 * math.pi)
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    return constant - 0.5 * (df + 1) * torch.log1p(x * x / df)


def log_prob_by_component(
    y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int | None = None
) -> torch.Tensor:
    """Log-density of y [...] under each component: [..., C]."""
    return component_log_prob((y.unsqueeze(-1) - loc) / scale, df) - torch.log(scale)


def mixture_cdf(x: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int | None = None) -> torch.Tensor:
    """CDF of the mixture at x [...]: [...]."""
    return component_cdf((x.unsqueeze(-1) - loc) / scale, df).mean(-1)


def mixture_log_prob(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int | None = None) -> torch.Tensor:
    """Log-density of the mixture at y [...]: log mean_c p_c(y), [...]."""
    return torch.logsumexp(log_prob_by_component(y, loc, scale, df), dim=-1) - math.log(loc.shape[-1])


def mixture_mean(loc: torch.Tensor) -> torch.Tensor:
    """Mean of the mixture: [...]."""
    return loc.mean(-1)


def mixture_variance(loc: torch.Tensor, scale: torch.Tensor, df: int | None = None) -> torch.Tensor:
    """Variance of the mixture, within plus between components: [...]."""
    check_df(df)
    return component_variance(df) * scale.square().mean(-1) + loc.var(-1, correction=0)


@torch.no_grad()
def mixture_quantiles(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor | Sequence[float], df: int | None = None
) -> torch.Tensor:
    """Quantiles of the mixture by a bracketed root search on its CDF; no gradient.

    Accurate to 1e-5 of the mixture's standard deviation (plus the rounding of the dtype), monotone in the
    level.

    Args:
        loc: Locations, [..., C].
        scale: Positive scales, [..., C].
        levels: Q levels strictly between 0 and 1, in any order.
        df: None for Normal, or one of `STUDENT_DFS`.

    Returns:
        Quantiles in the unit and dtype of `loc`, [..., Q], in the order of `levels`.

    Raises:
        ValueError: If `df` is not offered, a level is outside (0, 1) or the shapes of `loc` and `scale`
            differ.
    """
    unique, scores, order = _sorted_levels(loc, scale, levels, df)
    rows = (part.reshape(-1, loc.shape[-1]) for part in (loc, scale))
    found = search_quantiles(next(rows), next(rows), unique, scores, df)  # [rows, unique levels]
    return found[:, order].reshape(*loc.shape[:-1], len(order))


@torch.no_grad()
def window_quantiles(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor | Sequence[float], df: int | None = None
) -> torch.Tensor:
    """`mixture_quantiles` of loc, scale [B, C, h], the components in the middle as a network gives them: [B, h, Q]."""
    unique, scores, order = _sorted_levels(loc, scale, levels, df)
    return search_windows(loc, scale, unique, scores, df)[..., order]


def _sorted_levels(
    loc: torch.Tensor, scale: torch.Tensor, levels: torch.Tensor | Sequence[float], df: int | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Distinct levels in order, the standard component's quantiles there, and where each of `levels` is among them."""
    check_df(df)
    if loc.shape != scale.shape:
        raise ValueError(f"loc and scale must have one shape, got {tuple(loc.shape)} and {tuple(scale.shape)}.")
    wanted = np.asarray(levels.detach().cpu() if isinstance(levels, torch.Tensor) else levels, dtype=np.float64)
    if wanted.ndim != 1 or wanted.size == 0 or not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(f"levels must be a list of numbers strictly between 0 and 1, got {levels!r}.")
    unique, inverse = np.unique(wanted, return_inverse=True)
    scores = special.ndtri(unique) if df is None else special.stdtrit(df, unique)
    first, second, third = (torch.as_tensor(part, device=loc.device) for part in (unique, scores, inverse))
    return first, second, third


def _absolute_error(x: torch.Tensor, df: int | None) -> torch.Tensor:
    """E|T - x|, T the standard component (Grimit et al. 2006; Student-t: Jordan et al. 2019), elementwise."""
    if df is None:
        density = torch.exp(-0.5 * x * x) * math.sqrt(2 / math.pi)
        return density + x * torch.erf(x * math.sqrt(0.5))
    density = torch.exp(component_log_prob(x, df))
    return x * (2 * component_cdf(x, df) - 1) + 2 * density * (df + x * x) / (df - 1)


def _row_chunks(rows: int, row_elements: int) -> Iterator[slice]:
    """Slices of at most `_CHUNK_ELEMENTS` elements, at least one row each."""
    step = max(1, _CHUNK_ELEMENTS // max(1, row_elements))
    return (slice(start, start + step) for start in range(0, rows, step))


def _crps_rows(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Closed-form CRPS of Normal mixtures; y [n], loc, scale [C, n] -> [n]."""
    c = loc.shape[0]
    accuracy = (scale * _absolute_error((y - loc) / scale, None)).mean(0)
    # E|X_c - X_c'| of a component with itself is 2 s / sqrt(pi); the pairs c < d count twice.
    spread = scale.sum(0) * (2 / math.sqrt(math.pi))
    if c > 1:
        first, second = torch.triu_indices(c, c, offset=1, device=loc.device)
        # [pairs, n]; index_select's gradient is cheaper than indexing's
        gap = loc.index_select(0, first) - loc.index_select(0, second)
        # hypot: no underflow for tiny scales
        width = torch.hypot(scale.index_select(0, first), scale.index_select(0, second))
        spread = spread + 2 * (width * _absolute_error(gap / width, None)).sum(0)
    return accuracy - spread / (2 * c * c)


def mixture_crps(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """CRPS of an equal-weight mixture of Normals in closed form; differentiable.

    Grimit, Gneiting, Berrocal and Johnson (2006), eq. 5: mean_c A(y - loc_c, s_c^2)
    - 1/(2 C^2) sum_cd A(loc_c - loc_d, s_c^2 + s_d^2), with A(m, v) = E|N(m, v)|.

    Args:
        y: Observations, [...].
        loc: Locations, [..., C].
        scale: Positive scales, [..., C].

    Returns:
        CRPS in the unit of `y`, [...].
    """
    shape, c = loc.shape[:-1], loc.shape[-1]
    # components first: the inner, vectorised dimension is then the long one
    flat_y = y.expand(shape).reshape(-1)
    loc_t, scale_t = loc.reshape(-1, c).T.contiguous(), scale.expand_as(loc).reshape(-1, c).T.contiguous()
    if torch.is_grad_enabled() and (y.requires_grad or loc.requires_grad or scale.requires_grad):
        return _crps_rows(flat_y, loc_t, scale_t).reshape(shape)
    rows = flat_y.numel()
    parts = [
        _crps_rows(flat_y[piece], loc_t[:, piece], scale_t[:, piece]) for piece in _row_chunks(rows, c * (c - 1) // 2)
    ]
    return torch.cat(parts).reshape(shape) if parts else torch.empty(shape, dtype=y.dtype, device=y.device)


@torch.no_grad()
def mixture_crps_quadrature(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int) -> torch.Tensor:
    """CRPS of an equal-weight mixture of Student-t components, to 1e-4 of the scale; no gradient.

    CRPS = E|X - y| - E|X - X'|/2 (Gneiting and Raftery 2007). The first term is in closed form. Of the
    second, a pair of components is E_T[A(loc_d + s_d T)], where A is the closed form of the *wider*
    component and T the standard Student-t: a smooth function however unequal the scales are. With T =
    sqrt(df) u / sqrt(1 - u^2) it becomes an integral over u in (-1, 1) with weight (1 - u^2)^((df - 3)/2):
    Gauss-Jacobi. Costs C^2 evaluations per row.

    Args:
        y: Observations, [...].
        loc: Locations, [..., C].
        scale: Positive scales, [..., C].
        df: One of `STUDENT_DFS`.

    Returns:
        CRPS in the unit of `y`, [...].

    Raises:
        ValueError: If `df` is not offered.
    """
    check_df(df)
    shape, c = loc.shape[:-1], loc.shape[-1]
    nodes, weights = special.roots_jacobi(_PAIR_NODES, (df - 3) / 2, (df - 3) / 2)
    constant = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(math.pi)
    t_nodes = [math.sqrt(df) * u / math.sqrt(1 - u * u) for u in nodes]
    t_weights = [constant * w * math.sqrt(1 - u * u) for u, w in zip(nodes, weights, strict=True)]
    first, second = torch.triu_indices(c, c, device=loc.device)  # c <= d
    multiplicity = torch.where(first == second, 1.0, 2.0).to(loc.dtype).unsqueeze(-1)  # [pairs, 1]
    flat_y = y.expand(shape).reshape(-1)
    result = torch.empty_like(flat_y)
    for piece in _row_chunks(flat_y.numel(), len(first)):
        loc_t, scale_t = loc.reshape(-1, c)[piece].T, scale.reshape(-1, c)[piece].T  # [C, n]
        accuracy = (scale_t * _absolute_error((flat_y[piece] - loc_t) / scale_t, df)).mean(0)
        wide = torch.maximum(scale_t[first], scale_t[second])  # [pairs, n]
        ratio = torch.minimum(scale_t[first], scale_t[second]) / wide
        gap = (loc_t[first] - loc_t[second]) / wide  # its sign does not matter: T is symmetric
        pairs = torch.zeros_like(gap)
        for node, weight in zip(t_nodes, t_weights, strict=True):
            pairs += weight * _absolute_error(gap + ratio * node, df)
        result[piece] = accuracy - (multiplicity * wide * pairs).sum(0) / (2 * c * c)
    return result.reshape(shape)


def crps_from_quantiles(
    y: torch.Tensor, quantiles: torch.Tensor, levels: torch.Tensor | Sequence[float]
) -> torch.Tensor:
    """Mean over the levels of twice the pinball loss; `crps19` when the levels are `LEVELS_19`.

    Args:
        y: Observations, [...].
        quantiles: Forecast quantiles, [..., Q].
        levels: The Q levels.

    Returns:
        Score in the unit of `y`, [...].

    Raises:
        ValueError: If the number of levels is not Q.
    """
    q = torch.as_tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    if q.shape != quantiles.shape[-1:]:
        raise ValueError(f"levels must hold {quantiles.shape[-1]} numbers, one per quantile, got {tuple(q.shape)}.")
    error = y.unsqueeze(-1) - quantiles
    return 2 * torch.maximum(q * error, (q - 1) * error).mean(-1)
