"""Another way to more than one network: dropout at prediction, of EVE's deterministic twin."""

from typing import Any

import torch
from torch import Tensor, nn

from ..models import EVE


class DropoutBank(nn.Module):
    """Dropout in training as it was; in evaluation a fixed bank of masks, one thinned network each.

    Args:
        inner: the dropout that training uses.
        n_passes: P.
        size: D, of what is dropped.
        seed: of the masks.
    """

    masks: Tensor

    def __init__(self, inner: nn.Module, n_passes: int, size: int, seed: int) -> None:
        super().__init__()
        self.inner = inner
        p = float(inner.p)  # type: ignore[arg-type]
        drawn = torch.rand(n_passes, size, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("masks", (drawn >= p) / (1 - p))  # [P, D], the same for every window

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] to [B, D] in training, to [B, P, D] in evaluation."""
        if self.training:
            dropped: Tensor = self.inner(x)
            return dropped
        return x.unsqueeze(1) * self.masks


class MCDropout(EVE):
    """The twin with dropout in prediction too (arXiv 1506.02142): an equal mixture of `n_passes` thinned networks.

    Each thinned network keeps the same context features for every window, so that a forecast depends neither on
    batches nor on their order.

    Args:
        h, input_size: horizon and look-back.
        n_passes: masks of prediction.
        dropout: share of the context dropped.
        **arguments: of `EVE`.

    Raises:
        ValueError: n_passes < 1, or no dropout.
    """

    record_windows = 0

    def __init__(
        self, h: int, input_size: int, n_passes: int = 16, dropout: float = 0.1, random_seed: int = 1, **arguments: Any
    ) -> None:
        if n_passes < 1 or not 0 < dropout < 1:
            raise ValueError(
                f"n_passes={n_passes}, dropout={dropout} are not allowed; n_passes must be at least 1, dropout between "
                "0 and 1"
            )
        super().__init__(h, input_size, neuron="deterministic", dropout=dropout, random_seed=random_seed, **arguments)
        encoder = self.network.encoder
        bank: Any = DropoutBank(encoder.dropout, n_passes, encoder.look_back.out_features, random_seed)
        encoder.dropout = bank
