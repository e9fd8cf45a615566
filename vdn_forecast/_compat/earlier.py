"""Training windows that bring the window some steps earlier along, as further columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import Tensor

_PREFIX = "earlier "


def with_earlier(windows: Tensor, earlier: Tensor, columns: pd.Index) -> tuple[Tensor, pd.Index]:
    """Put the earlier windows' columns beside the windows' own.

    NeuralForecast draws rows from what it is given, which keeps the two together; its scaler and its parsing pick
    columns by name and leave these alone.

    Args:
        windows, earlier: [n, L + h, C, 1].
        columns: their C names.

    Returns:
        [n, L + h, 2 C, 1] and its names.
    """
    return torch.cat([windows, earlier], 2), columns.append(pd.Index([_PREFIX + name for name in columns]))


def split_earlier(windows: dict[str, Any]) -> tuple[dict[str, Any], Tensor | None]:
    """Undo `with_earlier`: the windows as NeuralForecast knows them, and the earlier ones' values or None."""
    columns, temporal = windows["temporal_cols"], windows["temporal"]
    own = sum(not str(name).startswith(_PREFIX) for name in columns)
    if own == len(columns):
        return windows, None
    plain = {**windows, "temporal": temporal[:, :, :own], "temporal_cols": columns[:own]}
    return plain, temporal[:, :, own:].clone()


def earlier_in_unit(temporal: Tensor, columns: pd.Index, y_idx: int, scaled: list[str], scaler: Any) -> Tensor:
    """Earlier windows [n, L + h, C, 1] in the present windows' unit: what units say of both must be comparable.

    Args:
        temporal: changed in place.
        columns: their C names.
        y_idx: column of the target.
        scaled: names of the other columns that the scaler moved, in its order.
        scaler: holds shift and scale of the present windows, [n, 1, C', 1].
    """
    places = [y_idx, *columns.get_indexer(pd.Index(scaled))]
    temporal[:, :, places] = (temporal[:, :, places] - scaler.x_shift) / scaler.x_scale
    return temporal


def forward_argument(parts: tuple[Any, ...]) -> dict[str, Any]:
    """What `_parse_windows` returns as the argument of a model's `forward`."""
    y, mask, _, _, hist, futr, stat = parts
    return {"insample_y": y, "insample_mask": mask, "hist_exog": hist, "futr_exog": futr, "stat_exog": stat}
