"""Variational distributional neurons in plain torch: units, priors, bands, noise, stacks."""

from .bands import BAND_SHAPES, PENALTY_KINDS, Band, band_penalty, energy, out_of_band
from .graphs import GRAPHS, neighbours
from .layer import EMISSIONS, POOLS, SIGMA_KINDS, UnitScale, VariationalLayer
from .noise import Noise, NoiseBank
from .prior import GaussianPrior, kl_gaussian, kl_standard
from .rewiring import forget_moments_, rest_of, rewire_
from .stack import VariationalStack
from .state import UnitState
from .trajectory import ContextMoments, committed_rate, moment_kl, roll_forward, trajectory_kl
from .trajectory_layer import TrajectoryLayer
from .transitions import DenseTransition, SparseTransition, Transition
from .window_prior import WindowPrior, ar_penalty, ar_scale

__all__ = [
    "BAND_SHAPES",
    "EMISSIONS",
    "GRAPHS",
    "PENALTY_KINDS",
    "POOLS",
    "SIGMA_KINDS",
    "Band",
    "ContextMoments",
    "DenseTransition",
    "GaussianPrior",
    "Noise",
    "NoiseBank",
    "SparseTransition",
    "TrajectoryLayer",
    "Transition",
    "UnitScale",
    "UnitState",
    "VariationalLayer",
    "VariationalStack",
    "WindowPrior",
    "ar_penalty",
    "ar_scale",
    "band_penalty",
    "committed_rate",
    "energy",
    "forget_moments_",
    "kl_gaussian",
    "kl_standard",
    "moment_kl",
    "neighbours",
    "out_of_band",
    "rest_of",
    "rewire_",
    "roll_forward",
    "trajectory_kl",
]
