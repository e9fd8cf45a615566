"""From flat arguments to the parts of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..control import UnitController
from ..losses import LatentMixture
from ..neurons import VariationalStack
from .encoders import Encoder
from .heads import Head, mixture_start_bias
from .network import EVENetwork, NetworkSizes
from .outputs import location_channels

HOST_ARGUMENTS = (
    *("h", "input_size", "valid_loss", "learning_rate", "max_steps", "val_check_steps", "batch_size"),
    *("valid_batch_size", "windows_batch_size", "inference_windows_batch_size", "start_padding_enabled"),
    *("training_data_availability_threshold", "step_size", "num_lr_decays", "futr_exog_list", "hist_exog_list"),
    *("stat_exog_list", "cat_exog_list", "categorical_cardinalities", "cat_emb_dim", "exclude_insample_y"),
    *("drop_last_loader", "random_seed", "alias", "optimizer", "optimizer_kwargs", "lr_scheduler"),
    *("lr_scheduler_kwargs", "dataloader_kwargs", "gradient_clip_val"),
)
"""Arguments that go on to NeuralForecast's BaseModel unchanged."""

_STACK = (
    *("latent_dim", "depth", "learned_prior", "sigma", "sigma_init", "sigma_floor", "sigma_ceil", "mean_bound"),
    *("mean_compression", "pool", "emission"),
)
_CONTROL = (
    *("kl_weight", "kl_weight_min", "kl_weight_max", "kl_min", "kl_max", "thermostat", "thermostat_rate"),
    *("thermostat_gain", "band_target", "band_shape", "band_spread", "band_lower", "band_upper", "band_penalty"),
    *("band_weight", "control_warmup", "control_ramp", "control_every", "homeostat_rate", "calibration"),
    *("projection_every", "ema_after_rescale"),
)
_GUARD = ("guard_sigma_floor", "guard_sigma_ceil", "guard_sigma_kick")


@dataclass(frozen=True)
class Choices:
    """Arguments whose default depends on the kind of neuron and on the loss.

    Attributes:
        deterministic: whether this is a twin.
        n_components: M of the `LatentMixture` that is built where the user gave no loss.
        n_latent_samples: S in training.
        n_predict_samples: S in prediction.
        control: regime.
    """

    deterministic: bool
    n_components: int
    n_latent_samples: int
    n_predict_samples: int
    control: str

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "Choices":
        """Fill in the defaults.

        Raises:
            ValueError: samples or a regime that a twin cannot have.
        """
        deterministic = arguments["neuron"] == "deterministic"
        loss = arguments["loss"]
        latent = arguments["n_latent_samples"] or (1 if deterministic else int(getattr(loss, "n_samples", 1)))
        usual = latent if getattr(loss, "return_params", False) else 4  # as many columns as the loss has names for
        predict = arguments["n_predict_samples"] or (1 if deterministic else usual)
        if deterministic and (latent, predict) != (1, 1):
            raise ValueError(
                f"n_latent_samples={latent}, n_predict_samples={predict} are not allowed with "
                "neuron='deterministic'; a twin has no noise, both must be 1"
            )
        control = arguments["control"] or "off"
        if deterministic and control not in ("off", "batchnorm"):
            raise ValueError(
                f"control={control!r} is not allowed with neuron='deterministic'; choose 'off' or 'batchnorm'"
            )
        if control == "balance" and (learned := _learned_prior(arguments)):
            raise ValueError(
                f"control='balance' is not allowed with {learned}: a learned prior follows its unit's scale; choose "
                "'off', 'batchnorm', 'homeo' or 'projection'"
            )
        return cls(deterministic, arguments["n_components"] or (1 if deterministic else 4), latent, predict, control)


def usual_control(neuron: str, kl_weight: float, learned_prior: bool, ar: str) -> str | None:
    """EVE's regime where the user names none: "balance" where a KL to a fixed prior weighs, else None for "off"."""
    learned = _learned_prior({"learned_prior": learned_prior, "ar": ar})
    return None if neuron == "deterministic" or kl_weight == 0 or learned else "balance"


def _learned_prior(arguments: Mapping[str, Any]) -> str:
    """The argument that makes the prior a learned one, as text; empty if none does."""
    if arguments.get("learned_prior"):
        return "learned_prior=True"
    return "ar='prior'" if arguments.get("ar") == "prior" else ""


def build_network(
    arguments: Mapping[str, Any], choices: Choices, loss: nn.Module, exogenous: tuple[int, int, int]
) -> EVENetwork:
    """Encoder, stack, head, bank and skip.

    Args:
        arguments: of the model's constructor.
        choices: defaults filled in.
        loss: what the outputs feed.
        exogenous: sizes of historic, future and static features per step (static: in all), embeddings included.
    """
    a = arguments
    input_size, h = a["input_size"], a["h"]
    hist, futr, stat = exogenous
    is_mixture = isinstance(loss, LatentMixture)
    sizes = NetworkSizes(
        input_size=input_size,
        h=h,
        n_extra=hist * input_size + futr * (input_size + h) + stat,
        n_outputs=2 * loss.n_components if is_mixture else int(loss.outputsize_multiplier),  # type: ignore
        location_channels=location_channels(loss),
    )
    stack = VariationalStack(
        a["hidden_size"], a["n_units"], deterministic=choices.deterministic, **{name: a[name] for name in _STACK}
    )
    encoder = Encoder(
        input_size,
        sizes.n_extra,
        a["hidden_size"],
        a["encoder"],
        a["activation"],
        a["dropout"],
        a["decomposition_kernel"],
    )
    start = mixture_start_bias(h, sizes.n_outputs // 2) if is_mixture else None
    head = Head(a["n_units"], h, sizes.n_outputs, a["head"], a["head_size"], a["head_dropout"], start)
    bank = stack.noise_bank(choices.n_predict_samples, seed=a["random_seed"])
    return EVENetwork(sizes, encoder, stack, head, bank, a["skip"], a["skip_dropout"])


def build_controllers(arguments: Mapping[str, Any], control: str) -> nn.ModuleList:
    """One `UnitController` per layer."""
    settings = {name: arguments[name] for name in _CONTROL}
    if settings["band_target"] is None:
        # an energy of e costs e / 2 nats per latent: the thermostat's zone, .05 to .30, needs a low one
        settings["band_target"] = 0.03 if control in ("homeo", "projection") else 1.0
    settings |= {name.removeprefix("guard_"): arguments[name] for name in _GUARD}
    units, latents = arguments["n_units"], arguments["latent_dim"]
    return nn.ModuleList(
        UnitController(units, latents, control=control, **settings) for _ in range(arguments.get("depth", 1))
    )
