"""Arguments of a controller, checked."""

from dataclasses import dataclass

from vdn_forecast.neurons.bands import PENALTY_KINDS
from vdn_forecast.neurons.checks import require_choice, require_int, require_ordered, require_range

CONTROLS = ("homeo", "projection", "batchnorm", "balance", "off")
EMA_AFTER_RESCALE = ("exact", "stale")


@dataclass(frozen=True)
class ControlSettings:
    """Flat arguments of `UnitController`; steps are optimiser steps, KL in nats, energies in mu^2.

    Attributes:
        control: regime: "homeo" (thermostat, homeostat, sigma guard), "projection" (thermostat, projection),
            "batchnorm" (energy fixed by `MeanBatchNorm`), "balance" (the homeostat on a scale of the
            latents that is taken off what a unit hands on: only prior and KL feel it), "off".
        kl_weight: beta at the start, of every unit.
        kl_weight_min: smallest beta; None for kl_weight / 1000 (the paper's ratio).
        kl_weight_max: largest beta; None for 10 kl_weight (the paper's ratio).
        kl_min: lower edge of the KL zone, nats per latent (times k for a unit).
        kl_max: upper edge.
        thermostat: whether `update` runs the KL thermostat; None for on under "homeo" and "projection".
        thermostat_rate: integral rate, on log beta, per nat and update.
        thermostat_gain: proportional term on log beta, per nat (ControlVAE, arXiv 2004.05988); 0 is the
            paper's.
        kl_ema_rate: of the thermostat's KL, per thermostat update.
        energy_ema_rate: of energy and alive share, per step.
        band_target, band_spread, band_shape, band_lower, band_upper: the nominal band, see `neurons.Band`.
        band_penalty: "relative" or "absolute", see `neurons.band_penalty`.
        band_weight: weight of the penalty; None for 3 under "homeo" and "projection", else 0.
        band_weight_high: weight of the side above the band, relative to the side below.
        control_warmup: steps before anything controls.
        control_ramp: steps over which the penalty's weight rises linearly after the warm-up.
        control_every: steps between two actions of thermostat, homeostat and guard.
        homeostat_rate: eta of the homeostat with every unit in its band.
        homeostat_max_step: largest factor (and inverse of the smallest) of one rescale.
        sigma_floor, sigma_ceil: the guard's bounds of "unit" and "scalar" sigma ("homeo" only).
        sigma_kick: what the guard adds to the log sigma of dead units.
        calibration: whether `update` rescales the band by quantiles of the energies.
        calibrate_every: steps between two calibrations, from the warm-up's end.
        projection_every: steps between two projections (from step 0, the warm-up does not hold them back).
        projection_batches: how many of the last steps before a projection its energies are averaged over.
        ema_after_rescale: "exact" multiplies the energy EMA by factor^2 after a rescale, "stale" (the paper's
            code) leaves it.

    Raises:
        ValueError: a bad argument, by name, value and what is allowed.
    """

    control: str = "homeo"
    kl_weight: float = 0.1
    kl_weight_min: float | None = None
    kl_weight_max: float | None = None
    kl_min: float = 0.05
    kl_max: float = 0.30
    thermostat: bool | None = None
    thermostat_rate: float = 0.2
    thermostat_gain: float = 0.0
    kl_ema_rate: float = 0.1
    energy_ema_rate: float = 0.05
    band_target: float = 0.03
    band_spread: float = 8.0
    band_shape: str = "homogeneous"
    band_lower: float = 0.8
    band_upper: float = 1.6
    band_penalty: str = "relative"
    band_weight: float | None = None
    band_weight_high: float = 1.0
    control_warmup: int = 200
    control_ramp: int = 200
    control_every: int = 10
    homeostat_rate: float = 0.15
    homeostat_max_step: float = 2.0
    sigma_floor: float = 1e-4
    sigma_ceil: float = 10.0
    sigma_kick: float = 0.02
    calibration: bool = False
    calibrate_every: int = 200
    projection_every: int = 200
    projection_batches: int = 50
    ema_after_rescale: str = "exact"

    def __post_init__(self) -> None:
        """Check every argument; the band's own are checked by `Band`."""
        require_choice("control", self.control, CONTROLS)
        require_choice("band_penalty", self.band_penalty, PENALTY_KINDS)
        require_choice("ema_after_rescale", self.ema_after_rescale, EMA_AFTER_RESCALE)
        for name in ("control_warmup", "control_ramp"):
            require_int(name, getattr(self, name), 0)
        for name in ("control_every", "calibrate_every", "projection_every", "projection_batches"):
            require_int(name, getattr(self, name), 1)
        for name in (
            "kl_min",
            "kl_max",
            "thermostat_rate",
            "thermostat_gain",
            "sigma_kick",
            "band_weight_high",
        ):
            require_range(name, getattr(self, name), 0.0)
        require_range("kl_weight", self.kl_weight, 0.0)
        for name in ("kl_ema_rate", "energy_ema_rate"):
            require_range(name, getattr(self, name), 0.0, 1.0, open_low=True)
        require_range("homeostat_rate", self.homeostat_rate, 0.0, 1.0)
        require_range("homeostat_max_step", self.homeostat_max_step, 1.0)
        require_range("sigma_floor", self.sigma_floor, 0.0, open_low=True)
        require_range("sigma_ceil", self.sigma_ceil, 0.0, open_low=True)
        require_ordered("sigma_floor", self.sigma_floor, "sigma_ceil", self.sigma_ceil)
        require_ordered("kl_min", self.kl_min, "kl_max", self.kl_max)
        if self.band_weight is not None:
            require_range("band_weight", self.band_weight, 0.0)
        low, high = self.weight_bounds
        if self.runs_thermostat:
            require_range("kl_weight", self.kl_weight, 0.0, open_low=True)
            require_range("kl_weight_min", low, 0.0, open_low=True)
            require_range("kl_weight_max", high, 0.0, open_low=True)
            require_ordered("kl_weight_min", low, "kl_weight", self.kl_weight)
            require_ordered("kl_weight", self.kl_weight, "kl_weight_max", high)

    @property
    def weight_bounds(self) -> tuple[float, float]:
        """(kl_weight_min, kl_weight_max) with the defaults filled in."""
        low = self.kl_weight * 1e-3 if self.kl_weight_min is None else self.kl_weight_min
        high = self.kl_weight * 10 if self.kl_weight_max is None else self.kl_weight_max
        return low, high

    @property
    def holds_band(self) -> bool:
        """Whether the regime acts on energies by penalty and rescaling."""
        return self.control in ("homeo", "projection")

    @property
    def runs_thermostat(self) -> bool:
        """`thermostat` with the default filled in."""
        return self.holds_band if self.thermostat is None else self.thermostat

    @property
    def penalty_weight(self) -> float:
        """`band_weight` with the default filled in."""
        if self.band_weight is not None:
            return self.band_weight
        return 3.0 if self.holds_band else 0.0
