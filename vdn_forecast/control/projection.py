"""Projection: units outside their band go to its nearest bound in one step (arXiv 2602.18250)."""

import torch
from torch import Tensor

_MAX_FACTOR = 50.0
_SMALLEST_ENERGY = 1e-12


def projection_factor(energy: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Factor per unit for its row of W_mu, b_mu, [N]: sqrt(bound / energy) outside, 1 inside."""
    bound = torch.minimum(torch.maximum(energy, lower), upper)
    factor = (bound / energy.clamp(min=_SMALLEST_ENERGY)).sqrt().clamp(1.0 / _MAX_FACTOR, _MAX_FACTOR)
    return torch.where((energy < lower) | (energy > upper), factor, 1.0)
