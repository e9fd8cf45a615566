"""One pass over windows: what the units do, how sure every forecast is, and how wrong it was."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from .._compat import window_batches
from ..losses import LatentMixture
from ..mixture import LEVELS_19, component_variance, crps_from_quantiles, mixture_cdf
from ..models import VariationalModel
from ..models.observing import WINDOWS_PER_BATCH, UnitPass, watching
from ..models.unit_figures import UnitFigures
from ..neurons import UnitState
from .measures import quantiles19
from .targets import Sight

PIT_BINS = 20
SCORES = ("kl", "sigma", "between", "within", "width")


@dataclass(frozen=True, eq=False)
class Scored:
    """What one pass found.

    Attributes:
        figures: of the units.
        windows: per window: series, origin (rows between it and the series' end), scale, the scores of `SCORES` in the
            window's unit, and where the loss is a `LatentMixture` crps19 and mse in the unit of y.
        calibration: kind "reliability" (level, share of outcomes at or below the quantile) and "pit" (upper edge of a
            bin, share of outcomes in it); empty for another loss.
    """

    figures: UnitFigures
    windows: pd.DataFrame
    calibration: pd.DataFrame


def score_windows(model: VariationalModel, sight: Sight, max_windows: int | None) -> Scored:
    """Look at windows of a dataset; `sight.of(model)` must be open."""
    indices = sight.indices(model, max_windows)
    units = UnitPass(model, len(sight.rows))
    parts: list[pd.DataFrame] = []
    hits, pits, observed = np.zeros(len(LEVELS_19)), np.zeros(PIT_BINS), 0
    with watching(model) as states:
        for batch in window_batches(model, sight.dataset, sight.step, WINDOWS_PER_BATCH, indices):
            states.clear()
            raw = model(batch["windows_batch"])
            units.add(states, batch["series"])
            part = _internal(states)
            if isinstance(model.loss, LatentMixture):
                loc, scale = model.loss.scale_decouple(
                    model.loss.domain_map(raw), loc=batch["loc"], scale=batch["scale"]
                )[:2]
                loc, scale = loc.squeeze(2), scale.squeeze(2)  # [W, h, C]
                y, seen = batch["y"].squeeze(-1), batch["mask"].squeeze(-1) > 0  # [W, h]
                y = torch.where(seen, y, 0.0)
                quantiles = quantiles19(y, loc, scale, model.loss.df)
                unit = torch.ones_like(y[:, 0]) if batch["scale"] is None else batch["scale"].flatten(1)[:, 0]
                part |= {"scale": unit} | _errors(y, seen, loc, quantiles)
                part |= _widths(loc, scale, quantiles, model.loss, unit)
                hits += ((y.unsqueeze(-1) <= quantiles) & seen.unsqueeze(-1)).sum((0, 1)).cpu().numpy()
                cdf = mixture_cdf(y, loc, scale, model.loss.df)[seen].clamp(0, 1)
                pits += torch.histc(cdf.double().cpu(), PIT_BINS, 0, 1).numpy()
                observed += int(seen.sum())
            series = batch["series"].cpu().numpy()
            frame = {name: values.double().cpu().numpy() for name, values in part.items()}
            end = sight.rows[series] - (batch["start"].cpu().numpy() + model.input_size)
            parts.append(pd.DataFrame({"series": sight.series[series], "origin": end, **frame}))
    windows = pd.concat(parts, ignore_index=True).dropna(axis=1, how="all")
    return Scored(units.figures(), windows, _calibration(hits, pits, observed))


def _internal(states: list[UnitState]) -> dict[str, Tensor]:
    """Sum of the units' KL and their mean sigma, per window; nothing of a twin."""
    if any(state.kl is None or state.log_sigma is None for state in states):
        return {}
    kl, sigma = [], []
    for state in states:
        assert state.kl is not None
        assert state.log_sigma is not None
        kl.append(state.kl.sum(-1))
        sigma.append(state.log_sigma.exp().expand(state.mu.shape).flatten(1).mean(-1))
    return {"kl": torch.stack(kl).sum(0), "sigma": torch.stack(sigma).mean(0)}


def _errors(y: Tensor, seen: Tensor, loc: Tensor, quantiles: Tensor) -> dict[str, Tensor]:
    """Means over the observed steps of the horizon, NaN without one."""
    count = seen.sum(1)
    values = {"crps19": crps_from_quantiles(y, quantiles, LEVELS_19), "mse": (y - loc.mean(-1)).square()}
    return {name: torch.where(seen, value, 0.0).sum(1) / count for name, value in values.items()}


def _widths(loc: Tensor, scale: Tensor, quantiles: Tensor, loss: LatentMixture, unit: Tensor) -> dict[str, Tensor]:
    """In the window's unit: spread of the samples' locations, spread within a sample, and the 90 % interval.

    Both spreads are standard deviations, of variances averaged over steps (and samples). A single sample has no spread
    between samples.
    """
    by_sample, spread = (part.unflatten(-1, (-1, loss.n_components)) for part in (loc, scale))  # [W, h, S, M]
    within = (component_variance(loss.df) * spread.square() + by_sample.square()).mean(-1) - by_sample.mean(-1).square()
    found = {
        "within": within.mean((1, 2)).clamp(min=0).sqrt() / unit,
        "width": (quantiles[..., -1] - quantiles[..., 0]).mean(1) / unit,
    }
    if by_sample.shape[2] > 1:
        found["between"] = by_sample.mean(-1).var(-1, correction=0).mean(1).sqrt() / unit
    return found


def _calibration(hits: np.ndarray, pits: np.ndarray, observed: int) -> pd.DataFrame:
    columns = ["kind", "level", "share"]
    if not observed:
        return pd.DataFrame(columns=columns)
    edges = np.arange(1, PIT_BINS + 1) / PIT_BINS
    rows = [("reliability", float(level), hit / observed) for level, hit in zip(LEVELS_19, hits, strict=True)]
    rows += [("pit", float(edge), count / observed) for edge, count in zip(edges, pits, strict=True)]
    return pd.DataFrame(rows, columns=columns)
