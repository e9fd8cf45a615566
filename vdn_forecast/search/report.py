"""A search as a page that others can check: Markdown and one HTML file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import FrozenTrial, TrialState

from ..evaluation.cells import versions
from ..evaluation.report_html import Block, Heading, Line, Picture, Table, as_html, as_markdown, png
from .constraints import SIGN, closest, is_feasible
from .export import IDENTITY, objective_names, trials_frame
from .report_plots import band_occupancy, optuna_figures
from .storage import is_lost
from .winner import pareto_front

_SHOWN = 10  # best trials in the table
_FIGURES = ("out", "too_low", "too_high", "alive", "val_loss", "best_step", "steps", "seconds")


def write_report(study: optuna.Study, winner: FrozenTrial | None, why: str, title: str, folder: str | Path) -> Path:
    """Write report.md, report.html and the pictures of a search, finished or under way.

    Args:
        study: made by a search of this package.
        winner: of `winner_of`; None where there is none.
        why: there is none.
        title: of the page.
        folder: where to write; files of an earlier report are replaced.

    Returns:
        The HTML page.

    Raises:
        ImportError: matplotlib is not installed.
    """
    blocks = list(page(study, winner, why, title))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    for block in blocks:
        if isinstance(block, Picture):
            (target / f"{block.name}.png").write_bytes(png(block.figure))
    (target / "report.md").write_text(as_markdown(blocks), encoding="utf-8")
    html = target / "report.html"
    html.write_text(as_html(title, blocks), encoding="utf-8")
    return html


def page(study: optuna.Study, winner: FrozenTrial | None, why: str, title: str) -> Iterator[Block]:
    """The blocks of a report; arguments as of `write_report`."""
    table, objectives = trials_frame(study), objective_names(study)
    yield Heading(title, 1)
    yield _counts(study, table)
    done = table[table.state == "complete"]
    yield Heading("Winner")
    if winner is None:
        yield why
    else:
        yield from _winner(study, table, winner, objectives)
    bounds = study.user_attrs[IDENTITY]["constraints"]
    yield Heading("Constraints")
    yield from _constraints(study, done, bounds)
    if (table.state == "failed").any():
        yield Heading("Failed trials")
        failed = table[table.state == "failed"]
        counts = failed.error.value_counts()
        yield Table(("error", "trials"), tuple(Line((str(text)[:300], str(n))) for text, n in counts.items()))
    if not done.empty:
        yield Heading("Trials")
        yield from _best(study, done, objectives)
        for name, figure, caption in list(optuna_figures(study, objectives)):  # their style ends with the last
            yield Picture(name, figure, caption)
        figure, _ = band_occupancy(done, objectives[0], bounds.get("out"))
        yield Picture("bands", figure, "Units below, inside and above their nominal band, on validation windows")
    yield Heading("What was searched")
    yield from _provenance(study)


def _counts(study: optuna.Study, table: pd.DataFrame) -> str:
    counts = {} if table.empty else table.state.value_counts().to_dict()
    lost = sum(is_lost(trial) for trial in study.get_trials(deepcopy=False))
    running = len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))
    parts = [f"{len(table)} finished trials"]
    parts += [f"{counts[name]} {name}" for name in ("complete", "pruned", "failed") if name in counts]
    parts += [
        f"{n} {name}"
        for n, name in ((lost, "not counted (one too many, or their process gone)"), (running, "running"))
        if n
    ]
    seconds, steps = (
        table.get("seconds", pd.Series(dtype=float)).sum(),
        table.get("steps", pd.Series(dtype=float)).sum(),
    )
    return f"{', '.join(parts)}. {steps:,.0f} training steps in {seconds:,.0f} s of trials, checks included."


def _winner(study: optuna.Study, table: pd.DataFrame, winner: FrozenTrial, objectives: list[str]) -> Iterator[Block]:
    first = table[(table.number == table.number.min()) & (table.state == "complete")]
    rows = table[table.number == winner.number]
    names = [*objectives, *(name for name in _FIGURES if name not in objectives)]
    lines = [Line((f"trial {winner.number}", *(_plain(rows.iloc[0][name]) for name in names)))]
    if not first.empty and int(first.iloc[0].number) != winner.number:
        default = first.iloc[0]
        label = f"trial {int(default.number)}, the default" + ("" if default.feasible else " (infeasible)")
        lines.append(Line((label, *(_plain(default[name]) for name in names))))
    yield Table(("", *names), tuple(lines))
    if len(lines) == 2:
        gain = 1 - rows.iloc[0][objectives[0]] / first.iloc[0][objectives[0]]
        yield f"{objectives[0]} on validation is {abs(gain):.2%} {'below' if gain >= 0 else 'above'} the default's."
    if len(objectives) == 2:
        yield (
            "Rule for the single refit: of the feasible Pareto front the trials whose out is at most the cap (.10 "
            "where none is set), of these the lowest first objective; where there are none, the lowest out."
        )
    drawn = tuple(Line((name, _plain(value))) for name, value in winner.params.items())
    yield Table(("argument", "value"), drawn)


def _constraints(study: optuna.Study, done: pd.DataFrame, bounds: dict[str, float]) -> Iterator[Block]:
    if not bounds:
        yield "None."
        return
    feasible = int(done.feasible.astype(bool).sum()) if len(done) else 0
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    yield f"{feasible} of {len(done)} complete trials are feasible ({feasible / max(len(done), 1):.0%})."
    lines = []
    for name, bound in bounds.items():
        broken = [trial for trial in trials if trial.constraints.get(name, 0) > 0]
        alone = [t for t in broken if all(v <= 0 for other, v in t.constraints.items() if other != name)]
        lines.append(Line((f"{name} {SIGN[name]} {bound:g}", str(len(broken)), str(len(alone)))))
    yield Table(("constraint", "broken by", "broken alone by"), tuple(lines))
    if not done.empty and "param.control" in done:
        shares = done.groupby("param.control").agg(
            trials=("feasible", "size"),
            feasible=("feasible", lambda values: values.astype(bool).sum()),
            too_low=("too_low", "mean"),
            too_high=("too_high", "mean"),
            alive=("alive", "mean"),
        )
        lines = [Line((str(regime), *(_plain(value) for value in row))) for regime, row in shares.iterrows()]
        yield Table(("control", "trials", "feasible", "mean too low", "mean too high", "mean alive"), tuple(lines))
    if not feasible and (nearest := closest(trials)) is not None:
        yield f"The closest is trial {nearest.number}, beyond by {nearest.constraints}."


def _best(study: optuna.Study, done: pd.DataFrame, objectives: list[str]) -> Iterator[Block]:
    searched = [name for name in done.columns if name.startswith("param.")]
    names = [*objectives, "out", "alive", "steps", *searched]
    names = list(dict.fromkeys(names))
    shown = done.assign(infeasible=~done.feasible.astype(bool)).sort_values(["infeasible", objectives[0]])
    if len(objectives) == 2:
        trials = study.get_trials(deepcopy=False)
        front = {trial.number for trial in pareto_front([t for t in trials if is_feasible(t)])}
        shown = shown[shown.number.isin(front)]
        yield f"The feasible Pareto front, {len(shown)} trials; all trials are in trials.csv."
    else:
        shown = shown.head(_SHOWN)
        yield f"The best {len(shown)}, feasible ones first; all trials are in trials.csv."
    lines = [
        Line((f"{int(row.number)}" + ("" if row.feasible else " (infeasible)"), *(_plain(row[n]) for n in names)))
        for _, row in shown.iterrows()
    ]
    yield Table(("trial", *(name.removeprefix("param.") for name in names)), tuple(lines))


def _provenance(study: optuna.Study) -> Iterator[Block]:
    identity = study.user_attrs[IDENTITY]
    yield f"Study {study.study_name}; {versions()}."
    lines = [Line((name, str(value))) for name, value in identity.items()]
    yield Table(("what", "value"), tuple(lines))


def _plain(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
