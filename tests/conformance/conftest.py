"""`make` builds a small model of every class in `model_list.MODELS`."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import pytest
from model_list import MODELS, build
from neuralforecast.utils import AirPassengersPanel

from vdn_forecast.models import VariationalModel


@pytest.fixture(params=MODELS, ids=lambda cls: cls.__name__)
def make(request: pytest.FixtureRequest) -> Callable[..., VariationalModel]:
    """Builds a model from keyword arguments; a test that takes it runs for every class."""
    return partial(build, request.param)


@pytest.fixture
def panel() -> pd.DataFrame:
    """Two airlines, 144 months each; unique_id, ds, y and the exogenous columns trend and y_[lag12]."""
    return AirPassengersPanel.copy()


@pytest.fixture
def y_panel(panel: pd.DataFrame) -> pd.DataFrame:
    """The same without exogenous columns."""
    return panel[["unique_id", "ds", "y"]]
