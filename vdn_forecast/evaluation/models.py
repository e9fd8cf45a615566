"""Models by name, as the runners build them: one entry per leaderboard line."""

from collections.abc import Callable
from typing import Any

from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import MLP, NHITS, DLinear, NLinear, PatchTST

from ..mixture import LEVELS_19
from ..models import EVE
from .naive import NaiveModel
from .quiet import QUIET_TRAINER

Builder = Callable[..., Any]


def _quantile_loss() -> MQLoss:
    return MQLoss(quantiles=list(LEVELS_19))


def _t2(h: int, input_size: int, **arguments: Any) -> EVE:
    """T2: a mixture head of as many components as one of EVE's samples has, no noise."""
    return EVE.twin(h, input_size, **{"n_components": 4, **arguments})


def _t3(h: int, input_size: int, **arguments: Any) -> EVE:
    """T3: EVE's noise with a KL weight of zero."""
    return EVE(h=h, input_size=input_size, **{"kl_weight": 0.0, **arguments})


def _t4(h: int, input_size: int, **arguments: Any) -> EVE:
    """T4: one Student-t."""
    return EVE.twin(h, input_size, **{"base": "studentt", **arguments})


def _eve(h: int, input_size: int, **arguments: Any) -> EVE:
    return EVE(h=h, input_size=input_size, **arguments)


def _host(cls: type, **fixed: Any) -> Builder:
    def build(h: int, input_size: int, **arguments: Any) -> Any:
        return cls(h=h, input_size=input_size, **{**fixed, **arguments})

    return build


BUILDERS: dict[str, Builder] = {
    "EVE": _eve,
    "EVE.small": EVE.small,
    "twin": EVE.twin,
    "T1": EVE.twin,
    "T2": _t2,
    "T3": _t3,
    "T4": _t4,
    "NHITS": _host(NHITS, scaler_type="standard"),
    "NHITS-MQLoss": lambda h, input_size, **a: _host(NHITS, scaler_type="standard")(
        h, input_size, loss=_quantile_loss(), **a
    ),
    "DLinear": _host(DLinear, scaler_type="standard"),
    "NLinear": _host(NLinear),
    "MLP": _host(MLP, scaler_type="standard"),
    "PatchTST": _host(PatchTST),
}
"""Trained models: (h, input_size, **arguments) -> model. T1 to T4 are the fair twins of the protocol."""


def build_model(name: str, h: int, input_size: int, season: int, **arguments: Any) -> Any:
    """A quiet, unfitted model.

    Args:
        name: "Naive", "SeasonalNaive" or a key of `BUILDERS`.
        h, input_size: horizon and look-back.
        season: steps of one season.
        **arguments: override the builder's.

    Raises:
        ValueError: an unknown name.
    """
    if name in ("Naive", "SeasonalNaive"):
        return NaiveModel(season if name == "SeasonalNaive" else 1)
    if name not in BUILDERS:
        raise ValueError(f"model={name!r} is not known; choose one of {sorted(BUILDERS)}, Naive, SeasonalNaive")
    return BUILDERS[name](h, input_size, **{**QUIET_TRAINER, **arguments})
