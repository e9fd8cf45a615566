"""One latent per window, tied to the window some steps earlier: the papers' penalty, or a real prior."""

import math

import torch
from torch import Tensor, nn

from .checks import require_int, require_range
from .prior import kl_standard


def ar_penalty(mu: Tensor, earlier_mu: Tensor, valid: Tensor, phi: float, scale: float) -> Tensor:
    """mean (mu_t - phi mu_t-1)^2 / (2 scale^2), a scalar: the papers' term; it moves means only and is no prior.

    Args:
        mu, earlier_mu: [B, N, k] or [B, S, N, k].
        valid: bool [B], windows that have an earlier one; 0 where there is none.
        phi, scale: of the term.
    """
    square = (mu - phi * earlier_mu).square().flatten(1).mean(1)  # [B]
    return torch.where(valid, square, 0.0).sum() / valid.sum().clamp(min=1) / (2 * scale**2)


def ar_scale(band_lower: Tensor, band_upper: Tensor) -> float:
    """The penalty's scale from the band: .8 sqrt(mean band centre), inside [.03, 1] (the paper's notebook)."""
    centre = float((0.5 * (band_lower + band_upper)).mean())
    return min(max(0.8 * math.sqrt(centre), 0.03), 1.0)


class WindowPrior(nn.Module):
    """p(z_i,t | z_i,t-1) = N(phi_i z_i,t-1, s_i^2) across windows, with learned phi_i in (-1, 1) and s_i > 0.

    The KL is averaged over the earlier posterior in closed form, no latent is sampled:
    ln(s/sigma_t) + [sigma_t^2 + (mu_t - phi mu_t-1)^2 + phi^2 sigma_t-1^2] / (2 s^2) - 1/2.

    Args:
        n_units: N.
        phi_init: phi at the start, inside (-1, 1).

    Raises:
        ValueError: a bad argument, by name.
    """

    def __init__(self, n_units: int, phi_init: float = 0.95) -> None:
        super().__init__()
        require_int("n_units", n_units, 1)
        require_range("ar_phi", phi_init, -1.0, 1.0, open_low=True, open_high=True)
        self.raw_phi = nn.Parameter(torch.full((n_units,), math.atanh(phi_init)))
        # its stationary distribution starts as N(0, 1), the prior of a window without an earlier one
        self.log_scale = nn.Parameter(torch.full((n_units,), 0.5 * math.log1p(-(phi_init**2))))

    def phi(self) -> Tensor:
        """Memory of every unit, [N]."""
        return torch.tanh(self.raw_phi)

    def kl(self, mu: Tensor, log_sigma: Tensor, earlier_mu: Tensor, earlier_log_sigma: Tensor, valid: Tensor) -> Tensor:
        """KL per window and unit, nats, summed over k (averaged over S): [B, N].

        Args:
            mu, earlier_mu: [B, N, k] or [B, S, N, k].
            log_sigma, earlier_log_sigma: broadcastable to them.
            valid: bool [B]; other windows are held to N(0, 1).
        """
        phi, log_scale = self.phi().unsqueeze(-1), self.log_scale.unsqueeze(-1)  # [N, 1]
        precision = torch.exp(-2.0 * log_scale)
        residual = (mu - phi * earlier_mu) * precision.sqrt()
        passed_on = 0.5 * precision * phi.square() * torch.exp(2.0 * earlier_log_sigma)
        tied = kl_standard(residual, log_sigma - log_scale) + passed_on
        free = kl_standard(mu, log_sigma)
        kl = torch.where(valid.view(-1, *[1] * (mu.ndim - 1)), tied, free).sum(-1)
        return kl if kl.ndim == 2 else kl.mean(1)
