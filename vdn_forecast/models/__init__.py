"""The NeuralForecast classes; encoders and heads beside them."""

from .areve import AREVE, ARVAE
from .base import VariationalModel
from .ensemble import EVEEnsemble
from .eve import EVE
from .trajectory_model import TrajectoryModel

__all__ = ["AREVE", "ARVAE", "EVE", "EVEEnsemble", "TrajectoryModel", "VariationalModel"]
