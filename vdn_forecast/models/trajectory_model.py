"""What AREVE and ARVAE share as NeuralForecast models: latent trajectories over patches, rolled forward."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Tensor, nn

from .._loss_arguments import RawMixture
from ..losses import LatentMixture
from ..neurons import UnitState
from ..neurons.checks import require_choice, require_int, require_range
from ..neurons.transitions import SCALES
from .base import VariationalModel
from .build import HOST_ARGUMENTS, Choices, build_controllers
from .checks import check_arguments
from .learned_graph import rewire
from .outputs import LOSS_ARGUMENTS, build_loss, build_scaler, keeps_locations, resolve_scaler
from .trajectory_build import build_trajectories, check_patch_size
from .trajectory_network import TrajectoryNetwork
from .window_io import arrange, read_window


class TrajectoryModel(VariationalModel):
    """What `AREVE` and `ARVAE` share: one constructor, whose None defaults each class fills in.

    The look-back is cut into T patches. A unit's latents z_1 .. z_T have a causal, factorised posterior and the prior
    of a linear transition; the forecast rolls the prior on from a sample of z_T over the horizon's patches and emits
    each from all units. Per window, in nats,

        loss = ( -log p(y | z_T+1 ..) - lookback_weight sum_t log p(x_t | z_t)
                 + kl_weight / T sum_i sum_t KL_i,t ) / h + band penalty

    with KL_i,t in closed form (`neurons.trajectory`), the look-back's Gaussian likelihood in closed form, and the
    forecast's from sampled latents. kl_weight = T, lookback_weight = 1 and objective "elbo" give the ELBO; kl_weight
    itself weighs a patch's KL averaged over patches, so that a value means the same at every T and beside `EVE`. (A
    unit cannot go under `neurons.committed_rate` nats in all: 14 at a memory of .95 and 42 patches.)

    Unlisted arguments are as `EVE`'s, whose `depth`, `emission`, `learned_prior` and `local_weight` have no counterpart
    here. `predict(h=...)` beyond the horizon rolls the latents on. Unlisted keywords go to `pytorch_lightning.Trainer`.

    Args:
        h: forecast horizon, steps.
        input_size: look-back L, steps.
        patch_size: steps P of a patch; None: a fourteenth of the look-back. Zeros are put before a look-back that it
            does not divide, steps beyond h are cut off.
        n_units: N; None: 512, `ARVAE` has a single one.
        latent_dim: k latents per unit, K of `ARVAE`; None: 1, in `ARVAE` 64.
        graph: whose past a unit's transition reads beside its own: "none", "ring" (nearest by number), "random" (fixed)
            or "topk" (learned: every `graph_every` steps weak edges make room); None: "none", in `ARVAE` "dense".
        graph_degree: neighbours per unit, below n_units.
        graph_every: steps between two changes of a learned graph, which ends at three quarters of max_steps.
        rho_max: bound on |phi_i| + sum_j |A_ij|, in `ARVAE` on the spectral norm.
        phi_init: phi at the start, inside (-rho_max, rho_max).
        transition_scale: s, the standard deviation of a step of the prior, at the start, in [1e-4, 100].
        sigma: posterior scale: "unit", "scalar" or "amortized" (dearer: the KL is then evaluated patch by patch).
        lookback_weight: see above; 0 leaves the likelihood of the look-back out.
        trajectory_windows: the KL and the look-back's likelihood are computed on so many windows of a training batch,
            drawn anew at each step: an unbiased estimate at less cost; None for all.
        n_latent_samples: S in training; None: the `LatentMixture`'s, else 1, in `ARVAE` 2.

    Raises:
        ValueError: an argument outside of what is allowed, by name.
        TypeError: an unknown keyword.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {}
    GRAPHS: ClassVar[tuple[str, ...]] = ()
    network: TrajectoryNetwork

    def __init__(
        self,
        h: int,
        input_size: int,
        futr_exog_list: list[str] | None = None,
        hist_exog_list: list[str] | None = None,
        stat_exog_list: list[str] | None = None,
        cat_exog_list: list[str] | None = None,
        categorical_cardinalities: dict[str, int] | None = None,
        cat_emb_dim: str | int = "fastai",
        exclude_insample_y: bool = False,
        neuron: str = "variational",
        patch_size: int | None = None,
        encoder: str = "mlp",
        decomposition_kernel: int = 25,
        hidden_size: int = 256,
        activation: str = "gelu",
        n_units: int | None = None,
        latent_dim: int | None = None,
        graph: str | None = None,
        graph_degree: int = 8,
        graph_every: int = 50,
        rho_max: float = 0.99,
        phi_init: float = 0.9,
        transition_scale: float = 0.3,
        sigma: str = "unit",
        sigma_init: float = 0.3,
        sigma_floor: float = 1e-4,
        sigma_ceil: float = 10.0,
        pool: str = "mean",
        lookback_weight: float = 0.1,
        trajectory_windows: int | None = 64,
        head: str = "mlp",
        head_size: int = 256,
        skip: bool = True,
        anchor: str = "last",
        dropout: float = 0.3,
        head_dropout: float = 0.0,
        skip_dropout: float = 0.0,
        n_components: int | None = None,
        base: str = "normal",
        df: int = 5,
        objective: str | dict[str, float] = "mixture",
        eval_objective: str = "crps",
        trajectory: bool = False,
        background: float = 1e-5,
        n_latent_samples: int | None = None,
        n_predict_samples: int | None = None,
        kl_weight: float = 1e-4,
        control: str | None = None,
        kl_weight_min: float | None = None,
        kl_weight_max: float | None = None,
        kl_min: float = 0.05,
        kl_max: float = 0.30,
        thermostat: bool | None = None,
        thermostat_rate: float = 0.2,
        thermostat_gain: float = 0.0,
        band_target: float | None = None,
        band_shape: str = "homogeneous",
        band_spread: float = 8.0,
        band_lower: float = 0.8,
        band_upper: float = 1.6,
        band_penalty: str = "relative",
        band_weight: float | None = None,
        control_warmup: int = 200,
        control_ramp: int = 200,
        control_every: int = 10,
        homeostat_rate: float = 0.15,
        guard_sigma_floor: float = 0.15,
        guard_sigma_ceil: float = 5.0,
        guard_sigma_kick: float = 0.02,
        calibration: bool = False,
        projection_every: int = 200,
        ema_after_rescale: str = "exact",
        loss: nn.Module | None = None,
        valid_loss: nn.Module | None = None,
        max_steps: int = 1200,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        patience_checks: int = 6,
        gradient_clip_val: float | None = 1.0,
        val_check_steps: int = 50,
        valid_windows: int | None = 4096,
        num_lr_decays: int = 0,
        batch_size: int = 32,
        valid_batch_size: int | None = None,
        windows_batch_size: int | None = 256,
        inference_windows_batch_size: int = 1024,
        start_padding_enabled: bool = False,
        training_data_availability_threshold: float | list[float] = 0.0,
        step_size: int = 1,
        scaler_type: str = "auto",
        scale_floor: float = 0.1,
        random_seed: int = 1,
        drop_last_loader: bool = False,
        alias: str | None = None,
        optimizer: type | None = None,
        optimizer_kwargs: dict[str, Any] | None = None,
        lr_scheduler: type | None = None,
        lr_scheduler_kwargs: dict[str, Any] | None = None,
        dataloader_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        arguments = {
            name: value for name, value in locals().items() if name not in ("self", "__class__", "trainer_kwargs")
        }
        check_arguments(arguments, trainer_kwargs)
        free = loss is None and neuron != "deterministic"
        for name, value in (self.DEFAULTS if free else {**self.DEFAULTS, "n_latent_samples": None}).items():
            if arguments[name] is None:  # a loss brings its own number of samples, a twin has one
                arguments[name] = value
        self._check_own(arguments)
        arguments["patch_size"] = check_patch_size(patch_size, input_size)
        choices = Choices.of(arguments)
        mixture = {name: arguments[name] for name in LOSS_ARGUMENTS} | {"n_components": choices.n_components}
        loss = build_loss(loss, choices.n_latent_samples, **mixture)
        scaler_type = resolve_scaler(scaler_type, loss)
        scaler = build_scaler(scaler_type, scale_floor)
        super().__init__(
            loss=loss,
            scaler_type=scaler_type if scaler is None else "identity",
            **{name: arguments[name] for name in HOST_ARGUMENTS},
            **trainer_kwargs,
        )
        self.valid_windows = valid_windows
        self.is_mixture = isinstance(self.loss, LatentMixture)
        self.n_latent_samples = choices.n_latent_samples if self.is_mixture else 1
        self.lookback_weight, self.graph_every = lookback_weight, graph_every
        exogenous = (self.hist_exog_size, self.futr_exog_size, self.stat_exog_size)
        self.network = build_trajectories(arguments, choices, self.loss, exogenous)
        self.anchor = anchor if keeps_locations(self.loss) else "mean"  # a level that is taken off must come back
        self.controllers = build_controllers(arguments, choices.control)
        for controller, layer in zip(self._controllers(), self.layers, strict=True):
            controller.attach(layer)
        if arguments["graph"] == "topk":
            self.network.layer.keeps_contexts = 64
        if scaler is not None:
            self.scaler = scaler
        self._finish_init(patience_checks, weight_decay, 0.0)

    def _check_own(self, arguments: dict[str, Any]) -> None:
        require_choice("graph", arguments["graph"], self.GRAPHS)
        require_int("graph_every", arguments["graph_every"], 1)
        if arguments["trajectory_windows"] is not None:
            require_int("trajectory_windows", arguments["trajectory_windows"], 1)
        require_range("lookback_weight", arguments["lookback_weight"], 0.0)
        require_range("transition_scale", arguments["transition_scale"], *SCALES)
        if "dense" in self.GRAPHS and arguments["n_units"] != 1:
            raise ValueError(
                f"n_units={arguments['n_units']!r} is not allowed; the global latent is one unit, set latent_dim"
            )

    def _clear_fit(self) -> None:
        super()._clear_fit()
        self._misfit: Tensor | None = None
        self.network.layer.kept = None

    def forward(self, windows_batch: dict[str, Tensor | None]) -> Tensor | RawMixture:
        """Raw forecast parameters of one batch of windows, [B, h, outputs], laid out as `EVE.forward`'s."""
        sizes = self.network.sizes
        window = read_window(windows_batch, self.input_size, sizes.h, self.anchor)
        self.network.train(self._sampling)
        eps = self._noise(len(window.y))
        out = self.network(window.y, window.seen, window.extra, eps, window.level, self.h)
        if self._sampling:  # for the terms that `training_step` adds
            self._states, self._misfit = [out.state], out.misfit
        return arrange(out.raw, out.base, self.loss, sizes.location_channels, self.wants_raw())

    def _noise(self, n_windows: int) -> Tensor:
        if self.path_noise is not None and not self.network.layer.deterministic:
            return self.network.noise(n_windows, self.path_noise[0], self.h, False, self.path_noise[1])
        if self._sampling and not self.network.layer.deterministic:
            return self.network.noise(n_windows, self.n_latent_samples, self.h, mirrored=self.n_latent_samples % 2 == 0)
        return self.network.banked(self.h)

    def regularizer(self, states: list[UnitState], forecast_loss: Tensor) -> Tensor | float:
        """KL and band terms, and the look-back's misfit over h."""
        total = super().regularizer(states, forecast_loss)
        misfit, self._misfit = self._misfit, None
        if misfit is None:
            return total
        term = self.lookback_weight * misfit / self.h
        self.history.note("lookback", term)
        return total + term

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Controllers, then the learned graph."""
        before = self._controlled_step
        super().on_train_batch_end(outputs, batch, batch_idx)
        step, layer = self._controlled_step, self.network.layer
        due = step != before and step % self.graph_every == 0 and step <= 0.75 * self.max_steps
        if due and layer.kept is not None:
            rewire(layer, layer.kept, self.optimizers(use_pl_optimizer=False))

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
        """Predict as NeuralForecast does; beyond the horizon the latents are rolled on, and nothing is fed back."""
        with self._horizon(h):
            return super().predict(
                dataset,
                test_size=test_size,
                step_size=step_size,
                random_seed=random_seed,
                quantiles=quantiles,
                h=h,
                explainer_config=explainer_config,
                **data_module_kwargs,
            )

    @contextmanager
    def _horizon(self, h: int | None) -> Iterator[None]:
        """For a longer forecast this is a direct model of that horizon."""
        before = int(self.hparams["h"])
        if h is None or h <= before:
            yield
            return
        try:
            self.h = self.horizon_backup = h
            yield
        finally:
            self.h = self.horizon_backup = before
