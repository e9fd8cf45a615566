"""The NeuralForecast classes; encoders and heads beside them."""

from .areve import AREVE, ARVAE
from .base import VariationalModel
from .eve import EVE
from .trajectory_model import TrajectoryModel

__all__ = ["AREVE", "ARVAE", "EVE", "TrajectoryModel", "VariationalModel"]
