"""Controllers that hold units' KL and energy where they should be: plain torch, state in buffers."""

from .ar_share import ARShare
from .batchnorm import MeanBatchNorm, reestimate
from .controller import UnitController
from .measures import ALIVE_INFO, BandShares, UnitMeasures, UnitSums
from .settings import CONTROLS, EMA_AFTER_RESCALE, ControlSettings

__all__ = [
    "ALIVE_INFO",
    "CONTROLS",
    "EMA_AFTER_RESCALE",
    "ARShare",
    "BandShares",
    "ControlSettings",
    "MeanBatchNorm",
    "UnitController",
    "UnitMeasures",
    "UnitSums",
    "reestimate",
]
