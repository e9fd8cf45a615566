"""Units with a latent trajectory each: an amortised posterior per patch against a transition (arXiv 2602.18250)."""

from typing import Any

import torch
from torch import Tensor

from .layer import VariationalLayer
from .prior import GaussianPrior
from .state import UnitState
from .trajectory import ContextMoments, moment_kl, trajectory_kl
from .transitions import Transition


class TrajectoryLayer(VariationalLayer):
    """N units whose latents z_1 .. z_T follow a transition; posterior factorised over units, latents and patches.

    mu_t = W c_t + b for every patch's context c_t. What leaves the layer are samples of the last patch's latents:
    the transition rolls them forward. A state's `kl` is the mean over patches, nats.

    In training the KL is that of all patches. Where the scales do not depend on the context (`sigma` "unit" or
    "scalar") and no batch norm acts on the means, only its mean over windows is computed, from second moments of
    contexts; it is exact, and its cost does not grow with windows x patches x units. In evaluation a KL is computed
    only where a forward hook listens: a forecast needs the last patch alone.

    Args:
        in_features: D, of a patch's context.
        transition: the prior; it has N, k and whether the layer is a deterministic twin.
        sigma: see `VariationalLayer`.
        **layer: further arguments of `VariationalLayer`; no emission or prior, no mean_bound or mean_compression (the
            moments are linear).

    Raises:
        ValueError: a bad argument, by name.
    """

    def __init__(self, in_features: int, transition: Transition, *, sigma: str = "unit", **layer: Any) -> None:
        for name in ("mean_bound", "mean_compression"):
            if layer.get(name) is not None:
                raise ValueError(f"{name}={layer[name]!r} is not allowed; the moments need linear means")
        super().__init__(
            in_features,
            transition.n_units,
            transition.latent_dim,
            sigma=sigma,
            deterministic=transition.deterministic,
            **layer,
        )
        self.transition = transition
        self.has_local_elbo = False
        if not transition.deterministic:
            self.prior = _MarginalPrior(transition)
        self.keeps_contexts = 0  # how many windows' contexts of a training batch to keep for `rewire_`
        self.kept: Tensor | None = None  # [B', T, D]

    def forward(
        self,
        context: Tensor,
        eps: Tensor | None,
        weights: Tensor | None = None,
        need_local_elbo: bool = False,
        eps_emission: Tensor | None = None,
        trajectories: Tensor | None = None,
    ) -> UnitState:
        """Posterior and samples of the last patch, KL of all of them.

        Args:
            context: [B, T, D]; a single patch will do where no KL is wanted, or it is wanted of other contexts.
            eps: standard normal numbers, [B or 1, S, N, k]; None for the posterior mean.
            weights: not allowed: all windows count.
            need_local_elbo, eps_emission: not used.
            trajectories: contexts whose KL is computed, [B', T, D]: some of the batch's windows; None for `context`.
                The state's means, scales and KL are then theirs.

        Raises:
            ValueError: a context of the wrong shape.
        """
        if context.ndim != 3 or context.shape[-1] != self.in_features:
            raise ValueError(f"context has shape {tuple(context.shape)}; it must be [B, T, {self.in_features}]")
        whole = context if trajectories is None else trajectories
        if self.training and self.keeps_contexts:
            self.kept = whole[: self.keeps_contexts].detach()
        mean_kl = mean_energy = kl = None
        if self.needs_all_patches and not self._from_moments:
            mu, log_sigma = self.posterior(whole)  # [B', T, N, k]
            if log_sigma is not None:
                kl = self._explicit_kl(mu, log_sigma)
            last, last_scale = (mu, log_sigma) if trajectories is None else self.posterior(context[:, -1:])
            last, last_scale = last[:, -1], _last(last_scale)
        else:
            last, last_scale = self.posterior(context[:, -1:])
            last, last_scale = last[:, -1], _last(last_scale)
            mu, log_sigma = last, last_scale
            if self.training and last_scale is not None:
                mean_kl, mean_energy = self._mean_figures(whole)
        z = last.unsqueeze(1)  # [B, 1, N, k]
        if eps is not None and last_scale is not None:
            spread = last_scale.unsqueeze(1) if last_scale.ndim == 3 else last_scale
            z = z + spread.exp() * eps
        if self.z_transform is not None:
            z = self.z_transform(z)
        return UnitState(mu, log_sigma, z, self._pool(z), kl, None, mean_kl, mean_energy)

    @property
    def needs_all_patches(self) -> bool:
        """Whether a forward pass reads every patch's context."""
        estimates = bool(getattr(self.mu_transform, "estimating", False))
        return self.training or estimates or bool(self._forward_hooks)

    @property
    def _from_moments(self) -> bool:
        """Whether means are linear in the context, scales independent of it, and only means over windows wanted."""
        return self.training and self.sigma_net is None and self.mu_transform is None and not self._forward_hooks

    def posterior(self, context: Tensor) -> tuple[Tensor, Tensor | None]:
        """Means [B, T, N, k] and log scales ([B, T, N, k], [N, k], a scalar; None for a twin) of contexts [B, T, D]."""
        mu = self.mu(context).unflatten(-1, (self.n_units, self.latent_dim))
        if self.mu_transform is not None:
            mu = self.mu_transform(mu, None)
        return mu, self._log_scale(context)

    def affine(self) -> Tensor:
        """Weights and bias of the means, [N, k, D + 1]."""
        both = torch.cat([self.mu.weight, self.mu.bias.unsqueeze(1)], 1)
        return both.view(self.n_units, self.latent_dim, -1)

    def free_log_sigma(self) -> Tensor:
        """log sigma that does not depend on the context, [N, k]."""
        assert self.log_sigma is not None
        return self.log_sigma.clamp(self.log_floor, self.log_ceil).expand(self.n_units, self.latent_dim)

    def _mean_figures(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Mean KL per patch and mean energy, over windows: two [N]."""
        with torch.autocast(context.device.type, enabled=False):  # differences of sums: never in half precision
            weight = self.affine()
            moments = ContextMoments.of(context.to(weight.dtype))
            kl, energy = moment_kl(weight, self.free_log_sigma(), moments, self.transition)
        return kl / moments.n_patches, energy

    def _explicit_kl(self, mu: Tensor, log_sigma: Tensor) -> Tensor:
        """Mean over patches per window and unit, [B, N]."""
        by_unit = mu.permute(2, 3, 1, 0).contiguous()  # [N, k, T, B]
        if log_sigma.ndim == 4:
            scales = log_sigma.permute(2, 3, 1, 0).contiguous()
        else:
            scales = log_sigma.expand(self.n_units, self.latent_dim)[..., None, None]
        with torch.autocast(mu.device.type, enabled=False):
            dtype = self.mu.weight.dtype
            return trajectory_kl(by_unit.to(dtype), scales.to(dtype), self.transition).mean(1).T


def _last(log_sigma: Tensor | None) -> Tensor | None:
    """Scales of the last patch, where they depend on the patch."""
    return log_sigma[:, -1] if log_sigma is not None and log_sigma.ndim == 4 else log_sigma


class _MarginalPrior(GaussianPrior):
    """p(z_T) long after the start, for diagnostics that replace units by prior draws.

    Variances follow from the transition as if units were uncorrelated: exact without neighbours.
    """

    def __init__(self, transition: Transition) -> None:
        super().__init__(transition.n_units, transition.latent_dim)
        self._transition = [transition]  # the layer owns it

    def sample(self, eps: Tensor) -> Tensor:
        """Latents for standard normal numbers [..., N, k]."""
        (transition,) = self._transition
        with torch.no_grad():
            own = torch.exp(2.0 * transition.log_scale)
            variance = torch.exp(2.0 * transition.initial_log_scale)
            for _ in range(200):
                variance = transition.drift_variance(variance) + own
        return variance.sqrt() * eps
