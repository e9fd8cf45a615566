"""The NeuralForecast classes; encoders and heads beside them."""

from .base import VariationalModel
from .eve import EVE

__all__ = ["EVE", "VariationalModel"]
