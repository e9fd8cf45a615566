"""Tidy frames of units and of whole networks, from a model's history or from a pass over data."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..models import VariationalModel
from ..models.autocorrelation import half_life
from ..models.recording import check_scalars
from ..models.unit_figures import (
    DRIFT_CHECKS,
    UNIT_COLUMNS,
    UnitFigures,
    alive_lately,
    alive_paper,
    informed,
    nominal_bands,
    sigma_floors,
    summarise,
    unit_flags,
)


def history_frames(name: str, model: VariationalModel) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Units and summary at every check of the last fit; empty where there was none."""
    history = model.history
    units, summary = [], []
    for check, row in enumerate(history.checks):
        keys = {"model": name, "step": int(row[0])}
        recent = history.units[max(0, check + 1 - DRIFT_CHECKS) : check + 1].astype(np.float64)
        table = unit_table(model, recent[-1], keys)
        lively = alive_lately(recent)
        units.append(table if lively is None else table.assign(alive=lively.ravel()))
        scalars = check_scalars(model, check)
        summary.append({**keys, **{key: value for key, value in scalars.items() if key != "step"}})
    if not units:
        return pd.DataFrame(), pd.DataFrame()
    checks = pd.DataFrame(summary)
    # the first of the lowest, as the model chooses; none where every check was NaN
    lowest = checks["val_loss"].idxmin() if "val_loss" in checks else -1
    return pd.concat(units, ignore_index=True), checks.assign(best=checks.index == lowest)


def data_frames(name: str, model: VariationalModel, found: UnitFigures) -> tuple[pd.DataFrame, dict[str, float]]:
    """Units and summary of one pass over data."""
    scalars: dict[str, float] = {
        "windows": found.windows,
        "out_batch": found.out_batch,
        "out_series": found.out_series,
        **summarise(model, found.units),
    }
    share = model.ar_share()
    if (dominates := model.ar_dominates(share)) is not None:
        scalars |= {"ar_share": share, "collapse_ar": float(dominates)}
    return unit_table(model, found.units, {"model": name}), scalars


def unit_table(model: VariationalModel, units: np.ndarray, keys: Mapping[str, object]) -> pd.DataFrame:
    """One row per unit; columns of what the model does not have are left out.

    Args:
        model: for bands and floors.
        units: [layers, columns, N].
        keys: columns that are the same in every row, put first.
    """
    n_layers, _, n_units = units.shape
    lower, upper = nominal_bands(model)
    energy = units[:, UNIT_COLUMNS.index("energy")]
    columns: dict[str, np.ndarray] = {
        "layer": np.repeat(np.arange(n_layers), n_units),
        "unit": np.tile(np.arange(n_units), n_layers),
    }
    columns |= {column: units[:, i].ravel() for i, column in enumerate(UNIT_COLUMNS)}
    if not np.isnan(lag_1 := columns["lag_1"]).all():
        columns["half_life"] = half_life(lag_1)
    columns |= {
        "lower": lower.ravel(),
        "upper": upper.ravel(),
        "position": ((energy - lower) / (upper - lower)).ravel(),
        "place": np.where(energy < lower, "below", np.where(energy > upper, "above", "inside")).ravel(),
    }
    if not np.isnan(units[:, UNIT_COLUMNS.index("kl")]).all():
        columns |= {"informed": informed(units).ravel(), "alive_paper": alive_paper(units).ravel()}
        flags = unit_flags(units, sigma_floors(model))
        columns |= {f"collapse_{flag}": values.ravel() for flag, values in flags.items()}
    present = {
        column: values
        for column, values in columns.items()
        if column not in UNIT_COLUMNS or not np.isnan(values.astype(np.float64)).all()
    }
    return pd.DataFrame({**keys, **present})


def with_use(units: pd.DataFrame, use: pd.DataFrame, ignored: float) -> pd.DataFrame:
    """Units with their group's use, whether they are alive (informed, and used), and whether they are ignored.

    Args:
        units: of one model.
        use: of `group_use`.
        ignored: a group whose use is at most this is ignored.
    """
    rise = np.full(len(units), np.nan)
    layer, unit = units["layer"].to_numpy(), units["unit"].to_numpy()
    for group in use.to_dict("records"):
        mine = (layer == group["layer"]) & (unit >= group["first"]) & (unit <= group["last"])
        rise[mine] = group["use"]
    alive = units["informed"].to_numpy() & (rise > 0)
    return units.assign(use=rise, alive=alive, collapse_ignored=rise <= ignored)
