"""A share of the forecast that follows the last observed value, chosen on validation once training is over."""

import math
import warnings
from typing import TYPE_CHECKING, Any

import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from scipy import stats
from torch import Tensor, nn

from .._compat import count_windows, window_batches
from ..losses import LatentMixture
from .encoders import last_observed
from .observing import evenly_spaced
from .outputs import raw_validation
from .window_io import WindowInputs, read_window

if TYPE_CHECKING:
    from .eve import EVE

RATIOS = (0.0, 0.25, 0.5, 1.0, 2.0)  # persistence samples for every latent one: shares of 0, 1/5, 1/3, 1/2, 2/3
_UNIT = 4  # latent samples, or copies of them, that every ratio makes whole
GROWTH_WINDOWS = 4096  # of training
SHARE_WINDOWS = 1024  # of validation
LEAST_GAIN = 0.005  # of the validation loss: smaller ones have gone with losses on later windows


class Persistence(nn.Module):
    """Samples of a random walk beside the latent ones: a linear pool of two forecasts (Stone 1961).

    A walk's location is the last observed value at every step; its scale is the root mean square of the look-back's
    one-step changes times a growth per step, the median over train windows.

    Args:
        h: horizon.
        scale_floor: of the `LatentMixture`.

    Attributes:
        ratio: walk samples for every latent one, one of `RATIOS`; 0 until `choose` finds another.
        growth: [h].
    """

    ratio: Tensor
    growth: Tensor

    def __init__(self, h: int, scale_floor: float) -> None:
        super().__init__()
        self.scale_floor = scale_floor
        self.register_buffer("ratio", torch.tensor(0.0))
        self.register_buffer("growth", torch.ones(h))

    @property
    def share(self) -> float:
        """Weight of the walk in the forecast, 0 to 2/3."""
        return float(self.ratio / (1 + self.ratio))

    def n_samples(self, n_latent: int) -> int:
        """Of a forecast that has `n_latent` of its own, in all."""
        repeats, walks = self._counts(n_latent)
        return n_latent * repeats + walks

    def _counts(self, n_latent: int) -> tuple[int, int]:
        ratio = float(self.ratio)
        repeats = _UNIT // math.gcd(_UNIT, n_latent) if ratio else 1
        return repeats, round(ratio * n_latent * repeats)

    def forward(self, raw: Tensor, base: Tensor | None, window: WindowInputs) -> Tensor:
        """Raw outputs of all samples, latent ones first.

        Args:
            raw: [B, S, 2 M, h], of the network.
            base: [B, h] or [B, 1], what is added to all locations later; None for nothing.
            window: that they forecast.

        Returns:
            [B, S', 2 M, h], S' = `n_samples(S)`.
        """
        repeats, walks = self._counts(raw.shape[1])
        if not walks:
            return raw
        level, volatility = walk_of(window)
        location = level if base is None else level - base
        scale = (self.growth * volatility - self.scale_floor).clamp(min=1e-4)  # [B, h]
        inverse = scale + torch.log(-torch.expm1(-scale))  # of the softplus that follows
        walk = torch.stack([location.expand_as(scale), inverse], 1).repeat_interleave(raw.shape[2] // 2, 1)
        return torch.cat([raw.repeat(1, repeats, 1, 1), walk.unsqueeze(1).expand(-1, walks, -1, -1).to(raw)], 1)


def build_persistence(wanted: bool, h: int, loss: nn.Module) -> Persistence | None:
    """What the argument `persistence` asks for.

    Raises:
        ValueError: no bool, or a loss that is no `LatentMixture` or names the parameters of its components.
    """
    if not isinstance(wanted, bool):
        raise ValueError(f"persistence={wanted!r} is not allowed; it must be True or False")
    if not wanted:
        return None
    if not isinstance(loss, LatentMixture) or loss.return_params:
        raise ValueError(
            f"persistence=True is not allowed with loss={loss}; it needs LatentMixture(return_params=False)"
        )
    return Persistence(h, loss.scale_floor)


def walk_of(window: WindowInputs) -> tuple[Tensor, Tensor]:
    """Last observed value and root mean square of one-step changes, [B, 1] each, in the window's unit."""
    level = last_observed(window.y, window.seen)
    if window.level is not None:
        level = level + window.level
    both = (window.seen[:, 1:] & window.seen[:, :-1]).to(window.y.dtype)
    squares = (window.y[:, 1:] - window.y[:, :-1]).square() * both
    volatility = (squares.sum(1, keepdim=True) / both.sum(1, keepdim=True).clamp(min=1)).sqrt()
    return level, volatility.clamp(min=1e-3)


@torch.no_grad()
def choose(model: "EVE", dataset: TimeSeriesDataset) -> None:
    """Estimate the walk's growth on train windows, and the share with the lowest validation loss.

    Each validation loss of a `LatentMixture` is convex in the share, so the search ends at the first that is worse.
    A gain of less than `LEAST_GAIN` gives no share.

    Args:
        model: with its final weights, in eval mode, inside of a fit.
        dataset: that it was fitted on.
    """
    persistence = model.persistence
    assert persistence is not None
    persistence.ratio.zero_()
    if model.val_size == 0:
        warnings.warn(f"{model}: persistence=True has no effect without validation (val_size=0)", stacklevel=2)
        return
    persistence.growth.copy_(_growth(model, dataset))
    own = value = _validation_loss(model, dataset)
    best = 0.0
    for ratio in RATIOS[1:]:
        persistence.ratio.fill_(ratio)
        found = _validation_loss(model, dataset)
        if not found < value:
            break
        best, value = ratio, found
    persistence.ratio.fill_(best if value < own - LEAST_GAIN * abs(own) else 0.0)


def _growth(model: "EVE", dataset: TimeSeriesDataset) -> Tensor:
    """Median of |change| over the look-back's volatility at every step, [h], as a component's scale."""
    parts = []
    spaced = evenly_spaced(count_windows(model, dataset, "train"), GROWTH_WINDOWS)
    for batch in window_batches(model, dataset, "train", 512, spaced):
        level, volatility = walk_of(read_window(batch["windows_batch"], model.input_size, model.h, model.anchor))
        y = ((batch["y"] - batch["loc"]) / batch["scale"]).squeeze(-1)  # [W, h]
        change = (y - level).abs() / volatility
        parts.append(change.masked_fill(batch["mask"].squeeze(-1) == 0, math.nan))
    middle = torch.cat(parts).nanmedian(0).values
    df = model.loss.df
    upper_quartile = float(stats.norm.ppf(0.75) if df is None else stats.t.ppf(0.75, df))
    return (middle / upper_quartile).nan_to_num(1.0).clamp(min=1e-3)


def _validation_loss(model: "EVE", dataset: TimeSeriesDataset) -> float:
    spaced = evenly_spaced(count_windows(model, dataset, "val"), SHARE_WINDOWS)
    loss: Any = model.loss
    total = weight = 0.0
    with raw_validation(model):
        for batch in window_batches(model, dataset, "val", 256, spaced):
            output = loss.domain_map(model(batch["windows_batch"]))
            found = loss.scale_decouple(output=output, loc=batch["loc"], scale=batch["scale"])
            observed = float(batch["mask"].sum())
            if observed:
                total += observed * float(loss(batch["y"], found, batch["mask"]))
                weight += observed
    return total / weight if weight else math.inf
