"""Sigma guard: free log sigma parameters stay in bounds, dead units get a small push (arXiv 2602.18250)."""

import math

import torch
from torch import Tensor

from vdn_forecast.neurons import VariationalLayer

from .thermostat import ALIVE_FLOOR


@torch.no_grad()
def guard_sigma_(layer: VariationalLayer, alive: Tensor, floor: float, ceil: float, kick: float) -> None:
    """Clamp free log sigma to [log floor, log ceil], raise that of dead units by `kick`, in place.

    "unit" and "scalar" sigma are free. An amortised scale is clamped by the layer's forward pass; its kick
    goes to the bias. A scalar belongs to no unit and gets no kick.

    Args:
        layer: the layer.
        alive: EMA of the share of windows in which a unit's KL is not zero, [N]; dead is under 5 %.
        floor, ceil: bounds of sigma.
        kick: added to log sigma.
    """
    push = kick * (alive < ALIVE_FLOOR)  # [N]
    if layer.log_sigma is not None:
        layer.log_sigma.clamp_(math.log(floor), math.log(ceil))
        if layer.sigma == "unit":
            layer.log_sigma.add_(push.unsqueeze(-1)).clamp_(max=math.log(ceil))
    elif layer.sigma_net is not None:
        layer.sigma_net.bias.add_(push.repeat_interleave(layer.latent_dim))
