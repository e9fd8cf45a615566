"""Several EVEs as one model: an equal mixture of what they forecast."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from .._compat import embedding_tables
from .._loss_arguments import RawMixture
from .eve import EVE


class EVEEnsemble(EVE):
    """An equal mixture of `n_members` EVEs, trained one after the other, each with its own seed (arXiv 1612.01474).

    What it gains and costs: `benchmarks/studies/rivals.md`. Mean, quantiles and paths are those of all members'
    samples and components; with another loss than `LatentMixture` raw outputs are averaged over members too. Every
    member restores its own best weights; embeddings of categorical columns are the first one's. What this class has of
    EVE is its first member: history, diagnosis of units, path noise and `metrics["ptl/val_loss"]` are that one's,
    callbacks and loggers see its fit alone.

    Args:
        h, input_size: horizon and look-back.
        n_members: K.
        random_seed: of the first member; member k has n_members random_seed + k, so that ensembles of other seeds
            share no member.
        **arguments: of `EVE`, the same for every member.

    Raises:
        ValueError: n_members < 2, persistence=True (members would differ in their share), a `LatentMixture` that
            returns parameters, or what EVE refuses.
    """

    others: nn.ModuleList | None

    def __init__(self, h: int, input_size: int, n_members: int = 5, random_seed: int = 1, **arguments: Any) -> None:
        if isinstance(n_members, bool) or not isinstance(n_members, int) or n_members < 2:
            raise ValueError(f"n_members={n_members!r} is not allowed; it must be an integer of at least 2")
        if arguments.get("persistence"):
            raise ValueError(f"persistence={arguments['persistence']!r} is not allowed for an ensemble; leave it False")
        if getattr(arguments.get("loss"), "return_params", False):
            raise ValueError("loss with return_params=True is not allowed for an ensemble; use mixture_parameters")
        super().__init__(h, input_size, random_seed=random_seed, **arguments)
        self.n_members = n_members
        own = {name: copy.deepcopy(value) for name, value in arguments.items() if name != "callbacks"}
        own["logger"] = False
        self.others = nn.ModuleList(
            EVE(h, input_size, random_seed=n_members * random_seed + k, **own) for k in range(1, n_members)
        )
        for member in self._further():
            member.record_windows = 0
            embedding_tables(member).requires_grad_(False)

    def _further(self) -> list[EVE]:
        return [member for member in self.others or [] if isinstance(member, EVE)]

    def fit(self, dataset, val_size=0, test_size=0, random_seed=None, distributed_config=None):
        """Fit every member; returns self. Arguments and errors as of `EVE`.

        Raises:
            ValueError: a `distributed_config` (Spark), which this class has no way to fit by.
        """
        if distributed_config is not None:
            raise ValueError(f"distributed_config={distributed_config!r} is not allowed for an ensemble; use None")
        further, others = self._further(), self.others
        self.others = None  # the first member's optimiser and best weights are its own
        try:
            super().fit(dataset, val_size, test_size, random_seed)
            for member in further:
                # NeuralForecast looks columns up before `forward`, in this model's tables alone
                embedding_tables(member).load_state_dict(embedding_tables(self).state_dict())
                member.fit(dataset, val_size, test_size, random_seed)
        finally:
            self.others = others
        return self

    def forward(self, windows_batch: dict[str, Tensor | None]) -> Tensor | RawMixture:
        """As of `EVE`, the latent samples of all members side by side; while it is fitted, of the first alone."""
        own = super().forward(windows_batch)
        if self.others is None:
            return own
        outputs: list[Any] = [own]
        for member in self._further():
            member.hands_raw, member.path_noise = self.hands_raw, self.path_noise
            outputs.append(member(windows_batch))
            member.hands_raw, member.path_noise = False, None  # a member's own fit reads them
        if self.hands_raw:
            return RawMixture(torch.cat([_located(output) for output in outputs], dim=1), None)
        if not self.is_mixture:
            return torch.stack(outputs).mean(0)
        locations, scales = zip(*(output.chunk(2, dim=-1) for output in outputs), strict=True)
        return torch.cat([*locations, *scales], dim=-1)  # [B, h, 2 K S M]

    def n_forecast_samples(self) -> int:
        """Of all members."""
        return self.n_members * super().n_forecast_samples()


def _located(output: RawMixture) -> Tensor:
    """[B, S, 2, M, h] with the base in the locations: each member has its own."""
    if output.base is None:
        return output.raw
    loc, scale = output.raw.unbind(2)
    return torch.stack([loc + output.base[:, None, None], scale], dim=2)
