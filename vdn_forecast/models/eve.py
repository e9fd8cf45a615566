"""EVE: variational distributional neurons as a NeuralForecast model."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from .._loss_arguments import RawMixture
from ..losses import LatentMixture
from ..neurons import Noise
from .build import HOST_ARGUMENTS, Choices, build_controllers, build_network, usual_control
from .checks import check_arguments
from .outputs import LOSS_ARGUMENTS, build_loss, build_scaler, keeps_locations, resolve_scaler
from .passes import USUAL_DROPOUT, usual_dropout
from .persistence import build_persistence
from .presets import Presets
from .window_ar import TiedModel, WindowAR, check_ar
from .window_io import WindowInputs, arrange, read_window


class EVE(Presets, TiedModel):
    """Every hidden unit carries a prior, an amortised posterior and a local ELBO (arXiv 2602.18250).

    The forecast is an equal-weight mixture over latent samples and head components with exact quantiles. Source
    of the terms: `vdn_forecast.neurons` (units), `vdn_forecast.control` (regimes), `LatentMixture` (forecast).
    Unlisted keywords (`accelerator`, `enable_progress_bar`, ...) go to `pytorch_lightning.Trainer`.

    Args:
        h: forecast horizon, steps.
        input_size: look-back L, steps.
        futr_exog_list, hist_exog_list, stat_exog_list, cat_exog_list, categorical_cardinalities, cat_emb_dim,
            exclude_insample_y: exogenous columns, as in NeuralForecast.
        neuron: "variational", or "deterministic" for the twin: z = mu, no sigma, no KL.
        encoder: "linear", "mlp" or "decomposition" (trend and remainder, as DLinear).
        decomposition_kernel: odd number of steps of its moving average.
        hidden_size: size of the context that all units read.
        activation: of the encoder: "gelu", "relu" or "silu".
        n_units: N per layer.
        latent_dim: k latents per unit.
        depth: layers of neurons; a deeper one reads the samples of the one before.
        sigma: "amortized" (from the context), "unit" or "scalar".
        sigma_init, sigma_floor, sigma_ceil: posterior scale at the start, and its limits (floor 0: none).
        mean_bound: no posterior mean is farther from zero (it saturates smoothly); None for no bound. Small panels and
            such whose later windows are unlike the earlier ones may gain (`benchmarks/studies/bound.md`).
        mean_compression: c; posterior means beyond c grow as their logarithm, which keeps units in their bands where
            later windows are unlike the earlier ones (.2; `benchmarks/studies/compression.md`); None for linear means.
        pool: k latents to one number: "mean", "sum" or "sum_sqrtk".
        emission: "identity", "affine" or "gaussian".
        learned_prior: N(m_i, s_i^2) learned per unit instead of N(0, 1).
        ar: what ties a window's latents to those `ar_stride` steps before, in training: "none"; "penalty", the papers'
            term mean (mu_t - ar_phi mu_t-1)^2 / 2 s^2 with s from the band, its weight held so that its gradient on the
            means stays near the share `ar_share`, under `ar_share_cap`; "prior", N(phi_i z_i,t-1, s_i^2) with learned
            phi_i (from `ar_phi`) and s_i in the place of N(0, 1). The earlier latent is detached. See `WindowAR`.
        ar_stride, ar_phi, ar_share, ar_share_cap: see `ar`.
        head: "mlp", "gated" or "linear"; sees one latent sample at a time.
        head_size: its width.
        skip: linear map from look-back to horizon beside the network.
        anchor: level that look-back and locations are relative to: "last" observed value, or the window's "mean"
            (always the latter where the loss has no locations).
        dropout: share of the context set to zero in training; None: .3, or 0 where max_steps windows_batch_size is no
            more than the training windows, so that few are seen twice (`benchmarks/studies/dropout.md`).
        head_dropout, skip_dropout: shares of the head's hidden layer and of the skip's look-back.
        n_components: mixture components per latent sample; None: 4, for the twin 1.
        base, df: component density: "normal", or "studentt" with `df` in {3, 4, 5, 7, 10}.
        objective: of `LatentMixture`: "mixture", "elbo", "crps" or weights by name.
        eval_objective: what validation ranks: "crps", "mixture" or "mse".
        trajectory: whether the objective scores whole paths.
        background: of `LatentMixture`: bounds what one observation can cost in training; 0 for no bound.
        n_latent_samples: S in training; None: the `LatentMixture`'s, else 1. One with any other `loss`.
        n_predict_samples: S in prediction, from a fixed bank; None: 4, for the twin 1.
        kl_weight: beta' of (sum over h of the objective + beta' sum_i KL_i) / h; 1 with objective "elbo" is the ELBO.
        local_weight: weight of the units' local ELBO in the loss.
        control: "balance", "off", "batchnorm", "homeo" or "projection". None is "balance", and "off" without a KL
            to a fixed prior: with `kl_weight` 0, a learned prior, and for a twin (which takes "off" and "batchnorm").
        kl_weight_min, kl_weight_max, kl_min, kl_max, thermostat, thermostat_rate, thermostat_gain: thermostat of
            the KL weights; kl_min, kl_max in nats per latent.
        band_target, band_shape, band_spread, band_lower, band_upper, band_penalty, band_weight: energy bands;
            band_target None: the paper's .03 under "homeo" and "projection", else 1.
        control_warmup, control_ramp, control_every, homeostat_rate, calibration, projection_every,
            ema_after_rescale: see `ControlSettings`; guard_sigma_floor, guard_sigma_ceil, guard_sigma_kick are
            its sigma guard.
        loss: any NeuralForecast training loss; None builds the `LatentMixture`. With another loss training uses
            one latent sample, and prediction averages raw outputs over the bank: exact for a mean, too narrow
            for quantile and distribution losses. `LatentMixture` is recommended.
        valid_loss: as in NeuralForecast.
        max_steps, learning_rate, weight_decay, batch_size, valid_batch_size, windows_batch_size,
            inference_windows_batch_size, val_check_steps, num_lr_decays, start_padding_enabled,
            training_data_availability_threshold, step_size, random_seed, drop_last_loader, alias, optimizer,
            optimizer_kwargs, lr_scheduler, lr_scheduler_kwargs, dataloader_kwargs: as in NeuralForecast; AdamW
            with a cosine unless optimizer, lr_scheduler or num_lr_decays say otherwise.
        patience_checks: stop after so many validation checks without gain (0: never). Needs `val_size`.
        valid_windows: at most so many windows, evenly spaced over series and time, are scored per validation check;
            None for all, as NeuralForecast's models do.
        gradient_clip_val: global gradient norm limit; None for none.
        scaler_type: "auto", "window" (mean and sqrt(var + floor^2) of the look-back), "panel" (the look-back's mean,
            and the train rows' standard deviation, median over series) or a NeuralForecast scaler; "auto" is
            "window", and "identity" for the Bernoulli distribution.
        scale_floor: the floor of "window", as a share of the train rows' standard deviation (median over series).
        persistence: whether a share of the forecast, chosen on validation after training (`model.persistence.share`),
            follows the last observed value; none where that gains less than .5 % of the validation loss. For series
            near a random walk (`benchmarks/studies/persistence.md`); needs a `LatentMixture` and `val_size`.

    Raises:
        ValueError: an argument outside of what is allowed, by name.
        TypeError: an unknown keyword.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {
        **{"control": "balance", "band_target": 1.0, "n_latent_samples": 1, "dropout": USUAL_DROPOUT}
    }
    """What None stands for where all else is at its default; searches begin there."""
    ADDED_ARGUMENTS: Mapping[str, Any] = {
        **TiedModel.ADDED_ARGUMENTS,
        **{"mean_bound": None, "mean_compression": None, "persistence": False},
    }

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
        encoder: str = "mlp",
        decomposition_kernel: int = 25,
        hidden_size: int = 256,
        activation: str = "gelu",
        n_units: int = 512,
        latent_dim: int = 1,
        depth: int = 1,
        sigma: str = "amortized",
        sigma_init: float = 0.3,
        sigma_floor: float = 1e-4,
        sigma_ceil: float = 10.0,
        mean_bound: float | None = None,
        mean_compression: float | None = None,
        pool: str = "mean",
        emission: str = "identity",
        learned_prior: bool = False,
        ar: str = "none",
        ar_stride: int = 4,
        ar_phi: float = 0.95,
        ar_share: float = 0.2,
        ar_share_cap: float = 0.3,
        head: str = "mlp",
        head_size: int = 256,
        skip: bool = True,
        anchor: str = "last",
        dropout: float | None = None,
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
        kl_weight: float = 0.001,
        local_weight: float = 0.0,
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
        persistence: bool = False,
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
        # Here, not later: the result is what is saved, and what a benchmark's row is known by.
        if control is None:
            control = usual_control(neuron, kl_weight, learned_prior, ar)
        if n_latent_samples is None and loss is None and neuron != "deterministic":
            n_latent_samples = self.DEFAULTS["n_latent_samples"]
        arguments = {
            name: value for name, value in locals().items() if name not in ("self", "__class__", "trainer_kwargs")
        }
        self.follows_passes = dropout is None
        arguments["dropout"] = USUAL_DROPOUT if dropout is None else dropout
        check_arguments(arguments, trainer_kwargs)
        check_ar(ar, ar_stride, ar_phi, ar_share, ar_share_cap, neuron == "deterministic", scaler_type)
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
        exogenous = (self.hist_exog_size, self.futr_exog_size, self.stat_exog_size)
        self.network = build_network(arguments, choices, self.loss, exogenous)
        self.anchor = anchor if keeps_locations(self.loss) else "mean"  # a level that is taken off must come back
        self.controllers = build_controllers(arguments, choices.control)
        for controller, layer in zip(self._controllers(), self.layers, strict=True):
            controller.attach(layer)
        self.window_ar = None
        if ar != "none":
            self.window_ar, self.earlier_steps = WindowAR(ar, self.layers, ar_phi, ar_share, ar_share_cap), ar_stride
        if scaler is not None:
            self.scaler = scaler
        self._finish_init(patience_checks, weight_decay, local_weight, build_persistence(persistence, h, self.loss))

    def on_fit_start(self) -> None:
        """As of every model, with the dropout that its data asks for where none was given."""
        super().on_fit_start()
        if self.follows_passes:
            self.network.encoder.dropout.p = usual_dropout(self, self.trainer.datamodule.dataset)

    def forward(self, windows_batch: dict[str, Tensor | None]) -> Tensor | RawMixture:
        """Raw forecast parameters of one batch of windows, [B, h, outputs].

        With a `LatentMixture`, the first half of the last axis are locations, the second raw scales, each ordered
        by latent sample, then component. Noise is fresh within `training_step` and the fixed bank elsewhere.
        A training step whose loss can take it gets the same numbers as a `RawMixture`, not yet rearranged; so does
        whoever sets `hands_raw`.
        """
        window = read_window(windows_batch, self.input_size, self.h, self.anchor)
        self.network.train(self._sampling)
        noise = self._noise(len(window.y))
        raw, base, states = self.network(window.y, window.extra, noise, window.level, self.local_weight > 0)
        if self._sampling:  # for the terms that `training_step` adds
            self._states = self.tied(states, noise)
        else:
            raw = self.with_persistence(raw, base, window)
        return arrange(raw, base, self.loss, self.network.sizes.location_channels, self.wants_raw())

    def with_persistence(self, raw: Tensor, base: Tensor | None, window: WindowInputs) -> Tensor:
        """Raw outputs with a random walk's samples among them, where the model has a share of persistence."""
        return raw if self.persistence is None else self.persistence(raw, base, window)

    def _noise(self, n_windows: int) -> Noise | None:
        if self.layers[0].deterministic:
            return None
        bank = self.network.bank
        if self.path_noise is not None:
            return bank.training_noise(n_windows, self.path_noise[0], generator=self.path_noise[1])
        if not self._sampling:
            return bank()
        s = self.n_latent_samples
        return bank.training_noise(n_windows, s, antithetic=s % 2 == 0)
