"""Pictures of posteriors and of what forecasts are worth: each takes a frame and returns (figure, axes)."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from .canvas import INSIDE, OTHER, OURS, THIRD, canvas, one_model, plain

LABELS = {
    "kl": "KL, sum over units",
    "sigma": "σ, mean over units",
    "between": "spread between samples",
    "within": "spread within a sample",
    "width": "width of the 90 % interval",
}
SHOWN = 12  # windows' own posteriors per panel


def posteriors_plot(posteriors: pd.DataFrame, model: str | None = None) -> tuple[Any, Any]:
    """Prior, posteriors of some windows and their aggregate, one panel per chosen latent.

    Args:
        posteriors: of a `Diagnosis` on data.
        model: its name, where the frame holds several.

    Raises:
        ValueError: a frame that does not fit.
        ImportError: matplotlib is not installed.
    """
    table = one_model(posteriors, model, ("layer", "unit", "latent", "mean", "sigma", "prior_scale"), "posteriors")
    groups = list(table.groupby(["layer", "unit", "latent"], sort=False))
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = canvas(3.2 * columns, 0.5 + 2.1 * rows, rows, columns)
    several, deep = table["latent"].nunique() > 1, table["layer"].nunique() > 1
    for axis, ((layer, unit, latent), part) in zip(axes.ravel(), groups, strict=False):
        mean, sigma = part["mean"].to_numpy(), part["sigma"].to_numpy()
        centre, scale = part["prior_mean"].iloc[0], part["prior_scale"].iloc[0]
        # one window of a wide posterior must not squeeze all others
        low = min(centre - 3 * scale, np.quantile(mean - 2.5 * sigma, 0.05))
        high = max(centre + 3 * scale, np.quantile(mean + 2.5 * sigma, 0.95))
        grid = np.linspace(low, high, 400)
        each = norm.pdf(grid[:, None], mean, sigma)  # [400, windows]
        shown = np.unique(np.linspace(0, len(mean) - 1, SHOWN).round().astype(int))
        axis.plot(grid, each[:, shown], color=OURS, lw=0.6, alpha=0.45)
        axis.fill_between(grid, each.mean(1), color=OURS, alpha=0.25, lw=0, label="aggregate posterior")
        axis.plot(grid, norm.pdf(grid, centre, scale), color=THIRD, lw=1.5, ls="--", label="prior")
        axis.set_ylim(0, 1.08 * max(each[:, shown].max(), norm.pdf(0, 0, scale)))
        axis.set_yticks([])
        name = f"layer {layer} " * deep + f"unit {unit}" + f", latent {latent}" * several
        plain(axis, f"{name}   {part['kl'].iloc[0]:.2g} nats")
        axis.spines[["left"]].set_visible(False)
    for axis in axes.ravel()[len(groups) :]:
        axis.set_axis_off()
    axes[0, 0].plot([], [], color=OURS, lw=0.8, label=f"posteriors of {min(SHOWN, table['window'].nunique())} windows")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure, axes


def calibration_plot(calibration: pd.DataFrame, model: str | None = None) -> tuple[Any, Any]:
    """Reliability of the quantiles, and the histogram of PIT values.

    Args:
        calibration: of a `Diagnosis` on data.
        model: its name, where the frame holds several.

    Raises:
        ValueError: a frame that does not fit.
        ImportError: matplotlib is not installed.
    """
    table = one_model(calibration, model, ("kind", "level", "share"), "calibration")
    figure, axes = canvas(8.4, 3.6, 1, 2, width_ratios=[1, 1.25])
    reliability, pit = (table[table["kind"] == kind] for kind in ("reliability", "pit"))
    left, right = axes[0]
    left.plot([0, 1], [0, 1], color=OTHER, lw=1.0, ls="--", label="perfect")
    left.plot(reliability["level"], reliability["share"], "o-", color=OURS, ms=4, lw=1.2, label="observed")
    left.set_xlim(0, 1)
    left.set_ylim(0, 1)
    left.set_aspect("equal")
    left.set_xlabel("level of the quantile", fontsize=9)
    left.set_ylabel("share of outcomes at or below", fontsize=9)
    left.legend(fontsize=8, frameon=False, loc="upper left")
    plain(left, "Reliability")
    width = 1 / len(pit)
    right.bar(pit["level"] - width / 2, pit["share"] / width, 0.92 * width, color=OURS)
    right.axhline(1, color=OTHER, lw=1.0, ls="--")
    right.set_xlim(0, 1)
    right.set_xlabel("PIT: forecast probability of less than the outcome", fontsize=9)
    right.set_ylabel("density", fontsize=9)
    plain(right, "PIT (flat: calibrated; high ends: too narrow)")
    return figure, axes[0]


def risk_coverage_plot(risk_coverage: pd.DataFrame, model: str | None = None) -> tuple[Any, Any]:
    """How well each score ranks errors: 0 is the oracle, 1 no knowledge at all; one panel per error.

    Args:
        risk_coverage: of a `Diagnosis` on data.
        model: its name, where the frame holds several.

    Raises:
        ValueError: a frame that does not fit.
        ImportError: matplotlib is not installed.
    """
    table = one_model(risk_coverage, model, ("error", "score", "unit", "excess", "oracle", "random"), "risk_coverage")
    errors, scores = list(dict.fromkeys(table["error"])), [name for name in LABELS if name in set(table["score"])]
    figure, axes = canvas(9.6, 1.3 + 0.42 * len(scores), 1, len(errors), sharey=True)
    styles = {"window": (OTHER, 0.16, "in the window's unit"), "y": (OURS, -0.16, "times the window's scale")}
    for axis, error in zip(axes[0], errors, strict=True):
        axis.axvspan(0, 1, color=INSIDE, alpha=0.45, lw=0)
        for unit, (colour, shift, label) in styles.items():
            part = table[(table["error"] == error) & (table["unit"] == unit)].set_index("score").loc[scores]
            whole = part["random"] - part["oracle"]
            place = np.arange(len(scores))[::-1] + shift
            if {"excess_low", "excess_high"} <= set(part):
                axis.hlines(place, part["excess_low"] / whole, part["excess_high"] / whole, color=colour, lw=1.6)
            axis.plot(part["excess"] / whole, place, "o", color=colour, ms=6, label=label)
        axis.set_yticks(np.arange(len(scores))[::-1], [LABELS[name] for name in scores])
        axis.set_ylim(-0.6, len(scores) - 0.4)
        axis.set_xlabel("excess AURC: 0 the oracle, 1 random order", fontsize=9)
        plain(axis, {"mse": "MSE"}.get(error, error))
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    return figure, axes[0]
