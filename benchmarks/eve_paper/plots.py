"""The paper's Figures 4 and 5: each takes a frame of runs and returns (figure, axes)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .tables import correlations, standardised

COLOURS = {"homeo": "#1f5fa8", "projOFF": "#7a7f87", "projON": "#d1722b"}
MARKERS = {"homeo": "o", "projOFF": "s", "projON": "^"}
DATASET_COLOURS = {"ECL": "#3b7a3b", "TrafficL": "#8a4f9e", "Exchange": "#1f5fa8", "Weather": "#d1722b"}
LABELS = {
    "test_mse": "test MSE",
    "test_mae": "test MAE",
    "test_kl": "KL, nats, summed over units",
    "test_out": "out_batch (calibrated band)",
}


def figure4(
    runs: pd.DataFrame, published: pd.DataFrame | None = None, measures: Sequence[str] = tuple(LABELS)
) -> tuple[Any, Any]:
    """Bars of each measure per dataset and regime, mean over seeds with the sample deviation.

    Args:
        runs: group, variant and the measures, one row a run.
        published: the author's runs, drawn as open circles with their deviation beside our bars.
        measures: columns, one panel each.
    """
    datasets, variants = _present(runs)
    figure, axes = _canvas(3.3 * len(measures), 3.4, len(measures))
    width = 0.8 / len(variants)
    for axis, measure in zip(axes, measures, strict=True):
        for number, variant in enumerate(variants):
            place = np.arange(len(datasets)) + (number - (len(variants) - 1) / 2) * width
            mean, std = _moments(runs, variant, measure, datasets)
            axis.bar(place, mean, 0.92 * width, color=COLOURS[variant], label=variant, zorder=2)
            axis.errorbar(place, mean, std, fmt="none", ecolor="0.15", elinewidth=1.1, capsize=2.5, zorder=3)
            if published is not None:
                mean, std = _moments(published, variant, measure, datasets)
                label = "author's runs" if number == len(variants) - 1 else None
                style: dict[str, Any] = {"mfc": "white", "mec": "0.15", "ecolor": "0.55", "ms": 4.5, "elinewidth": 1.1}
                axis.errorbar(place + 0.22 * width, mean, std, fmt="o", capsize=2, label=label, zorder=4, **style)
        axis.set_xticks(range(len(datasets)), datasets, fontsize=9)
        axis.set_title(LABELS.get(measure, measure), fontsize=10, loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color="0.92", zorder=0)
        _plain(axis)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure, axes


def figure5(runs: pd.DataFrame, title: str = "") -> tuple[Any, Any]:
    """out_batch against test MSE of every run: z-scored per dataset, and within dataset x regime.

    Args:
        runs: group, variant, test_out, test_mse, one row a run.
        title: of the whole.
    """
    datasets, variants = _present(runs)
    pooled = correlations(runs)
    figure, axes = _canvas(9.6, 4.3, 2)
    for axis, by, scope in zip(axes, (["group"], ["group", "variant"]), pooled["scope"].iloc[:2], strict=True):
        points = standardised(runs, by)
        for (group, variant), part in points.groupby(["group", "variant"]):
            style: dict[str, Any] = {"color": DATASET_COLOURS[str(group)], "ms": 6, "mec": "white", "mew": 0.6}
            axis.plot(part["test_out"], part["test_mse"], MARKERS[str(variant)], alpha=0.85, zorder=3, **style)
        found = pooled[pooled["scope"] == scope].iloc[0]
        span = np.array([points["test_out"].min(), points["test_out"].max()])
        slope, level = np.polyfit(points["test_out"], points["test_mse"], 1)
        axis.plot(span, level + slope * span, color="0.25", lw=1.2, zorder=2)
        text = f"{scope}\nr = {found['r']:.2f} [{found['low']:.2f}, {found['high']:.2f}], {found['runs']} runs"
        axis.set_title(text.replace("-0.", "−0."), fontsize=10, loc="left")
        axis.set_xlabel("out_batch, z", fontsize=9)
        axis.set_ylabel("test MSE, z", fontsize=9)
        axis.axhline(0, color="0.88", lw=0.8, zorder=0)
        axis.axvline(0, color="0.88", lw=0.8, zorder=0)
        _plain(axis)
    own = pooled[pooled["scope"] == "one dataset"].set_index("group")["r"]
    for group in datasets:
        label = f"{group}  r = {own[group]:.2f}".replace("-0.", "−0.")
        axes[0].plot([], [], "o", color=DATASET_COLOURS[group], label=label)
    for variant in variants:
        axes[0].plot([], [], MARKERS[variant], color="0.45", label=variant)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure, axes


def _present(runs: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Datasets and regimes of a frame, in a fixed order.

    Raises:
        ValueError: no runs, or a dataset or regime that is not the paper's.
    """
    if runs.empty:
        raise ValueError("runs is empty; there is nothing to draw")
    for column, known in (("group", DATASET_COLOURS), ("variant", COLOURS)):
        unknown = sorted(set(runs[column]) - set(known))
        if unknown:
            raise ValueError(f"{column}: {unknown} are not known; choose from {sorted(known)}")
    datasets, variants = set(runs["group"]), set(runs["variant"])
    return [name for name in DATASET_COLOURS if name in datasets], [name for name in COLOURS if name in variants]


def _moments(runs: pd.DataFrame, variant: str, measure: str, datasets: list[str]) -> tuple[np.ndarray, np.ndarray]:
    table = runs[runs["variant"] == variant].groupby("group")[measure].agg(["mean", "std"]).reindex(datasets)
    return table["mean"].to_numpy(dtype=np.float64), table["std"].to_numpy(dtype=np.float64)


def _canvas(width: float, height: float, columns: int) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'vdn-forecast[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)
