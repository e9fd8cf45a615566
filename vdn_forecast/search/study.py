"""A search as a whole: one study, as many finished trials as asked for, whoever ran them and however often it died."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from neuralforecast.tsdataset import TimeSeriesDataset
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..evaluation.quiet import quiet_lightning
from .export import IDENTITY
from .objective import Target, TrialObjective
from .sampler import SAMPLERS, Factory, SearchSampler
from .spaces import Space
from .storage import fail_lost, is_finished, place_of, worker_id

_POLL = 0.5  # seconds between looks at other processes' last trials


class _Surplus(Exception):
    """Another process was faster with the last trial."""


@dataclass(frozen=True)
class Settings:
    """What a study is run with; nothing of it changes what a trial is.

    Attributes:
        seed: of the sampler.
        pruner: Optuna's.
        sampler: what draws, see `SearchSampler`.
        name: of the study, without the data's digest; None for one of Optuna's.
        firsts: of `SearchSampler`; None for the default configuration alone.
    """

    seed: int = 1
    pruner: BasePruner | None = None
    sampler: Factory | BaseSampler = SAMPLERS["tpe"]
    name: str | None = None
    firsts: Sequence[Mapping[str, Any]] | None = None


class Search:
    """Trials of one space on one dataset, kept in one study.

    Args:
        space: what is drawn.
        target: what is trained and scored.
        dataset: NeuralForecast's `TimeSeriesDataset`, in memory.
        sizes: rows of validation and test.
        storage: see `open_storage`.
        settings: sampler, pruner, name.
        distributed_config: as NeuralForecast's models take it.

    Attributes:
        study: Optuna's. Its name ends in a digest of the data and the split, so that the windows of a
            cross-validation, or another state of the data, never share trials.

    Raises:
        ValueError: the storage has a study of this name and data with another space, objective or constraints.
        TypeError: a dataset that is not in memory.
    """

    def __init__(
        self,
        space: Space,
        target: Target,
        dataset: Any,
        sizes: tuple[int, int],
        storage: BaseStorage,
        settings: Settings | None = None,
        distributed_config: Any = None,
    ) -> None:
        if type(dataset) is not TimeSeriesDataset:
            raise TypeError(f"dataset is a {type(dataset).__name__}; a search needs an in-memory TimeSeriesDataset")
        settings = Settings() if settings is None else settings
        self.space, self.target, self.settings = space, target, settings
        digest = data_digest(dataset, target.h, sizes)
        with quiet_optuna():
            self.study = optuna.create_study(
                storage=storage,
                study_name=None if settings.name is None else f"{settings.name}-{digest}",
                directions=["minimize"] * len(target.objectives),
                pruner=NopPruner() if settings.pruner is None else settings.pruner,
                load_if_exists=True,
            )
        self._keep_identity(digest)
        firsts = [space.defaults()] if settings.firsts is None else settings.firsts
        self.study.sampler = SearchSampler(
            settings.seed, firsts, lambda number: place_of(self.study, number), settings.sampler, self._claim
        )
        self._storage = storage
        self._objective = TrialObjective(space, target, dataset, sizes, distributed_config)
        self._total = 0
        self._ran, self._surplus = 0, False

    def _keep_identity(self, digest: str) -> None:
        """Write down what trials of this study are, or refuse a study whose trials are something else."""
        mine = {
            "model": self.space.model.__name__,
            "h": self.target.h,
            "objectives": list(self.target.objectives),
            "constraints": self.target.constraints.as_dict(),
            "loss": [type(each).__name__ for each in (self.target.loss, self.target.valid_loss) if each is not None],
            "data": digest,
            **{f"space.{name}": text for name, text in self.space.described().items()},
        }
        found = self.study.user_attrs.get(IDENTITY)
        if found is None and self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            raise ValueError(f"study {self.study.study_name!r} holds trials that no search of this package made")
        if found is None:
            self.study.set_user_attr(IDENTITY, mine)
            return
        differing = sorted(
            name for name in {*mine, *found} if found.get(name) != json.loads(json.dumps(mine)).get(name)
        )
        if differing:
            shown = ", ".join(f"{name}: {found.get(name)!r}, here {mine.get(name)!r}" for name in differing[:3])
            raise ValueError(
                f"study {self.study.study_name!r} in this storage is another search: {len(differing)} differences "
                f"({shown}{', ...' if len(differing) > 3 else ''}); name another study or storage"
            )

    # ------------------------------------------------------------------ running

    def run(
        self,
        total: int,
        n_jobs: int = 1,
        timeout: float | None = None,
        progress: Callable[[FrozenTrial], None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> optuna.Study:
        """Run until the study has `total` finished trials, those that were there already and other processes' included.

        Finished are complete and pruned trials and those that failed with an error. A trial whose process died is
        failed, does not count, and another one takes its place.

        Args:
            total: finished trials wanted.
            n_jobs: threads, as in Optuna; -1 for one per CPU. The search is reproducible with one.
            timeout: seconds after which no further trial begins.
            progress: called after every trial of this process.
            options: further arguments of `Study.optimize`.
        """
        self._total = total
        until = None if timeout is None else time.monotonic() + timeout
        given = dict(options or {})
        callbacks = [*(given.pop("callbacks", None) or []), *([] if progress is None else [_called(progress)])]
        catch = given.pop("catch", (Exception,))
        with quiet_optuna(), quiet_lightning():  # here, not in each trial: neither is safe among threads
            while until is None or time.monotonic() < until:
                fail_lost(self.study)
                states = self.study.get_trials(deepcopy=False)
                finished = sum(map(is_finished, states))
                running = sum(trial.state is TrialState.RUNNING for trial in states)
                if finished >= total:
                    break
                wanted = total - finished - running
                if wanted <= 0:  # other processes are at the last ones; these may still be lost
                    time.sleep(_POLL)
                    continue
                self._ran, self._surplus = 0, False
                self.study.optimize(
                    self._one,
                    n_trials=wanted,
                    n_jobs=n_jobs,
                    timeout=None if until is None else max(until - time.monotonic(), 0.0),
                    catch=catch,
                    callbacks=callbacks,
                    **given,
                )
                if self._ran < wanted and not self._surplus:  # a callback called Study.stop
                    break
        return self.study

    def _one(self, trial: optuna.Trial) -> float | tuple[float, ...]:
        if place_of(self.study, trial.number) >= self._total:
            self._surplus = True
            self.study.stop()
            raise _Surplus
        self._ran += 1
        return self._objective(trial)

    def _claim(self, trial: FrozenTrial) -> None:
        """Before anything is drawn: a trial that nobody claimed is taken for a living one's for a minute."""
        self._storage.set_trial_user_attr(trial._trial_id, "worker", worker_id())


def data_digest(dataset: TimeSeriesDataset, h: int, sizes: tuple[int, int]) -> str:
    """Eight digits of what a trial sees: all rows, the series' borders, horizon and split."""
    digest = hashlib.sha256(repr((h, *sizes, list(dataset.temporal_cols))).encode())
    digest.update(dataset.indptr.astype("<i8").tobytes())
    digest.update(dataset.temporal.contiguous().numpy().tobytes())
    if dataset.static is not None:
        digest.update(dataset.static.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def _called(progress: Callable[[FrozenTrial], None]) -> Callable[[optuna.Study, FrozenTrial], None]:
    def callback(_study: optuna.Study, trial: FrozenTrial) -> None:
        if is_finished(trial):
            progress(trial)

    return callback


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna's own lines of every trial are left out; its level comes back after."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
