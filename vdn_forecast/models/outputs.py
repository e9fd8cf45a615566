"""What the training loss asks of the network: number of outputs, which are locations, which scaler suits."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neuralforecast.losses.pytorch import GMM, PMM, BasePointLoss, HuberIQLoss, IQLoss
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import nn

from .._compat import FlooredNorm
from ..losses import LatentMixture

LOSS_ARGUMENTS = ("base", "df", "objective", "eval_objective", "trajectory", "background")  # of a LatentMixture
BACKGROUND = 1e-5  # default of the models, not of the loss itself


def build_loss(loss: nn.Module | None, n_samples: int, **mixture: Any) -> nn.Module:
    """The user's loss, or the `LatentMixture` that fits the model.

    Raises:
        ValueError: a `LatentMixture` for another number of latent samples, or beside arguments that contradict it.
    """
    if loss is None:
        return LatentMixture(n_samples=n_samples, **mixture)
    if not isinstance(loss, LatentMixture):
        return loss
    if loss.n_samples != n_samples:
        raise ValueError(f"loss has n_samples={loss.n_samples}; it must equal the model's n_latent_samples={n_samples}")
    own = {
        "n_components": loss.n_components,
        "base": loss.base,
        "df": loss.df,
        "objective": loss.objective_weights,
        "eval_objective": loss.eval_objective,
        "trajectory": loss.trajectory,
        "background": loss.background,
    }
    default = LatentMixture()
    for name, value in mixture.items():
        wanted = {value: 1.0} if name == "objective" and isinstance(value, str) else value
        models = {"objective": default.objective_weights, "df": 5, "background": BACKGROUND}  # their defaults
        usual = models.get(name, getattr(default, name, None))
        if wanted not in (own[name], usual):
            raise ValueError(f"{name}={value!r} is not allowed beside loss=LatentMixture(...), which has {own[name]!r}")
    return loss


def location_channels(loss: nn.Module) -> tuple[int, int]:
    """Which outputs per step the linear skip is added to, [first, last): the locations, or what comes nearest."""
    if isinstance(loss, BasePointLoss):
        return 0, int(loss.outputsize_multiplier)
    if isinstance(loss, GMM | PMM):  # LatentMixture is a GMM
        return 0, int(loss.n_components)
    return (1, 2) if getattr(loss, "distribution", None) == "StudentT" else (0, 1)


def keeps_locations(loss: nn.Module) -> bool:
    """Whether a constant added to the location channels is added to the forecast, in the window's unit.

    Not so for logits, log means, spline knots, counts that are multiplied with the window's level, and implicit
    quantiles, which the loss transforms further.
    """
    if isinstance(loss, BasePointLoss):
        return not isinstance(loss, IQLoss | HuberIQLoss)
    return isinstance(loss, GMM | PMM) or getattr(loss, "distribution", None) in ("Normal", "StudentT", "Poisson")


def resolve_scaler(scaler_type: str, loss: nn.Module) -> str:
    """Replace "auto": binary series keep their unit, everything else is standardised per window.

    Counts too: with "identity" NeuralForecast hands them a location of 0, where `Tweedie` and `NBMM` have no
    gradient, and the others start far away.
    """
    if scaler_type != "auto":
        return scaler_type
    return "identity" if getattr(loss, "distribution", None) == "Bernoulli" else "window"


def build_scaler(scaler_type: str, scale_floor: float) -> FlooredNorm | None:
    """The scaler that takes the place of NeuralForecast's; None for one of its own."""
    if scaler_type == "panel":
        return FlooredNorm(1.0, fixed=True)
    return FlooredNorm(scale_floor) if scaler_type == "window" else None


def estimate_scale_floor(model: Any, dataset: Any) -> None:
    """Give the model's own scaler, where it has one, the train rows' scale; data outside of memory has none."""
    if not isinstance(model.scaler, FlooredNorm):
        return
    if not isinstance(dataset, TimeSeriesDataset):
        warnings.warn(f"{model}: data outside of memory; no scale floor, no final statistics", stacklevel=2)
        return
    model.scaler.estimate_floor(
        dataset.temporal,
        dataset.indptr,
        y_idx=dataset.y_idx,
        mask_idx=dataset.temporal_cols.get_loc("available_mask"),
        n_holdout=model.val_size + model.test_size,
    )


@contextmanager
def asked(model: Any, raw: bool = True) -> Iterator[None]:
    """A prediction leaves the loss as it was, and runs on one device whatever the fit had.

    Unless `raw` is off, a Normal `LatentMixture` is forecast from what the network emits, without a copy into
    NeuralForecast's layout.

    NeuralForecast's distribution losses forget their own quantiles once others were asked for; with several devices its
    `predict` gets nothing back from Lightning.
    """
    loss, trainer, before = model.loss, model.trainer_kwargs, model.hands_raw
    names = ("quantiles", "output_names", "has_predicted", "return_params", "param_names")
    saved = {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    if trainer.get("devices") not in (None, 1):
        model.trainer_kwargs = {**trainer, "devices": 1, "strategy": "auto"}
    model.hands_raw = raw and isinstance(loss, LatentMixture) and loss.df is None and not loss.return_params
    try:
        yield
    finally:
        model.hands_raw, model.trainer_kwargs = before, trainer
        if getattr(loss, "is_distribution_output", False):
            for name, value in saved.items():
                setattr(loss, name, value)


@contextmanager
def raw_validation(model: Any) -> Iterator[None]:
    """A loss that scores its own Normal mixture reads it as the network emits it."""
    before = model.hands_raw
    itself = model.valid_loss is model.loss and isinstance(model.loss, LatentMixture)
    model.hands_raw = before or (itself and model.loss.df is None)
    try:
        yield
    finally:
        model.hands_raw = before
