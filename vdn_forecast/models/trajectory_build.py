"""From flat arguments to the parts of an AR-VAE model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..losses import LatentMixture
from ..neurons import DenseTransition, SparseTransition, TrajectoryLayer, Transition
from ..neurons.checks import require_int
from .build import Choices
from .heads import mixture_start_bias
from .network import NetworkSizes
from .outputs import location_channels
from .patches import PatchEncoder, PatchHead, default_patch_size
from .trajectory_network import TrajectoryNetwork

_LAYER = ("sigma", "sigma_init", "sigma_floor", "sigma_ceil", "pool")


def check_patch_size(patch_size: int | None, input_size: int) -> int:
    """The patch size with its default filled in.

    Raises:
        ValueError: not a whole number of steps of the look-back.
    """
    if patch_size is None:
        return default_patch_size(input_size)
    require_int("patch_size", patch_size, 1)
    if patch_size > input_size:
        raise ValueError(f"patch_size={patch_size} is not allowed; it must be at most input_size={input_size}")
    return patch_size


def build_transition(arguments: Mapping[str, Any], deterministic: bool) -> Transition:
    """The dynamics that `graph` names."""
    a = arguments
    common = {name: a[name] for name in ("rho_max", "phi_init")} | {
        "scale_init": a["transition_scale"],
        "deterministic": deterministic,
    }
    if a["graph"] == "dense":
        return DenseTransition(a["latent_dim"], **common)
    return SparseTransition(
        a["n_units"],
        a["latent_dim"],
        graph=a["graph"],
        degree=a["graph_degree"],
        seed=a["random_seed"],
        **common,
    )


def build_trajectories(
    arguments: Mapping[str, Any], choices: Choices, loss: nn.Module, exogenous: tuple[int, int, int]
) -> TrajectoryNetwork:
    """Encoder, units, head, bank and skip.

    Args:
        arguments: of the model's constructor, defaults filled in.
        choices: further defaults.
        loss: what the outputs feed.
        exogenous: sizes of historic, future and static features per step (static: in all), embeddings included.

    Raises:
        ValueError: a regime that trajectories cannot have.
    """
    if choices.control == "balance":
        raise ValueError(
            "control='balance' is not allowed with trajectories, whose transition ties all scales; "
            "choose 'off', 'batchnorm', 'homeo' or 'projection'"
        )
    a = arguments
    input_size, h, patch_size = a["input_size"], a["h"], a["patch_size"]
    hist, futr, stat = exogenous
    is_mixture = isinstance(loss, LatentMixture)
    sizes = NetworkSizes(
        input_size=input_size,
        h=h,
        n_extra=hist * input_size + futr * (input_size + h) + stat,
        n_outputs=2 * loss.n_components if is_mixture else int(loss.outputsize_multiplier),  # type: ignore
        location_channels=location_channels(loss),
    )
    encoder = PatchEncoder(
        input_size,
        sizes.n_extra,
        a["hidden_size"],
        patch_size,
        kind=a["encoder"],
        activation=a["activation"],
        dropout=a["dropout"],
        kernel_size=a["decomposition_kernel"],
    )
    transition = build_transition(a, choices.deterministic)
    if a["kl_weight"] == 0 and transition.initial_parameter is not None:
        transition.initial_parameter.requires_grad_(False)  # nothing but the KL reads it
    layer = TrajectoryLayer(a["hidden_size"], transition, **{name: a[name] for name in _LAYER})
    pooled = a["graph"] != "dense"
    features = a["n_units"] if pooled else a["n_units"] * a["latent_dim"]
    start = mixture_start_bias(h, sizes.n_outputs // 2) if is_mixture else None
    head = PatchHead(
        features, h, patch_size, sizes.n_outputs, a["head"], a["head_size"], a["head_dropout"], start_bias=start
    )
    return TrajectoryNetwork(
        sizes,
        encoder,
        layer,
        head,
        choices.n_predict_samples,
        a["random_seed"],
        pooled=pooled,
        lookback=a["lookback_weight"] > 0,
        trajectory_windows=a["trajectory_windows"],
        skip=a["skip"],
        skip_dropout=a["skip_dropout"],
    )
