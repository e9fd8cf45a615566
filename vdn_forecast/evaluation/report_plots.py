"""Pictures of a report: each takes a frame and returns (figure, axes). No pyplot: nothing global is touched."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .report_tables import log_relative

OURS, OTHER = "#1f5fa8", "#7a7f87"
COLOUR_LIMIT = 10.0  # per cent; a naive line's 50 % must not wash out differences of 2 %
FAR = 1.3  # relative error; beyond it a model would squeeze the others together
MARKERS = "osDv"
DATASETS_FOR_RANKS = 5


def _canvas(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'vdn-forecast[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9)


def _log_scale(axis: Any, values: np.ndarray) -> None:
    """A logarithmic x axis with plain numbers that do not run into each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    above = values[values > 0]
    decades = float(np.log10(above.max() / above.min())) if len(above) else 0.0
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(_short))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _short(value: float, _: int | None = None) -> str:
    """1500000 as 1.5M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def relative_heatmap(errors: pd.DataFrame, reference: str, measure: str = "crps19") -> tuple[Any, Any]:
    """Error above or below a reference line, in per cent, of every model on every task.

    Args:
        errors: of `task_errors`; a model that did not run a task leaves its field empty.
        reference: the model that is zero everywhere.
        measure: name of the error, for the title.
    """
    change = 100 * (errors.div(errors[reference], axis=0) - 1)
    change = change[change.mean().sort_values().index]
    values = change.to_numpy(dtype=np.float64).T  # [models, tasks]
    names = [f"{dataset}\nh={h}" for dataset, h in change.index]
    many = len(names) > 9
    figure, axis = _canvas(2.8 + (0.55 if many else 0.95) * len(names), 1.5 + (0.32 if many else 0.42) * len(values))
    shown = np.ma.masked_invalid(values)
    image = axis.imshow(shown, cmap="RdBu_r", vmin=-COLOUR_LIMIT, vmax=COLOUR_LIMIT, aspect="auto")
    axis.set_facecolor("0.93")
    axis.set_xticks(range(len(names)), names, fontsize=9, rotation=90 if many else 0)
    axis.set_yticks(range(len(values)), list(change.columns), fontsize=9)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    for (line, column), value in np.ndenumerate(values):
        shown_value = f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")
        text = "–" if np.isnan(value) else shown_value.replace("+0.0", "0.0")
        strong = abs(value) > 0.6 * COLOUR_LIMIT
        axis.text(column, line, text, ha="center", va="center", fontsize=9, color="white" if strong else "0.15")
    figure.suptitle(f"{measure} against {reference}, % (below zero: better)", fontsize=10, x=0.01, ha="left")
    bar = figure.colorbar(image, ax=axis, extend="both", shrink=0.9, aspect=16, pad=0.01 if many else 0.04)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure, axis


def cost_scatter(costs: pd.DataFrame, reference: str, measure: str = "crps19") -> tuple[Any, Any]:
    """Accuracy against training time and against parameters.

    The legend says each model's relative error. One far above the others sits at the upper edge as a triangle; one
    without parameters is a dashed line in the right panel.

    Args:
        costs: of `cost_table`.
        reference: the model whose error is 1.
        measure: name of the error, for the label.
    """
    figure, axes = _canvas(10.4, 4.0, columns=2)
    costs = costs.sort_values("relative_error", ignore_index=True)
    errors = costs["relative_error"].to_numpy(dtype=np.float64)
    low, high = float(errors.min()), min(float(errors.max()), FAR)
    edge = 0.08 * max(high - low, 0.01)
    for axis, column, label in zip(
        axes, ("fit_seconds", "n_parameters"), ("training time, s (as run)", "trainable parameters"), strict=True
    ):
        for number, line in costs.iterrows():
            style = {"color": f"C{int(number) % 10}"}  # type: ignore[call-overload]
            name, y, x = (
                f"{line['model']}  {line['relative_error']:.3f}",
                min(line["relative_error"], FAR),
                line[column],
            )
            if x > 0:
                shape = "^" if line["relative_error"] > FAR else MARKERS[int(number) // 10 % len(MARKERS)]  # type: ignore[call-overload]
                axis.plot(x, y, shape, ms=7, mec="white", mew=0.6, alpha=0.8, label=name, zorder=3, **style)
            else:
                axis.axhline(y, lw=1.0, ls="--", label=name, **style)
        _log_scale(axis, costs[column].to_numpy(dtype=np.float64))
        axis.set_ylim(low - edge, high + edge)
        axis.set_xlabel(label, fontsize=9)
        axis.margins(x=0.12)
        axis.grid(color="0.92", zorder=0)
        _plain(axis)
    axes[0].set_ylabel(f"{measure} relative to {reference}", fontsize=9)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8.5, frameon=False)
    return figure, axes


def error_by_step(steps: pd.DataFrame, order: Sequence[str]) -> tuple[Any, Any]:
    """Mean error of each model at every step of the horizon: crps19 and MSE side by side.

    Args:
        steps: of `report_tables.step_errors`.
        order: models, best first, as the legend names them; lines that need no training are dashed.
    """
    figure, axes = _canvas(10.4, 3.6, columns=2)
    for axis, measure in zip(axes, ("crps19", "mse"), strict=True):
        for number, model in enumerate(name for name in order if name in set(steps["model"])):
            line = steps[steps["model"] == model]
            trained = "Naive" not in model
            style = {"color": f"C{number % 10}" if trained else OTHER, "lw": 1.5 if trained else 1.1}
            style["ls"] = "-" if trained and number < 10 else "-." if trained else ":" if model == "Naive" else "--"
            axis.plot(line["step"], line[measure], label=model, **style)
        axis.set_xlabel("step of the horizon", fontsize=9)
        axis.set_ylabel({"mse": "MSE"}.get(measure, measure), fontsize=9)
        axis.set_ylim(*_readable(steps, measure))
        axis.grid(color="0.93")
        axis.margins(x=0.01)
        _plain(axis)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8.5, frameon=False)
    return figure, axes


def _readable(steps: pd.DataFrame, measure: str) -> tuple[float, float]:
    """Limits that one far worse line does not decide: up to 1.6 times the median line's highest value."""
    highest = steps.groupby("model")[measure].max()
    top = min(float(highest.max()), 1.6 * float(highest.median()))
    return 0.0, 1.05 * top


