"""Batch norm of posterior means without shift and with a fixed scale (after BN-VAE, arXiv 2004.12585)."""

from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vdn_forecast.neurons.checks import require_range

from .statistics import is_distributed


class MeanBatchNorm(nn.Module):
    """mu -> sqrt(t_i) (mu - mean) / std per unit and latent: the unit's energy on the batch is t_i, exactly.

    As in batch norm, `self.training` decides between the batch's statistics (which also feed the running
    ones) and the running statistics. Statistics are over the windows that count, samples and processes; with
    fewer than two windows that count the running statistics serve. A (unit, latent) whose variance is under
    `variance_floor` stays below its energy.

    Args:
        targets: energy targets t_i > 0, [N].
        latent_dim: k.
        momentum: weight of a batch in the running statistics (plain mean of the first 1 / momentum).
        variance_floor: smallest variance to divide by.

    Raises:
        ValueError: a bad argument, by name.
    """

    gamma: Tensor
    running_mean: Tensor
    running_var: Tensor
    batches: Tensor

    def __init__(
        self, targets: Tensor, latent_dim: int = 1, *, momentum: float = 0.1, variance_floor: float = 1e-6
    ) -> None:
        super().__init__()
        if targets.ndim != 1 or not bool((targets > 0).all()):
            raise ValueError(f"targets={targets!r} is not allowed; it must be [N] and positive")
        require_range("momentum", momentum, 0.0, 1.0, open_low=True)
        require_range("variance_floor", variance_floor, 0.0, open_low=True)
        self.momentum, self.variance_floor = momentum, variance_floor
        shape = (targets.shape[0], latent_dim)
        self.register_buffer("gamma", targets.detach().sqrt().unsqueeze(-1).clone(), persistent=False)  # [N, 1]
        self.register_buffer("running_mean", torch.zeros(shape))
        self.register_buffer("running_var", torch.ones(shape))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))
        self._totals: Tensor | None = None  # float64 [3, N, k] while an estimation runs: count, sum, square sum

    def forward(self, mu: Tensor, weights: Tensor | None = None) -> Tensor:
        """Normalise `mu` [B, N, k] or [B, S, N, k]; `weights` [B] of 0/1: windows in the statistics."""
        samples = mu.unsqueeze(1) if mu.ndim == 3 else mu  # [B, S, N, k]
        if self._totals is not None:
            self._add_to_totals(samples.detach(), weights)
        mean, var = self._batch_statistics(samples, weights) if self.training else self._running()
        return (mu - mean) * (self.gamma * var.clamp(min=self.variance_floor).rsqrt())

    def _running(self) -> tuple[Tensor, Tensor]:
        # copies: the next batch's in-place update must not reach into this batch's backward pass
        return self.running_mean.clone(), self.running_var.clone()

    def _batch_statistics(self, mu: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and population variance [N, k] of `mu` [B, S, N, k]; updates the running ones."""
        counts = _counting(mu, weights)  # [B, 1, 1, 1]
        first = torch.cat([torch.where(counts, mu, 0.0).sum((0, 1)).flatten(), counts.sum().to(mu.dtype)[None]])
        first = _sum_over_processes(first)
        windows = first[-1]
        n = (windows * mu.shape[1]).clamp(min=1)
        mean = first[:-1].view(mu.shape[2:]) / n  # [N, k]
        # two passes: a small variance far from zero would drown in a difference of large sums
        var = _sum_over_processes(torch.where(counts, mu - mean, 0.0).square().sum((0, 1))) / n
        enough = windows >= 2
        with torch.no_grad():
            rate = torch.clamp(1.0 / (self.batches + 1), min=self.momentum) * enough
            old_mean, old_var = self._running()
            self.running_mean.lerp_(mean.to(old_mean.dtype), rate.to(old_mean.dtype))
            self.running_var.lerp_(var.to(old_var.dtype), rate.to(old_var.dtype))
            self.batches.add_(enough)
        return torch.where(enough, mean, old_mean), torch.where(enough, var, old_var)

    @property
    def estimating(self) -> bool:
        """Whether an estimation of the running statistics is under way."""
        return self._totals is not None

    def begin_estimation(self) -> None:
        """From now on every forward pass adds its windows to a fresh float64 estimate."""
        shape = (3, *self.running_mean.shape)
        self._totals = torch.zeros(shape, dtype=torch.float64, device=self.running_mean.device)

    @torch.no_grad()
    def _add_to_totals(self, mu: Tensor, weights: Tensor | None) -> None:
        assert self._totals is not None
        counts = _counting(mu, weights)
        values = torch.where(counts, mu, 0.0).double()
        self._totals[0] += counts.sum() * mu.shape[1]
        self._totals[1] += values.sum((0, 1))
        self._totals[2] += values.square().sum((0, 1))

    @torch.no_grad()
    def end_estimation(self) -> None:
        """Take as running statistics those of all windows since `begin_estimation`, over all processes.

        Raises:
            ValueError: no estimation runs, or fewer than two values were seen.
        """
        totals, self._totals = self._totals, None
        if totals is None:
            raise ValueError("end_estimation() is not allowed before begin_estimation()")
        if is_distributed():
            dist.all_reduce(totals)
        if float(totals[0].min()) < 2:
            raise ValueError("an estimation of running statistics needs at least 2 windows that count")
        mean = totals[1] / totals[0]
        self.running_mean.copy_(mean)
        self.running_var.copy_((totals[2] / totals[0] - mean.square()).clamp(min=0.0))


@torch.no_grad()
def reestimate(norms: Sequence[MeanBatchNorm], run: Callable[[], None]) -> None:
    """Re-estimate running statistics exactly from the windows that `run` passes through the network.

    The network must be in eval mode. `run` is called once per norm, in the order given (shallow first), so
    that a deeper layer is estimated on what the finished shallower ones hand on.
    """
    for norm in norms:
        norm.begin_estimation()
        run()
        norm.end_estimation()


def _counting(mu: Tensor, weights: Tensor | None) -> Tensor:
    """Which windows count, bool [B, 1, 1, 1]."""
    if weights is None:
        return torch.ones(mu.shape[0], 1, 1, 1, dtype=torch.bool, device=mu.device)
    return (weights > 0).reshape(-1, 1, 1, 1)


def _sum_over_processes(value: Tensor) -> Tensor:
    """The sum over processes, differentiable."""
    if not is_distributed():
        return value
    from torch.distributed.nn.functional import all_reduce  # heavy import, several processes only

    return all_reduce(value)
