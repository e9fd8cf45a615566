"""EVE's temporal extension: this window's latents beside those of the window some steps earlier."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..control import ARShare, UnitController
from ..neurons import Noise, UnitState, VariationalLayer, WindowPrior, ar_penalty, ar_scale
from ..neurons.checks import require_choice, require_int, require_range
from .base import VariationalModel
from .window_io import read_window

AR_DEFAULTS: dict[str, Any] = {"ar": "none", "ar_stride": 4, "ar_phi": 0.95, "ar_share": 0.2, "ar_share_cap": 0.3}
"""EVE's, which change nothing."""
AR_KINDS = ("none", "penalty", "prior")
SHARE_EVERY = 10  # steps between two measurements of gradients


def check_ar(ar: str, stride: int, phi: float, share: float, cap: float, deterministic: bool, scaler_type: str) -> None:
    """Raise ValueError by name unless these go together."""
    require_choice("ar", ar, AR_KINDS)
    require_int("ar_stride", stride, 1)
    require_range("ar_phi", phi, -1.0, 1.0, open_low=True, open_high=True)
    ARShare(share, cap)
    if ar == "prior" and deterministic:
        raise ValueError("ar='prior' is not allowed with neuron='deterministic'; a twin has no prior")
    if ar != "none" and scaler_type in ("invariant", "revin"):
        raise ValueError(f"scaler_type={scaler_type!r} is not allowed with ar={ar!r}; it has no shift and scale")


class WindowAR(nn.Module):
    """Ties each window's posterior to that of the window `stride` steps before, in training only.

    The earlier posterior is read with the present weights without dropout, standardised with the present window's mean
    and scale, and detached: the present window is pulled towards its past, not the past towards its future.

    Args:
        kind: "penalty" (the papers' term, weighted by an `ARShare`) or "prior" (a learned `WindowPrior`, whose KL takes
            the place of that to the layer's own prior).
        layers: of the stack.
        phi: of the penalty; of the prior at its start.
        share, cap: of the penalty's gradient.
    """

    def __init__(self, kind: str, layers: Sequence[VariationalLayer], phi: float, share: float, cap: float) -> None:
        super().__init__()
        self.kind, self.phi = kind, phi
        self.share = ARShare(share, cap) if kind == "penalty" else None
        self.priors = nn.ModuleList(WindowPrior(layer.n_units, phi) for layer in layers if kind == "prior")

    def tie(self, states: list[UnitState], earlier: list[UnitState], valid: Tensor) -> list[UnitState]:
        """States whose KL is that to the prior given the earlier window; unchanged under "penalty".

        Args:
            states, earlier: of every layer.
            valid: bool [B], windows that have an earlier one.
        """
        tied = []
        for prior, state, before in zip(self.priors, states, earlier, strict=True):
            assert isinstance(prior, WindowPrior)
            assert state.log_sigma is not None
            assert before.log_sigma is not None
            kl = prior.kl(state.mu, state.log_sigma, before.mu, before.log_sigma, valid)
            tied.append(replace(state, kl=kl))
        return tied

    def penalty(
        self,
        states: list[UnitState],
        earlier: list[UnitState],
        valid: Tensor,
        controllers: Sequence[UnitController],
        forecast_loss: Tensor,
        measure: bool,
    ) -> Tensor:
        """The weighted penalty of all layers.

        Args:
            states, earlier, valid: as of `tie`.
            controllers: of every layer, for their bands.
            forecast_loss: whose gradient the share refers to.
            measure: whether the weight is brought up to date first.
        """
        assert self.share is not None
        total = forecast_loss.new_zeros(())
        for state, before, controller in zip(states, earlier, controllers, strict=True):
            total = total + ar_penalty(state.mu, before.mu, valid, self.phi, ar_scale(*controller.bounds()))
        if measure:
            means = [state.mu for state in states]
            by_loss = torch.autograd.grad(forecast_loss, means, retain_graph=True)
            by_term = torch.autograd.grad(total, means, retain_graph=True)
            self.share.update(*(torch.cat([g.flatten() for g in each]).norm() for each in (by_loss, by_term)))
        return self.share.weight() * total


class TiedModel(VariationalModel):
    """A model whose training may tie windows to earlier ones; a subclass sets `window_ar` and `earlier_steps`."""

    ADDED_ARGUMENTS: Mapping[str, Any] = {**VariationalModel.ADDED_ARGUMENTS, **AR_DEFAULTS}
    window_ar: WindowAR | None
    anchor: str
    _before: tuple[list[UnitState], Tensor] | None

    def tied(self, states: list[UnitState], noise: Noise | None) -> list[UnitState]:
        """States of a training pass as `regularizer` is to see them, and those of the earlier windows kept for it."""
        if self.window_ar is None or self._earlier is None:
            return states
        window = read_window(self._earlier, self.input_size, self.h, self.anchor)
        self.network.eval()  # no dropout, and running statistics, which must not move
        with torch.no_grad():
            _, before = self.network.stack(self.network.encoder(window.y, window.extra), noise)
        self.network.train()
        seen = window.seen.any(1)
        self._before = before, seen
        return self.window_ar.tie(states, before, seen) if self.window_ar.kind == "prior" else states

    def regularizer(self, states: list[UnitState], forecast_loss: Tensor) -> Tensor | float:
        """KL and band terms, and the AR penalty."""
        total = super().regularizer(states, forecast_loss)
        before, self._before = self._before, None
        if self.window_ar is None or self.window_ar.kind != "penalty" or before is None:
            return total
        measure = self.trainer.global_step % SHARE_EVERY == 0
        penalty = self.window_ar.penalty(states, *before, self._controllers(), forecast_loss, measure)
        self.history.note("ar", penalty)
        return total + penalty

    def on_fit_start(self) -> None:
        """Also reset the share of the AR term."""
        super().on_fit_start()
        if self.window_ar is not None and self.window_ar.share is not None:
            self.window_ar.share.reset()

    def _clear_fit(self) -> None:
        super()._clear_fit()
        self._before = None
        self._earlier = None
