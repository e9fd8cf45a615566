"""The author's three regimes: when which control law acts, and on what."""

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor

from vdn_forecast.control.calibration import calibrated_scales
from vdn_forecast.control.guard import guard_sigma_
from vdn_forecast.control.homeostat import homeostat_factor
from vdn_forecast.control.projection import projection_factor
from vdn_forecast.control.schedule import due, ramp
from vdn_forecast.control.statistics import ALIVE_KL, blend_
from vdn_forecast.control.thermostat import thermostat_error, thermostat_step
from vdn_forecast.neurons import Band, UnitState, band_penalty, energy, out_of_band

from .network import PaperNetwork
from .settings import Regime, Settings
from .windows import Batch

ALIVE_ENERGY = 1e-4


class PaperControl:
    """KL weights, band and averages of one run.

    Args:
        regime: which laws act.
        settings: their numbers.

    Attributes:
        band: the nominal one.
        log_kl_weight: log beta, [N].
        scale_low, scale_high: of the calibrated band, 0-d.
        kl_ema, window_alive_ema: the thermostat's averages of KL and of the share of windows with KL > 1e-4, [N].
        energy_ema, alive_ema: averages of energy and of [KL and energy above 1e-4], per step, homeo only, [N].
    """

    def __init__(self, regime: Regime, settings: Settings) -> None:
        self.regime, self.settings = regime, settings
        s = settings
        self.band = Band(
            s.n_units, s.band_target, s.band_spread, shape="heterogeneous", lower=s.band_lower, upper=s.band_upper
        )
        self.log_kl_weight = torch.full((s.n_units,), s.kl_weight).log()
        self.scale_low, self.scale_high = torch.ones(()), torch.ones(())
        self.kl_ema, self.window_alive_ema = torch.zeros(s.n_units), torch.zeros(s.n_units)
        self.energy_ema, self.alive_ema = torch.zeros(s.n_units), torch.zeros(s.n_units)
        self.thermostat_updates, self.observations = torch.zeros(()), torch.zeros(())

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of energy, calibrated, [N] each."""
        return self.band.lower * self.scale_low, self.band.upper * self.scale_high

    def kl_term(self, state: UnitState) -> Tensor:
        """mean_B sum_i beta_i KL_i, a scalar."""
        assert state.kl is not None
        return (state.kl * self.log_kl_weight.exp()).sum(1).mean()

    def penalty(self, state: UnitState, high_side: float = 1.0) -> Tensor:
        """P of the batch against the calibrated band, a scalar."""
        return band_penalty(energy(state.mu), *self.bounds(), "relative", 1.0, high_side)

    def training_loss(self, error: Tensor, state: UnitState, step: int) -> Tensor:
        """Error + KL term + lambda P at `step` (from 0)."""
        s = self.settings
        strength = s.penalty_weight * ramp(step, s.warmup, s.ramp)
        loss = error + self.kl_term(state)
        return loss + strength * self.penalty(state, self._high_side()) if strength > 0 else loss

    def validation_loss(self, error: Tensor, state: UnitState) -> Tensor:
        """The same with full lambda and both sides of the band alike."""
        return error + self.kl_term(state) + self.settings.penalty_weight * self.penalty(state)

    def _high_side(self) -> float:
        if not self.regime.every_step or not self.observations:
            return 1.0
        too_low, _ = out_of_band(self.energy_ema, self.bounds())
        return self.settings.high_side if too_low > self.settings.low_share else 1.0

    # ------------------------------------------------------------------ when

    @torch.no_grad()
    def after_step(self, network: PaperNetwork, state: UnitState, step: int) -> None:
        """What homeo does after the optimiser's step number `step` (from 0); the other regimes do nothing.

        Args:
            network: its units are rescaled in place.
            state: of the step's batch, before the optimiser moved.
            step: from 0.
        """
        s = self.settings
        if not self.regime.every_step:
            return
        assert state.kl is not None
        batch_energy = energy(state.mu)
        alive = (batch_energy > ALIVE_ENERGY) & (state.kl.mean(0) > ALIVE_KL)
        blend_(self.energy_ema, batch_energy, s.energy_ema_rate, self.observations)
        blend_(self.alive_ema, alive.float(), s.energy_ema_rate, self.observations)
        self.observations += 1
        if due(step, s.warmup, s.calibrate_every):
            self.calibrate(self.energy_ema)
        if due(step, s.warmup, s.control_every):
            self.run_thermostat(state.kl)
            factor = homeostat_factor(self.energy_ema, *self.bounds(), s.homeostat_rate, s.homeostat_max_step)
            network.layer.rescale_units_(factor)  # the averages of energy stay as they are
            guard_sigma_(network.layer, self.alive_ema, s.guard_floor, s.guard_ceil, s.guard_kick)

    @torch.no_grad()
    def after_epoch(self, network: PaperNetwork, train: Iterable[Batch], steps: int) -> None:
        """What the regimes without a homeostat do after an epoch, in this order: thermostat, projection, calibration.

        Each looks at a newly shuffled pass over the train windows.

        Args:
            network: its units are projected in place.
            train: the train loader.
            steps: optimiser steps so far.
        """
        s = self.settings
        if self.regime.every_step:
            return
        self.run_thermostat(torch.cat([_kl(network(x)[1]) for x, _ in islice(train, s.epoch_batches)]))
        if self.regime.projection:
            self.project(network, train)
        elif steps >= s.warmup:
            energies = [energy(network(x)[1].mu) for x, _ in islice(train, s.epoch_batches)]
            self.calibrate(torch.stack(energies).mean(0))

    # ------------------------------------------------------------------ what

    def run_thermostat(self, kl: Tensor) -> None:
        """Move log beta by the averaged KL; `kl` [B, N] in nats."""
        s = self.settings
        blend_(self.kl_ema, kl.mean(0), s.kl_ema_rate, self.thermostat_updates)
        alive = (kl > ALIVE_KL).float().mean(0)
        blend_(self.window_alive_ema, alive, s.kl_ema_rate, self.thermostat_updates)
        self.thermostat_updates += 1
        error = thermostat_error(self.kl_ema, self.window_alive_ema, s.kl_min, s.kl_max)
        bounds = (s.kl_weight_min, s.kl_weight_max)
        _, self.log_kl_weight = thermostat_step(self.log_kl_weight, error, s.thermostat_rate, 0.0, bounds)

    def calibrate(self, unit_energy: Tensor) -> None:
        """Let the whole band follow quantiles of `unit_energy` [N] over its nominal bounds."""
        self.scale_low, self.scale_high = calibrated_scales(
            unit_energy, self.band.lower, self.band.upper, self.scale_low, self.scale_high
        )

    def project(self, network: PaperNetwork, train: Iterable[Batch]) -> None:
        """Scale the units outside of the band to its nearest bound."""
        passes = islice(train, self.settings.projection_batches)
        energies = [network.layer.mu(network.context(x)).square().mean(0) for x, _ in passes]
        factor = projection_factor(torch.stack(energies).mean(0), *self.bounds())
        network.layer.rescale_units_(factor)
        # the author's code starts another pass here, for a report; its draw keeps runs of one seed pairs
        next(iter(train))


def _kl(state: UnitState) -> Tensor:
    assert state.kl is not None
    return state.kl
