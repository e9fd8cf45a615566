"""Variational distributional neurons (EVE) as NeuralForecast models.

Importing this package lets `NeuralForecast.save` and `load` handle its classes, and `NeuralForecast.fit` and
`cross_validation` pass the frame to `check_frame` where one of its models is of this package.
"""

from pathlib import Path
from typing import Any

from ._compat import check_frames_for, register_models
from ._version import __version__
from .diagnostics import Diagnosis, diagnose
from .frames import check_frame
from .losses import LatentMixture
from .models import AREVE, ARVAE, EVE, EVEEnsemble, VariationalModel
from .sample_paths import sample_paths
from .search import AUTOS, AutoAREVE, AutoARVAE, AutoEVE
from .series_identity import tell_series

register_models(
    {cls.__name__.lower(): cls for cls in (EVE, AREVE, ARVAE, EVEEnsemble)}
    | {auto.__name__.lower(): auto.model_class for auto in AUTOS}
)
check_frames_for(lambda model: issubclass(getattr(model, "cls_model", type(model)), VariationalModel), check_frame)


def load(path: str | Path, **kwargs: Any) -> Any:
    """Load a saved `NeuralForecast` that holds models of this package.

    The same as `NeuralForecast.load` in a process that imported this package; no pickle is read.

    Args:
        path: directory that `NeuralForecast.save` wrote.
        **kwargs: as `NeuralForecast.load`.
    """
    from neuralforecast import NeuralForecast

    return NeuralForecast.load(str(path), **kwargs)


__all__ = [
    "AREVE",
    "ARVAE",
    "EVE",
    "AutoAREVE",
    "AutoARVAE",
    "AutoEVE",
    "Diagnosis",
    "EVEEnsemble",
    "LatentMixture",
    "__version__",
    "check_frame",
    "diagnose",
    "load",
    "sample_paths",
    "tell_series",
]
