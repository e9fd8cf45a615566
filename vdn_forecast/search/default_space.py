"""The space that a search has unless the user says otherwise."""

import inspect
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from .spaces import WIDTHS, Dimension, Space, defaults_of

INPUT_SIZE_MULTIPLE = 3
QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "devices": 1}
"""Trainer arguments of every trial: no bars, no log folders, one device each."""


def _dimensions() -> dict[str, Dimension]:
    """Sizes, units, control, training and scaling, parents before what depends on them.

    The band is searched only where a regime acts on it: under "off" another band would change nothing but how
    many units count as outside. Its width stays under .9, about the paper's own (.8): a wide enough band holds
    every network.
    """
    held = {"control": ("balance", "batchnorm", "homeo", "projection")}
    steered = {"control": ("homeo", "projection")}
    return {
        "control": Dimension(CategoricalDistribution(("off", "balance", "batchnorm", "homeo", "projection"))),
        "kl_weight": Dimension(FloatDistribution(1e-4, 0.1, log=True)),
        "kl_min": Dimension(FloatDistribution(0.01, 0.5, log=True), only=steered),
        "kl_width": Dimension(FloatDistribution(0.05, 1.0, log=True), only=steered),
        "band_target": Dimension(FloatDistribution(0.01, 2.0, log=True), only=held),
        "band_lower": Dimension(FloatDistribution(0.6, 0.9), only=held),
        "band_width": Dimension(FloatDistribution(0.4, 0.9), only=held),
        "band_shape": Dimension(CategoricalDistribution(("homogeneous", "heterogeneous")), only=held),
        "band_spread": Dimension(
            FloatDistribution(1.5, 16.0, log=True), only={**held, "band_shape": ("heterogeneous",)}
        ),
        "band_weight": Dimension(FloatDistribution(0.1, 10.0, log=True), 3.0, only=steered),
        "sigma": Dimension(CategoricalDistribution(("amortized", "unit", "scalar"))),
        "sigma_init": Dimension(FloatDistribution(0.1, 1.0, log=True)),
        "latent_dim": Dimension(CategoricalDistribution((1, 2, 4))),
        "n_units": Dimension(CategoricalDistribution((128, 256, 512, 1024))),
        "depth": Dimension(CategoricalDistribution((1, 2))),
        "hidden_size": Dimension(CategoricalDistribution((128, 256, 512))),
        "learning_rate": Dimension(FloatDistribution(2e-4, 5e-3, log=True)),
        "phi_init": Dimension(FloatDistribution(0.5, 0.98)),
        "lookback_weight": Dimension(FloatDistribution(0.01, 1.0, log=True)),
        "dropout": Dimension(FloatDistribution(0.0, 0.6)),
        "objective": Dimension(CategoricalDistribution(("mixture", "elbo", "crps"))),
        "scaler_type": Dimension(CategoricalDistribution(("auto", "panel"))),
    }


def default_space(model: type, h: int, own_loss: bool = False) -> Space:
    """The space of a model class: every dimension that the class has an argument for.

    Args:
        model: a class of this package.
        h: horizon; the look-back is three times as long unless the user says otherwise.
        own_loss: whether the user brings the training loss, which then fixes the objective.
    """
    usual = defaults_of(model)
    taken = {*inspect.signature(model).parameters, *(width for width in WIDTHS if width in usual)}
    dimensions: dict[str, Dimension] = {}
    for name, found in {**_dimensions(), **_of_latents(model, usual)}.items():
        if name in taken and not (own_loss and name == "objective"):
            default: Any = usual.get(name) if found.default is None else found.default
            dimensions[name] = Dimension(_holding(found.distribution, default), default, found.only)
    if usual.get("n_units") == 1:  # a global latent: one unit by definition
        dimensions.pop("n_units", None)
    return Space(model, dimensions, {"input_size": INPUT_SIZE_MULTIPLE * h, **QUIET})


def _of_latents(model: type, usual: Mapping[str, Any]) -> dict[str, Dimension]:
    """What depends on how a class's latents move: their number where one vector holds all, their graph."""
    found = {}
    whole = usual.get("latent_dim", 1)
    if whole >= 8:
        found["latent_dim"] = Dimension(CategoricalDistribution((whole // 4, whole // 2, whole, 2 * whole)))
    if "patch_size" in inspect.signature(model).parameters:  # a transition ties the scales that "balance" would move
        found["control"] = Dimension(CategoricalDistribution(("off", "batchnorm", "homeo", "projection")), "off")
    graphs = getattr(model, "GRAPHS", ())
    if len(graphs) > 1:
        found["graph"] = Dimension(CategoricalDistribution(graphs))
    return found


def _holding(distribution: BaseDistribution, default: Any) -> BaseDistribution:
    """A distribution that holds the class's default: trial 0 is to be that."""
    if default is None:
        return distribution
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution(tuple(dict.fromkeys((*distribution.choices, default))))
    assert isinstance(distribution, FloatDistribution)
    low, high = min(distribution.low, default), max(distribution.high, default)
    return FloatDistribution(low, high, log=distribution.log)
