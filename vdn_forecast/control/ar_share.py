"""AR share: how much of the gradient on the units' means the AR term may have (arXiv 2602.18250)."""

import math

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vdn_forecast.neurons.checks import require_ordered, require_range

from .statistics import is_distributed

_TINY = 1e-12


class ARShare(nn.Module):
    """A weight w that keeps w |g_AR| / (w |g_AR| + |g_loss|) near a target and never above a cap.

    Norms of gradients on the posterior means, not values of losses: a likelihood has no zero that a share of it
    could refer to.

    Args:
        target: share aimed at, in [0, cap].
        cap: largest share, below 1.
        rate: of the moving average of log w, in (0, 1].

    Raises:
        ValueError: a bad argument, by name.
    """

    log_weight: Tensor  # 0-d
    share: Tensor  # the last one, 0-d
    updates: Tensor  # int64 0-d

    def __init__(self, target: float = 0.2, cap: float = 0.3, rate: float = 0.1) -> None:
        super().__init__()
        require_range("ar_share_cap", cap, 0.0, 1.0, open_low=True, open_high=True)
        require_range("ar_share", target, 0.0, open_low=True)
        require_ordered("ar_share", target, "ar_share_cap", cap)
        require_range("rate", rate, 0.0, 1.0, open_low=True)
        self.target, self.cap, self.rate = target, cap, rate
        self.register_buffer("log_weight", torch.zeros(()))
        self.register_buffer("share", torch.zeros(()))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    def weight(self) -> Tensor:
        """w, 0-d."""
        return self.log_weight.exp()

    @torch.no_grad()
    def update(self, loss_norm: Tensor, ar_norm: Tensor) -> None:
        """Move w after the norms of one batch, 0-d each; a batch without a gradient of either moves nothing."""
        norms = torch.stack([loss_norm, ar_norm])
        if is_distributed():
            dist.all_reduce(norms)
        ratio = norms[0] / norms[1].clamp(min=_TINY)
        known = (norms > _TINY).all() & norms.isfinite().all()
        wanted = torch.log(ratio.clamp(min=_TINY) * (self.target / (1 - self.target)))
        rate = torch.where(self.updates == 0, 1.0, self.rate)  # the first batch decides alone
        moved = self.log_weight + rate * (wanted - self.log_weight)
        moved = torch.minimum(moved, wanted + math.log(self.cap / (1 - self.cap) * (1 - self.target) / self.target))
        self.log_weight.copy_(torch.where(known, moved, self.log_weight))
        self.updates.add_(known)
        part = self.weight() * norms[1]
        self.share.copy_(torch.where(known, part / (part + norms[0]).clamp(min=_TINY), self.share))

    @torch.no_grad()
    def reset(self) -> None:
        """Begin a new fit: the weight stays, the next batch decides it anew."""
        self.updates.zero_()
