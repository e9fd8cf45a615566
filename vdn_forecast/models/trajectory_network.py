"""The AR-VAE networks in plain torch: contexts per patch, latent trajectories, roll-out, emission per patch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..neurons import NoiseBank, TrajectoryLayer, UnitState, roll_forward
from .network import NetworkSizes
from .patches import PatchEncoder, PatchHead, cut

_SMALLEST_NOISE = 0.05  # of the look-back's likelihood, in the window's unit


@dataclass(frozen=True)
class TrajectoryOutput:
    """What one forward pass gives.

    Attributes:
        raw: [B, S, n_outputs, h].
        base: [B, h] or [B, 1], common to all locations; None for none.
        state: of the units.
        misfit: -E_q sum_t log p(x_t | z_t), mean over windows, nats; None unless asked for.
    """

    raw: Tensor
    base: Tensor | None
    state: UnitState
    misfit: Tensor | None


class TrajectoryStack(nn.Module):
    """Holds the one layer where other networks have several."""

    def __init__(self, layer: TrajectoryLayer) -> None:
        super().__init__()
        self.layers = nn.ModuleList([layer])


class TrajectoryNetwork(nn.Module):
    """Patch encoder -> latent trajectories -> prior rolled over the horizon's patches -> head, plus a linear skip.

    Args:
        sizes: see `NetworkSizes`.
        encoder: a context per patch.
        layer: the units and their transition.
        head: from what the units emit to raw outputs, patch by patch.
        n_predict_samples: S at prediction.
        seed: of the bank.
        pooled: whether a unit emits one number (its latents pooled), or all latents are read.
        lookback: whether the look-back's likelihood is modelled.
        trajectory_windows: of how many windows of a training batch, drawn anew each time, the KL and that likelihood
            are computed; None for all.
        skip: whether the linear skip exists.
        skip_dropout: share of the look-back hidden from the skip in training.
    """

    def __init__(
        self,
        sizes: NetworkSizes,
        encoder: PatchEncoder,
        layer: TrajectoryLayer,
        head: PatchHead,
        n_predict_samples: int,
        seed: int,
        pooled: bool,
        lookback: bool,
        trajectory_windows: int | None,
        skip: bool = True,
        skip_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.sizes, self.pooled, self.seed = sizes, pooled, seed
        self.trajectory_windows = trajectory_windows
        self.encoder, self.stack, self.head = encoder, TrajectoryStack(layer), head
        shape = (layer.n_units, layer.latent_dim)
        self.bank = NoiseBank([shape] * (1 + head.n_patches), n_predict_samples, seed)
        features = layer.n_units if pooled else layer.n_units * layer.latent_dim
        self.emission = nn.Linear(features, encoder.patch_size) if lookback else None
        self.log_noise = nn.Parameter(torch.full((encoder.patch_size,), math.log(0.5))) if lookback else None
        self.skip = nn.Linear(sizes.input_size, sizes.h) if skip else None
        if self.skip is not None:
            nn.init.zeros_(self.skip.weight)
            nn.init.zeros_(self.skip.bias)
        self.skip_dropout = nn.Dropout(skip_dropout)

    @property
    def layer(self) -> TrajectoryLayer:
        """The units."""
        layer = self.stack.layers[0]
        assert isinstance(layer, TrajectoryLayer)
        return layer

    def forward(
        self, y: Tensor, seen: Tensor, extra: Tensor | None, eps: Tensor, anchor: Tensor | None, h: int
    ) -> TrajectoryOutput:
        """Forecast `h` steps; in training mode with the look-back's misfit and all patches' KL.

        Args:
            y: standardised look-back, zero where masked, [B, L].
            seen: bool [B, L].
            extra: exogenous features, [B, n_extra], or None.
            eps: standard normal numbers of the last patch and every coming one, [N, k, 1 + J, S, B or 1].
            anchor: [B, 1], what was taken off the look-back; locations get it back.
            h: steps; more than the horizon roll the latents on.
        """
        layer = self.layer
        base = self._base(y, anchor, h)
        chosen = self._trajectory_windows(len(y))
        whole = layer.needs_all_patches and chosen is None
        context = self.encoder.contexts(y, extra, last_only=not whole)  # [B, T or 1, D]
        trajectories = None
        if chosen is not None:
            y, seen = y[chosen], seen[chosen]
            trajectories = self.encoder.contexts(y, None if extra is None else extra[chosen], last_only=False)
        state: UnitState = layer(context, eps[:, :, 0].permute(3, 2, 0, 1), trajectories=trajectories)
        now = state.z.permute(2, 3, 1, 0).contiguous()  # [N, k, S, B]
        coming = roll_forward(now, eps[:, :, 1:], layer.transition)  # [N, k, J, S, B]
        raw = self.head(self._read(coming), h)
        misfit = None
        if self.training and self.emission is not None:
            misfit = self._misfit(y, seen, context if trajectories is None else trajectories, state)
        return TrajectoryOutput(raw, base, state, misfit)

    def _trajectory_windows(self, n_windows: int) -> Tensor | None:
        """Which windows of a training batch the KL and the look-back's likelihood are computed on; None for all."""
        limit = self.trajectory_windows
        # batch norm of the means has to see the batch that it norms
        if not self.training or limit is None or n_windows <= limit or self.layer.mu_transform is not None:
            return None
        return torch.randperm(n_windows)[:limit]

    def noise(
        self, n_windows: int, n_samples: int, h: int, mirrored: bool, generator: torch.Generator | None = None
    ) -> Tensor:
        """Fresh numbers for `forward`, [N, k, 1 + J, S, B]; `mirrored`: the second half of S mirrors the first."""
        layer = self.layer
        shape = (layer.n_units, layer.latent_dim, 1 + self._patches(h))
        drawn = n_samples // 2 if mirrored else n_samples
        like = layer.mu.weight
        eps = torch.randn(*shape, drawn, n_windows, generator=generator, device=like.device, dtype=like.dtype)
        return torch.cat([eps, -eps], 3) if mirrored else eps

    def banked(self, h: int) -> Tensor:
        """Fixed numbers that all windows share, [N, k, 1 + J, S, 1]; a longer horizon appends to a shorter one's."""
        steps = list(self.bank().latent)
        more = 1 + self._patches(h) - len(steps)
        if more > 0:
            layer = self.layer
            bank = NoiseBank([(layer.n_units, layer.latent_dim)] * more, self.bank.n_samples, self.seed + 1)
            steps += [step.to(steps[0]) for step in bank().latent]
        return torch.cat(steps).permute(2, 3, 0, 1).unsqueeze(-1)

    def _patches(self, h: int) -> int:
        return -(-h // self.head.patch_size)

    def _read(self, z: Tensor) -> Tensor:
        """What the head sees of latents or their weights [N, k, ...]: [F, ...]."""
        if not self.pooled:
            return z.flatten(0, 1)
        return z.squeeze(1) if z.shape[1] == 1 else z.sum(1) * self.layer.pool_weight

    def _read_variance(self, variance: Tensor) -> Tensor:
        """Variance of `_read` for independent latents."""
        if not self.pooled:
            return variance.flatten(0, 1)
        return variance.sum(1) * self.layer.pool_weight**2

    def _misfit(self, y: Tensor, seen: Tensor, context: Tensor, state: UnitState) -> Tensor:
        """-E_q sum_t log N(x_t; C a_t + d, r^2) over observed steps, a_t what the units emit: in closed form."""
        layer = self.layer
        assert self.emission is not None
        assert self.log_noise is not None
        read = self.emission.weight  # [P, F]
        if layer.sigma_net is None and layer.mu_transform is None:  # linear in the context: one small map
            joint = read @ self._read(layer.affine())  # [P, D + 1]
            mean = context @ joint[:, :-1].T + (joint[:, -1] + self.emission.bias)
            variance = (
                0.0
                if layer.deterministic
                else read.square() @ self._read_variance(torch.exp(2.0 * layer.free_log_sigma()))
            )
        else:
            mu, log_sigma = state.mu, state.log_sigma  # [B, T, N, k]
            mean = torch.movedim(self._read(mu.permute(2, 3, 0, 1)), 0, -1) @ read.T + self.emission.bias
            variance = 0.0
            if log_sigma is not None:
                spread = torch.exp(2.0 * log_sigma).expand(mu.shape).permute(2, 3, 0, 1)
                variance = torch.movedim(self._read_variance(spread), 0, -1) @ read.square().T
        log_noise = self.log_noise.clamp(min=math.log(_SMALLEST_NOISE))
        size = self.encoder.patch_size
        square = (cut(y, size) - mean).square() + variance  # [B, T, P]
        nats = 0.5 * square * torch.exp(-2.0 * log_noise) + log_noise + 0.5 * math.log(2 * math.pi)
        return torch.where(cut(seen.to(y.dtype), size) > 0, nats, 0.0).sum() / len(y)

    def _base(self, y: Tensor, anchor: Tensor | None, h: int) -> Tensor | None:
        if self.skip is None:
            return anchor
        ahead = self.skip(self.skip_dropout(y))  # [B, horizon]
        while ahead.shape[1] < h:  # the skip is linear: feeding it its own output loses no uncertainty
            window = torch.cat([y, ahead], 1)[:, -y.shape[1] :]
            ahead = torch.cat([ahead, self.skip(window)], 1)
        ahead = ahead[:, :h]
        return ahead if anchor is None else ahead + anchor
