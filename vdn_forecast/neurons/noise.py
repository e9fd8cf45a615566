"""Where standard normal numbers come from: a fixed bank for prediction, the global generator for training.

Prediction uses common random numbers: all windows share one bank, so that a forecast does not depend on the
batch size, the order of windows or the number of devices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.quasirandom import SobolEngine

from .checks import require_int

# one 32-bit step: scrambled points may round to 0 or 1, where the normal quantile is infinite
_EDGE = 2.0**-32


@dataclass(frozen=True)
class Noise:
    """Noise of every layer of a stack.

    Attributes:
        latent: per layer [B or 1, S, N, k].
        emission: per layer [B or 1, S, N], or None where the emission draws nothing.
    """

    latent: tuple[Tensor, ...]
    emission: tuple[Tensor | None, ...]


class NoiseBank(nn.Module):
    """A fixed bank of normal scores for layers of the given shapes; `forward()` returns it.

    The bank is one point set over the dimensions of all layers together: scrambled Sobol points through the
    normal quantile where the engine has that many dimensions (21,201), antithetic normals beyond.

    Args:
        shapes: (N, k) per layer.
        n_samples: S at prediction.
        seed: of the private generator; the global one is not touched.
        emission: whether each layer's emission draws a number per unit, too.

    Raises:
        ValueError: no shapes, or a size under 1.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], n_samples: int, seed: int = 0, *, emission: bool = False
    ) -> None:
        super().__init__()
        require_int("n_samples", n_samples, 1)
        require_int("number of shapes", len(shapes), 1)
        self.shapes, self.emission = tuple(shapes), emission
        sizes = [n * k for n, k in self.shapes] + ([n for n, _ in self.shapes] if emission else [])
        scores = _normal_scores(n_samples, sum(sizes), seed).to(torch.get_default_dtype())
        pieces = scores.split(sizes, dim=1)
        for layer, (n, k) in enumerate(self.shapes):
            self.register_buffer(f"latent_{layer}", pieces[layer].reshape(n_samples, n, k).clone())
            if emission:
                self.register_buffer(f"emission_{layer}", pieces[len(self.shapes) + layer].clone())

    @property
    def n_samples(self) -> int:
        """S at prediction."""
        return self.get_buffer("latent_0").shape[0]

    def forward(self) -> Noise:
        """The bank: [1, S, N, k] (and [1, S, N]) per layer."""
        depth = range(len(self.shapes))
        return Noise(
            tuple(self.get_buffer(f"latent_{i}").unsqueeze(0) for i in depth),
            tuple(self.get_buffer(f"emission_{i}").unsqueeze(0) if self.emission else None for i in depth),
        )

    def training_noise(
        self,
        batch_size: int,
        n_samples: int,
        *,
        antithetic: bool = False,
        generator: torch.Generator | None = None,
    ) -> Noise:
        """Fresh noise, independent between windows, from the global generator unless one is given.

        Args:
            batch_size: B.
            n_samples: S.
            antithetic: the second half of the samples mirrors the first; S must be even.
            generator: of the bank's device; None for the global one.

        Raises:
            ValueError: a size under 1, or `antithetic` with an odd S.
        """
        require_int("batch_size", batch_size, 1)
        require_int("n_samples", n_samples, 1)
        if antithetic and n_samples % 2:
            raise ValueError(f"n_samples={n_samples} is not allowed with antithetic=True; it must be even")
        like = self.get_buffer("latent_0")

        def draw(*shape: int) -> Tensor:
            drawn = n_samples // 2 if antithetic else n_samples
            eps = torch.randn(batch_size, drawn, *shape, generator=generator, device=like.device, dtype=like.dtype)
            return torch.cat([eps, -eps], dim=1) if antithetic else eps

        latent = tuple(draw(n, k) for n, k in self.shapes)
        return Noise(latent, tuple(draw(n) if self.emission else None for n, _ in self.shapes))


def _normal_scores(n_samples: int, dimension: int, seed: int) -> Tensor:
    """[S, dimension] of normal numbers in float64 from a private generator."""
    if dimension <= SobolEngine.MAXDIM:
        points = SobolEngine(dimension, scramble=True, seed=seed).draw(n_samples, dtype=torch.float64)
        return torch.special.ndtri(points.clamp(_EDGE, 1 - _EDGE))
    generator = torch.Generator().manual_seed(seed)
    half = torch.randn((n_samples + 1) // 2, dimension, generator=generator, dtype=torch.float64)
    return torch.cat([half, -half])[:n_samples]
