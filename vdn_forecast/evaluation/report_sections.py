"""Sections of a report: tables of one task, averages over tasks, tests of difference."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from . import report_plots as plots
from . import report_tables as tables
from .report_differences import Family
from .report_html import Block, Heading, Line, Picture, Table

COLUMNS = {
    "mse": ("MSE", "{:.4f}"),
    "mae": ("MAE", "{:.4f}"),
    "crps19": ("crps19", "{:.4f}"),
    "crps_ratio": ("CRPS / Σ|y|", "{:.4f}"),
    "nmae": ("NMAE", "{:.4f}"),
    "coverage80": ("coverage 80 %", "{:.1%}"),
    "coverage90": ("coverage 90 %", "{:.1%}"),
    "fit_seconds": ("fit s", "{:.3g}"),
    "predict_seconds": ("predict s", "{:.3g}"),
    "n_parameters": ("parameters", "{:,.0f}"),
    "peak_mb": ("peak MB", "{:.0f}"),
}
"""Header and format of each measure."""
FURTHER = {
    "coverage80": ("coverage 80 %", "{:.1%}"),
    "coverage80_cal": ("calibrated", "{:.1%}"),
    "width80": ("width 80 %", "{:.3f}"),
    "width80_cal": ("calibrated", "{:.3f}"),
    "coverage90": ("coverage 90 %", "{:.1%}"),
    "coverage90_cal": ("calibrated", "{:.1%}"),
    "width90": ("width 90 %", "{:.3f}"),
    "width90_cal": ("calibrated", "{:.3f}"),
    "mase": ("MASE", "{:.3f}"),
    "wql": ("WQL", "{:.4f}"),
    "sql": ("SQL", "{:.3f}"),
    "energy_score": ("energy score", "{:.3f}"),
    "variogram_score": ("variogram score", "{:.4g}"),
}
"""The second table of a task: calibration, fev's measures, paths."""
BEST = ("mse", "mae", "crps19", "crps_ratio", "nmae")
BEST_FURTHER = ("mase", "wql", "sql", "energy_score", "variogram_score")
BASELINES = ("SeasonalNaive", "Naive")
NONE = "–"


def leaderboard_table(summary: pd.DataFrame, published: pd.DataFrame) -> Table:
    """Our lines of one task and, marked, published ones.

    Args:
        summary: of `report_tables.summary_table`.
        published: rows of the same protocol and look-back; may be empty.
    """
    names = [name for name in COLUMNS if name not in tables.RATIOS or summary[name].notna().any()]
    best = {name: summary[name].min() for name in BEST}
    lines = []
    for _, row in summary.iterrows():
        size = NONE if pd.isna(row["input_size"]) else f"{row['input_size']:.0f}"
        cells = [str(row["model"]), size, *(_figure(row, name, COLUMNS[name][1]) for name in names), str(row["seeds"])]
        cells.append(f"{row['failed']} failed" if row["failed"] else "")
        marked = frozenset(2 + number for number, name in enumerate(names) if name in best and row[name] == best[name])
        lines.append(Line(tuple(cells), best=marked))
    for _, row in published.iterrows():
        figures = [f"{row[name]:.3f}" if name in ("mse", "mae") else NONE for name in names]
        note = f"{row['source']}. {row['protocol_note']}"
        lines.append(Line((str(row["model"]), str(row["input_size"]), *figures, NONE, note), published=True))
    header = ("model", "L", *(COLUMNS[name][0] for name in names), "seeds", "note")
    return Table(header, tuple(lines))


def further_table(summary: pd.DataFrame) -> Table | None:
    """Calibration, fev's measures and path scores of one task's lines; None where no row has any of them.

    Args:
        summary: of `report_tables.summary_table`.
    """
    names = [name for name in FURTHER if name in summary and summary[name].notna().any()]
    if not set(names) - set(COLUMNS) - {"width80", "width90"}:
        return None
    best = {name: summary[name].min() for name in BEST_FURTHER if name in names}
    with_paths = bool(summary["paths"].notna().any())
    lines = []
    for _, row in summary.iterrows():
        source = (NONE if pd.isna(row["paths"]) else str(row["paths"]),) if with_paths else ()
        cells = (str(row["model"]), *(_figure(row, name, FURTHER[name][1]) for name in names), *source)
        marked = frozenset(1 + number for number, name in enumerate(names) if name in best and row[name] == best[name])
        lines.append(Line(cells, best=marked))
    header = ("model", *(FURTHER[name][0] for name in names), *(("paths from",) if with_paths else ()))
    return Table(header, tuple(lines))


def published_table(published: pd.DataFrame) -> Table:
    """Published figures that stand beside a table, never in it."""
    lines = []
    for _, row in published.iterrows():
        size = NONE if pd.isna(row["input_size"]) else str(row["input_size"])
        note = f"{row['source']}. {row['protocol_note']}"
        cells = (str(row["model"]), size, f"{row['mse']:.3f}", f"{row['mae']:.3f}", str(row["kind"]), note)
        lines.append(Line(cells, published=True))
    return Table(("model", "L", "MSE", "MAE", "kind", "source and protocol"), tuple(lines))


