"""One layer of variational distributional neurons (arXiv 2602.18250)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .checks import require_choice, require_int, require_range
from .prior import GaussianPrior
from .state import UnitState

SIGMA_KINDS = ("amortized", "unit", "scalar")
POOLS = ("mean", "sum", "sum_sqrtk")
EMISSIONS = ("identity", "affine", "gaussian")


class UnitScale(nn.Module):
    """A scale c_i per unit for its latents, taken off again from what it hands on: only prior and KL feel it.

    Args:
        n_units: N.
    """

    scale: Tensor

    def __init__(self, n_units: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(n_units))


class VariationalLayer(nn.Module):
    """N units, each with an amortised posterior q(z_i | h) over k latents, a prior and a local ELBO.

        mu = W_mu h + b_mu,  z_s = mu + sigma * eps_s,  a_i = pool_k(z_i)          (emission "identity")
        a_i = u_i pool_k(z_i) + w_i' h + b_i                                       ("affine")
        the same + tau_i eps'                                                      ("gaussian")

    Noise is an argument: nothing depends on `self.training`.

    Args:
        in_features: D, the context's size.
        n_units: N.
        latent_dim: k.
        sigma: "amortized" (log sigma = W_s h + b_s, W_s at 0), "unit" (one per latent) or "scalar" (one).
        sigma_init: sigma at the start.
        sigma_floor: smallest sigma; 0 switches the floor off.
        sigma_ceil: largest sigma.
        pool: how k latents become one number: "mean", "sum" or "sum_sqrtk" (sum / sqrt k).
        emission: see above; "affine" starts as "identity" (u = 1, w = b = 0).
        tau_init: start of tau_i, the scale of the local likelihood (and of the "gaussian" emission's noise).
        mean_bound: b; means become mu / sqrt(1 + (mu / b)^2) and saturate where windows are unlike those of training;
            None for no bound.
        mean_compression: c; means become c asinh(mu / c), as they were within c and their logarithm far beyond it, so
            that no window puts a unit far from where training had it; None for none.
        learn_tau: make tau_i a parameter; "gaussian" emission always does.
        prior: p(z_i); None for a fixed N(0, 1).
        deterministic: the twin: z = mu, no sigma, no prior, no tau ("gaussian" emission becomes "affine").

    Attributes:
        mean_bound, mean_compression: [N] or None.
        mu: Linear(D, N k); the rows of unit i are i k .. i k + k - 1.
        mu_transform: called as `mu_transform(mu, weights)` on the means; batch norm of means is put here.
        unit_scale: the regime "balance" puts a `UnitScale` here.
        z_transform: called on the latents [B, S, N, k] before they are pooled; diagnostics replace units here.

    Raises:
        ValueError: a bad argument, by name.
    """

    mean_bound: Tensor | None
    mean_compression: Tensor | None

    def __init__(
        self,
        in_features: int,
        n_units: int,
        latent_dim: int = 1,
        *,
        sigma: str = "amortized",
        sigma_init: float = 0.3,
        sigma_floor: float = 1e-4,
        sigma_ceil: float = 10.0,
        pool: str = "mean",
        emission: str = "identity",
        tau_init: float = 0.3,
        learn_tau: bool = False,
        mean_bound: float | None = None,
        mean_compression: float | None = None,
        prior: GaussianPrior | None = None,
        deterministic: bool = False,
    ) -> None:
        super().__init__()
        require_int("in_features", in_features, 1)
        require_int("n_units", n_units, 1)
        require_int("latent_dim", latent_dim, 1)
        require_choice("sigma", sigma, SIGMA_KINDS)
        require_choice("pool", pool, POOLS)
        require_choice("emission", emission, EMISSIONS)
        require_range("sigma_ceil", sigma_ceil, 0.0, open_low=True)
        require_range("sigma_floor", sigma_floor, 0.0, sigma_ceil)
        require_range("sigma_init", sigma_init, sigma_floor, sigma_ceil, open_low=sigma_floor == 0)
        require_range("tau_init", tau_init, 0.0, open_low=True)
        for name, limit in (("mean_bound", mean_bound), ("mean_compression", mean_compression)):
            if limit is not None:
                require_range(name, limit, 0.0, open_low=True)
            # per unit, as a rescaled unit takes them along
            self.register_buffer(name, None if limit is None else torch.full((n_units,), float(limit)))
        if prior is not None and tuple(prior.mean.shape) != (n_units, latent_dim):
            raise ValueError(f"prior has shape {tuple(prior.mean.shape)}; it must be {(n_units, latent_dim)}")
        self.in_features, self.n_units, self.latent_dim = in_features, n_units, latent_dim
        self.sigma, self.deterministic = sigma, deterministic
        self.emission = "affine" if deterministic and emission == "gaussian" else emission
        self.log_floor = math.log(sigma_floor) if sigma_floor > 0 else -math.inf
        self.log_ceil = math.log(sigma_ceil)
        # pool(z) = pool_weight * sum over k
        self.pool_weight = {"mean": 1 / latent_dim, "sum": 1.0, "sum_sqrtk": latent_dim**-0.5}[pool]
        self.mu = nn.Linear(in_features, n_units * latent_dim)
        self.mu_transform: nn.Module | None = None
        self.unit_scale: UnitScale | None = None
        self.z_transform: Callable[[Tensor], Tensor] | None = None

        self.sigma_net: nn.Linear | None = None
        self.log_sigma: nn.Parameter | None = None
        self.prior: GaussianPrior | None = None
        self.log_tau: nn.Parameter | None = None
        self.tau_init = tau_init
        self.has_local_elbo = not deterministic
        if not deterministic:
            self._add_posterior_scale(sigma_init)
            self.prior = prior if prior is not None else GaussianPrior(n_units, latent_dim)
            if learn_tau or emission == "gaussian":
                self.log_tau = nn.Parameter(torch.full((n_units,), math.log(tau_init)))
        self.skip: nn.Linear | None = None
        if self.emission != "identity":
            self.gain = nn.Parameter(torch.ones(n_units))  # u_i
            self.skip = nn.Linear(in_features, n_units)  # w_i, b_i
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)

    def _add_posterior_scale(self, sigma_init: float) -> None:
        start = math.log(sigma_init)
        if self.sigma == "amortized":
            self.sigma_net = nn.Linear(self.in_features, self.n_units * self.latent_dim)
            nn.init.zeros_(self.sigma_net.weight)
            nn.init.constant_(self.sigma_net.bias, start)
        else:
            shape = (self.n_units, self.latent_dim) if self.sigma == "unit" else ()
            self.log_sigma = nn.Parameter(torch.full(shape, start))

    def forward(
        self,
        context: Tensor,
        eps: Tensor | None,
        weights: Tensor | None = None,
        need_local_elbo: bool = False,
        eps_emission: Tensor | None = None,
    ) -> UnitState:
        """Posterior, samples, activation and local KL of one batch.

        Args:
            context: h, [B, D], or [B, S, D] where each sample has its own.
            eps: standard normal numbers, [B, S, N, k], or [1, S, N, k] for a bank that all windows share;
                None for the posterior mean (z = mu, no emission noise). A deterministic layer ignores it.
            weights: [B] of 0/1, the windows that count (read by `mu_transform` only).
            need_local_elbo: whether to fill `UnitState.local_elbo`.
            eps_emission: [B or 1, S, N], needed beside `eps` by emission "gaussian".

        Raises:
            ValueError: a tensor of the wrong shape, or "gaussian" emission without its noise.
        """
        if context.ndim not in (2, 3) or context.shape[-1] != self.in_features:
            raise ValueError(f"context has shape {tuple(context.shape)}; it must be [B(, S), {self.in_features}]")
        units = (self.n_units, self.latent_dim)
        mu = self.mu(context).unflatten(-1, units)  # [B(, S), N, k]
        if self.mean_bound is not None:
            mu = mu * torch.rsqrt(1.0 + (mu / self.mean_bound.unsqueeze(-1)).square())
        if self.mean_compression is not None:
            knee = self.mean_compression.unsqueeze(-1)  # [N, 1]
            mu = knee * torch.asinh(mu / knee)
        if self.mu_transform is not None:
            mu = self.mu_transform(mu, weights)
        if self.unit_scale is not None:
            mu = mu * self.unit_scale.scale.unsqueeze(-1)
        log_sigma = self._log_scale(context)
        centre = mu if mu.ndim == 4 else mu.unsqueeze(1)  # [B, 1 or S, N, k]
        if log_sigma is None or eps is None:
            eps = eps_emission = None
            z = centre
        else:
            if eps.ndim != 4 or tuple(eps.shape[-2:]) != units:
                raise ValueError(f"eps has shape {tuple(eps.shape)}; it must be [B or 1, S, {units[0]}, {units[1]}]")
            # an amortised scale without samples, [B, N, k], needs the sample axis that `centre` has
            spread = log_sigma.unsqueeze(1) if log_sigma.ndim == 3 else log_sigma
            z = centre + spread.exp() * eps  # [B, S, N, k]
        if self.z_transform is not None:
            z = self.z_transform(z)
        kl = local_elbo = None
        if log_sigma is not None:
            assert self.prior is not None
            kl = _per_window(self.prior.kl(mu, log_sigma).sum(-1))  # [B, N]
            local_elbo = self._local_elbo(mu, log_sigma, kl) if need_local_elbo else None
        activation = self._emit(context, z, sampled=eps is not None, eps_emission=eps_emission)
        return UnitState(mu, log_sigma, z, activation, kl, local_elbo)

    def _log_scale(self, context: Tensor) -> Tensor | None:
        """log sigma inside its bounds: [B(, S), N, k], [N, k], a scalar, or None."""
        if self.deterministic:
            return None
        if self.sigma_net is not None:
            raw = self.sigma_net(context).unflatten(-1, (self.n_units, self.latent_dim))
        else:
            assert self.log_sigma is not None
            raw = self.log_sigma
        log_sigma = raw.clamp(self.log_floor, self.log_ceil)
        if self.unit_scale is None:
            return log_sigma
        return log_sigma + self.unit_scale.scale.log().unsqueeze(-1).expand(-1, self.latent_dim)

    def _pool(self, z: Tensor) -> Tensor:
        """[..., N, k] -> [..., N]"""
        pooled = z.squeeze(-1) if self.latent_dim == 1 else z.sum(-1) * self.pool_weight
        return pooled if self.unit_scale is None else pooled / self.unit_scale.scale

    def _emit(self, context: Tensor, z: Tensor, sampled: bool, eps_emission: Tensor | None) -> Tensor:
        activation = self._pool(z)  # [B, S, N]
        if self.skip is not None:
            direct = self.skip(context)
            activation = self.gain * activation + (direct if context.ndim == 3 else direct.unsqueeze(1))
        if self.emission == "gaussian" and sampled:
            if eps_emission is None:
                raise ValueError(
                    "eps_emission=None is not allowed; emission='gaussian' needs [B or 1, S, N] beside eps"
                )
            assert self.log_tau is not None
            activation = activation + self.log_tau.exp() * eps_emission
        return activation

    def _local_elbo(self, mu: Tensor, log_sigma: Tensor, kl: Tensor) -> Tensor:
        """E_q log N(t; pool(z), tau^2) - KL with t = pool(mu), gradient stopped: [B, N], nats.

        Closed form: pool(z) is Gaussian around pool(mu) = t, so the squared distance vanishes together with
        its gradient and only the variance of pool(z) stays.
        """
        return _per_window(self.local_fit((2.0 * log_sigma).exp().expand_as(mu).sum(-1))) - kl

    def local_fit(self, variance: Tensor) -> Tensor:
        """E_q log N(t; pool(z), tau^2) nats, for latents whose variances sum to `variance` over k, [..., N]."""
        log_tau = self.log_tau if self.log_tau is not None else variance.new_full((), math.log(self.tau_init))
        spread = variance * self.pool_weight**2  # of pool(z)
        if self.unit_scale is not None:
            spread = spread / self.unit_scale.scale.square()
        return -0.5 * math.log(2 * math.pi) - log_tau - 0.5 * spread * torch.exp(-2.0 * log_tau)

    @torch.no_grad()
    def rescale_units_(self, factor: Tensor) -> list[nn.Parameter]:
        """Multiply mu of unit i by `factor` [N] (rows of W_mu, b_mu, limits), in place; return what was touched."""
        rows = factor.repeat_interleave(self.latent_dim)  # [N k]
        self.mu.weight.mul_(rows.unsqueeze(-1))
        self.mu.bias.mul_(rows)
        for limit in (self.mean_bound, self.mean_compression):
            if limit is not None:
                limit.mul_(factor)
        return list(self.mu.parameters())


def _per_window(value: Tensor) -> Tensor:
    """[B, N] or [B, S, N] -> [B, N], averaged over samples."""
    return value if value.ndim == 2 else value.mean(1)
