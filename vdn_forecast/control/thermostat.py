"""KL thermostat: one KL weight per unit keeps its KL in a zone (arXiv 2602.18250, 2004.05988)."""

import math

import torch
from torch import Tensor

# a unit whose KL vanishes on more than 95 % of windows is freed at once
ALIVE_FLOOR = 0.05
_EMERGENCY = 0.5
# no unit's weight may leave [1/4, 4] of the mean weight
_MAX_RATIO = 4.0


def thermostat_error(kl: Tensor, alive: Tensor, kl_min: float, kl_max: float) -> Tensor:
    """Signed distance of each unit's KL to its zone, nats, [N]; positive raises the weight.

    Args:
        kl: effective KL per unit, nats, [N].
        alive: share of windows in which the unit's KL is not zero, [N]; under 5 % |error| + .5 is taken off.
        kl_min: lower edge, nats per unit.
        kl_max: upper edge.
    """
    error = (kl - kl_max).clamp(min=0) + (kl - kl_min).clamp(max=0)
    return torch.where(alive < ALIVE_FLOOR, error - error.abs() - _EMERGENCY, error)


def clamp_log_weights(log_weight: Tensor, bounds: tuple[float, float]) -> Tensor:
    """log beta [N] with beta inside `bounds`, then within [1/4, 4] of the mean of the bounded weights."""
    weight = log_weight.exp().clamp(*bounds)
    mean = weight.mean()
    return torch.maximum(torch.minimum(weight, _MAX_RATIO * mean), mean / _MAX_RATIO).log()


def thermostat_step(
    integral: Tensor, error: Tensor, rate: float, gain: float, bounds: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """One PI step on log beta: new (integral, log weight), [N] each.

    With `gain` 0 this is the paper's log beta += rate * error, clamped. Anti-windup: the integral stays
    inside the bounds and stands still where the output is already beyond one and the error pushes further
    (ControlVAE).
    """
    output = integral + gain * error
    low, high = (math.log(bound) for bound in bounds)
    pushed_out = ((output > high) & (error > 0)) | ((output < low) & (error < 0))
    moved = torch.where(pushed_out, integral, integral + rate * error)
    return clamp_log_weights(moved, bounds), clamp_log_weights(moved + gain * error, bounds)
