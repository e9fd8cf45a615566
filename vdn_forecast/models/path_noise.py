"""How the emission noise of a sample path goes together over the horizon: a mixture of correlation kernels."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from scipy import optimize
from torch import Tensor

from ..losses import LatentMixture
from ..mixture import component_cdf, component_log_prob

DECAYS = tuple(2.0**power for power in range(9))  # steps: exp(-|s - t| / decay), AR(1) noise
GROWTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # (s / t)^growth for s < t: .5 is a random walk's
N_KERNELS = 2 + len(DECAYS) + len(GROWTHS)
_LARGEST = 3.0  # of a normal score: an outlier says little about correlation
_ROUNDS = 4
_NUGGET = 1e-3  # keeps the likelihood of smooth kernels finite
_MOST = 2**24  # scores kept
_ALL_STEPS = 128  # a horizon up to this is read whole


def white() -> Tensor:
    """Weights of noise that is independent from step to step, [N_KERNELS]."""
    return torch.nn.functional.one_hot(torch.tensor(0), N_KERNELS).float()


def nearest(rho: float) -> Tensor:
    """Weights of the AR(1) kernel whose correlation at one step is nearest to `rho`, or of white noise."""
    steps = np.array([0.0, *(math.exp(-1 / decay) for decay in DECAYS)])
    return torch.eye(N_KERNELS)[int(np.abs(steps - rho).argmin())]


def kernels(t: np.ndarray) -> np.ndarray:
    """White noise, AR(1) of several ranges, growing errors of several speeds, a constant, at steps t = 1 .. [n].

    Returns:
        [N_KERNELS, n, n].
    """
    apart, ratio = np.abs(t[:, None] - t), np.minimum(t[:, None], t) / np.maximum(t[:, None], t)
    slow = [np.exp(-apart / decay) for decay in DECAYS]
    return np.stack([np.eye(len(t)), *slow, *(ratio**growth for growth in GROWTHS), np.ones_like(apart)])


def correlation(weights: Tensor, h: int) -> np.ndarray:
    """The correlation matrix [h, h] of the weighted kernels."""
    share = weights.double().cpu().numpy()
    matrix: np.ndarray = np.tensordot(share / share.sum(), kernels(np.arange(1.0, h + 1)), 1)
    return matrix


def factor(weights: Tensor, h: int) -> np.ndarray:
    """A square root [h, h] of `correlation`: rows of `normal @ factor.T` have it. Works for singular matrices too."""
    values, vectors = np.linalg.eigh(correlation(weights, h))
    root: np.ndarray = vectors * np.sqrt(values.clip(0.0))
    return root


@torch.no_grad()
def noise_kernel(batches: Iterable[tuple[Tensor, Tensor, Tensor, Tensor]], loss: LatentMixture) -> Tensor:
    """Kernel weights of the emission noise on given windows.

    A few rounds of expectation and maximisation: which component a whole window came from under the present
    correlation, then the kernels nearest to the correlation of the components' normal scores, cut at three standard
    deviations. The first round takes the steps as independent. Of a long horizon all early steps are looked at and,
    ever farther apart, some of the later ones.

    Args:
        batches: tuples of y [W, h], mask [W, h], loc [W, h, C], scale [W, h, C].
        loss: for its base density.

    Returns:
        [N_KERNELS], sum 1; white noise where no window is complete.
    """
    scores, alone, kept = [], [], 0
    for batch in batches:
        y, mask, loc, scale = (tensor.float().cpu() for tensor in batch)
        whole = (mask > 0).all(1)
        if not bool(whole.any()):
            continue
        steps = looked_at(y.shape[1])
        y, loc, scale = y[whole][:, steps], loc[whole][:, steps], scale[whole][:, steps]
        noise = (y.unsqueeze(-1) - loc) / scale  # [W, h, C]
        score = noise
        if loss.df is not None:
            score = torch.special.ndtri(component_cdf(noise.double(), loss.df).clamp(1e-9, 1 - 1e-9)).float()
        scores.append(score.transpose(1, 2))
        # a Gaussian copula: the marginals' density times that of correlated relative to independent normal scores
        alone.append((component_log_prob(noise, loss.df) - scale.log() + 0.5 * score.square()).sum(1))  # [W, C]
        kept += scores[-1].numel()
        if kept > _MOST:
            break
    if not scores or scores[0].shape[2] < 2:
        return white()
    every, density = torch.cat(scores), torch.cat(alone)
    known = kernels(steps + 1.0)
    weights = white()
    for _ in range(_ROUNDS):
        weights = _nearest_kernels(_scatter(every, density, np.tensordot(weights.double().numpy(), known, 1)), known)
    return weights


def looked_at(h: int) -> np.ndarray:
    """Steps of the horizon that `noise_kernel` reads, from 0, at most 128."""
    if h <= _ALL_STEPS:
        return np.arange(h)
    early = _ALL_STEPS // 2
    return np.unique(np.append(np.arange(early), np.geomspace(early, h - 1, early).round().astype(int)))


def _scatter(score: Tensor, alone: Tensor, matrix: np.ndarray) -> np.ndarray:
    """Correlation [h, h] of the scores [W, C, h], each component weighing what it explains of its window."""
    h = score.shape[2]
    root = torch.linalg.cholesky(torch.from_numpy(matrix) + _NUGGET * torch.eye(h, dtype=torch.float64))
    whitening = torch.linalg.inv(root).float()
    distance = (score @ whitening.T).square_().sum(2)  # [W, C]
    responsibility = torch.softmax(alone - 0.5 * distance, 1)
    near = score.clamp(-_LARGEST, _LARGEST)
    weighted = (near * responsibility.sqrt().unsqueeze(2)).flatten(0, 1)  # [W C, h]
    moments = (weighted.T @ weighted).double().numpy()
    size = np.sqrt(np.diag(moments).clip(1e-12))
    found: np.ndarray = moments / size[:, None] / size
    return found


def _nearest_kernels(matrix: np.ndarray, known: np.ndarray) -> Tensor:
    """Weights >= 0, sum 1, whose kernels are nearest to a correlation matrix (least squares, from normal equations)."""
    flat = known.reshape(len(known), -1)
    gram, target = flat @ flat.T, flat @ matrix.ravel()
    root = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) * np.eye(len(gram)))
    heavy = 1e3 * math.sqrt(gram.max())  # a row that holds the sum at 1
    sides = np.vstack([root.T, np.full(len(gram), heavy)])
    share, _ = optimize.nnls(sides, np.append(np.linalg.solve(root, target), heavy))
    return torch.from_numpy(share / share.sum()).float()
