"""The EVE network in plain torch: encoder, stacked variational neurons, sample-wise head, linear skip."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..neurons import Noise, NoiseBank, UnitState, VariationalStack
from .encoders import Encoder
from .heads import Head


@dataclass(frozen=True)
class NetworkSizes:
    """What the host decides: look-back, horizon, exogenous features, numbers per forecast step.

    Attributes:
        input_size: L.
        h: horizon.
        n_extra: exogenous features, flattened over time.
        n_outputs: numbers per horizon step and latent sample.
        location_channels: how many of them, from which on, are locations: the linear skip is added there.
    """

    input_size: int
    h: int
    n_extra: int
    n_outputs: int
    location_channels: tuple[int, int]


class EVENetwork(nn.Module):
    """Encoder -> variational stack -> head, plus a linear skip from look-back to horizon.

    Args:
        sizes: see `NetworkSizes`.
        stack: the neurons; its `in_features` is `encoder`'s output size.
        encoder: look-back and exogenous features to the context.
        head: activations to raw outputs.
        bank: noise of prediction, shared by all windows.
        skip: whether the linear skip exists.
        skip_dropout: share of the look-back hidden from the skip in training.
    """

    def __init__(
        self,
        sizes: NetworkSizes,
        encoder: Encoder,
        stack: VariationalStack,
        head: Head,
        bank: NoiseBank,
        skip: bool = True,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes = sizes
        self.encoder, self.stack, self.head, self.bank = encoder, stack, head, bank
        self.skip = nn.Linear(sizes.input_size, sizes.h) if skip else None
        if self.skip is not None:  # starts at the window's mean: a random map would have to be unlearned first
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)
        self.skip_dropout = nn.Dropout(skip_dropout)

    def forward(
        self,
        y: Tensor,
        extra: Tensor | None,
        noise: Noise | None,
        anchor: Tensor | None = None,
        need_local_elbo: bool = False,
    ) -> tuple[Tensor, Tensor | None, list[UnitState]]:
        """Raw outputs of every latent sample, what is common to their locations, and the units' states.

        Args:
            y: standardised look-back, zero where masked, [B, L].
            extra: exogenous features, [B, n_extra], or None.
            noise: of every layer; None for posterior means (S = 1).
            anchor: [B, 1], what was taken off the look-back; locations get it back.
            need_local_elbo: whether the states carry the units' local ELBO.

        Returns:
            [B, S, n_outputs, h]; [B, h] (or [B, 1], or None) to add to the locations; one `UnitState` per layer.
        """
        # no window weights: NeuralForecast draws no training window without an observed value
        activation, states = self.stack(self.encoder(y, extra), noise, None, need_local_elbo)
        base = anchor
        if self.skip is not None:
            ahead = self.skip(self.skip_dropout(y))  # [B, h]
            base = ahead if anchor is None else ahead + anchor
        return self.head(activation), base, states


def add_to_channels(outputs: Tensor, base: Tensor, first: int, last: int) -> Tensor:
    """Add base [B, h or 1] to channels [first, last) of outputs [B, h, C].

    One dense sum: adding in place to a slice costs three times as much, mostly in its backward pass.
    """
    b, h, channels = outputs.shape
    zero = base.new_zeros(1, 1, 1)
    parts = [
        zero.expand(b, h, first),
        base.unsqueeze(-1).expand(b, h, last - first),
        zero.expand(b, h, channels - last),
    ]
    return outputs + torch.cat(parts, dim=-1)
