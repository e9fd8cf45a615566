"""One change of a learned graph during training, the same in every process."""

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from ..control.statistics import is_distributed
from ..neurons import SparseTransition, TrajectoryLayer, forget_moments_, rest_of, rewire_

SWAP_SHARE = 4  # one in so many edges of a unit may change at a time


@torch.no_grad()
def rewire(layer: TrajectoryLayer, context: Tensor, optimizer: Optimizer) -> None:
    """Let weak edges of a layer's transition make room for better ones.

    Args:
        layer: whose transition has a learned graph.
        context: of some training windows, [B, T, D].
        optimizer: its memory of replaced edges is zeroed.
    """
    transition = layer.transition
    if not isinstance(transition, SparseTransition) or transition.raw_edges is None or context.shape[1] < 2:
        return
    mode = layer.training
    mu, log_sigma = layer.eval().posterior(context)  # batch norm with its running statistics
    layer.train(mode)
    variance = torch.zeros_like(mu) if log_sigma is None else torch.exp(2.0 * log_sigma).expand_as(mu)  # [B, T, N, k]
    rest, power = rest_of(mu.permute(2, 3, 1, 0), variance.permute(2, 3, 1, 0), transition)

    def over_processes(rows: Tensor) -> Tensor:
        found = rest(rows)
        if is_distributed():
            dist.all_reduce(found)
        return found

    if is_distributed():
        dist.all_reduce(power)
    swaps = max(1, transition.neighbours.shape[1] // SWAP_SHARE)
    forget_moments_(optimizer, transition.raw_edges, rewire_(transition, over_processes, power, swaps))
