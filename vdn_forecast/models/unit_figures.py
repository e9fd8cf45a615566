"""The figures of every unit as one table, and what they say about the whole network: plain numbers, no data."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..control import ALIVE_INFO, UnitController, UnitMeasures
from ..control.statistics import ALIVE_KL

if TYPE_CHECKING:
    from .recording import RecordedModel

UNIT_COLUMNS = (
    *("kl", "energy", "signal", "info", "sigma", "local_elbo", "kl_weight", "alive_share", "lag_1", "lag_h"),
    "use",
)
"""Figures of one unit; NaN where a model has no such thing. New ones are added at the end."""
AT_FLOOR = 1.01  # sigma within a per cent of its floor
DRIFT_CHECKS = 5
LEAST_CHECKS = 3  # below which a trend says nothing


@dataclass(frozen=True, eq=False)
class UnitFigures:
    """What the units did over some windows.

    Attributes:
        units: float64 [layers, columns, N], see `UNIT_COLUMNS`.
        out_batch: energy per batch of 256 windows against the calibrated band, share outside, mean over batches.
        out_series: the share of units outside of the nominal band by their energy per series, mean over series.
        windows: how many.
    """

    units: np.ndarray
    out_batch: float
    out_series: float
    windows: int


def figures_of(
    model: "RecordedModel", layers: Sequence[UnitMeasures], out_batch: float, out_series: float
) -> UnitFigures:
    """The table of measures of every layer, completed by what follows from the model's state; lags and use are NaN."""
    controllers = [each for each in model.controllers if isinstance(each, UnitController)]
    table = []
    for measures, layer, controller in zip(layers, model.layers, controllers, strict=True):
        values = {name: getattr(measures, name).numpy() for name in ("kl", "energy", "signal", "alive_share")}
        nothing = np.full(layer.n_units, np.nan)
        values |= dict.fromkeys(("lag_1", "lag_h", "use"), nothing)
        if layer.deterministic:  # it has energy and signal; information, scale and KL weight do not exist
            values |= dict.fromkeys(("info", "sigma", "local_elbo", "kl_weight"), nothing)
        else:
            variance = measures.sigma.square() * layer.latent_dim
            fit = layer.local_fit(variance.to(layer.mu.weight)).double().cpu() if layer.has_local_elbo else None
            values |= {
                "info": measures.info.numpy(),
                "sigma": measures.sigma.numpy(),
                "local_elbo": nothing if fit is None else (fit - measures.kl).numpy(),
                "kl_weight": controller.kl_weights().double().cpu().numpy(),
            }
        table.append(np.stack([values[name] for name in UNIT_COLUMNS]))
    return UnitFigures(np.stack(table), out_batch, out_series, layers[0].windows)


def nominal_bands(model: "RecordedModel") -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of every unit's energy, calibration left out, [layers, N] each."""
    bands = [each.band for each in model.controllers if isinstance(each, UnitController)]
    lower, upper = ([getattr(band, name).double().cpu().numpy() for band in bands] for name in ("lower", "upper"))
    return np.stack(lower), np.stack(upper)


def sigma_floors(model: "RecordedModel") -> np.ndarray:
    """The smallest sigma that each unit can have, or that its regime restores, [layers, N]."""
    floors = []
    for layer, controller in zip(model.layers, model.controllers, strict=True):
        assert isinstance(controller, UnitController)
        own = math.exp(layer.log_floor)
        own = max(own, controller.settings.sigma_floor) if controller.settings.control == "homeo" else own
        scale = np.ones(layer.n_units) if layer.unit_scale is None else layer.unit_scale.scale.double().cpu().numpy()
        floors.append(own * scale)
    return np.stack(floors)


