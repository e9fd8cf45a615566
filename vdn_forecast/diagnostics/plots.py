"""Pictures of units and of a training: each takes a frame of a `Diagnosis` and returns (figure, axes)."""

from typing import Any

import numpy as np
import pandas as pd

from ..control import ALIVE_INFO
from .canvas import ABOVE, BELOW, INSIDE, OTHER, OURS, THIRD, canvas, one_model, plain

FAR = 10.0  # times a bound; beyond it the colour no longer changes


def band_heatmap(units: pd.DataFrame, model: str | None = None) -> tuple[Any, Any]:
    """Where every unit's energy lay at every check: inside its nominal band, below or above, and how far.

    Args:
        units: of `diagnose(nf)`, the training history.
        model: its name, where the frame holds several.

    Raises:
        ValueError: a frame that does not fit.
        ImportError: matplotlib is not installed.
    """
    units = one_model(units, model, ("step", "layer", "unit", "energy", "lower", "upper"), "units")
    from matplotlib.colors import LinearSegmentedColormap

    energy = np.maximum(units["energy"].to_numpy(np.float64), 1e-30)
    lower, upper = (units[name].to_numpy(np.float64) for name in ("lower", "upper"))
    with np.errstate(divide="ignore"):
        below, above = np.log10(np.maximum(lower, 1e-30) / energy), np.log10(energy / upper)
    distance = np.where(below > 0, -below, np.maximum(above, 0.0)).clip(-1, 1)
    distance = distance + 0.25 * np.sign(distance)  # a step at the bound, so that just outside does not look inside
    table = units.assign(distance=distance).pivot_table(index=["layer", "unit"], columns="step", values="distance")
    # lowest last energy at the bottom of its layer
    order = table.iloc[:, -1].reset_index(name="last").sort_values(["layer", "last"], kind="stable")
    values = table.to_numpy()[order.index]
    figure, axes = canvas(9.0, 4.2)
    axis = axes[0, 0]
    colours = LinearSegmentedColormap.from_list("band", [BELOW, INSIDE, ABOVE])
    image = axis.imshow(
        values, cmap=colours, vmin=-1.25, vmax=1.25, aspect="auto", interpolation="nearest", origin="lower"
    )
    steps = table.columns.to_numpy()
    shown = np.unique(np.linspace(0, len(steps) - 1, min(8, len(steps))).round().astype(int))
    axis.set_xticks(shown, [str(int(steps[i])) for i in shown])
    axis.set_xlabel("training step", fontsize=9)
    layers = order["layer"].to_numpy()
    ends = [*np.flatnonzero(np.diff(layers)) + 1, len(layers)]
    for end in ends[:-1]:
        axis.axhline(end - 0.5, color="white", lw=2)
    starts = [0, *ends[:-1]]
    middles = [(first + last - 1) / 2 for first, last in zip(starts, ends, strict=True)]
    sizes = [last - first for first, last in zip(starts, ends, strict=True)]
    labels = [f"layer {number}\n{size} units" for number, size in enumerate(sizes)]
    axis.set_yticks(middles, labels if len(ends) > 1 else [f"{sizes[0]} units"])
    inside = float((values[:, -1] == 0).mean())
    plain(axis, f"Energy against the nominal band; at the last check {inside:.0%} of the units lie inside")
    axis.tick_params(axis="y", length=0)
    bar = figure.colorbar(image, ax=axis, ticks=[-1.25, 0, 1.25], shrink=0.9, aspect=18, pad=0.02)
    bar.ax.set_yticklabels([f"{FAR:g}× below", "inside", f"{FAR:g}× above"], fontsize=8)
    bar.outline.set_visible(False)
    return figure, axis


def unit_ranking(units: pd.DataFrame, model: str | None = None, step: int | None = None) -> tuple[Any, Any]:
    """Energy and KL of every unit, in order.

    Args:
        units: of a `Diagnosis`.
        model: its name, where the frame holds several.
        step: which check, where the frame is a history; None for the last.

    Returns:
        The figure and its axes: energy with every unit's band, and KL with information where there is a KL.

    Raises:
        ValueError: a frame that does not fit, or a step without a check.
        ImportError: matplotlib is not installed.
    """
    units = one_model(units, model, ("energy", "lower", "upper"), "units")
    if "step" in units:
        known = sorted(set(units["step"].astype(int)))
        step = known[-1] if step is None else step
        if step not in known:
            raise ValueError(f"step={step!r} has no check; choose from {known}")
        units = units[units["step"] == step]
    has_kl = "kl" in units
    figure, axes = canvas(9.6 if has_kl else 5.4, 3.4, 1, 1 + has_kl)
    axis = axes[0, 0]
    table = units.sort_values("energy", ascending=False)
    rank = np.arange(1, len(table) + 1)
    axis.fill_between(rank, table["lower"], table["upper"], step="mid", color=INSIDE, lw=0, label="nominal band")
    place = np.where(table["energy"] < table["lower"], BELOW, np.where(table["energy"] > table["upper"], ABOVE, "0.35"))
    axis.scatter(rank, table["energy"], s=_size(len(rank)), color=place, zorder=3, lw=0)
    axis.set_yscale("log")
    axis.set_xlabel("unit, highest energy first", fontsize=9)
    axis.legend(fontsize=8, frameon=False)
    plain(axis, "Energy (mean squared posterior mean)")
    if has_kl:
        axis = axes[0, 1]
        table = units.sort_values("kl", ascending=False)
        axis.scatter(rank, table["kl"], s=_size(len(rank)), color=OURS, zorder=3, lw=0, label="KL")
        axis.scatter(rank, table["info"], s=_size(len(rank)), color=THIRD, zorder=2, lw=0, label="information")
        axis.axhline(ALIVE_INFO, color="0.4", lw=0.9, ls="--", label=f"{ALIVE_INFO:g} nats")
        if (table["kl"] > 0).any():
            axis.set_yscale("symlog", linthresh=ALIVE_INFO)
            axis.set_ylim(bottom=0)
        axis.set_xlabel("unit, highest KL first", fontsize=9)
        axis.legend(fontsize=8, frameon=False)
        plain(axis, f"KL and information, nats; {(table['info'] > ALIVE_INFO).sum()} of {len(table)} units informed")
    return figure, axes[0]


