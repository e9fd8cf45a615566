"""Orders that an ensemble of paths can be put into: independence, two of NeuralForecast's, an AR(1) copula."""

from collections.abc import Iterable

import numpy as np
import torch
from neuralforecast.utils import gaussian_copula_sample, schaake_shuffle_sample
from scipy import signal
from torch import Tensor

from vdn_forecast.evaluation.scores import ForecastBlock
from vdn_forecast.mixture import mixture_cdf

HOST = {"gaussian_copula": gaussian_copula_sample, "schaake_shuffle": schaake_shuffle_sample}
ORDERS = ("independent", *HOST, "ar1_residuals")
_EDGE = 1e-9  # of a probability


def reordered(paths: Tensor, order: Tensor) -> Tensor:
    """The numbers of `paths` at every step, in the order of `order` at that step: [W, m, h] each.

    Raises:
        ValueError: two shapes.
    """
    if paths.shape != order.shape:
        raise ValueError(f"paths have shape {tuple(paths.shape)}, their order {tuple(order.shape)}; give the same")
    ranks = order.argsort(dim=1, stable=True).argsort(1)
    return paths.sort(1).values.gather(1, ranks)


def host_order(method: str, histories: list[np.ndarray], m: int, h: int, seed: int) -> Tensor:
    """What NeuralForecast's sampler makes of uniform marginals, [W, m, h].

    Args:
        method: key of `HOST`.
        histories: of every window, all rows up to its origin: what `NeuralForecast.simulate` would read.
        m: paths.
        h: steps.
        seed: of its generator.
    """
    ends = torch.tensor([_EDGE, 1 - _EDGE], dtype=torch.float64)
    past = [torch.from_numpy(np.ascontiguousarray(rows)).double() for rows in histories]
    sampler = HOST[method]
    return sampler(ends, ends.expand(len(past), h, 2).contiguous(), past, n_paths=m, seed=seed)


def autoregressive_order(rho: np.ndarray, m: int, h: int, rng: np.random.Generator) -> Tensor:
    """AR(1) noise with one correlation per window [W]: [W, m, h]."""
    noise = [autoregressive_noise(rng.standard_normal((m, h)), float(each)) for each in rho]
    return torch.from_numpy(np.stack(noise))


def autoregressive_noise(innovations: np.ndarray, rho: float) -> np.ndarray:
    """Stationary AR(1) noise of unit variance along the last axis, from standard normal innovations."""
    scaled = innovations * np.sqrt(1 - rho**2)
    scaled[..., 0] = innovations[..., 0]
    return np.asarray(signal.lfilter([1.0], [1.0, -rho], scaled, axis=-1))


def residual_correlation(blocks: Iterable[ForecastBlock], n_series: int, df: int | None) -> np.ndarray:
    """Correlation of neighbouring steps' residuals per series, [n_series], inside [0, .999].

    Residuals are normal scores of where y lies in its forecast distribution, so that every step weighs the same.

    Args:
        blocks: of validation windows, with their mixtures.
        n_series: how many series.
        df: of the mixtures' components.
    """
    product, square = torch.zeros(2, n_series, dtype=torch.float64)
    for block in blocks:
        assert block.mixture is not None
        loc, scale = (parameter.double() for parameter in block.mixture)
        place = mixture_cdf(block.y.double(), loc, scale, df).clamp(_EDGE, 1 - _EDGE)
        score = torch.special.ndtri(place)  # [W, h]
        product.index_add_(0, block.series, (score[:, 1:] * score[:, :-1]).sum(1))
        square.index_add_(0, block.series, 0.5 * (score[:, 1:].square() + score[:, :-1].square()).sum(1))
    found: np.ndarray = (product / square.clamp(min=_EDGE)).numpy()
    return found.clip(0.0, 0.999)
