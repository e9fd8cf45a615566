"""Batch statistics of units, summed over processes, and their moving averages."""

import torch
import torch.distributed as dist
from torch import Tensor

from vdn_forecast.neurons import UnitState, energy

# a window counts as informative for a unit above this KL, nats (protocols, `eve-paper`)
ALIVE_KL = 1e-4


def is_distributed() -> bool:
    """Whether several processes share the batch."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def count_windows(state: UnitState, weights: Tensor | None) -> Tensor:
    """How many windows count, 0-d."""
    if weights is None:
        # filled on the device: copying a number there would synchronise
        return state.mu.new_full((), state.mu.shape[0])
    return (weights > 0).sum().to(state.mu.dtype)


def sum_windows(values: Tensor, weights: Tensor | None) -> Tensor:
    """[B, N] -> [N], over the windows that count; what the others hold (NaN too) is never read."""
    if weights is None:
        return values.sum(0)
    return torch.where((weights > 0).unsqueeze(-1), values, 0.0).sum(0)


@torch.no_grad()
def batch_sums(state: UnitState, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sums over windows of KL, energy and [KL > 1e-4], [3, N], and the number of windows, over all processes.

    A deterministic layer has a KL of 0. A state that has only means over windows counts all of them or none of them
    as alive.
    """
    count = count_windows(state, weights)
    if state.mean_kl is not None and state.mean_energy is not None:
        alive = (state.mean_kl > ALIVE_KL).to(state.mean_kl.dtype)  # for all windows alike
        sums = torch.stack([state.mean_kl, state.mean_energy, alive]) * count
    else:
        kl = state.kl if state.kl is not None else torch.zeros_like(state.activation[:, 0])  # [B, N]
        sums = torch.stack(
            [
                sum_windows(kl, weights),
                energy(state.mu, weights) * count,
                sum_windows((kl > ALIVE_KL).to(kl.dtype), weights),
            ]
        )  # [3, N]
    if is_distributed():
        packed = torch.cat([sums.flatten(), count.unsqueeze(0)])  # one message
        dist.all_reduce(packed)
        sums, count = packed[:-1].view_as(sums), packed[-1]
    return sums, count


def blend_(average: Tensor, value: Tensor, rate: float, updates: Tensor, valid: Tensor | None = None) -> None:
    """Move an EMA towards `value`, in place; the first update takes the value itself.

    Args:
        average: [N].
        value: [N]; entries that are not finite leave their average alone.
        rate: in (0, 1].
        updates: 0-d, how many updates came before (not advanced here).
        valid: 0-d bool, False skips the update; None for always.
    """
    step = torch.where(updates == 0, 1.0, rate).to(average.dtype)
    if valid is not None:
        step = step * valid
    average.lerp_(torch.where(value.isfinite(), value, average).to(average.dtype), step)
