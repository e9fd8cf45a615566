"""Whether the forecast uses what units carry: groups of them replaced by draws from their prior."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..models import VariationalModel
from ..models.replacement import N_GROUPS, unit_groups
from ..neurons import VariationalLayer
from .measures import measure_validation


def group_use(
    model: VariationalModel,
    dataset: Any,
    n_groups: int = N_GROUPS,
    max_windows: int = 512,
    seed: int = 0,
    *,
    step: str = "val",
) -> pd.DataFrame:
    """Rise of validation crps19 when a group of units is replaced by prior draws, one group at a time.

    Args:
        model: fitted with a `val_size`, with a `LatentMixture`.
        dataset: that it was fitted on.
        n_groups: per layer, of neighbouring units; no more than units.
        max_windows: validation windows, evenly spaced.
        step: "train" for training windows instead.
        seed: of the draws, which are fresh for every window and sample and the same for every group.

    Returns:
        One row per group: layer, group, first and last unit, crps19 with the group replaced, use (the rise).

    Raises:
        ValueError: a deterministic model, another loss, fewer than one group, or a model fitted without validation.
        TypeError: a dataset that is not in memory.
    """
    if n_groups < 1:
        raise ValueError(f"n_groups={n_groups!r} is not allowed; it must be at least 1")
    if any(layer.deterministic for layer in model.layers):
        raise ValueError("neuron='deterministic' has no prior to draw from; use is measured of variational units")
    whole = measure_validation(model, dataset, max_windows, step=step).crps19
    if whole is None:
        raise ValueError(f"loss={type(model.loss).__name__} has no crps19 here; use is measured with LatentMixture")
    rows = []
    for number, layer in enumerate(model.layers):
        for group, units in enumerate(unit_groups(layer.n_units, n_groups)):
            with replaced_by_prior(layer, units, seed):
                crps19 = measure_validation(model, dataset, max_windows, step=step).crps19
            assert crps19 is not None
            rows.append((number, group, int(units[0]), int(units[-1]), crps19, crps19 - whole))
    return pd.DataFrame(rows, columns=["layer", "group", "first", "last", "crps19", "use"])


@contextmanager
def replaced_by_prior(layer: VariationalLayer, units: Tensor, seed: int = 0) -> Iterator[None]:
    """Within the block some units' latents are draws from their prior, independent of the input.

    Args:
        layer: variational.
        units: numbers of its units, [G].
        seed: of the draws.
    """
    prior = layer.prior
    assert prior is not None
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.zeros(layer.n_units, 1, dtype=torch.bool)
    chosen[units] = True

    def replace(z: Tensor) -> Tensor:
        eps = torch.randn(z.shape, generator=generator, dtype=z.dtype).to(z.device)
        return torch.where(chosen.to(z.device), prior.sample(eps), z)

    layer.z_transform = replace
    try:
        yield
    finally:
        layer.z_transform = None
