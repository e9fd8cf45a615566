"""After training: estimate anew what depends on the final weights."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .._compat import count_windows, window_batches
from ..control import MeanBatchNorm, UnitController, reestimate
from ..losses import LatentMixture
from .observing import evenly_spaced
from .path_noise import noise_kernel
from .persistence import choose

if TYPE_CHECKING:
    from .base import VariationalModel

STATISTICS_WINDOWS = 4096  # train windows behind the batch-norm statistics
BALANCE_WINDOWS = 16384  # behind the units' energies: means of squares, to which rare windows give the most
NOISE_WINDOWS = 512  # train windows behind the correlation of path noise, and as many of validation


@torch.no_grad()
def settle(model: "VariationalModel", dataset: TimeSeriesDataset) -> None:
    """Batch-norm statistics and balanced units over train windows, and the kernel of the emission noise of paths.

    Args:
        model: with its final weights, inside of a fit.
        dataset: that it was fitted on.
    """
    norms = [layer.mu_transform for layer in model.layers if isinstance(layer.mu_transform, MeanBatchNorm)]
    mode = model.training
    model.eval()
    try:
        try:
            reestimate(norms, lambda: _pass_train_windows(model, dataset))
        except ValueError as error:  # a single window: the running statistics stay
            warnings.warn(f"{model}: {error}", UserWarning, stacklevel=2)
        _balance(model, dataset)
        if model.persistence is not None:
            choose(model, dataset)
        if isinstance(model.loss, LatentMixture):
            model.path_kernel.copy_(noise_kernel(_mixtures(model, dataset), model.loss))
    finally:
        model.train(mode)


def _balance(model: "VariationalModel", dataset: TimeSeriesDataset) -> None:
    pairs = [
        (controller, layer)
        for controller, layer in zip(model.controllers, model.layers, strict=True)
        if isinstance(controller, UnitController) and controller.settings.control == "balance"
    ]
    if not pairs:
        return
    handles = [
        layer.register_forward_hook(lambda _layer, _inputs, state, controller=controller: controller.gather(state))
        for controller, layer in pairs
    ]
    spaced = evenly_spaced(count_windows(model, dataset, "train"), BALANCE_WINDOWS)
    try:
        for batch in window_batches(model, dataset, "train", 512, spaced):
            model(batch["windows_batch"])
    finally:
        for handle in handles:
            handle.remove()
    for controller, layer in pairs:
        controller.settle(layer)


def _pass_train_windows(model: "VariationalModel", dataset: TimeSeriesDataset) -> None:
    generator = torch.Generator().manual_seed(model.random_seed)
    for batch in window_batches(
        model, dataset, "train", batch_size=512, n_windows=STATISTICS_WINDOWS, generator=generator
    ):
        model(batch["windows_batch"])


def _mixtures(model: "VariationalModel", dataset: TimeSeriesDataset) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """y, mask, locations and scales of some validation windows (where there are any) and train windows."""
    for split in ("val", "train") if model.val_size > 0 else ("train",):
        generator = torch.Generator().manual_seed(model.random_seed)
        for batch in window_batches(
            model, dataset, split, batch_size=128, n_windows=NOISE_WINDOWS, generator=generator
        ):
            output = model.loss.domain_map(model(batch["windows_batch"]))
            loc, scale = model.loss.scale_decouple(output=output, loc=batch["loc"], scale=batch["scale"])
            yield batch["y"].squeeze(-1), batch["mask"].squeeze(-1), loc.squeeze(2), scale.squeeze(2)
