"""Gaussian priors of a unit's latents and the KL divergence to them, in closed form."""

import math

import torch
from torch import Tensor, nn

from .checks import require_int, require_range


def kl_standard(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)), elementwise, in nats (arXiv 2602.18250).

    Args:
        mu: posterior mean, any shape.
        log_sigma: log posterior scale, broadcastable against `mu`.

    Returns:
        The broadcast shape: (mu^2 + sigma^2 - 1) / 2 - log sigma.
    """
    # expm1 keeps the value exact where the posterior is close to the prior (sigma near 1)
    return 0.5 * (mu.square() + torch.expm1(2.0 * log_sigma)) - log_sigma


def kl_gaussian(mu: Tensor, log_sigma: Tensor, prior_mean: Tensor, prior_log_scale: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(m, s^2)), elementwise, in nats: to N(0, 1) after standardising by m, s."""
    return kl_standard((mu - prior_mean) * torch.exp(-prior_log_scale), log_sigma - prior_log_scale)


class GaussianPrior(nn.Module):
    """p(z_i) = N(m_i, s_i^2) for N units with k latents each; N(0, 1) unless told otherwise.

    Args:
        n_units: N.
        latent_dim: k.
        mean: m, a number or a tensor broadcastable to [N, k].
        scale: s > 0, a number or a tensor broadcastable to [N, k].
        learned: whether m and log s are parameters (else buffers).

    Raises:
        ValueError: a size under 1, or a scale that is not positive and finite.
    """

    mean: Tensor
    log_scale: Tensor

    def __init__(
        self,
        n_units: int,
        latent_dim: int = 1,
        *,
        mean: float | Tensor = 0.0,
        scale: float | Tensor = 1.0,
        learned: bool = False,
    ) -> None:
        super().__init__()
        require_int("n_units", n_units, 1)
        require_int("latent_dim", latent_dim, 1)
        for value in torch.as_tensor(scale).flatten().tolist():
            require_range("scale", value, 0.0, math.inf, open_low=True)
        shape = (n_units, latent_dim)
        mean_t = torch.as_tensor(mean, dtype=torch.get_default_dtype()).expand(shape).clone()
        log_scale_t = torch.as_tensor(scale, dtype=torch.get_default_dtype()).log().expand(shape).clone()
        # decided once, here: a check per step would synchronise with the device
        self.is_standard = not learned and not bool(mean_t.any()) and not bool(log_scale_t.any())
        if learned:
            self.mean, self.log_scale = nn.Parameter(mean_t), nn.Parameter(log_scale_t)
        else:  # not persistent: they follow from the arguments
            self.register_buffer("mean", mean_t, persistent=False)
            self.register_buffer("log_scale", log_scale_t, persistent=False)

    def kl(self, mu: Tensor, log_sigma: Tensor) -> Tensor:
        """Elementwise KL of the posterior to this prior, nats, of the broadcast shape [..., N, k]."""
        if self.is_standard:
            return kl_standard(mu, log_sigma)
        return kl_gaussian(mu, log_sigma, self.mean, self.log_scale)

    def sample(self, eps: Tensor) -> Tensor:
        """Latents drawn from the prior for standard normal `eps` [..., N, k]."""
        return self.mean + self.log_scale.exp() * eps
