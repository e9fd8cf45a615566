"""Joint sample paths from a model's own mixture: one component for the whole path, AR(1) emission noise."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import signal, special, stats
from torch import Tensor

from .._compat import window_batches
from ..losses import LatentMixture
from ..mixture import component_cdf, component_log_prob
from .checks import without_gaps

if TYPE_CHECKING:
    from .base import VariationalModel

CORRELATIONS = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.96)


def simulate_paths(
    model: "VariationalModel",
    dataset: Any,
    n_paths: int,
    seed: int,
    fresh_latents: bool = False,
    **data_module_kwargs: Any,
) -> np.ndarray:
    """Paths whose marginals are predict's: y_t = loc_ct + scale_ct e_t with one component c a path.

    The components are those of predict's bank (a few latent samples that all windows share); e is a stationary AR(1)
    with the correlation that `noise_correlation` found, so every step keeps its marginal. With `fresh_latents` every
    path has latents of its own: richer paths, whose marginals are those of infinitely many latent samples.

    Returns:
        [n_series, n_paths, h].
    """
    if fresh_latents:
        return _fresh_paths(model, dataset, n_paths, seed)
    loc, scale = model.mixture_parameters(dataset, **data_module_kwargs)  # [n, h, C]
    loss = model.loss
    assert isinstance(loss, LatentMixture)
    rho = float(model.path_correlation)
    paths = np.empty((len(loc), n_paths, model.h), dtype=loc.dtype)
    for series, (mean, spread) in enumerate(zip(loc, scale, strict=True)):
        # one stream per series: neither other series nor batches change its paths
        paths[series] = mixture_paths(mean, spread, rho, loss.df, n_paths, np.random.default_rng([seed, series]))
    return paths


@torch.no_grad()
def _fresh_paths(model: "VariationalModel", dataset: Any, n_paths: int, seed: int) -> np.ndarray:
    """A latent sample for every path, series by series: batches change nothing."""
    loss = model.loss
    assert isinstance(loss, LatentMixture)
    rho, m = float(model.path_correlation), loss.n_components
    paths = []
    try:
        for batch in window_batches(model, without_gaps(dataset), "predict", batch_size=1):
            key = [seed, int(batch["series"][0])]
            generator = torch.Generator(device=model.device).manual_seed(
                int(np.random.default_rng(key).integers(2**62))
            )
            model.path_noise = n_paths, generator
            output = loss.domain_map(model(batch["windows_batch"]))
            loc, scale = loss.scale_decouple(output=output, loc=batch["loc"], scale=batch["scale"])[:2]
            rng = np.random.default_rng([*key, 1])
            mean, spread = (each[0, :, 0].double().cpu().numpy() for each in (loc, scale))  # [h, S M]
            samples = np.arange(n_paths) % (mean.shape[1] // m)  # a twin has a single one
            component = samples * m + rng.integers(m, size=n_paths)
            paths.append(mixture_paths(mean, spread, rho, loss.df, n_paths, rng, component))
    finally:
        model.path_noise = None
    return np.stack(paths).astype(np.float32)


def mixture_paths(
    loc: np.ndarray,
    scale: np.ndarray,
    rho: float,
    df: int | None,
    n_paths: int,
    rng: np.random.Generator,
    component: np.ndarray | None = None,
) -> np.ndarray:
    """Paths of one forecast: each draws one component and fresh AR(1) noise.

    Args:
        loc, scale: [h, C] of the mixture's components.
        rho: correlation of neighbouring steps' noise.
        df: degrees of freedom of Student-t components; None for Normal ones.
        n_paths: how many.
        rng: source of the noise.
        component: which component each path keeps, [n_paths]; None draws them.

    Returns:
        [n_paths, h] in the unit of `loc`.
    """
    component = rng.integers(loc.shape[-1], size=n_paths) if component is None else component
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
