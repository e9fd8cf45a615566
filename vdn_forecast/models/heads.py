"""From the units' activations to raw forecast parameters, sample by sample."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = ("gated", "mlp", "linear")


class Head(nn.Module):
    """Raw outputs of every horizon step for every latent sample.

    Args:
        n_units: N.
        h: horizon.
        n_outputs: numbers per step and sample.
        kind: "gated", a gated linear unit (arXiv 1612.08083); "mlp", one GELU layer; "linear", the paper's
            head on the activations divided by sqrt N.
        hidden_size: width between.
        dropout: share of the hidden layer set to zero in training.
        start_bias: what the head gives before training, [n_outputs, h]; None for zero. "linear" keeps torch's
            default initialisation.
    """

    def __init__(
        self,
        n_units: int,
        h: int,
        n_outputs: int,
        kind: str = "mlp",
        hidden_size: int = 256,
        dropout: float = 0.0,
        start_bias: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.kind, self.h, self.n_outputs = kind, h, n_outputs
        self.scale = 1 / math.sqrt(n_units) if kind == "linear" else 1.0
        width = {"gated": 2 * hidden_size, "mlp": hidden_size, "linear": 0}[kind]
        self.hidden = nn.Linear(n_units, width) if width else None
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_size if width else n_units, n_outputs * h)
        if kind != "linear":
            # the linear skip forecasts alone at the start; the network adds to it
            nn.init.zeros_(self.out.weight)
            with torch.no_grad():
                self.out.bias.copy_(start_bias.flatten()) if start_bias is not None else self.out.bias.zero_()

    def forward(self, activation: Tensor) -> Tensor:
        """Activations [B, S, N] to raw outputs [B, S, n_outputs, h]; elementwise work is fastest with h last."""
        if self.hidden is None:
            features = activation * self.scale
        else:
            features = self.hidden(activation)  # [B, S, H] or [B, S, 2 H]
            features = F.glu(features) if self.kind == "gated" else F.gelu(features)
        raw: Tensor = self.out(self.dropout(features))
        return raw.unflatten(-1, (self.n_outputs, self.h))


def mixture_start_bias(h: int, n_components: int, start_scale: float = 0.6) -> Tensor:
    """Biases that set M mixture components apart at the start; equal ones would stay together.

    Args:
        h: horizon.
        n_components: M.
        start_scale: scale, in units of the window's, around which the components start.

    Returns:
        [2 M, h]: locations, then raw scales (before the softplus).
    """
    apart = torch.linspace(-1.0, 1.0, n_components) if n_components > 1 else torch.zeros(1)
    log_expm1 = math.log(math.expm1(start_scale))  # softplus(log_expm1) = start_scale
    return torch.cat([0.1 * apart, log_expm1 + 0.5 * apart]).unsqueeze(-1).repeat(1, h)
