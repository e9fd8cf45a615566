"""Variational distributional neurons in plain torch: units, priors, bands, noise, stacks."""

from .bands import BAND_SHAPES, PENALTY_KINDS, Band, band_penalty, energy, out_of_band
from .layer import EMISSIONS, POOLS, SIGMA_KINDS, VariationalLayer
from .noise import Noise, NoiseBank
from .prior import GaussianPrior, kl_gaussian, kl_standard
from .stack import VariationalStack
from .state import UnitState

__all__ = [
    "BAND_SHAPES",
    "EMISSIONS",
    "PENALTY_KINDS",
    "POOLS",
    "SIGMA_KINDS",
    "Band",
    "GaussianPrior",
    "Noise",
    "NoiseBank",
    "UnitState",
    "VariationalLayer",
    "VariationalStack",
    "band_penalty",
    "energy",
    "kl_gaussian",
    "kl_standard",
    "out_of_band",
]