def unit_flags(units: np.ndarray, floors: np.ndarray) -> dict[str, np.ndarray]:
    """What of a unit has collapsed, bool [..., layers, N] each.

    Args:
        units: [..., layers, columns, N].
        floors: of sigma, [layers, N].

    Returns:
        prior: KL at most .005 nats. constant: more than that, but no more than .005 nats of information.
        deterministic: sigma at its floor.
    """
    kl, info, sigma = (units[..., UNIT_COLUMNS.index(name), :] for name in ("kl", "info", "sigma"))
    return {
        "prior": kl <= ALIVE_INFO,
        "constant": (kl > ALIVE_INFO) & (info <= ALIVE_INFO),
        "deterministic": (sigma <= AT_FLOOR * floors) & (floors > 0),
    }


def informed(units: np.ndarray) -> np.ndarray:
    """Which units carry more than .005 nats about their input, bool [..., layers, N]."""
    return units[..., UNIT_COLUMNS.index("info"), :] > ALIVE_INFO


def alive_lately(units: np.ndarray) -> np.ndarray | None:
    """Which units carry information at the last of some checks, and are of use in their mean, bool [layers, N].

    The mean, as a check measures use on few windows.

    Args:
        units: [checks, layers, columns, N].

    Returns:
        None where the last check has no use.
    """
    use = units[:, :, UNIT_COLUMNS.index("use")]
    if np.isnan(use[-1]).all():
        return None
    lively: np.ndarray = informed(units[-1]) & (np.nanmean(use, 0) > 0)
    return lively


def alive_paper(units: np.ndarray) -> np.ndarray:
    """The paper's test, KL and energy above 1e-4, bool [..., layers, N]."""
    kl, energy = (units[..., UNIT_COLUMNS.index(name), :] for name in ("kl", "energy"))
    return (kl > ALIVE_KL) & (energy > ALIVE_KL)


def summarise(model: "RecordedModel", units: np.ndarray) -> dict[str, float]:
    """One network's summary; what a class or a twin does not have is left out.

    Args:
        model: for bands and floors.
        units: [layers, columns, N].
    """
    column: Mapping[str, np.ndarray] = {name: units[:, i] for i, name in enumerate(UNIT_COLUMNS)}
    lower, upper = nominal_bands(model)
    low, high = float((column["energy"] < lower).mean()), float((column["energy"] > upper).mean())
    found = {
        "mu2_mean": float(column["energy"].mean()),
        "frac_too_low": low,
        "frac_too_high": high,
        "out": low + high,
        "inside": 1 - low - high,
    }
    if np.isnan(column["kl"]).all():
        return found
    found |= {
        "kl_total": float(column["kl"].sum()),
        "sigma_mean": float(column["sigma"].mean()),
        "kl_weight_mean": float(column["kl_weight"].mean()),
        "active_units": float(informed(units).sum()),
        "active_units_paper": float(alive_paper(units).sum()),
    }
    if not np.isnan(column["local_elbo"]).all():
        found["local_elbo_total"] = float(column["local_elbo"].sum())
    flags = unit_flags(units, sigma_floors(model))
    return found | {f"collapse_{name}": float(flag.mean()) for name, flag in flags.items()}


def drift(steps: ArrayLike, values: ArrayLike) -> float:
    """Trend of a positive figure over its last five checks: the Theil-Sen slope of its logarithm per 100 steps.

    The median of the slopes between all pairs: one odd check does not move it (Sen 1968). 0.1 is a growth of about
    10 % in 100 steps. NaN with fewer than three checks or a figure that is not positive.

    Args:
        steps: of the checks, ascending.
        values: at them.
    """
    x, y = (np.asarray(each, dtype=np.float64)[-DRIFT_CHECKS:] for each in (steps, values))
    if len(x) < LEAST_CHECKS or not (y > 0).all():
        return math.nan
    first, second = np.triu_indices(len(x), 1)
    gaps = x[second] - x[first]
    rise = np.log(y[second]) - np.log(y[first])
    return float(np.median(100 * rise[gaps > 0] / gaps[gaps > 0])) if (gaps > 0).any() else math.nan
