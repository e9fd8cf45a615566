"""Energy homeostat: small rescales of a unit's mean towards its band (arXiv 2602.18250)."""

import torch
from torch import Tensor

_MAX_RATE = 0.5
_SMALLEST_ENERGY = 1e-12
_LARGEST_FACTOR = 50.0


def homeostat_factor(energy: Tensor, lower: Tensor, upper: Tensor, rate: float, max_step: float) -> Tensor:
    """Factor per unit for its row of W_mu, b_mu, [N]: (target / energy)^(eta / 2), clamped.

    The target is the bound for units outside, sqrt(lower * upper) inside; eta = min(.5, rate (1 + 2 out))
    with out the share of units outside.

    Args:
        energy, lower, upper: [N].
        rate: eta with every unit inside.
        max_step: >= 1; the factor stays in [1 / max_step, max_step].
    """
    below, above = energy < lower, energy > upper
    eta = (rate * (1.0 + 2.0 * (below | above).to(energy.dtype).mean())).clamp(max=_MAX_RATE)
    target = torch.where(below, lower, torch.where(above, upper, (lower * upper).sqrt()))
    ratio = target / energy.clamp(min=_SMALLEST_ENERGY)
    return ratio.pow(eta / 2).clamp(1.0 / max_step, max_step)


def balancing_factor(energy: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Factor per unit that brings its energy to the middle of its band, sqrt(lower * upper), in one step, [N]."""
    ratio = (lower * upper).sqrt() / energy.clamp(min=_SMALLEST_ENERGY)
    return ratio.sqrt().clamp(1.0 / _LARGEST_FACTOR, _LARGEST_FACTOR)
