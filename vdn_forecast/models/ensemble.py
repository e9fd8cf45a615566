"""Several EVEs as one model: an equal mixture of what they forecast."""

import copy
from typing import Any

import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor, nn

from .._compat import embedding_tables
from .._loss_arguments import RawMixture
from .checks import without_gaps
from .eve import EVE
from .observing import in_eval_mode
from .persistence import build_persistence, choose
from .window_io import WindowInputs, arrange, read_window


class EVEEnsemble(EVE):
    """An equal mixture of `n_members` EVEs, trained one after the other, each with its own seed (arXiv 1612.01474).

    What it gains and costs: `benchmarks/studies/rivals.md`. Mean, quantiles and paths are those of all members'
    samples and components; with another loss than `LatentMixture` raw outputs are averaged over members too. Every
    member restores its own best weights; embeddings of categorical columns are the first one's, a share of persistence
    is one for all. What this class has of EVE is its first member: history, diagnosis of units, path noise and
    `metrics["ptl/val_loss"]` are that one's, callbacks and loggers see its fit alone.

    Args:
        h, input_size: horizon and look-back.
        n_members: K.
        random_seed: of the first member; member k has n_members random_seed + k, so that ensembles of other seeds
            share no member.
        persistence: as of `EVE`.
        **arguments: of `EVE`, the same for every member.

    Raises:
        ValueError: n_members < 2, a `LatentMixture` that returns parameters, or what EVE refuses.
    """

    others: nn.ModuleList | None

    def __init__(
        self,
        h: int,
        input_size: int,
        n_members: int = 5,
        random_seed: int = 1,
        persistence: bool = False,
        **arguments: Any,
    ) -> None:
        if isinstance(n_members, bool) or not isinstance(n_members, int) or n_members < 2:
            raise ValueError(f"n_members={n_members!r} is not allowed; it must be an integer of at least 2")
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
        self.persistence = build_persistence(persistence, h, self.loss)

    def _further(self) -> list[EVE]:
        return [member for member in self.others or [] if isinstance(member, EVE)]

    def fit(self, dataset, val_size=0, test_size=0, random_seed=None, distributed_config=None):
        """Fit every member; returns self. Arguments and errors as of `EVE`.

        Raises:
            ValueError: a `distributed_config` (Spark), which this class has no way to fit by.
        """
        if distributed_config is not None:
            raise ValueError(f"distributed_config={distributed_config!r} is not allowed for an ensemble; use None")
        further, others, persistence = self._further(), self.others, self.persistence
        self.others = self.persistence = None  # optimiser and best weights of the first member are its own
        try:
            super().fit(dataset, val_size, test_size, random_seed)
            for member in further:
                # NeuralForecast looks columns up before `forward`, in this model's tables alone
                embedding_tables(member).load_state_dict(embedding_tables(self).state_dict())
                member.fit(dataset, val_size, test_size, random_seed)
        finally:
            self.others, self.persistence = others, persistence
        if persistence is not None and isinstance(dataset, TimeSeriesDataset):
            with in_eval_mode(self):
                choose(self, without_gaps(dataset))
        return self

    def forward(self, windows_batch: dict[str, Tensor | None]) -> Tensor | RawMixture:
        """As of `EVE`, the latent samples of all members side by side; while it is fitted, of the first alone."""
        if self.others is None:
            return super().forward(windows_batch)
        if not self.is_mixture:
            outputs: list[Any] = [super().forward(windows_batch), *(each(windows_batch) for each in self.others)]
            return torch.stack(outputs).mean(0)
        raw = torch.cat([_located(output) for output in self._outputs(windows_batch)], dim=1)  # [B, K S, 2 M, h]
        if self.persistence is not None:
            window = read_window(windows_batch, self.input_size, self.h, self.anchor)
            raw = self.persistence(raw, None, window)
        return arrange(raw, None, self.loss, self.network.sizes.location_channels, self.hands_raw)

    def _outputs(self, windows_batch: dict[str, Tensor | None]) -> list[Any]:
        """A `RawMixture` of every member."""
        before, self.hands_raw = self.hands_raw, True
        try:
            outputs: list[Any] = [super().forward(windows_batch)]
        finally:
            self.hands_raw = before
        for member in self._further():
            member.hands_raw, member.path_noise = True, self.path_noise
            try:
                outputs.append(member(windows_batch))
            finally:  # a member's own fit reads them
                member.hands_raw, member.path_noise = False, None
        return outputs

    def with_persistence(self, raw: Tensor, base: Tensor | None, window: WindowInputs) -> Tensor:
        """The first member's own raw outputs: the share is one of the whole mixture."""
        return raw


def _located(output: RawMixture) -> Tensor:
    """[B, S, 2 M, h] with the base in the locations: each member has its own."""
    if output.base is None:
        return output.raw.flatten(2, 3)
    loc, scale = output.raw.unbind(2)
    return torch.cat([loc + output.base[:, None, None], scale], dim=2)
