"""The search as one of NeuralForecast's Autos, for any model class of this package."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import optuna
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from torch import nn

from .._compat import AutoHost, OptunaOptions, RayOptions, with_metadata
from ..evaluation.quiet import quiet_lightning
from ..models import VariationalModel
from ..models.checks import check_dataset
from .arguments import Shared, check_auto_arguments, least_input_size, without_study_options
from .constraints import Constraints
from .default_space import default_space
from .export import METADATA, described_study
from .objective import Target, build_model, fit_model, resolve_objectives
from .pruning import build_pruner
from .ray_space import best_ray_config, ray_config, ray_search
from .sampler import SAMPLERS
from .spaces import RESERVED, Space, defaults_of, with_upper_bounds
from .storage import open_storage, result_of
from .study import Search, Settings
from .winner import winner_of

AUTO_PRUNER = "auto"


class AutoVariational(AutoHost):
    """A search over a model class of this package; a subclass names the class in `model_class`.

    Trial 0 is the class's default configuration. Trials are ranked by their best validation value, infeasible ones
    never win, and the winner's configuration is fitted once more with validation kept and its best weights restored.

    Args:
        h: forecast horizon, steps.
        loss, valid_loss: as the model takes them; None for the model's own.
        config: argument to an Optuna distribution or a constant, or an Optuna function of a trial that returns
            arguments: both override the default space by name. With Ray: argument to a Ray Tune domain or a constant.
            `kl_width` and `band_width` stand for kl_max - kl_min and band_upper - band_lower.
        search_alg: a sampler of Optuna, or a search algorithm of Ray Tune; None for TPE seeded anew in every trial, or
            Ray's random search.
        num_samples: finished trials, those that a study holds already included.
        time_budget: seconds after which no further trial begins.
        refit_with_val: whether the refit keeps validation and best weights; without, it trains on all rows for as many
            steps as the best trial's best check had.
        cpus, gpus: no longer NeuralForecast's; see `ray_options`.
        verbose: one progress bar.
        alias: name of the model.
        backend: "optuna" or "ray".
        callbacks: of the study (or of Ray), not of the trainer: those are an argument of the model.
        ray_options, optuna_options: as in NeuralForecast; of `create_study_kwargs` storage, study_name, sampler and
            pruner are taken.
        seed: of the sampler; the models' own is `random_seed`, an argument like the others.
        storage: see `open_storage`: in memory, or `runs/STUDY_NAME.db` where a study has a name, unless given.
        study_name: of the study; a digest of the data is added.
        pruner: see `build_pruner`; "auto" is "median", and "none" with two objectives, which exclude pruning.
        constraints: see `Constraints.of`; None for out <= .10 and alive >= .95, with two objectives for the latter
            alone, with Ray for none.
        objective: see `resolve_objectives`.
        n_jobs: trials at a time, in threads; reproducible is one.

    Attributes:
        results: the Optuna study, or Ray's `ResultGrid`.
        best_trial: the winner; None with Ray.
        best_config: its arguments.
        model: the refitted model.

    Raises:
        ValueError: an argument outside of what is allowed, by name.
        TypeError: one of the wrong kind.
    """

    model_class: ClassVar[type[VariationalModel]]
    default_config: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        space = default_space(cls.model_class, 1)
        drawn = {name: dimension.distribution for name, dimension in space.dimensions.items()}
        cls.default_config = {"input_size": None, **drawn}

    def __init__(
        self,
        h: int,
        loss: nn.Module | None = None,
        valid_loss: nn.Module | None = None,
        config: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
        search_alg: Any = None,
        num_samples: int = 10,
        time_budget: float | None = None,
        refit_with_val: bool = True,
        cpus: int | None = None,
        gpus: float | None = None,
        verbose: bool = False,
        alias: str | None = None,
        backend: str = "optuna",
        callbacks: list[Any] | None = None,
        ray_options: RayOptions | None = None,
        optuna_options: OptunaOptions | None = None,
        seed: int = 1,
        storage: str | Path | BaseStorage | None = None,
        study_name: str | None = None,
        pruner: str | BasePruner | None = AUTO_PRUNER,
        constraints: Mapping[str, float] | None = None,
        objective: str | Sequence[str] | None = None,
        n_jobs: int = 1,
    ) -> None:
        optuna_options, given = without_study_options(optuna_options)
        search_alg, storage = given.get("sampler", search_alg), given.get("storage", storage)
        study_name, pruner = given.get("study_name", study_name), given.get("pruner", pruner)
        objectives = resolve_objectives(objective, loss, valid_loss)
        check_auto_arguments(
            h=h,
            num_samples=num_samples,
            n_jobs=n_jobs,
            seed=seed,
            backend=backend,
            search_alg=search_alg,
            constraints=constraints,
            objectives=objectives,
            pruner=None if pruner == AUTO_PRUNER else pruner,
            storage=storage,
        )
        space = default_space(self.model_class, h, own_loss=loss is not None)
        self_config: Any
        if backend == "ray":
            self_config, limits = ray_config(space, config), Constraints(None, None)
        else:
            space = space.overridden(config)
            self_config = _host_config(space)
            two = len(objectives) == 2
            limits = Constraints(out=None) if two and constraints is None else Constraints.of(constraints)
        super().__init__(
            cls_model=self.model_class,
            h=h,
            loss=self._usual_loss(h) if loss is None else loss,
            valid_loss=valid_loss,
            config=self_config,
            search_alg=search_alg,
            num_samples=num_samples,
            time_budget=time_budget,
            refit_with_val=refit_with_val,
            verbose=verbose,
            alias=alias,
            backend=backend,
            callbacks=callbacks,
            ray_options=ray_options,
            optuna_options=optuna_options,
            cpus=cpus,
            gpus=gpus,
        )
        self.config = self_config
        self.space, self.seed, self.n_jobs, self.study_name = space, seed, n_jobs, study_name
        self.target = Target(h, loss, valid_loss, objectives, limits)
        # an open storage is shared by the copies that NeuralForecast makes of its models
        self.storage = Shared(storage) if isinstance(storage, BaseStorage) else storage
        pruning = "none" if len(objectives) == 2 else "median"
        self.pruner = pruning if pruner == AUTO_PRUNER else pruner
        self.results: Any = None
        self.best_trial: optuna.trial.FrozenTrial | None = None
        self.best_config: dict[str, Any] = {}
        if backend == "optuna":  # what the model of trial 0 refuses is refused now
            with quiet_lightning():
                build_model(self.model_class, self.target, space.first())

    def _usual_loss(self, h: int) -> nn.Module:
        """What the class trains with where the user gives no loss: NeuralForecast wants one to read from."""
        with quiet_lightning():
            return self.model_class(h=h, input_size=1).loss

    @classmethod
    def get_default_config(cls, h: int, backend: str = "optuna", n_series: int | None = None) -> Any:
        """The default space as `config` may be: a function of an Optuna trial, or a dict of Ray Tune domains."""
        space = default_space(cls.model_class, h)
        return ray_config(space, None) if backend == "ray" else _host_config(space)

    # ------------------------------------------------------------------ fit

    def fit(
        self,
        dataset: Any,
        val_size: int = 0,
        test_size: int = 0,
        random_seed: int | None = None,
        distributed_config: Any = None,
    ) -> "AutoVariational":
        """Search, then fit the winner's configuration.

        Args:
            dataset: NeuralForecast's `TimeSeriesDataset`, in memory.
            val_size: rows of validation; 0 for h, as NeuralForecast has it. Few windows measure units badly.
            test_size: rows of test.
            random_seed: not used; `seed` and the model's `random_seed` are.
            distributed_config: as NeuralForecast's models take it.

        Raises:
            ValueError: data that cannot train the model, or a storage that holds another search.
            ConnectionError: a storage that cannot be reached.
            SearchError: no trial was completed, or none meets the constraints.
        """
        sizes = (val_size if val_size and val_size > 0 else self.h, test_size)
        if not self.keeps_results:
            first = self.config if self.backend == "ray" else self.space.first()
            padded = first.get("start_padding_enabled", False) is not False
            least = least_input_size(first["input_size"], self.space.dimensions.get("input_size"))
            check_dataset(dataset, least, self.h, *sizes, padded)
            if self.backend == "ray":
                self.results = self.tune_with_ray(dataset, *sizes, ray_search(self.search_alg, self.seed))
                self.best_config = best_ray_config(self.results, RESERVED)
            else:
                self._search(dataset, sizes, distributed_config)
        arguments, rows = dict(self.best_config), sizes
        if not self.refit_with_val:
            rows = (0, test_size)
            if self.best_trial is not None:
                arguments["max_steps"] = max(int(result_of(self.best_trial)["best_step"]), 1)
        self.model = self.fit_config(arguments, dataset, *rows, distributed_config)
        self.loss = self.model.loss  # NeuralForecast sets its quantiles and reads its columns
        for name in ("futr_exog_list", "hist_exog_list", "stat_exog_list"):
            setattr(self, name, getattr(self.model, name))
        return self

    def _search(self, dataset: Any, sizes: tuple[int, int], distributed_config: Any) -> None:
        storage = self.storage.thing if isinstance(self.storage, Shared) else self.storage
        first = {**defaults_of(self.model_class), **self.space.first()}
        settings = Settings(
            self.seed,
            build_pruner(self.pruner, int(first["max_steps"]), int(first["val_check_steps"])),
            SAMPLERS["tpe"] if self.search_alg is None else copy.deepcopy(self.search_alg),
            self.study_name,
        )
        opened = open_storage(storage, self.study_name)
        search = Search(self.space, self.target, dataset, sizes, opened, settings, distributed_config)
        self.results = search.study  # stands even where no trial wins
        options = {"show_progress_bar": self.verbose, "callbacks": self.callbacks}
        options |= self.optuna_options.study_kwargs or {}
        n_jobs = options.pop("n_jobs", self.n_jobs)
        search.run(options.pop("n_trials", self.num_samples), n_jobs, self.time_budget, options=options)
        self.best_trial = winner_of(search.study, self.target)
        # what a storage cannot keep (optimisers, callbacks) is the same in every trial
        self.best_config = {**self.space.constants, **self.best_trial.user_attrs["ALL_PARAMS"]}
        for width in ("kl_width", "band_width"):
            self.best_config.pop(width, None)

    def fit_config(
        self, config: Mapping[str, Any], dataset: Any, val_size: int, test_size: int, distributed_config: Any = None
    ) -> VariationalModel:
        """A fitted model of one configuration."""
        arguments = {name: value for name, value in config.items() if name not in RESERVED}
        arguments = with_upper_bounds(arguments, defaults_of(self.model_class))
        sizes = (val_size, test_size)
        with quiet_lightning():
            return fit_model(self.model_class, self.target, arguments, dataset, sizes, distributed_config)

    # ------------------------------------------------------------------ what the model does

    def simulate(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Joint sample paths of the refitted model; arguments as of its own `simulate`."""
        return self.model.simulate(dataset, *args, **kwargs)

    def serialize(self) -> bytes:
        """The refitted model's file, with the study in its header: `NeuralForecast.save` writes it.

        `NeuralForecast.load` makes the model of it, `vdn_forecast.search.read_study` the study's trials.
        """
        content = self.model.serialize()
        if not isinstance(self.results, optuna.Study):
            return content
        return with_metadata(content, METADATA, described_study(self.results, self.best_trial))

    def save(self, path: str) -> None:
        """Write `serialize()` to a file."""
        content = self.serialize()  # before the file is opened: a failure leaves an older one whole
        with fsspec.open(path, "wb") as file:
            file.write(content)


def _host_config(space: Space) -> Callable[[Any], dict[str, Any]]:
    """A space as a function of a trial; NeuralForecast's mock trial, whose numbers are texts, gets trial 0's values."""
    return lambda trial: space.suggest(trial) if isinstance(trial, optuna.trial.BaseTrial) else space.first()
