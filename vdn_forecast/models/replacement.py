"""What a forecast loses when a group of units says nothing about its input: all groups in one forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .._compat import window_batches
from ..losses import LatentMixture
from ..neurons import VariationalLayer
from .observing import in_eval_mode

if TYPE_CHECKING:
    from .recording import RecordedModel

N_GROUPS = 8  # of every layer
SCORED_STEPS = 12  # of the horizon, about


def unit_groups(n_units: int, n_groups: int = N_GROUPS) -> list[Tensor]:
    """Numbers of neighbouring units, in groups of nearly equal size; no more groups than units."""
    return list(torch.arange(n_units).tensor_split(min(n_groups, n_units)))


def has_use(model: "RecordedModel") -> bool:
    """Whether its units have a prior to draw from, and its forecast is a mixture."""
    return isinstance(model.loss, LatentMixture) and not any(layer.deterministic for layer in model.layers)


def rise_without_groups(model: "RecordedModel", dataset: Any, step: str, indices: Tensor, seed: int = 0) -> np.ndarray:
    """Rise of the validation loss when a unit's group is replaced by draws from its prior, [layers, N].

    The windows stand in one batch as often as there are groups, and once more; in each copy another group is
    replaced. Draws are fresh for every window and sample and the same for every group; about a dozen steps of the
    horizon, evenly spaced, are scored. Nothing about the model changes, no global generator is drawn from.

    Args:
        model: see `has_use`.
        dataset: in-memory `TimeSeriesDataset` without gaps.
        step: "val" or "train".
        indices: [W] flat indices of windows.
        seed: of the draws.
    """
    groups = [(number, units) for number, layer in enumerate(model.layers) for units in unit_groups(layer.n_units)]
    loss, scored = model.loss, slice(None, None, max(1, model.h // SCORED_STEPS))
    repeated = indices.repeat(1 + len(groups))
    (batch,) = window_batches(model, dataset, step, len(repeated), repeated)
    with in_eval_mode(model), _replaced_in_copies(model.layers, groups, len(indices), seed):
        raw = model(batch["windows_batch"])
        loc, scale = loss.scale_decouple(loss.domain_map(raw), loc=batch["loc"], scale=batch["scale"])[:2]
        parts = (part[:, scored].split(len(indices)) for part in (batch["y"], loc, scale, batch["mask"]))
        whole, *without = [float(loss(y, (mu, sigma), mask)) for y, mu, sigma, mask in zip(*parts, strict=True)]
    found = [np.empty(layer.n_units) for layer in model.layers]
    for (number, units), value in zip(groups, without, strict=True):
        found[number][units.numpy()] = value - whole
    return np.stack(found)


def spaced_anew(n: int, limit: int, turn: int) -> Tensor:
    """Indices of at most `limit` of n windows, evenly spaced, others in every turn."""
    count = min(n, limit)
    shift = turn * 0.618034 % 1.0  # the golden ratio's multiples fill the gaps evenly
    return ((torch.arange(count, dtype=torch.float64) + shift) * (n / count)).long()


@contextmanager
def _replaced_in_copies(
    layers: list[VariationalLayer], groups: list[tuple[int, Tensor]], n: int, seed: int
) -> Iterator[None]:
    """Within the block, rows n (g + 1) to n (g + 2) - 1 of a batch have group g's latents drawn from their prior."""
    for number, layer in enumerate(layers):
        mine = [(slice(n * copy, n * (copy + 1)), units) for copy, (at, units) in enumerate(groups, 1) if at == number]

        def replace(z: Tensor, prior: Any = layer.prior, mine: Any = mine) -> Tensor:
            generator = torch.Generator().manual_seed(seed)
            eps = torch.randn((n, *z.shape[1:]), generator=generator, dtype=z.dtype)
            drawn = prior.sample(eps.to(z.device))  # [W, S, N, k]
            z = z.clone()
            for rows, units in mine:
                z[rows, :, units] = drawn[:, :, units]
            return z

        layer.z_transform = replace
    try:
        yield
    finally:
        for layer in layers:
            layer.z_transform = None
