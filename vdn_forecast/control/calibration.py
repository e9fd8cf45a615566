"""Online calibration: the whole band follows quantiles of the energies (arXiv 2602.18250)."""

import torch
from torch import Tensor

_LOW_QUANTILE, _HIGH_QUANTILE = 0.2, 0.9
_KEEP = 0.7
_SCALE_RANGE = (0.02, 5.0)
_SMALLEST_GAP = 1.05  # scale_high / scale_low


def calibrated_scales(
    energy: Tensor, lower: Tensor, upper: Tensor, scale_low: Tensor, scale_high: Tensor
) -> tuple[Tensor, Tensor]:
    """New factors (0-d) of the nominal lower and upper bounds: s <- s^.7 Q^.3, then clamped.

    Q is the 20 % (lower) or 90 % (upper) quantile over units of energy / nominal bound.

    Args:
        energy, lower, upper: [N], the bounds nominal.
        scale_low, scale_high: 0-d, the present factors.
    """
    low = scale_low**_KEEP * torch.quantile(energy / lower, _LOW_QUANTILE) ** (1 - _KEEP)
    high = scale_high**_KEEP * torch.quantile(energy / upper, _HIGH_QUANTILE) ** (1 - _KEEP)
    low, high = low.clamp(*_SCALE_RANGE), high.clamp(*_SCALE_RANGE)
    return low, torch.maximum(high, _SMALLEST_GAP * low)
