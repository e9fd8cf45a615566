"""What every model of this package shares as a guest of NeuralForecast: fit, validation, best weights, predict."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from ..control import UnitController
from ..losses import LatentMixture
from ..neurons import UnitState
from .checks import check_dataset, fill_absent_buffers, without_gaps
from .history import History
from .optimization import adamw_with_cosine
from .outputs import asked, estimate_scale_floor, raw_validation
from .path_noise import white
from .paths import simulate_paths
from .persistence import Persistence
from .recording import RecordedModel
from .settling import settle

OBSERVE_EVERY = 10  # steps between statistics that nothing acts on


class VariationalModel(RecordedModel):
    """A NeuralForecast model made of variational neurons; a subclass builds `network` and `controllers`.

    A subclass's `forward` leaves the units' states of the batch in `_states`; `training_step` adds their KL
    and band terms to NeuralForecast's own loss:

        loss = (sum over the horizon of the objective + sum_i beta_i mean_B KL_i) / h + band penalty
    """

    ADDED_ARGUMENTS: Mapping[str, Any] = {"scale_floor": 0.1, "background": 0.0}
    """Arguments that came later, each with the value that changes nothing: older results keep their identity."""

    EXOGENOUS_FUTR = True
    EXOGENOUS_HIST = True
    EXOGENOUS_STAT = True
    EXOGENOUS_CAT = True
    MULTIVARIATE = False
    RECURRENT = False

    n_members = 1  # an ensemble has more
    hands_raw: bool  # set by whoever reads a mixture's parameters as the network lays them out
    best_value: Tensor
    path_kernel: Tensor

    def _finish_init(
        self, patience_checks: int, weight_decay: float, local_weight: float, persistence: Persistence | None = None
    ) -> None:
        """Called at the end of a subclass's `__init__`, once the network stands."""
        self.persistence = persistence
        self.hands_raw = False
        self.patience_checks, self.weight_decay, self.local_weight = patience_checks, weight_decay, local_weight
        self.register_buffer("best_value", torch.tensor(math.inf))
        self.register_buffer("path_kernel", white())
        self.history = History(len(self.layers), self.layers[0].n_units)
        self.register_load_state_dict_pre_hook(fill_absent_buffers)
        self._clear_fit()

    def _clear_fit(self) -> None:
        """Forget what only a running fit needs, so that a fitted model copies and saves."""
        self._sampling = False
        self.history.forget_terms()
        self._states: list[UnitState] = []
        self._best_state: dict[str, Tensor] | None = None
        self._checks_without_gain = 0
        self._rng_state: Tensor | None = None
        self._controlled_step = 0
        self.path_noise: tuple[int, torch.Generator] | None = None  # samples and source, while paths are drawn

    def fit(self, dataset, val_size=0, test_size=0, random_seed=None, distributed_config=None):
        """Fit as NeuralForecast does; returns self with the best weights by validation.

        A second fit continues weights and KL weights; step counter, ramps, moving averages, best value and
        patience start anew.

        Raises:
            ValueError: series too short for a window, values that are infinite, or nothing observed.
        """
        val_size = val_size or 0
        check_dataset(dataset, self.input_size, self.h, val_size, test_size, self.start_padding_enabled)
        if val_size == 0 and self.patience_checks > 0:
            warnings.warn(
                f"{self}: no validation (val_size=0), so the last weights are kept and the schedule runs to its end",
                UserWarning,
                stacklevel=2,
            )
        try:
            with self.gather_windows(without_gaps(dataset)) as indexed:
                model = super().fit(indexed, val_size, test_size, random_seed, distributed_config)
        finally:
            self._clear_fit()
        if torch.isfinite(model.best_value):
            model.metrics["ptl/val_loss"] = model.best_value.detach().clone().cpu()
        return model

    def on_fit_start(self) -> None:
        """Seed, estimate the scale floor, reset what belongs to one fit."""
        super().on_fit_start()
        estimate_scale_floor(self, self.trainer.datamodule.dataset)
        for controller in self._controllers():
            controller.reset()
        if self.persistence is not None:
            self.persistence.ratio.zero_()
        self.history.clear()
        self.best_value.fill_(math.inf)
        self._best_state, self._checks_without_gain = None, 0
        if self.trainer.world_size > 1:  # ranks that share a seed would draw the same noise
            torch.manual_seed(self.random_seed + self.global_rank)
        self._rng_state = torch.get_rng_state()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """NeuralForecast's loss plus the units' KL, local and band terms of the same forward pass."""
        self._sampling = True
        try:
            loss: Tensor = super().training_step(batch, batch_idx)
        finally:
            self._sampling = False
        states, self._states = self._states, []
        self.history.note("forecast", loss)
        penalty = self.regularizer(states, loss)
        if loss.device.type == "cpu" or self.trainer.global_step % OBSERVE_EVERY == 0:  # waits for a GPU
            value = float(torch.as_tensor(penalty).detach())
            if not math.isfinite(value):  # NeuralForecast's own guard sees the forecast loss only
                raise FloatingPointError(f"the units' KL, band or local terms are {value}; lower learning_rate")
        self._rng_state = torch.get_rng_state()
        return loss + penalty

    def regularizer(self, states: list[UnitState], forecast_loss: Tensor) -> Tensor | float:
        """KL terms over h, band penalties and local terms of one batch; controllers take note of it."""
        total: Tensor | float = 0.0
        for controller, state in zip(self._controllers(), states, strict=True):
            if state.kl is None and state.mean_kl is None:
                continue
            if controller.acts or self.trainer.global_step % OBSERVE_EVERY == 0:
                controller.observe(state)
            kl_term, band_term = controller.regularizer(state)
            total = total + kl_term / self.h + band_term
            terms = {"kl": kl_term / self.h, "band": band_term}
            if state.local_elbo is not None:
                terms["local"] = -self.local_weight * state.local_elbo.mean(0).sum() / self.h
                total = total + terms["local"]
            for name, term in terms.items():
                self.history.note(name, term)
        return total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Let the controllers act, after each step of the optimiser."""
        if self.trainer.global_step == self._controlled_step:  # gradients still accumulate
            return
        self._controlled_step = self.trainer.global_step
        optimizer = self.optimizers(use_pl_optimizer=False)
        for controller, layer in zip(self._controllers(), self.layers, strict=True):
            controller.update(layer, optimizer)

    def configure_optimizers(self) -> Any:
        """AdamW and a cosine to zero, unless the user chose an optimiser, a scheduler or step decays."""
        if self.optimizer is not None or self.lr_scheduler is not None or self.num_lr_decays > 0:
            return super().configure_optimizers()
        return adamw_with_cosine(self, self.learning_rate, self.weight_decay, self.max_steps)

    def wants_raw(self) -> bool:
        """Whether `forward` gives a `RawMixture`: a training step whose loss can take it, or `hands_raw`."""
        return self.hands_raw or (self._sampling and getattr(self.loss, "takes_raw", False))

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        """NeuralForecast's, without a copy into its layout where the loss scores its own mixture."""
        with raw_validation(self):
            return super().validation_step(batch, batch_idx)

    def on_validation_end(self) -> None:
        """Keep the best weights, stop when patience ends; leave the random state as training had it."""
        if self._rng_state is not None:
            # loaders draw a seed per pass: without this, the check interval would change the training
            torch.set_rng_state(self._rng_state)
        if self.trainer.sanity_checking or self.val_size == 0 or not self.valid_trajectories:
            return
        value = self.valid_trajectories[-1][1]  # reduced over ranks, so all of them decide alike
        self.record_check(value)
        if value < float(self.best_value):
            self.best_value.fill_(value)
            self._best_state = {name: tensor.detach().clone() for name, tensor in self.state_dict().items()}
            self._checks_without_gain = 0
            return
        self._checks_without_gain += 1
        if 0 < self.patience_checks <= self._checks_without_gain:
            self.trainer.should_stop = True

    def on_train_end(self) -> None:
        """Restore the best weights and estimate anew what depends on them."""
        if self._best_state is not None:
            best, recorded = self.best_value.clone(), self.history.get_extra_state()
            self.load_state_dict(self._best_state)
            self.best_value.copy_(best)
            self.history.set_extra_state(recorded)
            self._best_state = None
        dataset = self.trainer.datamodule.dataset
        if isinstance(dataset, TimeSeriesDataset):
            settle(self, dataset)

    def _controllers(self) -> list[UnitController]:
        return [controller for controller in self.controllers if isinstance(controller, UnitController)]

    def predict(
        self,
        dataset,
        test_size=None,
        step_size=1,
        random_seed=None,
        quantiles=None,
        h=None,
        explainer_config=None,
        **data_module_kwargs,
    ):
        """Predict as NeuralForecast does; the loss keeps its quantiles and names.

        Latent noise comes from the model's fixed bank, so `random_seed` changes nothing and a forecast does
        not depend on batch sizes.
        """
        beyond = h is not None and h > self.h  # NeuralForecast then feeds medians back into a dense batch
        try:
            raw = not beyond and explainer_config is None  # else NeuralForecast reads tensors in its layout
            with asked(self, raw), self.gather_windows(without_gaps(dataset), dense=beyond) as indexed:
                return super().predict(
                    indexed,
                    test_size=test_size,
                    step_size=step_size,
                    random_seed=random_seed,
                    quantiles=quantiles,
                    h=h,
                    explainer_config=explainer_config,
                    **data_module_kwargs,
                )
        finally:
            self._states = []

    def simulate(
        self,
        dataset,
        n_paths=500,
        random_seed=None,
        quantiles=None,
        method=None,
        fresh_latents=False,
        **data_module_kwargs,
    ):
        """Joint sample paths.

        Args:
            dataset: NeuralForecast's `TimeSeriesDataset`.
            n_paths: paths per series.
            random_seed: of the paths; None for the model's.
            quantiles: quantile grid of NeuralForecast's copulas; unused by native paths.
            method: None or "gaussian_copula" (NeuralForecast's default) give native paths where the loss is a
                `LatentMixture`; "schaake_shuffle", and any method with another loss, is NeuralForecast's own.
            fresh_latents: native paths draw latents of their own each, instead of sharing those of predict's bank.
            **data_module_kwargs: as `predict`.

        Returns:
            [n_series, n_paths, h] in the units of y.

        Raises:
            ValueError: n_paths < 1.
        """
        if n_paths < 1:
            raise ValueError(f"n_paths={n_paths} is not allowed; it must be at least 1")
        if isinstance(self.loss, LatentMixture) and method in (None, "gaussian_copula"):
            seed = self.random_seed if random_seed is None else random_seed
            return simulate_paths(self, dataset, n_paths, seed, fresh_latents, **data_module_kwargs)
        return super().simulate(
            dataset, n_paths, random_seed, quantiles, method or "gaussian_copula", **data_module_kwargs
        )

    def n_forecast_samples(self) -> int:
        """Samples whose components a forecast is a mixture of: latent ones, and walks of persistence."""
        latent = self.n_members * int(self.network.bank.n_samples)
        return latent if self.persistence is None else self.persistence.n_samples(latent)

    def mixture_parameters(self, dataset, **data_module_kwargs) -> tuple[np.ndarray, np.ndarray]:
        """Locations and scales of every forecast, [n_series * windows, h, C] each, in the units of y.

        Raises:
            TypeError: the model's loss is not a `LatentMixture`.
        """
        if not isinstance(self.loss, LatentMixture):
            raise TypeError(f"loss={type(self.loss).__name__} has no mixture parameters; use LatentMixture")
        with asked(self, raw=False):
            n_parameters = 2 * self.n_forecast_samples() * self.loss.n_components
            self.loss.param_names = [f"-{i}" for i in range(n_parameters)]
            self.loss.return_params = True
            self.loss.update_quantile([0.5])
            table = self.predict(dataset, quantiles=[0.5], **data_module_kwargs)
        parameters = table[:, -n_parameters:].reshape(-1, self.h, n_parameters // 2, 2)
        return parameters[..., 0], parameters[..., 1]
