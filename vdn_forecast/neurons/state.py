"""What one variational layer hands on for one batch."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class UnitState:
    """Posterior, samples and local figures of N units with k latents on B windows and S samples.

    Attributes:
        mu: posterior means, [B, N, k], or [B, S, N, k] where the context itself was sampled.
        log_sigma: log posterior scales, broadcastable to `mu`; None for a deterministic layer.
        z: latents, [B, S, N, k].
        activation: what the unit emits, [B, S, N].
        kl: local KL per window and unit, nats, summed over k, averaged over S, [B, N]; None if deterministic.
        local_elbo: local ELBO per window and unit, nats, [B, N]; None when not asked for or deterministic.
        mean_kl: where a layer has only this, local KL per unit averaged over the batch's windows, nats, [N].
        mean_energy: likewise the mean squared posterior mean, [N].
    """

    mu: Tensor
    log_sigma: Tensor | None
    z: Tensor
    activation: Tensor
    kl: Tensor | None
    local_elbo: Tensor | None
    mean_kl: Tensor | None = None
    mean_energy: Tensor | None = None
