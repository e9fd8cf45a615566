"""Energy bands: where a unit's mean squared posterior mean should lie (arXiv 2602.18250)."""

import math

import torch
from torch import Tensor, nn

from .checks import require_choice, require_int, require_ordered, require_range

BAND_SHAPES = ("homogeneous", "heterogeneous")
PENALTY_KINDS = ("relative", "absolute")
_SMALLEST_BOUND = 1e-3  # divisor floor of the relative penalty


class Band(nn.Module):
    """The nominal band of N units: bounds lower * t_i and upper * t_i around the energy target t_i.

    Args:
        n_units: N.
        target: t, the (middle) energy target.
        spread: heterogeneous targets are log-spaced over [target / spread, target * spread], by unit index.
        shape: "homogeneous" or "heterogeneous".
        lower: factor of the lower bound.
        upper: factor of the upper bound.

    Attributes:
        targets, lower, upper: [N] each; not in the state dict, they follow from the arguments.

    Raises:
        ValueError: a bad argument, by name.
    """

    targets: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        n_units: int,
        target: float = 0.03,
        spread: float = 8.0,
        *,
        shape: str = "homogeneous",
        lower: float = 0.8,
        upper: float = 1.6,
    ) -> None:
        super().__init__()
        require_int("n_units", n_units, 1)
        require_range("band_target", target, 0.0, open_low=True)
        require_range("band_spread", spread, 1.0)
        require_choice("band_shape", shape, BAND_SHAPES)
        require_range("band_lower", lower, 0.0, open_low=True)
        require_range("band_upper", upper, 0.0, open_low=True)
        require_ordered("band_lower", lower, "band_upper", upper, strict=True)
        reach = math.log(spread) if shape == "heterogeneous" else 0.0
        offsets = torch.linspace(-reach, reach, n_units) if n_units > 1 else torch.zeros(1)
        targets = target * offsets.exp()
        self.register_buffer("targets", targets, persistent=False)
        self.register_buffer("lower", lower * targets, persistent=False)
        self.register_buffer("upper", upper * targets, persistent=False)


def energy(mu: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared posterior mean per unit, [N]: over the windows that count, samples and k.

    Args:
        mu: [B, N, k] or [B, S, N, k].
        weights: [B] of 0/1; None counts every window. Values of windows that do not count are never read;
            zero where no window counts.
    """
    if weights is None:
        return mu.square().flatten(0, -3).mean((0, -1))
    counts = (weights > 0).reshape(-1, *[1] * (mu.ndim - 1))
    # selected before the square: a NaN in a window that does not count reaches neither value nor gradient
    per_window = torch.where(counts, mu, 0.0).square().mean(-1)  # [B(, S), N]
    if per_window.ndim == 3:
        per_window = per_window.mean(1)
    return per_window.sum(0) / (weights > 0).sum().clamp(min=1)


def band_penalty(
    energy: Tensor,
    lower: Tensor,
    upper: Tensor,
    kind: str = "relative",
    weight_low: float | Tensor = 1.0,
    weight_high: float | Tensor = 1.0,
) -> Tensor:
    """Squared hinge below `lower` and above `upper`, mean over units (a scalar).

    Args:
        energy, lower, upper: [N].
        kind: "relative" divides the excess by max(bound, 1e-3), "absolute" leaves it.
        weight_low, weight_high: of the two sides.

    Raises:
        ValueError: an unknown `kind`.
    """
    require_choice("kind", kind, PENALTY_KINDS)
    low, high = (lower - energy).clamp(min=0), (energy - upper).clamp(min=0)
    if kind == "relative":
        low, high = low / lower.clamp(min=_SMALLEST_BOUND), high / upper.clamp(min=_SMALLEST_BOUND)
    return (weight_low * low.square() + weight_high * high.square()).mean()


def out_of_band(energy: Tensor, band: Band | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Shares of units (below, above) their bounds, two 0-d tensors; `band` may be a pair (lower, upper)."""
    lower, upper = (band.lower, band.upper) if isinstance(band, Band) else band
    return (energy < lower).float().mean(), (energy > upper).float().mean()
