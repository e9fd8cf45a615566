"""What a unit does over many windows: energy, signal, KL and the information it carries about its input."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vdn_forecast.neurons import UnitState, out_of_band

from .statistics import ALIVE_KL

ALIVE_INFO = 0.005
"""A unit carries information above this, nats."""


@dataclass(frozen=True, eq=False)
class UnitMeasures:
    """Measures of N units over some windows, float64 [N] each.

    Attributes:
        energy: mean squared posterior mean, over windows, samples and latents.
        signal: variance over windows of the posterior mean, mean over latents.
        kl: effective KL, nats; NaN for a deterministic layer.
        info: nats, see `UnitSums`; infinite for a deterministic unit that varies, 0 for one that does not.
        sigma: root mean square of the posterior scale, over windows and latents; 0 for a deterministic layer.
        alive_share: share of windows with a KL above 1e-4 nats (the paper's); NaN for a deterministic layer.
        windows: how many windows were seen.
    """

    energy: Tensor
    signal: Tensor
    kl: Tensor
    info: Tensor
    sigma: Tensor
    alive_share: Tensor
    windows: int

    @property
    def alive(self) -> Tensor:
        """Which units carry information, info > .005 nats, bool [N]."""
        return self.info > ALIVE_INFO

    @property
    def alive_paper(self) -> Tensor:
        """The paper's test, KL and energy above 1e-4, bool [N]; it passes units that are constant."""
        return (self.kl > ALIVE_KL) & (self.energy > ALIVE_KL)


class UnitSums:
    """Running sums over windows of one layer's states; nothing per window is kept.

    The information of a unit is its KL minus that of its aggregate posterior, moment-matched, to the prior. With
    Gaussian posteriors the prior cancels, and per latent there remains

        info = 1/2 log(E[sigma^2] + Var[mu]) - E[log sigma] >= 0

    which is 0 for a posterior that does not depend on the input, however large its KL. Latents of a unit are summed
    as if they were independent: an upper bound of the mutual information of latents and input.

    Args:
        n_units: N.
        latent_dim: k.
    """

    def __init__(self, n_units: int, latent_dim: int = 1) -> None:
        self.windows = 0
        self._count = 0  # windows x samples
        shape = (n_units, latent_dim)
        self._mu, self._square, self._variance, self._log_sigma = (torch.zeros(shape).double() for _ in range(4))
        self._kl, self._alive = (torch.zeros(n_units).double() for _ in range(2))
        self._deterministic = False

    @torch.no_grad()
    def update(self, state: UnitState) -> None:
        """Add the states of some windows."""
        mu = state.mu.double().cpu().flatten(0, -3)  # [B (S), N, k]
        self.windows += len(state.mu)
        self._count += len(mu)
        self._mu += mu.sum(0)
        self._square += mu.square().sum(0)
        if state.log_sigma is None or state.kl is None:
            self._deterministic = True
            return
        log_sigma = state.log_sigma.double().cpu()
        if log_sigma.ndim >= 3:
            log_sigma = log_sigma.flatten(0, -3)
        log_sigma = log_sigma.expand(mu.shape)
        self._variance += (2 * log_sigma).exp().sum(0)
        self._log_sigma += log_sigma.sum(0)
        self._kl += state.kl.double().cpu().sum(0)
        self._alive += (state.kl > ALIVE_KL).double().cpu().sum(0)

    def measures(self) -> UnitMeasures:
        """The measures over all windows so far.

        Raises:
            ValueError: no window was seen.
        """
        if not self.windows:
            raise ValueError("measures() needs at least one window; update() was given none")
        square = self._square / self._count
        signal = (square - (self._mu / self._count).square()).clamp(min=0)  # [N, k]
        variance = self._variance / self._count
        if self._deterministic:
            info = torch.where(signal.sum(-1) > 0, torch.inf, 0.0)
            kl = alive = torch.full_like(self._kl, torch.nan)
        else:
            gain = 0.5 * (variance + signal).log() - self._log_sigma / self._count
            info = gain.sum(-1).clamp(min=0)  # rounding
            kl, alive = self._kl / self.windows, self._alive / self.windows
        return UnitMeasures(
            energy=square.mean(-1),
            signal=signal.mean(-1),
            kl=kl,
            info=info,
            sigma=variance.mean(-1).sqrt(),
            alive_share=alive,
            windows=self.windows,
        )


class BandShares:
    """Shares of units outside of their band by the energy of each batch, and by that of each series.

    Args:
        n_units: N.
        n_series: of the dataset.
    """

    def __init__(self, n_units: int, n_series: int) -> None:
        self._series = torch.zeros(n_series, n_units).double()
        self._windows = torch.zeros(n_series).double()
        self._out, self._batches = 0.0, 0

    @torch.no_grad()
    def update(self, state: UnitState, series: Tensor, bounds: tuple[Tensor, Tensor]) -> None:
        """Add one batch.

        Args:
            state: of its windows.
            series: of its windows, [W].
            bounds: in force, [N] each.
        """
        per_window = state.mu.double().cpu().square().mean(-1)  # [W(, S), N]
        if per_window.ndim == 3:
            per_window = per_window.mean(1)
        self._series.index_add_(0, series.cpu(), per_window)
        self._windows += torch.bincount(series.cpu(), minlength=len(self._windows))
        below, above = out_of_band(per_window.mean(0).float(), (bounds[0].cpu(), bounds[1].cpu()))
        self._out += float(below) + float(above)
        self._batches += 1

    def out_batch(self) -> float:
        """Mean over batches."""
        return self._out / self._batches if self._batches else float("nan")

    def out_series(self, bounds: tuple[Tensor, Tensor]) -> float:
        """Mean over the series that had a window, against `bounds` [N] each."""
        seen = self._windows > 0
        energy = (self._series[seen] / self._windows[seen].unsqueeze(-1)).float()
        lower, upper = (bound.cpu() for bound in bounds)
        return float(((energy < lower) | (energy > upper)).double().mean())
