"""Windows and loaders of the protocol."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vdn_forecast.evaluation.protocols import SampledWindows

Batch = tuple[Tensor, Tensor]
"""Look-back [B, L] and horizon [B, h]."""


class Windows(Dataset[Batch]):
    """Windows of a panel, in the order given.

    Args:
        values: [n_series, T] float32.
        origins: [n, 2] of (series, first row of the horizon).
        input_size, h: rows before and after it.
    """

    def __init__(self, values: np.ndarray, origins: np.ndarray, input_size: int, h: int) -> None:
        self._views = torch.from_numpy(values).unfold(1, input_size + h, 1)  # [n_series, T - L - h + 1, L + h]
        self._series, self._starts = torch.from_numpy(origins - np.array([0, input_size])).unbind(1)
        self._input_size = input_size

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, index: int) -> Batch:
        x, y = self.__getitems__([index])
        return x[0], y[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """One batch in one gather; torch's loader prefers this to single items."""
        chosen = torch.as_tensor(indices)
        windows = self._views[self._series[chosen], self._starts[chosen]]  # [B, L + h]
        return windows[:, : self._input_size], windows[:, self._input_size :]


def _as_is(batch: Any) -> Batch:
    return batch


def make_loaders(
    values: np.ndarray, protocol: SampledWindows, seed: int
) -> tuple[DataLoader[Batch], DataLoader[Batch], DataLoader[Batch]]:
    """Loaders of train (shuffled by torch's global generator, whole batches only), validation and test (in order).

    Args:
        values: [n_series, T] float32.
        protocol: what is drawn.
        seed: of the drawing.

    Raises:
        ValueError: series that are too short, or not enough train windows for one batch.
    """
    loaders = []
    for part, origins in enumerate(protocol.draw(values.shape[0], values.shape[1], seed)):
        windows = Windows(values, origins, protocol.input_size, protocol.h)
        is_train = part == 0
        if is_train and len(windows) < protocol.batch_size:
            raise ValueError(
                f"batch_size={protocol.batch_size} is not allowed with {len(windows)} train windows; give a smaller one"
            )
        loaders.append(
            DataLoader(windows, protocol.batch_size, shuffle=is_train, drop_last=is_train, collate_fn=_as_is)
        )
    return loaders[0], loaders[1], loaders[2]