def skill_intervals(table: pd.DataFrame, baseline: str) -> tuple[Any, Any]:
    """Skill score of each model with its interval over datasets.

    Args:
        table: of `ranking`.
        baseline: the model at zero.
    """
    figure, axis = _canvas(7.0, 1.1 + 0.34 * len(table))
    place = np.arange(len(table))[::-1]
    skill = table["skill"].to_numpy(dtype=np.float64)
    low, high = (table[name].to_numpy(dtype=np.float64) for name in ("skill_low", "skill_high"))
    drawn = np.isfinite(low)
    axis.hlines(place[drawn], low[drawn], high[drawn], color=OURS, lw=2, alpha=0.45)
    axis.plot(skill, place, "o", color=OURS, ms=6)
    axis.axvline(0, color=OTHER, lw=0.9, ls="--")
    axis.set_yticks(place, table["model"].tolist(), fontsize=9)
    axis.set_ylim(-0.6, len(table) - 0.4)
    axis.set_xlabel(f"skill score against {baseline} (higher is better)", fontsize=9)
    _plain(axis)
    return figure, axis


def can_rank(errors: pd.DataFrame) -> str:
    """Why there is no critical-difference diagram of these errors; empty where there can be one."""
    datasets = errors.index.get_level_values("dataset").nunique()
    if errors.shape[1] < 3 or datasets < DATASETS_FOR_RANKS:
        return (
            f"No critical-difference diagram: it needs at least 3 models and {DATASETS_FOR_RANKS} datasets that every "
            f"model ran; here are {errors.shape[1]} and {datasets}."
        )
    if importlib.util.find_spec("scikit_posthocs") is None:
        return "No critical-difference diagram: scikit-posthocs is not installed (extra `bench`)."
    return ""


def critical_difference(errors: pd.DataFrame) -> tuple[Any, Any]:
    """Mean ranks over datasets; a bar joins models that Nemenyi's test at 5 % does not part.

    Args:
        errors: of `task_errors`, complete. Horizons are averaged first (relative to the task's mean): those of one
            dataset are not independent.

    Raises:
        ValueError: too few models or datasets, or scikit-posthocs is not installed.
    """
    reason = can_rank(errors)
    if reason:
        raise ValueError(reason)
    import scikit_posthocs

    even = log_relative(errors.assign(**{"": errors.mean(axis=1)}), "").drop(columns="")
    table = even.groupby(level="dataset", sort=False).mean()
    ranks = table.rank(axis=1).mean()
    parted = scikit_posthocs.posthoc_nemenyi_friedman(table)
    figure, axis = _canvas(8.0, 1.4 + 0.28 * len(ranks))
    scikit_posthocs.critical_difference_diagram(ranks, parted, ax=axis)
    axis.set_title("mean rank over datasets", fontsize=10, loc="left")
    return figure, axis
