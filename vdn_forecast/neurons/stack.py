"""Layers of variational neurons on top of each other."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .checks import require_int
from .layer import VariationalLayer
from .noise import Noise, NoiseBank
from .prior import GaussianPrior
from .state import UnitState


class VariationalStack(nn.Module):
    """`depth` layers of N units; layer l + 1 reads the samples of layer l, sample by sample.

    Uncertainty is so propagated between layers and not averaged away.

    Args:
        in_features: D of the first layer's context.
        n_units: N of every layer.
        latent_dim: k of every layer.
        depth: number of layers.
        nonlinearity: between two layers.
        learned_prior: every layer learns its N(m_i, s_i^2), else N(0, 1).
        **layer: further arguments of `VariationalLayer`, the same for every layer.

    Raises:
        ValueError: a bad argument, by name.
    """

    def __init__(
        self,
        in_features: int,
        n_units: int,
        latent_dim: int = 1,
        *,
        depth: int = 1,
        nonlinearity: Callable[[Tensor], Tensor] = F.gelu,
        learned_prior: bool = False,
        **layer: Any,
    ) -> None:
        super().__init__()
        require_int("depth", depth, 1)
        self.nonlinearity = nonlinearity
        self.layers = nn.ModuleList(
            VariationalLayer(
                in_features if level == 0 else n_units,
                n_units,
                latent_dim,
                prior=GaussianPrior(n_units, latent_dim, learned=True) if learned_prior else None,
                **layer,
            )
            for level in range(depth)
        )

    def noise_bank(self, n_samples: int, seed: int = 0) -> NoiseBank:
        """A bank with the shapes that this stack reads."""
        layers = [layer for layer in self.layers if isinstance(layer, VariationalLayer)]
        emission = layers[0].emission == "gaussian"
        return NoiseBank([(layer.n_units, layer.latent_dim) for layer in layers], n_samples, seed, emission=emission)

    def forward(
        self,
        context: Tensor,
        noise: Noise | None,
        weights: Tensor | None = None,
        need_local_elbo: bool = False,
    ) -> tuple[Tensor, list[UnitState]]:
        """The last layer's activation [B, S, N] and every layer's state.

        Args:
            context: [B, D].
            noise: one entry per layer, the same S in each; None for posterior means (S = 1).
            weights: [B] of 0/1, the windows that count.
            need_local_elbo: whether the states carry the local ELBO.

        Raises:
            ValueError: noise for another number of layers.
        """
        if noise is not None and len(noise.latent) != len(self.layers):
            raise ValueError(f"noise has {len(noise.latent)} layers; this stack has {len(self.layers)}")
        states: list[UnitState] = []
        for level, layer in enumerate(self.layers):
            eps = None if noise is None else noise.latent[level]
            eps_emission = None if noise is None else noise.emission[level]
            if states:
                context = self.nonlinearity(states[-1].activation)  # [B, S, N]
            states.append(layer(context, eps, weights, need_local_elbo, eps_emission))
        return states[-1].activation, states
