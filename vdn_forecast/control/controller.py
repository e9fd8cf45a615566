"""One controller per layer: KL weights, band penalty, rescaling, sigma guard (arXiv 2602.18250)."""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from vdn_forecast.neurons import Band, UnitScale, UnitState, VariationalLayer, band_penalty, energy, out_of_band
from vdn_forecast.neurons.checks import require_int

from .batchnorm import MeanBatchNorm
from .calibration import calibrated_scales
from .guard import guard_sigma_
from .homeostat import balancing_factor, homeostat_factor
from .moments import forget_direction_
from .projection import projection_factor
from .schedule import HostStep, due, ramp
from .settings import ControlSettings
from .statistics import batch_sums, blend_, count_windows, is_distributed, sum_windows
from .thermostat import thermostat_error, thermostat_step

# under "homeo" the penalty above the band weighs less while many units still have to come up
_LOW_SHARE, _HIGH_SIDE_DAMPING = 0.35, 0.3


class UnitController(nn.Module):
    """Keeps KL and energy of one layer's units where they should be; all state is in persistent buffers.

    Per step: `regularizer` (or `penalty`) in the loss, `observe` on the same state, `update` after the
    optimiser's step. `reset` before a second fit. Everything but `regularizer` is outside the graph.

    Args:
        n_units: N.
        latent_dim: k.
        **settings: the flat arguments of `ControlSettings`.

    Attributes:
        settings: the checked arguments.
        band: the nominal `Band`; `bounds()` gives the calibrated bounds.

    Raises:
        ValueError: a bad argument, by name.
        TypeError: an unknown argument.
    """

    step: Tensor  # completed optimiser steps of this fit, int64 0-d
    log_kl_weight: Tensor  # log beta, [N]
    kl_integral: Tensor  # the thermostat's integral part of it, [N]
    kl_ema: Tensor  # nats, moves with the thermostat only, [N]
    energy_ema: Tensor  # [N]
    alive_ema: Tensor  # share of windows with KL > 1e-4, [N]
    kl_updates: Tensor  # how many values kl_ema has seen, int64 0-d
    ema_updates: Tensor  # the same for energy_ema and alive_ema
    band_scale_low: Tensor  # 0-d
    band_scale_high: Tensor
    batch_sums: Tensor  # of KL, energy, alive since the last update, [3, N]
    batch_count: Tensor  # windows in them, 0-d
    projection_sum: Tensor  # of energy since the last projection, [N]
    projection_count: Tensor  # windows in it, 0-d

    def __init__(self, n_units: int, latent_dim: int = 1, **settings: Any) -> None:
        super().__init__()
        require_int("n_units", n_units, 1)
        require_int("latent_dim", latent_dim, 1)
        self.settings = s = ControlSettings(**settings)
        self.n_units, self.latent_dim = n_units, latent_dim
        self.band = Band(
            n_units, s.band_target, s.band_spread, shape=s.band_shape, lower=s.band_lower, upper=s.band_upper
        )
        self._clock = HostStep()
        start = math.log(s.kl_weight) if s.kl_weight > 0 else -math.inf
        for name in ("log_kl_weight", "kl_integral"):
            self.register_buffer(name, torch.full((n_units,), start))
        for name in ("kl_ema", "energy_ema", "projection_sum"):
            self.register_buffer(name, torch.zeros(n_units))
        self.register_buffer("alive_ema", torch.ones(n_units))  # alive until shown otherwise
        for name in ("step", "kl_updates", "ema_updates"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        for name in ("band_scale_low", "band_scale_high"):
            self.register_buffer(name, torch.ones(()))
        for name in ("batch_count", "projection_count"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("batch_sums", torch.zeros(3, n_units))

    @property
    def acts(self) -> bool:
        """Whether `update` changes anything but its averages."""
        s = self.settings
        return s.holds_band or s.runs_thermostat or s.calibration or s.control == "balance"

    def attach(self, layer: VariationalLayer) -> None:
        """Put what the regime needs inside the forward pass into `layer`: batch norm of means, scales, or nothing.

        Raises:
            ValueError: a layer of another size.
        """
        if (layer.n_units, layer.latent_dim) != (self.n_units, self.latent_dim):
            size = (layer.n_units, layer.latent_dim)
            raise ValueError(f"layer has (N, k) = {size}; it must be {(self.n_units, self.latent_dim)}")
        if self.settings.control == "batchnorm":
            layer.mu_transform = MeanBatchNorm(self.band.targets, self.latent_dim)
        if self.settings.control == "balance":
            layer.unit_scale = UnitScale(self.n_units)

    def kl_weights(self) -> Tensor:
        """beta per unit, [N]."""
        return self.log_kl_weight.exp()

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of energy in force, [N] each: the nominal ones, calibrated."""
        return self.band.lower * self.band_scale_low, self.band.upper * self.band_scale_high

    def regularizer(self, state: UnitState, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(sum_i beta_i mean_B KL_i, lambda * band penalty), two differentiable scalars.

        Energy and KL are those of this process' windows.

        Args:
            state: of the controlled layer.
            weights: [B] of 0/1, the windows that count.
        """
        s = self.settings
        kl_term = band_term = state.mu.new_zeros(())
        mean_kl = state.mean_kl  # [N]
        if mean_kl is None and state.kl is not None:
            mean_kl = sum_windows(state.kl, weights) / count_windows(state, weights).clamp(min=1)
        if mean_kl is not None and s.kl_weight > 0:
            kl_term = (self.kl_weights() * mean_kl).sum()
        strength = s.penalty_weight * ramp(self._clock.read(self.step), s.control_warmup, s.control_ramp)
        if strength > 0:
            lower, upper = self.bounds()
            high = s.band_weight_high * self._high_side_damping()
            batch_energy = energy(state.mu, weights) if state.mean_energy is None else state.mean_energy
            penalty = band_penalty(batch_energy, lower, upper, s.band_penalty, 1.0, high)
            # without a window that counts an energy of 0 would be charged as too low
            band_term = strength * penalty * (count_windows(state, weights) > 0)
        return kl_term, band_term

    def penalty(self, state: UnitState, weights: Tensor | None = None) -> Tensor:
        """The sum of both terms of `regularizer`."""
        kl_term, band_term = self.regularizer(state, weights)
        return kl_term + band_term

    def _high_side_damping(self) -> float | Tensor:
        if self.settings.control != "homeo":
            return 1.0
        too_low, _ = out_of_band(self.energy_ema, self.bounds())
        return torch.where((too_low > _LOW_SHARE) & (self.ema_updates > 0), _HIGH_SIDE_DAMPING, 1.0)

    @torch.no_grad()
    def observe(self, state: UnitState, weights: Tensor | None = None) -> None:
        """Add one training batch to the statistics that the next `update` reads (several add up)."""
        sums, count = batch_sums(state, weights)
        self.batch_sums.add_(sums)
        self.batch_count.add_(count)

    @torch.no_grad()
    def update(self, layer: VariationalLayer, optimizer: Optimizer | None = None) -> None:
        """Control after an optimiser step: EMAs every step, actions when they are due.

        Args:
            layer: the controlled layer, changed in place.
            optimizer: its first moments of rescaled rows are zeroed; None leaves them.
        """
        s = self.settings
        step = self._clock.advance(self.step)
        seen = self.batch_count > 0
        kl, batch_energy, alive = self.batch_sums / self.batch_count.clamp(min=1)  # [N] each
        blend_(self.energy_ema, batch_energy, s.energy_ema_rate, self.ema_updates, seen)
        blend_(self.alive_ema, alive, s.energy_ema_rate, self.ema_updates, seen)
        self.ema_updates.add_(seen)
        if s.calibration and due(step, s.control_warmup, s.calibrate_every):
            self.run_calibration(self.energy_ema)
        acts = due(step, s.control_warmup, s.control_every)
        if acts and s.runs_thermostat and not layer.deterministic:
            # a step without a window that counts leaves KL where it was
            self.run_thermostat(torch.where(seen, kl, self.kl_ema))
        if acts and s.control == "homeo":
            factor = homeostat_factor(self.energy_ema, *self.bounds(), s.homeostat_rate, s.homeostat_max_step)
            self._rescale(layer, torch.where(self.ema_updates > 0, factor, 1.0), optimizer)
            guard_sigma_(layer, self.alive_ema, s.sigma_floor, s.sigma_ceil, s.sigma_kick)
        if acts and s.control == "balance":
            factor = homeostat_factor(self.energy_ema, *self.bounds(), s.homeostat_rate, s.homeostat_max_step)
            self._trade(layer, torch.where(self.ema_updates > 0, factor, 1.0))
        if s.control == "projection":
            self._collect_and_project(step, layer, optimizer)
        self.batch_sums.zero_()
        self.batch_count.zero_()

    def _collect_and_project(self, step: int, layer: VariationalLayer, optimizer: Optimizer | None) -> None:
        s = self.settings
        if -step % s.projection_every < s.projection_batches:  # steps left until the next projection
            self.projection_sum.add_(self.batch_sums[1])
            self.projection_count.add_(self.batch_count)
        if step % s.projection_every == 0:
            mean = self.projection_sum / self.projection_count.clamp(min=1)
            lower, _ = self.bounds()
            # nothing seen: an energy inside the band moves nothing
            self.run_projection(layer, torch.where(self.projection_count > 0, mean, lower), optimizer)
            self.projection_sum.zero_()
            self.projection_count.zero_()

    @torch.no_grad()
    def run_thermostat(self, kl_mean: Tensor, alive: Tensor | None = None) -> None:
        """One thermostat step: `update` calls it when due, a runner may call it once per epoch.

        Args:
            kl_mean: mean KL per unit over some windows, nats, [N].
            alive: share of these windows with KL > 1e-4, [N], blended into `alive_ema` with `kl_ema_rate`;
                None where `update` keeps that average.

        Raises:
            ValueError: KL weights that start at 0 cannot be steered.
        """
        s = self.settings
        if s.kl_weight == 0:
            raise ValueError("kl_weight=0.0 is not allowed with a thermostat; it must be positive")
        if alive is not None:
            blend_(self.alive_ema, alive, s.kl_ema_rate, self.kl_updates + self.ema_updates)
        blend_(self.kl_ema, kl_mean, s.kl_ema_rate, self.kl_updates)
        self.kl_updates.add_(1)
        k = self.latent_dim
        error = thermostat_error(self.kl_ema, self.alive_ema, k * s.kl_min, k * s.kl_max)
        integral, log_weight = thermostat_step(
            self.kl_integral, error, s.thermostat_rate, s.thermostat_gain, s.weight_bounds
        )
        self.kl_integral.copy_(integral)
        self.log_kl_weight.copy_(log_weight)

    @torch.no_grad()
    def run_calibration(self, energy: Tensor) -> None:
        """One calibration of the band on `energy` [N]; a runner may call it once per epoch."""
        low, high = calibrated_scales(
            energy, self.band.lower, self.band.upper, self.band_scale_low, self.band_scale_high
        )
        self.band_scale_low.copy_(low)
        self.band_scale_high.copy_(high)

    @torch.no_grad()
    def run_projection(self, layer: VariationalLayer, energy: Tensor, optimizer: Optimizer | None = None) -> None:
        """One projection of `layer` on `energy` [N]; a runner may call it once per epoch."""
        self._rescale(layer, projection_factor(energy, *self.bounds()), optimizer)

    def _rescale(self, layer: VariationalLayer, factor: Tensor, optimizer: Optimizer | None) -> None:
        touched = layer.rescale_units_(factor)
        if self.settings.ema_after_rescale == "exact":
            self.energy_ema.mul_(factor.square())
        if optimizer is not None:
            forget_direction_(optimizer, touched, (factor != 1).repeat_interleave(self.latent_dim))

    def _trade(self, layer: VariationalLayer, factor: Tensor) -> None:
        assert layer.unit_scale is not None
        layer.unit_scale.scale.mul_(factor)
        self.energy_ema.mul_(factor.square())

    @torch.no_grad()
    def gather(self, state: UnitState) -> None:
        """Add windows to the energies that `settle` reads; processes need not have as many."""
        self.batch_sums[1].add_(energy(state.mu) * len(state.mu))
        self.batch_count.add_(len(state.mu))

    @torch.no_grad()
    def settle(self, layer: VariationalLayer) -> None:
        """Under "balance": every unit to the middle of its band, by the energies gathered since `update`."""
        total = torch.cat([self.batch_sums[1], self.batch_count.unsqueeze(0)])
        if is_distributed():
            dist.all_reduce(total)
        factor = balancing_factor(total[:-1] / total[-1].clamp(min=1), *self.bounds())
        self._trade(layer, torch.where(total[-1] > 0, factor, 1.0))
        self.batch_sums.zero_()
        self.batch_count.zero_()

    @torch.no_grad()
    def reset(self) -> None:
        """Begin a new fit: step, averages and pending statistics at zero; KL weights and band scales stay."""
        for buffer in (
            self.step,
            self.kl_ema,
            self.energy_ema,
            self.kl_updates,
            self.ema_updates,
            self.batch_sums,
            self.batch_count,
            self.projection_sum,
            self.projection_count,
        ):
            buffer.zero_()
        self.alive_ema.fill_(1.0)
