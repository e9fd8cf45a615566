"""What a fitted model's units do on data: measures, tidy frames."""

from .diagnosis import Diagnosis, diagnose
from .measures import UnitSummary, ValidationMeasures, measure_validation, unit_frame
from .use import group_use

__all__ = [
    "Diagnosis",
    "UnitSummary",
    "ValidationMeasures",
    "diagnose",
    "group_use",
    "measure_validation",
    "unit_frame",
]
