"""Other ways to more than one network: dropout at prediction, of EVE's deterministic twin, and ensembles."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._loss_arguments import RawMixture
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


class EVEEnsemble(EVE):
    """An equal mixture of `n_members` EVEs, trained one after the other, each with its own seed (arXiv 1612.01474).

    Args:
        h, input_size: horizon and look-back.
        n_members: K.
        random_seed: of the first member; member k has n_members random_seed + k, so that ensembles of other seeds
            share no member.
        **arguments: of `EVE`.

    Raises:
        ValueError: n_members < 2.
    """

    record_windows = 0

    def __init__(self, h: int, input_size: int, n_members: int = 5, random_seed: int = 1, **arguments: Any) -> None:
        if n_members < 2:
            raise ValueError(f"n_members={n_members} is not allowed; it must be at least 2")
        super().__init__(h, input_size, random_seed=random_seed, **arguments)
        self.n_members, self.member_arguments = n_members, arguments
        self.others: nn.ModuleList | None = None

    def fit(self, dataset, val_size=0, test_size=0, random_seed=None, distributed_config=None):
        """Fit every member; this model is the first."""
        fitted = (val_size, test_size, random_seed, distributed_config)
        others = [self._member(k).fit(dataset, *fitted) for k in range(1, self.n_members)]
        for member in others:
            member.hands_raw = True
        self.others = None
        super().fit(dataset, *fitted)
        self.others = nn.ModuleList(others)  # after the fit, whose optimiser and best weights are the first member's
        return self

    def _member(self, k: int) -> EVE:
        seed = self.n_members * self.random_seed + k
        member = EVE(self.h, self.input_size, random_seed=seed, **self.member_arguments)
        member.record_windows = 0
        return member

    def forward(self, windows_batch: dict[str, Tensor | None]) -> Tensor | RawMixture:
        """This member's output; those of all members side by side where `hands_raw` is set, as in every prediction."""
        own = super().forward(windows_batch)
        if self.others is None or not self.hands_raw:
            return own
        outputs = [own, *(member(windows_batch) for member in self.others)]
        return RawMixture(torch.cat([_located(output) for output in outputs], dim=1), None)

    def mixture_parameters(self, dataset: Any, **data_module_kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Locations and scales of all members' components, as of `EVE`; `simulate` draws from them."""
        members = [super(), *(self.others or [])]
        loc, scale = zip(*(each.mixture_parameters(dataset, **data_module_kwargs) for each in members), strict=True)
        return np.concatenate(loc, -1), np.concatenate(scale, -1)


class TwinEnsemble(EVEEnsemble):
    """The same of EVE's deterministic twin; arguments and errors as of `EVEEnsemble`."""

    def __init__(self, h: int, input_size: int, n_members: int = 5, random_seed: int = 1, **arguments: Any) -> None:
        super().__init__(h, input_size, n_members, random_seed, neuron="deterministic", **arguments)


def _located(output: RawMixture) -> Tensor:
    """[B, S, 2, M, h] with the base in the locations: each member has its own."""
    if output.base is None:
        return output.raw
    loc, scale = output.raw.unbind(2)
    return torch.stack([loc + output.base[:, None, None], scale], dim=2)
