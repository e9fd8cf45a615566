"""Patches: contexts of every patch of a look-back, and a head that emits the horizon's patches."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .encoders import Encoder, moving_average


def default_patch_size(input_size: int) -> int:
    """A fourteenth of the look-back, at least one step: a day of hourly data at 336."""
    return max(1, round(input_size / 14))


def cut(values: Tensor, patch_size: int) -> Tensor:
    """[B, L] as patches [B, T, P], T = ceil(L / P); zeros are put in front where P does not divide L."""
    missing = -values.shape[1] % patch_size
    return F.pad(values, (missing, 0)).unflatten(1, (-1, patch_size))


class PatchEncoder(Encoder):
    """A context for every patch from what lies before its end: causal in y.

    The same map as `Encoder`'s reads, for each patch, the L steps up to its end, zeros before the look-back's start
    (zero is the window's level). The last patch's context is `Encoder`'s own. Dropout hides the same features of a
    window's patches, so that a trajectory stays one.

    Args:
        input_size: L.
        n_extra: number of exogenous features, flattened over time; all patches read all of them.
        hidden_size: D.
        patch_size: P.
        **encoder: further arguments of `Encoder`.
    """

    def __init__(self, input_size: int, n_extra: int, hidden_size: int, patch_size: int, **encoder) -> None:
        super().__init__(input_size, n_extra, hidden_size, **encoder)
        self.input_size, self.patch_size = input_size, patch_size
        self.n_patches = -(-input_size // patch_size)  # T

    def contexts(self, y: Tensor, extra: Tensor | None, last_only: bool) -> Tensor:
        """[B, T, D], or [B, 1, D] of the last patch alone, of look-backs [B, L] and features [B, n_extra]."""
        if last_only:
            rows = y.unsqueeze(1)
        else:
            before = (self.n_patches - 1) * self.patch_size
            rows = F.pad(y, (before, 0)).unfold(1, self.input_size, self.patch_size)  # [B, T, L]
        if self.trend is None:
            context = self.look_back(rows)
        else:
            trend = moving_average(rows.flatten(0, 1), self.kernel_size).view(rows.shape)
            context = self.look_back(rows - trend) + self.trend(trend)
        if self.extra is not None and extra is not None:
            context = context + self.extra(extra).unsqueeze(1)
        if self.kind != "linear":
            context = self.activation(context)
        if self.training and self.dropout.p:
            context = context * self.dropout(context.new_ones(context.shape[0], 1, context.shape[2]))
        return context


class PatchHead(nn.Module):
    """Raw outputs of every step of the horizon from what the units emit, patch by patch.

    A hidden layer shared by all patches (with a bias of its own for each), then a linear map for each.

    Args:
        n_features: F, numbers that the units emit.
        h: horizon; J = ceil(h / patch_size) patches.
        patch_size: P.
        n_outputs: O, numbers per step and latent sample.
        kind: "mlp", "gated" or "linear" (no hidden layer, features divided by sqrt F), as `Head`.
        hidden_size: width between.
        dropout: share of the hidden layer set to zero in training.
        start_bias: what the head gives before training, [O, h]; None for zero.
    """

    def __init__(
        self,
        n_features: int,
        h: int,
        patch_size: int,
        n_outputs: int,
        kind: str = "mlp",
        hidden_size: int = 256,
        dropout: float = 0.0,
        start_bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.h, self.patch_size, self.n_outputs = kind, h, patch_size, n_outputs
        self.n_patches = j = -(-h // patch_size)
        self.scale = 1 / math.sqrt(n_features) if kind == "linear" else 1.0
        width = {"gated": 2 * hidden_size, "mlp": hidden_size, "linear": 0}[kind]
        self.hidden = nn.Linear(n_features, width) if width else None
        self.position = nn.Parameter(torch.zeros(j * width)) if width else None  # further biases, patch by patch
        self.dropout = nn.Dropout(dropout)
        start = torch.zeros(n_outputs, h) if start_bias is None else start_bias
        start = F.pad(start, (0, j * patch_size - h)).view(n_outputs, j, patch_size)
        self.bias = nn.Parameter(start.permute(1, 0, 2).reshape(-1).clone())  # [J O P]
        rows, read = n_outputs * patch_size, hidden_size if width else n_features
        self.weight = nn.Parameter(torch.zeros(j * rows, read))
        if kind == "linear":
            nn.init.uniform_(self.weight, -(read**-0.5), read**-0.5)

    def forward(self, features: Tensor, h: int | None = None) -> Tensor:
        """Raw outputs [B, S, O, h] of features [F, J', S, B]; patches beyond J are emitted like the first ones anew.

        Args:
            features: of the coming patches.
            h: steps wanted; None for the horizon.
        """
        h = self.h if h is None else h
        patches, s, b = features.shape[1:]
        place = torch.arange(patches, device=features.device) % self.n_patches
        flat = features.reshape(len(features), -1)
        if self.hidden is None:
            hidden = flat.view(len(flat), patches, -1) * self.scale
        else:
            assert self.position is not None
            hidden = (self.hidden.weight @ flat).view(-1, patches, s * b)
            bias = self.position.view(self.n_patches, -1)[place] + self.hidden.bias  # [J', H]
            hidden = hidden + bias.T.unsqueeze(-1)
            hidden = F.glu(hidden, 0) if self.kind == "gated" else F.gelu(hidden)
        hidden = self.dropout(hidden)  # [H, J', S B]
        weight = self.weight.view(self.n_patches, -1, self.weight.shape[1])[place]  # [J', O P, H]
        bias = self.bias.view(self.n_patches, -1, 1)[place]
        raw = torch.baddbmm(bias, weight, hidden.transpose(0, 1))  # [J', O P, S B]
        raw = raw.view(patches, self.n_outputs, self.patch_size, s, b)
        return raw.permute(4, 3, 1, 0, 2).flatten(3)[..., :h]
