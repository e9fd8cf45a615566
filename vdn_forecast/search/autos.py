"""One Auto per model class: two lines each."""

from ..models import AREVE, ARVAE, EVE
from .auto import AutoVariational

_SHARED = (AutoVariational.__doc__ or "").partition("\n")[2]


class AutoEVE(AutoVariational):
    __doc__ = f"`EVE` with arguments that a search found.\n{_SHARED}"
    model_class = EVE


class AutoAREVE(AutoVariational):
    __doc__ = f"`AREVE` with arguments that a search found.\n{_SHARED}"
    model_class = AREVE


class AutoARVAE(AutoVariational):
    __doc__ = f"`ARVAE` with arguments that a search found.\n{_SHARED}"
    model_class = ARVAE


AUTOS: tuple[type[AutoVariational], ...] = (AutoEVE, AutoAREVE, AutoARVAE)
"""Every Auto of this package: what is saved under its name, and whose classes a search file may name."""
