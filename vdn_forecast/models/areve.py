"""AREVE and ARVAE: latent trajectories over patches, local or global, as NeuralForecast models."""

from typing import Any, ClassVar

from .trajectory_model import TrajectoryModel


class AREVE(TrajectoryModel):
    """A network of local AR-VAE neurons: every unit has a latent trajectory, coupled on a sparse graph (Figure 1B).

    See `TrajectoryModel` for the objective and the arguments.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"n_units": 512, "latent_dim": 1, "graph": "none", "n_latent_samples": 1}
    GRAPHS: ClassVar[tuple[str, ...]] = ("none", "ring", "random", "topk")


class ARVAE(TrajectoryModel):
    """The global AR-VAE: one latent of `latent_dim` dimensions with dense linear dynamics (Figure 1A), the baseline.

    Encoder, emission and objective are `AREVE`'s. The latent counts as one unit: its KL and energy band are the whole
    vector's. See `TrajectoryModel` for the arguments.
    """

    DEFAULTS: ClassVar[dict[str, Any]] = {"n_units": 1, "latent_dim": 64, "graph": "dense", "n_latent_samples": 2}
    GRAPHS: ClassVar[tuple[str, ...]] = ("dense",)
