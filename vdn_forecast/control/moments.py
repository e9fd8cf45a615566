"""What becomes of an optimiser's memory when rows of a weight are rescaled behind its back."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

# first moments only: a second moment of zero would make the next steps of AdamW up to 1/sqrt(1 - beta2) ~ 30
# times too large late in training, because its bias correction has long worn off
_FIRST_MOMENTS = ("exp_avg", "momentum_buffer")


@torch.no_grad()
def forget_direction_(optimizer: Optimizer, parameters: Iterable[nn.Parameter], rows: Tensor) -> None:
    """Zero the first moments of `rows` (bool, [first dimension]) of each parameter; second moments stay."""
    for parameter in parameters:
        state = optimizer.state.get(parameter, {})
        for name in _FIRST_MOMENTS:
            moment = state.get(name)
            if moment is not None:
                moment.masked_fill_(rows.reshape(-1, *[1] * (moment.ndim - 1)), 0.0)