def training_dynamics(summary: pd.DataFrame, model: str | None = None) -> tuple[Any, Any]:
    """Loss, its terms, KL with its weight, and shares of units, over a training.

    Args:
        summary: of `diagnose(nf)`, the training history.
        model: its name, where the frame holds several.

    Raises:
        ValueError: a frame that does not fit.
        ImportError: matplotlib is not installed.
    """
    table = one_model(summary, model, ("step", "train_forecast", "out"), "summary")
    figure, axes = canvas(9.6, 5.6, 2, 2, sharex=True)
    step = table["step"]
    axis = axes[0, 0]
    axis.plot(step, table["train_forecast"], color=OTHER, lw=1.4, label="training (left)")
    right = axis.twinx()
    if "val_loss" in table:
        right.plot(step, table["val_loss"], color=OURS, lw=1.6, label="validation (right)")
        kept = table[table["best"].astype(bool)] if "best" in table else table[:0]
        right.plot(kept["step"], kept["val_loss"], "o", color=OURS, ms=6, label="kept weights")
    right.tick_params(labelsize=8)
    plain(axis, "Loss of the forecast")
    right.spines[["top"]].set_visible(False)
    handles = [handle for each in (axis, right) for handle in each.get_legend_handles_labels()[0]]
    right.legend(handles=handles, fontsize=8, frameon=False)
    axis = axes[0, 1]
    terms = {"train_kl": "KL", "train_band": "band", "train_local": "local", "train_ar": "AR"}
    terms |= {"train_lookback": "look-back"}
    drawn = [name for name in terms if name in table and table[name].abs().max() > 0]
    for number, name in enumerate(drawn):
        axis.plot(step, table[name], lw=1.4, color=f"C{number}", label=terms[name])
    sizes = table[drawn].to_numpy(np.float64)
    if (sizes > 0).any() and sizes.max() > 30 * np.abs(sizes[sizes != 0]).min():
        axis.set_yscale("symlog", linthresh=max(1e-4, 1e-4 * sizes.max()))
    plain(axis, "Other terms of the loss, weighted")
    _legend_or(axis, "the forecast's loss is all there is")
    axis = axes[1, 0]
    if "kl_total" in table:
        axis.plot(step, table["kl_total"], color=OURS, lw=1.6, label="KL, sum over units (left)")
        right = axis.twinx()
        right.plot(step, table["kl_weight_mean"], color=THIRD, lw=1.4, label="KL weight, mean (right)")
        right.set_ylim(0, 1.6 * max(table["kl_weight_mean"].max(), 1e-12))
        right.tick_params(labelsize=8)
        right.spines[["top"]].set_visible(False)
        handles = [handle for each in (axis, right) for handle in each.get_legend_handles_labels()[0]]
        axis.set_ylim(0, 1.25 * table["kl_total"].max())
        right.legend(handles=handles, fontsize=8, frameon=False, loc="upper left", ncols=2, columnspacing=1)
    else:
        _legend_or(axis, "a twin has no KL")
    plain(axis, "KL, nats")
    axis.set_xlabel("training step", fontsize=9)
    axis = axes[1, 1]
    axis.stackplot(
        step,
        table["frac_too_low"],
        table["inside"],
        table["frac_too_high"],
        colors=[BELOW, INSIDE, ABOVE],
        lw=0,
        labels=["below the band", "inside", "above"],
    )
    axis.set_ylim(0, 1)
    axis.margins(x=0)
    axis.set_xlabel("training step", fontsize=9)
    axis.legend(fontsize=8, frameon=True, framealpha=1, edgecolor="none")
    plain(axis, "Share of units by energy")
    return figure, axes


def _legend_or(axis: Any, nothing: str) -> None:
    """A legend, or a remark in the middle of an empty panel."""
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False)
        return
    axis.text(0.5, 0.5, nothing, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="0.4")
    axis.set_yticks([])


def _size(points: int) -> float:
    return 22.0 if points <= 100 else 9.0
