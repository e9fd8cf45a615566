"""Named settings of EVE. The paper's values: arXiv 2602.18250 and its first notebook."""

from typing import Any, Self

import torch
from neuralforecast.losses.pytorch import MSE

SMALL: dict[str, Any] = {"n_units": 64, "hidden_size": 64, "head_size": 64}

TWIN: dict[str, Any] = {"neuron": "deterministic"}

# The notebook multiplies the KL by beta and takes the mean squared error over the horizon; here beta' = h beta.
_PAPER: dict[str, Any] = {
    "encoder": "mlp",
    "activation": "relu",
    "hidden_size": 256,
    "n_units": 1024,
    "latent_dim": 1,
    "sigma": "unit",
    "sigma_init": 0.5,
    "sigma_floor": 1e-4,
    "sigma_ceil": 10.0,
    "head": "linear",
    "skip": False,
    "anchor": "mean",
    "dropout": 0.0,
    "background": 0.0,
    "scaler_type": "identity",
    "band_target": 0.03,
    "band_shape": "heterogeneous",
    "band_spread": 8.0,
    "band_lower": 0.8,
    "band_upper": 1.6,
    "band_penalty": "relative",
    "band_weight": 3.0,
    "kl_min": 0.05,
    "kl_max": 0.30,
    "ema_after_rescale": "stale",
    "n_predict_samples": 1,
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "patience_checks": 0,
    "lr_scheduler": torch.optim.lr_scheduler.ConstantLR,
    "lr_scheduler_kwargs": {"factor": 1.0},
}

PAPER_HOMEO = {**_PAPER, "control": "homeo", "thermostat": True, "calibration": True}
PAPER_OFF = {**_PAPER, "control": "off", "thermostat": True, "calibration": True}
PAPER_PROJECTION = {**_PAPER, "control": "projection", "thermostat": True, "calibration": False}


class Presets:
    """Constructors of `EVE` with named settings."""

    @classmethod
    def small(cls, h: int, input_size: int, **overrides: Any) -> Self:
        """A narrow EVE for slow machines."""
        return _build(cls, h, input_size, {**SMALL, **overrides})

    @classmethod
    def twin(cls, h: int, input_size: int, **overrides: Any) -> Self:
        """The deterministic twin T1: the same network with sigma -> 0, no KL, one Gaussian."""
        return _build(cls, h, input_size, {**TWIN, **overrides})

    @classmethod
    def paper_homeo(cls, h: int, input_size: int, **overrides: Any) -> Self:
        """The paper's network under its homeostat, thermostat and calibration; mean squared error, one sample.

        Its windows, epochs and once-per-epoch control are the benchmark's business, not the model's.
        """
        return _build(cls, h, input_size, {**PAPER_HOMEO, **_paper_loss(h), **overrides})

    @classmethod
    def paper_off(cls, h: int, input_size: int, **overrides: Any) -> Self:
        """The paper's network with penalty, thermostat and calibration but no rescaling."""
        return _build(cls, h, input_size, {**PAPER_OFF, **_paper_loss(h), **overrides})

    @classmethod
    def paper_projection(cls, h: int, input_size: int, **overrides: Any) -> Self:
        """The paper's network with periodic projection into the band."""
        return _build(cls, h, input_size, {**PAPER_PROJECTION, **_paper_loss(h), **overrides})


def _build(cls: Any, h: int, input_size: int, arguments: dict[str, Any]) -> Any:
    return cls(h=h, input_size=input_size, **arguments)


def _paper_loss(h: int) -> dict[str, Any]:
    return {"kl_weight": 1e-3 * h, "loss": MSE()}
