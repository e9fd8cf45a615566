"""A forecast as a picture: history, intervals, some joint sample paths, what happened."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

LEVELS = (90, 80, 50)


def fan_chart(
    history: pd.DataFrame,
    forecast: pd.DataFrame,
    model: str,
    paths: pd.DataFrame | None = None,
    actual: pd.DataFrame | None = None,
    series: Sequence[str] | None = None,
    shown_history: int = 96,
    shown_paths: int = 12,
) -> tuple[Any, Any]:
    """Draw the fan of one model, one panel per series.

    Args:
        history: unique_id, ds, y before the forecast.
        forecast: of `NeuralForecast.predict(level=[50, 80, 90])`.
        model: the model's column prefix.
        paths: of `NeuralForecast.simulate`: unique_id, ds, sample_id and the model's column.
        actual: unique_id, ds, y of the forecast's times.
        series: which series; None for the first two.
        shown_history: rows of history.
        shown_paths: number of paths.

    Returns:
        (figure, array of axes).
    """
    import matplotlib.pyplot as plt

    chosen = list(series) if series is not None else list(forecast["unique_id"].unique()[:2])
    figure, axes = plt.subplots(len(chosen), 1, figsize=(9, 3.2 * len(chosen)), squeeze=False, layout="constrained")
    for axis, name in zip(axes[:, 0], chosen, strict=True):
        past = history[history["unique_id"] == name].tail(shown_history)
        future = forecast[forecast["unique_id"] == name]
        axis.plot(past["ds"], past["y"], color="0.25", lw=1.2, label="history")
        for level, alpha in zip(LEVELS, (0.15, 0.25, 0.4), strict=True):
            low, high = f"{model}-lo-{level}", f"{model}-hi-{level}"
            if low in future:
                axis.fill_between(
                    future["ds"], future[low], future[high], color="tab:blue", alpha=alpha, lw=0, label=f"{level} %"
                )
        if paths is not None:
            mine = paths[(paths["unique_id"] == name) & (paths["sample_id"] < shown_paths)]
            for number, (_, path) in enumerate(mine.groupby("sample_id")):
                label = "sample paths" if number == 0 else None
                axis.plot(path["ds"], path[model], color="tab:blue", lw=0.6, alpha=0.6, label=label)
        axis.plot(future["ds"], future[model], color="tab:blue", lw=1.8, label=f"{model} mean")
        if actual is not None:
            seen = actual[actual["unique_id"] == name]
            axis.plot(seen["ds"], seen["y"], color="tab:orange", lw=1.4, label="actual")
        axis.set_title(str(name), loc="left", fontsize=10)
        axis.margins(x=0.01)
        axis.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes[0, 0].legend(
        list(unique.values()), list(unique), fontsize=8, frameon=False, ncols=int(np.ceil(len(unique) / 2))
    )
    return figure, axes
