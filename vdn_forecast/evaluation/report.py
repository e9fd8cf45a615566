"""A results file as a page that others can check: Markdown, CSV and one HTML file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from . import report_plots as plots
from . import report_tables as tables
from .report_html import Block, Heading, Line, Picture, Table, as_html, as_markdown, png

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
BEST = ("mse", "mae", "crps19", "crps_ratio", "nmae")
BASELINES = ("SeasonalNaive", "Naive")
NONE = "–"


@dataclass(frozen=True)
class Report:
    """Where a report lies."""

    markdown: Path
    csv: Path
    html: Path


def write_report(
    results_path: str | Path,
    folder: str | Path,
    published: str | Path | None = None,
    *,
    baseline: str | None = None,
    reference: str = "twin",
    differences: pd.DataFrame | None = None,
) -> Report:
    """Write report.md, report.csv (fev's column names), report.html and the pictures.

    Args:
        results_path: a results file of `benchmark run`.
        folder: where to write; files of an earlier report are replaced.
        published: CSV of published figures, see `report_tables.PUBLISHED`; they stand beside rows of protocol ltsf.
        baseline: model with a skill score of zero; None for SeasonalNaive, else Naive, else `reference`.
        reference: model that the heatmap and the scatter plot compare with.
        differences: of `differences.difference_table`, shown as it is.

    Raises:
        ValueError: files of another schema, or an empty results file.
        ImportError: matplotlib is not installed.
    """
    rows = tables.read_rows(results_path)
    others = None if published is None else tables.read_published(published)
    title = f"Benchmark report: {Path(results_path).stem}"
    blocks = list(page(title, rows, others, baseline, reference, differences))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    report = Report(target / "report.md", target / "report.csv", target / "report.html")
    for block in blocks:
        if isinstance(block, Picture):
            (target / f"{block.name}.png").write_bytes(png(block.figure))
    report.markdown.write_text(as_markdown(blocks))
    report.html.write_text(as_html(title, blocks))
    tables.fev_table(rows).to_csv(report.csv, index=False)
    return report


def page(
    title: str,
    rows: pd.DataFrame,
    published: pd.DataFrame | None = None,
    baseline: str | None = None,
    reference: str = "twin",
    differences: pd.DataFrame | None = None,
) -> Iterator[Block]:
    """The blocks of a report; arguments as of `write_report`, from frames."""
    yield Heading(title, 1)
    yield (
        "Mean ± standard deviation over seeds. MSE is that of the mean, MAE that of the median, crps19 the mean of "
        "twice the pinball loss at the levels .05, .10 ... .95. Bold: best of our lines. Times and memory are those of "
        "the runs as they happened, peak memory that of the whole process so far. No table and no average mixes "
        "protocols."
    )
    if published is not None:
        yield (
            "Lines marked as published were not run here: they are transcribed from the named sources, each under the "
            "protocol that its note says."
        )
    for number, (protocol, part) in enumerate(rows.groupby("protocol", sort=False)):
        yield Heading(f"Protocol {protocol}")
        for (dataset, h), task in part.groupby(["dataset", "h"], sort=False):
            yield Heading(f"{dataset}, h = {h}", 3)
            same, elsewhere = _published_parts(task, published)
            yield leaderboard_table(tables.summary_table(task), same)
            if not elsewhere.empty:
                yield "Published with another look-back, or under a biased loader: for orientation, not for a ranking."
                yield published_table(elsewhere)
        yield from _over_tasks(part, baseline, reference, f"{number + 1}")
    if differences is not None:
        yield Heading("Tests of difference")
        yield _plain_table(differences)
    yield from _provenance(rows)


def _published_parts(task: pd.DataFrame, published: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Published rows that a task's table may hold (clean, same look-back), and those that it may not."""
    empty = pd.DataFrame(columns=list(tables.PUBLISHED))
    if published is None or not str(task["protocol"].iloc[0]).startswith("name=ltsf;"):
        return empty, empty
    first = task.iloc[0]
    mine = published[(published["dataset"] == first["dataset"]) & (published["h"] == first["h"])].sort_values("mse")
    same = ((mine["kind"] == "clean") & (mine["input_size"] == int(first["input_size"]))).fillna(False).astype(bool)
    return mine[same], mine[~same]


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
        cells = [str(row["model"]), size, *(_figure(row, name) for name in names), str(row["seeds"])]
        cells.append(f"{row['failed']} failed" if row["failed"] else "")
        marked = frozenset(2 + number for number, name in enumerate(names) if name in best and row[name] == best[name])
        lines.append(Line(tuple(cells), best=marked))
    for _, row in published.iterrows():
        figures = [f"{row[name]:.3f}" if name in ("mse", "mae") else NONE for name in names]
        note = f"{row['source']}. {row['protocol_note']}"
        lines.append(Line((str(row["model"]), str(row["input_size"]), *figures, NONE, note), published=True))
    header = ("model", "L", *(COLUMNS[name][0] for name in names), "seeds", "note")
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


def _over_tasks(rows: pd.DataFrame, baseline: str | None, reference: str, suffix: str) -> Iterator[Block]:
    """Win rate, skill score, heatmap, cost and ranks of one protocol."""
    measure = tables.ranked_measure(rows)
    every = tables.task_errors(rows, measure)
    yield Heading("Over tasks", 3)
    complete = tables.complete_tasks(every)
    left_out = [f"{dataset} h={h}" for dataset, h in every.index if (dataset, h) not in complete.index]
    if left_out:
        yield f"Averages over tasks leave out {', '.join(left_out)}, where not every model has a result yet."
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


def _provenance(rows: pd.DataFrame) -> Iterator[Block]:
    """What the figures came from."""
    yield Heading("Where these figures come from")
    for name in ("command", "versions", "data_note"):
        found = [str(text) for text in rows.get(name, pd.Series(dtype=str)).dropna().unique()]
        if found:
            yield f"{name}: " + "; ".join(found)
    if rows.attrs.get("superseded"):
        yield f"{rows.attrs['superseded']} rows were left out: a later row of the same model and seed replaces each."


def _plain_table(frame: pd.DataFrame) -> Table:
    lines = [Line(tuple(_text(value) for value in row)) for row in frame.itertuples(index=False)]
    return Table(tuple(str(name) for name in frame.columns), tuple(lines))


def _text(value: object) -> str:
    if isinstance(value, float | np.floating):
        return NONE if np.isnan(value) else f"{value:.4g}"
    return str(value)


def _figure(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]):
        return NONE
    spread = row.get(f"{name}_std", np.nan)
    pattern = COLUMNS[name][1]
    return pattern.format(row[name]) + ("" if pd.isna(spread) else f" ± {pattern.format(spread)}")


def _interval(row: pd.Series, name: str, prefix: str) -> str:
    low, high = row[f"{prefix}_low"], row[f"{prefix}_high"]
    return f"{row[name]:.3f}" + ("" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]")
