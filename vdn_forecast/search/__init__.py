"""A search over KL weights, energy bands and sizes that one can leave running."""

from .auto import AutoVariational
from .autos import AUTOS, AutoAREVE, AutoARVAE, AutoEVE
from .constraints import Constraints
from .export import read_study, trials_frame
from .spaces import Dimension, Space
from .storage import open_storage
from .winner import SearchError

__all__ = [
    "AUTOS",
    "AutoAREVE",
    "AutoARVAE",
    "AutoEVE",
    "AutoVariational",
    "Constraints",
    "Dimension",
    "SearchError",
    "Space",
    "open_storage",
    "read_study",
    "trials_frame",
]
