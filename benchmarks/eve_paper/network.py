"""The author's network: one hidden layer, one layer of variational units, a linear head."""

import math

import torch
from torch import Tensor, nn

from vdn_forecast.neurons import UnitState, VariationalLayer

from .settings import Settings


class PaperNetwork(nn.Module):
    """Linear, ReLU, N units with a free sigma each, Linear on z / sqrt N; torch's default initialisation.

    Args:
        input_size, h: look-back and horizon.
        settings: sizes and scales.
    """

    def __init__(self, input_size: int, h: int, settings: Settings) -> None:
        super().__init__()
        self.encoder = nn.Linear(input_size, settings.hidden_size)
        self.layer = VariationalLayer(
            settings.hidden_size,
            settings.n_units,
            sigma="unit",
            sigma_init=settings.sigma_init,
            sigma_floor=settings.sigma_floor,
            sigma_ceil=settings.sigma_ceil,
        )
        self.head = nn.Linear(settings.n_units, h)

    def context(self, x: Tensor) -> Tensor:
        """Look-back [B, L] to what all units read, [B, D]."""
        return torch.relu(self.encoder(x))

    def forward(self, x: Tensor) -> tuple[Tensor, UnitState]:
        """Forecast [B, h] and the units' state, from one fresh sample per window.

        The sample comes from torch's global generator, in training and evaluation alike.
        """
        eps = torch.randn(len(x), 1, self.layer.n_units, 1, dtype=x.dtype)
        state = self.layer(self.context(x), eps)
        return self.head(state.activation.squeeze(1) / math.sqrt(self.layer.n_units)), state
