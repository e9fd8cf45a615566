"""A results file as a page that others can check: Markdown, CSV and one HTML file."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import report_plots as plots
from . import report_tables as tables
from .report_differences import difference_families
from .report_html import Block, Heading, Picture, as_html, as_markdown, png
from .report_sections import difference_blocks, further_table, leaderboard_table, over_tasks, published_table


@dataclass(frozen=True)
class Report:
    """Where a report lies."""

    markdown: Path
    csv: Path
    html: Path


def write_report(
    results_path: str | Path | Sequence[str | Path],
    folder: str | Path,
    published: str | Path | None = None,
    *,
    baseline: str | None = None,
    reference: str = "twin",
    candidate: str = "EVE",
    lines: Sequence[str] | None = None,
) -> Report:
    """Write report.md, report.csv (fev's column names), report.html and the pictures.

    Args:
        results_path: a results file of `benchmark run`, or several of one folder (the shortest horizon in one, longer
            ones in another); `origins/` and `steps/` beside them hold what the tests of difference and the plots by
            step need, and rows without such files have none.
        folder: where to write; files of an earlier report are replaced.
        published: CSV of published figures, see `report_tables.PUBLISHED`; they stand beside rows of protocol ltsf.
        baseline: model with a skill score of zero; None for SeasonalNaive, else Naive, else `reference`.
        reference: model that the heatmap and the scatter plot compare with.
        candidate: model that the tests of difference compare with every other one.
        lines: models to report on; None for all.

    Raises:
        ValueError: files of another schema or of several folders, an empty results file, a line that no row has, or a
            file of errors that cannot be read.
        ImportError: matplotlib is not installed.
    """
    paths = [Path(path) for path in ([results_path] if isinstance(results_path, str | Path) else results_path)]
    beside = paths[0].parent
    if any(path.parent.resolve() != beside.resolve() for path in paths):
        raise ValueError(f"results_path={[str(path) for path in paths]}; files of one report lie in one folder")
    rows = _of_lines(tables.read_rows(*paths), lines)
    others = None if published is None else tables.read_published(published)
    title = f"Benchmark report: {', '.join(path.stem for path in paths)}"
    blocks = list(page(title, rows, others, baseline, reference, candidate=candidate, errors=beside))
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


def _of_lines(rows: pd.DataFrame, lines: Sequence[str] | None) -> pd.DataFrame:
    """Rows of these models."""
    if lines is None:
        return rows
    unknown = sorted(set(lines) - set(rows["model"]))
    if unknown:
        raise ValueError(f"lines={unknown} have no rows; there are {sorted(rows['model'].unique())}")
    return rows[rows["model"].isin(lines)].reset_index(drop=True)


def page(
    title: str,
    rows: pd.DataFrame,
    published: pd.DataFrame | None = None,
    baseline: str | None = None,
    reference: str = "twin",
    *,
    candidate: str = "EVE",
    errors: Path | None = None,
) -> Iterator[Block]:
    """The blocks of a report; arguments as of `write_report`, from frames.

    Args:
        errors: folder with `origins/` and `steps/`; None for a page without them.
    """
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
    for number, (protocol, part) in enumerate(rows.groupby("protocol", sort=False), start=1):
        yield Heading(f"Protocol {protocol}")
        if bool(part.reindex(columns=["energy_score", "mase", "coverage80_cal"]).notna().any().any()):
            yield (
                "Calibrated: with one factor per horizon step, fitted on validation, that stretches both intervals. "
                "MASE, WQL and SQL are fev's, WQL in the unit of the data file. Energy and variogram score are of 100 "
                "joint paths per scored window, on the scale that models see; paths of independent steps are a "
                "baseline for models that say nothing about how steps move together."
            )
        for (dataset, h), task in part.groupby(["dataset", "h"], sort=False):
            yield from _task(f"{number}-{dataset}-{h}", f"{dataset}, h = {h}", task, published, errors)
        yield from over_tasks(part, baseline, reference, f"{number}")
        if errors is not None:
            yield from difference_blocks(list(difference_families(part, errors, candidate)), candidate)
    yield from _provenance(rows)


def _task(
    suffix: str, title: str, task: pd.DataFrame, published: pd.DataFrame | None, errors: Path | None
) -> Iterator[Block]:
    """One dataset and horizon."""
    yield Heading(title, 3)
    same, elsewhere = _published_parts(task, published)
    summary = tables.summary_table(task)
    yield leaderboard_table(summary, same)
    further = further_table(summary)
    if further is not None:
        yield further
    if not elsewhere.empty:
        yield "Published with another look-back, or under a biased loader: for orientation, not for a ranking."
        yield published_table(elsewhere)
    steps = None if errors is None else tables.step_errors(task, errors)
    if steps is not None:
        figure, _ = plots.error_by_step(steps, list(summary["model"]))
        yield Picture(f"steps-{suffix}", figure, f"{title}: error by horizon step, mean over windows, series and seeds")


def _published_parts(task: pd.DataFrame, published: pd.DataFrame | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Published rows that a task's table may hold (clean, same look-back), and those that it may not."""
    empty = pd.DataFrame(columns=list(tables.PUBLISHED))
    if published is None or not str(task["protocol"].iloc[0]).startswith("name=ltsf;"):
        return empty, empty
    first = task.iloc[0]
    mine = published[(published["dataset"] == first["dataset"]) & (published["h"] == first["h"])].sort_values("mse")
    same = ((mine["kind"] == "clean") & (mine["input_size"] == int(first["input_size"]))).fillna(False).astype(bool)
    return mine[same], mine[~same]


def _provenance(rows: pd.DataFrame) -> Iterator[Block]:
    """What the figures came from."""
    yield Heading("Where these figures come from")
    for name in ("command", "versions", "data_note"):
        found = [str(text) for text in rows.get(name, pd.Series(dtype=str)).dropna().unique()]
        if found:
            yield f"{name}: " + "; ".join(found)
    if rows.attrs.get("superseded"):
        yield f"{rows.attrs['superseded']} rows were left out: a later row of the same model and seed replaces each."
