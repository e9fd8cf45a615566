"""Every number of the author's network and of its training, by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Regime:
    """What controls the units beside the loss.

    Attributes:
        name: ours.
        variant: the author's name for it.
        every_step: thermostat, homeostat, sigma guard and calibration act during an epoch (homeo); else thermostat and
            calibration once after each.
        projection: units are projected into the band after each epoch; there is no calibration then.
    """

    name: str
    variant: str
    every_step: bool = False
    projection: bool = False


REGIMES = {
    regime.name: regime
    for regime in (
        Regime("paper-homeo", "homeo", every_step=True),
        Regime("paper-off", "projOFF"),
        Regime("paper-projection", "projON", projection=True),
    )
}


@dataclass(frozen=True)
class Settings:
    """The author's values; steps count from 0.

    Attributes:
        hidden_size, n_units: of the network.
        sigma_init, sigma_floor, sigma_ceil: posterior scale at the start, and its limits in the forward pass.
        learning_rate, gradient_clip: of AdamW, without weight decay; of the global norm.
        kl_weight, kl_weight_min, kl_weight_max: beta at the start, and its limits.
        kl_min, kl_max: the thermostat's zone, nats per unit.
        thermostat_rate, kl_ema_rate: step on log beta per nat; weight of an update in the averages that it reads.
        band_target, band_spread, band_lower, band_upper: the heterogeneous band.
        penalty_weight: lambda after its ramp.
        warmup, ramp: steps before anything controls; steps over which lambda rises after them.
        low_share, high_side: in homeo, the side above the band weighs `high_side` while more than `low_share` of the
            averaged energies are below it.
        energy_ema_rate: weight of a step in the averages of energy and alive.
        calibrate_every, control_every: steps between two calibrations; between two actions of thermostat, homeostat,
            guard (homeo).
        homeostat_rate, homeostat_max_step: eta with every unit inside; limit of one rescale.
        guard_floor, guard_ceil, guard_kick: sigma guard.
        epoch_batches, projection_batches: train batches that thermostat and calibration, and the projection, look at.
    """

    hidden_size: int = 256
    n_units: int = 1024
    sigma_init: float = 0.5
    sigma_floor: float = 1e-4
    sigma_ceil: float = 10.0
    learning_rate: float = 1e-3
    gradient_clip: float = 1.0
    kl_weight: float = 1e-3
    kl_weight_min: float = 1e-6
    kl_weight_max: float = 1e-2
    kl_min: float = 0.05
    kl_max: float = 0.30
    thermostat_rate: float = 0.2
    kl_ema_rate: float = 0.1
    band_target: float = 0.03
    band_spread: float = 8.0
    band_lower: float = 0.8
    band_upper: float = 1.6
    penalty_weight: float = 3.0
    warmup: int = 200
    ramp: int = 200
    low_share: float = 0.35
    high_side: float = 0.3
    energy_ema_rate: float = 0.05
    calibrate_every: int = 200
    control_every: int = 10
    homeostat_rate: float = 0.15
    homeostat_max_step: float = 2.0
    guard_floor: float = 0.15
    guard_ceil: float = 5.0
    guard_kick: float = 0.02
    epoch_batches: int = 10
    projection_batches: int = 50
