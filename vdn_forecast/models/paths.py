"""Joint sample paths from a model's own mixture: one component for the whole path, AR(1) emission noise."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import signal, special, stats
from torch import Tensor

from ..losses import LatentMixture
from ..mixture import component_cdf, component_log_prob

if TYPE_CHECKING:
    from .base import VariationalModel

CORRELATIONS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96)


def simulate_paths(
    model: "VariationalModel", dataset: Any, n_paths: int, seed: int, **data_module_kwargs: Any
) -> np.ndarray:
    """Paths whose marginals are predict's: y_t = loc_ct + scale_ct e_t with one component c a path.

    The components are those of predict's bank; e is a stationary AR(1) with the correlation that
    `noise_correlation` found, so every step keeps its marginal.

    Returns:
        [n_series, n_paths, h].
    """
    loc, scale = model.mixture_parameters(dataset, **data_module_kwargs)  # [n, h, C]
    loss = model.loss
    assert isinstance(loss, LatentMixture)
    rho = float(model.path_correlation)
    paths = np.empty((len(loc), n_paths, model.h), dtype=loc.dtype)
    for series, (mean, spread) in enumerate(zip(loc, scale, strict=True)):
        # one stream per series: neither other series nor batches change its paths
        paths[series] = mixture_paths(mean, spread, rho, loss.df, n_paths, np.random.default_rng([seed, series]))
    return paths


def mixture_paths(
    loc: np.ndarray, scale: np.ndarray, rho: float, df: int | None, n_paths: int, rng: np.random.Generator
) -> np.ndarray:
    """Paths of one forecast: each draws one component and fresh AR(1) noise.

    Args:
        loc, scale: [h, C] of the mixture's components.
        rho: correlation of neighbouring steps' noise.
        df: degrees of freedom of Student-t components; None for Normal ones.
        n_paths: how many.
        rng: source of the noise.

    Returns:
        [n_paths, h] in the unit of `loc`.
    """
    component = rng.integers(loc.shape[-1], size=n_paths)
    noise = autoregressive_noise(rng.standard_normal((n_paths, len(loc))), rho)
    if df is not None:
        noise = stats.t.ppf(special.ndtr(noise), df)
    return np.asarray(loc[:, component].T + scale[:, component].T * noise)


def autoregressive_noise(innovations: np.ndarray, rho: float) -> np.ndarray:
    """Stationary AR(1) noise of unit variance along the last axis, from standard normal innovations."""
    scaled = innovations * np.sqrt(1 - rho**2)
    scaled[..., 0] = innovations[..., 0]
    return np.asarray(signal.lfilter([1.0], [1.0, -rho], scaled, axis=-1))


@torch.no_grad()
def noise_correlation(batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]], loss: LatentMixture) -> float:
    """The AR(1) correlation of the emission noise with the highest joint likelihood on given windows.

    The likelihood of a window is the mean over components of the whole path's density.

    Args:
        batches: tuples of y [W, h], mask [W, h], loc [W, h, C], scale [W, h, C].
        loss: for its base density.

    Returns:
        One of `CORRELATIONS`; 0 where no window is complete.
    """
    totals = torch.zeros(len(CORRELATIONS), dtype=torch.float64)
    for batch in batches:
        y, mask, loc, scale = (tensor.float().cpu() for tensor in batch)
        whole = (mask > 0).all(1)
        if not bool(whole.any()) or y.shape[1] < 2:
            continue
        y, loc, scale = y[whole], loc[whole], scale[whole]
        noise = (y.unsqueeze(-1) - loc) / scale  # [W, h, C]
        marginal = component_log_prob(noise, loss.df)  # of every step alone, up to the scale
        if loss.df is not None:
            uniform = component_cdf(noise.double(), loss.df).clamp(1e-9, 1 - 1e-9)
            noise = torch.special.ndtri(uniform).float()
        # a Gaussian copula: the marginals' density times that of correlated relative to independent normal scores
        alone = (marginal - scale.log() + 0.5 * noise.square()).sum(1)  # [W, C]
        first = -0.5 * noise[:, 0].square()
        for i, rho in enumerate(CORRELATIONS):
            steps = (noise[:, 1:] - rho * noise[:, :-1]).square() / (1 - rho**2)
            path = alone + first - 0.5 * steps.sum(1) - 0.5 * (y.shape[1] - 1) * math.log(1 - rho**2)
            totals[i] += torch.logsumexp(path, -1).double().sum()
    return CORRELATIONS[int(totals.argmax())] if bool(totals.any()) else 0.0
