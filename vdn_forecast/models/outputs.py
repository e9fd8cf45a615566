"""What the training loss asks of the network: number of outputs, which are locations, which scaler suits."""

from typing import Any

from neuralforecast.losses.pytorch import GMM, BasePointLoss, DistributionLoss
from torch import nn

from ..losses import LatentMixture


def build_loss(loss: nn.Module | None, n_samples: int, **mixture: Any) -> nn.Module:
    """The user's loss, or the `LatentMixture` that fits the model.

    Raises:
        ValueError: a `LatentMixture` for another number of latent samples.
    """
    if loss is None:
        mixture.pop("n_predict_samples")
        return LatentMixture(n_samples=n_samples, **mixture)
    if isinstance(loss, LatentMixture) and loss.n_samples != n_samples:
        raise ValueError(
            f"loss has n_samples={loss.n_samples}; it must equal the model's n_latent_samples={n_samples}"
        )
    return loss


def location_channels(loss: nn.Module) -> tuple[int, int]:
    """Which outputs per step are locations, [first, last): the linear skip is added to them."""
    if isinstance(loss, BasePointLoss):
        return 0, int(loss.outputsize_multiplier)
    if isinstance(loss, GMM):  # LatentMixture, too
        return 0, int(loss.n_components)
    if isinstance(loss, DistributionLoss) and loss.distribution == "StudentT":
        return 1, 2  # df, loc, scale
    return 0, 1


def resolve_scaler(scaler_type: str, loss: nn.Module) -> str:
    """Replace "auto": binary series keep their unit, everything else is standardised per window.

    Counts too: with "identity" NeuralForecast hands them a location of 0, where `Tweedie` and `NBMM` have no
    gradient, and the others start far away.
    """
    if scaler_type != "auto":
        return scaler_type
    return "identity" if getattr(loss, "distribution", None) == "Bernoulli" else "window"
