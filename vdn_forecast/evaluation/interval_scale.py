"""One factor per horizon step that stretches central intervals about their median, fitted on validation."""

import math

import torch
from torch import Tensor

from .scores import ForecastBlock

LEVELS = (80, 90)
_LOWEST, _HIGHEST, _BINS = 0.02, 50.0, 1024  # a bin is 0.8 % wide, and its position is interpolated


class IntervalScale:
    """Collects how far intervals would have to be stretched to reach what happened; keeps counts only.

    A window's stretch at a level is the factor at which the interval's end just meets y. One factor per step serves
    both levels: the one under which the two coverages are .85 on average, that is the .85 quantile of both levels'
    stretches together. What remains apart from .80 and .90 afterwards is a matter of the distribution's shape.

    Args:
        h: horizon.
    """

    def __init__(self, h: int) -> None:
        self.counts = torch.zeros(h, _BINS, dtype=torch.float64)

    def update(self, block: ForecastBlock) -> None:
        """Add the windows of one block, all series alike.

        Raises:
            ValueError: a point forecast.
        """
        h = len(self.counts)
        for level in LEVELS:
            low, median, high = block.interval(level)
            above = block.y - median
            reach = torch.where(above >= 0, high - median, median - low)
            stretch = (above.abs() / reach).nan_to_num(nan=0.0, posinf=_HIGHEST)  # 0 / 0: a constant met exactly
            place = (stretch.clamp(_LOWEST, _HIGHEST) / _LOWEST).log() / math.log(_HIGHEST / _LOWEST)
            number = (place * _BINS).long().clamp(max=_BINS - 1) + _BINS * torch.arange(h)  # [W, h]
            self.counts += torch.bincount(number.flatten(), minlength=h * _BINS).reshape(h, _BINS)

    def factors(self) -> Tensor:
        """[h] factors between 0.02 and 50; 1 is an interval that is right as it is.

        Raises:
            ValueError: no window was added.
        """
        total = self.counts.sum(1, keepdim=True)
        if not bool((total > 0).all()):
            raise ValueError("no validation window; a factor needs some")
        share = self.counts.cumsum(1) / total
        wanted = sum(LEVELS) / len(LEVELS) / 100
        at = torch.searchsorted(share, torch.full_like(total, wanted)).clamp(max=_BINS - 1)  # [h, 1]
        before = torch.where(at > 0, share.gather(1, (at - 1).clamp(min=0)), torch.zeros_like(total))
        inside = ((wanted - before) / (share.gather(1, at) - before).clamp(min=1e-12)).clamp(0, 1)
        place = (at + inside).squeeze(1) / _BINS
        return (_LOWEST * (_HIGHEST / _LOWEST) ** place).float()
