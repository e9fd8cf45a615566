"""Scores of very many Normal mixtures at once, for means over rolling windows and for validation."""

from __future__ import annotations

from typing import NamedTuple

import torch

from vdn_forecast._mixture_table import GRIDS, at_outcome, mixture_table, twentieths
from vdn_forecast.mixture import LEVELS_19, mixture_cdf, mixture_crps, mixture_log_prob, mixture_quantiles

_TABLE_CELLS = 150_000  # densities of one table: its forecasts times its nodes
_ROW = 64  # forecasts side by side
_TINY_DENSITY = 1e-30  # below it the logarithm is taken term by term


class MixtureScores(NamedTuple):
    """What `mixture_scores` returns, all in the unit of y.

    Attributes:
        crps: [B, h].
        nll: negative log-density at y, [B, h].
        cdf: at y, exact, [B, h].
        quantiles: at `LEVELS_19`, [B, h, 19]; None if not wanted.
    """

    crps: torch.Tensor
    nll: torch.Tensor
    cdf: torch.Tensor
    quantiles: torch.Tensor | None


@torch.no_grad()
def mixture_scores(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, quantiles: bool = True) -> MixtureScores:
    """CRPS, negative log-density, CDF and the 19 quantiles of many Normal mixtures; no gradient.

    Several times faster than `vdn_forecast.mixture`.

    Meant for means over many forecasts: mean CRPS and `crps19` agree with the exact functions to 4e-5 of the standard
    deviation, a single quantile has its probability to 2e-3. See `vdn_forecast._mixture_table`.

    Args:
        y: Observations, [B, h].
        loc: Locations, [B, C, h]: components in the middle.
        scale: Positive scales, [B, C, h].
        quantiles: Whether they are wanted.
    """
    done = _tabled(y, loc, scale, quantiles, *GRIDS[0])
    window, step = (~done.resolved).nonzero(as_tuple=True)
    if len(window):  # few, hence all at once
        rest = _of_few(y[window, step], loc[window, :, step], scale[window, :, step], quantiles, GRIDS[1:])
        done.fill((window, step), rest)
    return MixtureScores(*done[:3], None if done.quantiles is None else done.quantiles.permute(1, 2, 0))


class _Tabled(NamedTuple):
    crps: torch.Tensor
    nll: torch.Tensor
    cdf: torch.Tensor
    quantiles: torch.Tensor | None  # levels first
    resolved: torch.Tensor

    def fill(self, where: tuple[torch.Tensor, ...], found: _Tabled) -> None:
        """Put in what was found for the forecasts at these indices."""
        self.crps[where], self.nll[where], self.cdf[where] = found.crps, found.nll, found.cdf
        if self.quantiles is not None and found.quantiles is not None:
            for every, some in zip(self.quantiles, found.quantiles, strict=True):
                every[where] = some


def _tabled(
    y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, quantiles: bool, nodes: int, reach: float
) -> _Tabled:
    """Scores from one grid, in pieces; y [B, h], loc, scale [B, C, h]."""
    b, _, h = loc.shape
    crps, nll, cdf = torch.empty_like(y), torch.empty_like(y), torch.empty_like(y)
    found = loc.new_empty(len(LEVELS_19), b, h) if quantiles else None
    resolved = torch.empty_like(y, dtype=torch.bool)
    rows = max(1, _TABLE_CELLS // (nodes * h))
    for start in range(0, b, rows):
        part = slice(start, start + rows)
        table = mixture_table(loc[part], scale[part], nodes, reach)
        far, density, cdf[part] = at_outcome(y[part], loc[part], scale[part])
        crps[part] = far - (table.spread * table.std).view(-1, h)
        nll[part] = -density.log()
        if found is not None:
            found[:, part] = twentieths(table).view(len(LEVELS_19), -1, h)
        resolved[part] = table.resolved.view(-1, h) & (density > _TINY_DENSITY)
    return _Tabled(crps, nll, cdf, found, resolved)


def _of_few(
    y: torch.Tensor,
    loc: torch.Tensor,
    scale: torch.Tensor,
    quantiles: bool,
    grids: tuple[tuple[int, float], ...],
) -> _Tabled:
    """What a grid left, y [n], loc, scale [n, C]: from the finer ones, at last by the exact functions."""
    if not grids:
        crps, density = mixture_crps(y, loc, scale), mixture_log_prob(y, loc, scale)
        found = mixture_quantiles(loc, scale, LEVELS_19).T if quantiles else None
        return _Tabled(crps, -density, mixture_cdf(y, loc, scale), found, torch.ones_like(y, dtype=torch.bool))
    n = len(y)
    # the last forecast fills the last row
    row = torch.arange(-(-n // _ROW) * _ROW, device=y.device).clamp_(max=n - 1).view(-1, _ROW)
    rows = (part[row].transpose(1, 2).contiguous() for part in (loc, scale))  # [B, C, h]
    tabled = _tabled(y[row], next(rows), next(rows), quantiles, *grids[0])
    done = _Tabled(*(None if part is None else part.flatten(-2)[..., :n] for part in tabled))  # type: ignore[arg-type]
    left = (~done.resolved).nonzero().squeeze(1)
    if len(left):
        done.fill((left,), _of_few(y[left], loc[left], scale[left], quantiles, grids[1:]))
    return done