def over_tasks(rows: pd.DataFrame, baseline: str | None, reference: str, suffix: str) -> Iterator[Block]:
    """Win rate, skill score, heatmap, cost and ranks of one protocol."""
    measure = tables.ranked_measure(rows)
    every = tables.task_errors(rows, measure)
    yield Heading("Over tasks", 3)
    usual = [baseline] if baseline is not None else [name for name in BASELINES if name in every][:1]
    complete = tables.complete_tasks(every, [reference, *usual])
    left_out = [f"{dataset} h={h}" for dataset, h in every.index if (dataset, h) not in complete.index]
    if left_out:
        yield f"Averages over tasks leave out {', '.join(left_out)}, where not every model of theirs has a result yet."
    absent = [str(model) for model in every if model not in complete]
    if absent:
        yield f"Averages over tasks leave out models without a result on some of them: {', '.join(absent)}."
    if complete.empty or complete.shape[1] < 2:
        yield "No averages over tasks: they need two models and a task that every model ran."
    else:
        wanted = [baseline] if baseline is not None else [*BASELINES, reference, *complete.columns]
        chosen = next((name for name in wanted if name in complete), None)
        if chosen is None:
            yield f"No win rates and skill scores: the baseline {baseline} has no rows under this protocol."
        else:
            yield from _ranking_blocks(rows, complete, measure, chosen, suffix)
    if reference not in every:
        yield f"No heatmap and no cost plot: the reference line {reference} has no rows under this protocol."
    else:
        figure, _ = plots.relative_heatmap(every, reference, measure)
        yield Picture(f"heatmap-{suffix}", figure, f"{measure} of each model relative to {reference}, per task")
        if not complete.empty:
            figure, _ = plots.cost_scatter(tables.cost_table(rows, reference, measure), reference, measure)
            yield Picture(f"cost-{suffix}", figure, "Accuracy against training time and parameters, tasks averaged")
    reason = plots.can_rank(complete)
    if reason:
        yield reason
    else:
        figure, _ = plots.critical_difference(complete)
        yield Picture(f"ranks-{suffix}", figure, "Critical-difference diagram: mean ranks over datasets (Nemenyi, 5 %)")


def _ranking_blocks(
    rows: pd.DataFrame, complete: pd.DataFrame, ranked: str, baseline: str, suffix: str
) -> Iterator[Block]:
    datasets = complete.index.get_level_values("dataset").nunique()
    for measure in (ranked, "mse"):
        errors = tables.task_errors(rows, measure).reindex(index=complete.index, columns=complete.columns)
        if errors.isna().to_numpy().any():
            continue
        table = tables.ranking(errors, baseline)
        yield (
            f"{measure}: win rate, and skill score (1 − geometric mean of the error relative to {baseline}, each "
            f"clipped to [0.01, 100]), with 95 % bootstrap intervals over datasets; tasks: {len(errors)}, datasets: "
            f"{datasets}."
            + (" One dataset gives no interval." if datasets == 1 else "")
            + (" Of so few datasets the interval says little." if 1 < datasets < plots.DATASETS_FOR_RANKS else "")
        )
        lines = [
            Line((str(row["model"]), _interval(row, "win_rate", "win"), _interval(row, "skill", "skill")))
            for _, row in table.iterrows()
        ]
        yield Table(("model", "win rate", "skill score"), tuple(lines))
        if measure == ranked:
            figure, _ = plots.skill_intervals(table, baseline)
            yield Picture(f"skill-{suffix}", figure, f"Skill score of {measure} against {baseline}")


def difference_blocks(families: Sequence[Family], candidate: str) -> Iterator[Block]:
    """The tests of one protocol; nothing where there are none."""
    if not families:
        return
    yield Heading(f"Tests of difference: {candidate} against each other line", 3)
    yield (
        f"Error of {candidate} minus that of the peer, averaged over origins and seeds; below zero {candidate} is "
        "better. One observation is an origin with all its series. Circular block bootstrap over seeds, then over "
        "blocks of max(2 h, one season) steps of origins, 10,000 draws, two-sided, with Holm's correction over each "
        "table; Exchange and ILI get an interval and no verdict. A verdict needs five seeds."
    )
    for family in families:
        yield f"Family: {family.title}."
        lines = []
        for _, row in family.table.iterrows():
            interval = f"[{row['low']:+.4f}, {row['high']:+.4f}]".replace("-", "−")
            difference = f"{row['difference']:+.4f}".replace("-", "−")
            p = NONE if np.isnan(row["p_holm"]) else f"{row['p_holm']:.4f}"
            texts = (str(row["dataset"]), str(row["h"]), str(row["peer"]), difference, interval, str(row["seeds"]))
            lines.append(Line((*texts, f"{row['blocks']:.1f}", p, str(row["verdict"]))))
        header = ("dataset", "h", "peer", "difference", "95 % interval", "seeds", "blocks", "p (Holm)", "verdict")
        if lines:
            yield Table(header, tuple(lines))
        if family.warning:
            yield family.warning
        if family.left_out:
            yield " ".join(family.left_out)


def _figure(row: pd.Series, name: str, pattern: str) -> str:
    if pd.isna(row[name]):
        return NONE
    spread = row.get(f"{name}_std", np.nan)
    return pattern.format(row[name]) + ("" if pd.isna(spread) else f" ± {pattern.format(spread)}")


def _interval(row: pd.Series, name: str, prefix: str) -> str:
    low, high = row[f"{prefix}_low"], row[f"{prefix}_high"]
    return f"{row[name]:.3f}" + ("" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]")
