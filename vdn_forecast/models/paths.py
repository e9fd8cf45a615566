"""Joint sample paths from a model's own mixture: one component for the whole path, correlated emission noise."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import special, stats

from .._compat import window_batches
from ..losses import LatentMixture
from .checks import without_gaps
from .path_noise import factor

if TYPE_CHECKING:
    from .base import VariationalModel


def simulate_paths(
    model: "VariationalModel",
    dataset: Any,
    n_paths: int,
    seed: int,
    fresh_latents: bool = False,
    **data_module_kwargs: Any,
) -> np.ndarray:
    """Paths whose marginals are predict's: y_t = loc_ct + scale_ct e_t with one component c a path.

    The components are those of predict's bank (a few latent samples that all windows share); e is normal noise with
    the correlation over the horizon that `noise_kernel` found, so every step keeps its marginal. With `fresh_latents`
    every path has latents of its own: richer paths, whose marginals are those of infinitely many latent samples.

    Returns:
        [n_series, n_paths, h].
    """
    if fresh_latents:
        return _fresh_paths(model, dataset, n_paths, seed)
    loc, scale = model.mixture_parameters(dataset, **data_module_kwargs)  # [n, h, C]
    loss = model.loss
    assert isinstance(loss, LatentMixture)
    root = factor(model.path_kernel, model.h)
    paths = np.empty((len(loc), n_paths, model.h), dtype=loc.dtype)
    for series, (mean, spread) in enumerate(zip(loc, scale, strict=True)):
        # one stream per series: neither other series nor batches change its paths
        paths[series] = mixture_paths(mean, spread, root, loss.df, n_paths, np.random.default_rng([seed, series]))
    return paths


@torch.no_grad()
def _fresh_paths(model: "VariationalModel", dataset: Any, n_paths: int, seed: int) -> np.ndarray:
    """A latent sample for every path, series by series: batches change nothing."""
    loss = model.loss
    assert isinstance(loss, LatentMixture)
    root, m = factor(model.path_kernel, model.h), loss.n_components
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
            samples = np.arange(n_paths) * (mean.shape[1] // m) // n_paths  # a twin has a single one
            if model.persistence is not None and model.persistence.share:
                rng.shuffle(samples)  # walks stand behind the latent samples
            component = samples * m + rng.integers(m, size=n_paths)
            paths.append(mixture_paths(mean, spread, root, loss.df, n_paths, rng, component))
    finally:
        model.path_noise = None
    return np.stack(paths).astype(np.float32)


def mixture_paths(
    loc: np.ndarray,
    scale: np.ndarray,
    root: np.ndarray,
    df: int | None,
    n_paths: int,
    rng: np.random.Generator,
    component: np.ndarray | None = None,
) -> np.ndarray:
    """Paths of one forecast: each draws one component and fresh noise.

    Args:
        loc, scale: [h, C] of the mixture's components.
        root: [h, h], a square root of the noise's correlation matrix.
        df: degrees of freedom of Student-t components; None for Normal ones.
        n_paths: how many.
        rng: source of the noise.
        component: which component each path keeps, [n_paths]; None draws them.

    Returns:
        [n_paths, h] in the unit of `loc`.
    """
    component = rng.integers(loc.shape[-1], size=n_paths) if component is None else component
    noise = rng.standard_normal((n_paths, len(loc))) @ root.T  # [n_paths, h]
    if df is not None:
        noise = stats.t.ppf(special.ndtr(noise), df)
    return np.asarray(loc[:, component].T + scale[:, component].T * noise)
