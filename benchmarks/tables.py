"""Write the tables of the README and of docs/ from the committed results.

    python -m benchmarks.tables

Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->` in the files of `PAGES`.
"""

import re
from collections.abc import Callable
from functools import partial

import pandas as pd

from .horizons import horizon_tests, horizons
from .markdown import ORDER, RESULTS, ROOT, few_seeds, head

DETERMINISTIC = ("Naive", "SeasonalNaive")  # the same for every seed
TWINS = (
    "T1",
    "T2",
    "T3",
    "T4",
    "MC dropout",
    "Ensemble",
    "EVE ensemble",
    "T2 series",
    "T3 series",
    "T2 searched",
    "EVE series",
    "EVE series tuned",
    "EVE tuned",
    "T2 advised",
    "T3 advised",
    "EVE advised ensemble",
    "T2 advised ensemble",
    "NHITS series",
)
"""Lines of the leaderboard that have a table of their own, beside EVE's."""


def accuracy(name: str, column: str, only: str = "") -> str:
    """Mean of one measure over seeds, a row per model, best mean rank first, a column per dataset, the lowest in bold.

    Args:
        name: of the results file, without ".csv".
        column: of the results.
        only: "twins" for EVE's lines and `TWINS`, "others" for all but `TWINS`, else all.
    """
    rows = pd.read_csv(RESULTS / f"{name}.csv")
    if only:
        twin = rows["model"].isin(TWINS)
        rows = rows[~twin if only == "others" else twin | rows["model"].str.match("EVE( |$)")]
    datasets = [dataset for dataset in ORDER if (rows["dataset"] == dataset).any()]
    groups = rows.groupby(["model", "dataset"])[column]
    mean, deviation, seeds = (
        getattr(groups, what)().unstack().reindex(columns=datasets) for what in ("mean", "std", "size")
    )
    order = mean.rank().mean(axis=1).sort_values().index
    lines = head(column if column == "crps19" else column.upper(), *datasets)
    for model in order:
        cells = []
        for dataset in datasets:
            value = mean.loc[model, dataset]
            if pd.isna(value):
                cells.append("")
                continue
            text = f"{value:.4f}"
            text = f"**{text}**" if value == mean[dataset].min() else text
            few = "" if model in DETERMINISTIC else few_seeds(int(seeds.loc[model, dataset]))
            cells.append(text + _plus(deviation.loc[model, dataset]) + few)
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


COVERED = ("EVE", "EVE advised", "EVE advised ensemble", "T2", "T3", "Ensemble", "NHITS", "NHITS-MQLoss", "DLinear")


def coverage() -> str:
    """Shares of test outcomes inside the 80 and 90 % intervals, raw and (in brackets) calibrated on validation."""
    rows = pd.read_csv(RESULTS / "ltsf.csv")
    columns = ["coverage80", "coverage90", "coverage80_cal", "coverage90_cal"]
    mean = (100 * rows.groupby(["model", "dataset"])[columns].mean()).to_dict("index")
    lines = head("inside 80, 90 %", *ORDER)
    for model in COVERED:
        cells = []
        for dataset in ORDER:
            share = mean.get((model, dataset))
            if share is None:
                cells.append("")
                continue
            raw, calibrated = (
                f"{share[f'coverage80{end}']:.1f}, {share[f'coverage90{end}']:.1f}" for end in ("", "_cal")
            )
            cells.append(f"{raw} ({calibrated})")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def speed() -> str:
    """One row per model of the paired step times."""
    rows = pd.read_csv(RESULTS / "step_time.csv")
    spread = "median (min – max)"
    lines = head("panel", "threads", "model", f"ms per step: {spread}", f"times EVE's step: {spread}")
    for row in rows.itertuples():
        step = f"{row.step_ms_median:.0f} ({row.step_ms_min:.0f} – {row.step_ms_max:.0f})"
        times = f"{row.times_eve_median:.2f} ({row.times_eve_min:.2f} – {row.times_eve_max:.2f})"
        lines.append(f"| {row.panel} | {row.threads} | {row.model} | {step} | {times} |")
    return "\n".join(lines)


def speed_short() -> str:
    """Times EVE's step with two threads, a row per model, a column per panel; of several runs the last."""
    rows = pd.read_csv(RESULTS / "step_time.csv").query("threads == 2 and model != 'EVE'")
    table = rows.pivot_table(index="model", columns="panel", values="times_eve_median", aggfunc="last", sort=False)
    lines = head("times EVE's", *table.columns)
    for model, row in table.iterrows():
        cells = ["" if pd.isna(value) else f"{value:.1f}" for value in row]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def phases() -> str:
    """What surrounds the steps, one row per model."""
    rows = pd.read_csv(RESULTS / "phases.csv")
    parts = ("start of a fit, s", "validation check, s", "forecasts, s")
    lines = head("panel", "model", *parts, "times EVE's", "peak memory, MB")
    for row in rows.to_dict("records"):
        seconds = " | ".join(f"{row[f'{phase}_seconds']:.2f}" for phase in ("start", "check", "predict"))
        times = ", ".join(f"{row[f'{phase}_times_eve']:.1f}" for phase in ("start", "check", "predict"))
        lines.append(f"| {row['panel']} | {row['model']} | {seconds} | {times} | {row['memory_mb']:,.0f} |")
    return "\n".join(lines)


def evaluation() -> str:
    """Streaming evaluation beside `cross_validation`, one row per model."""
    rows = pd.read_csv(RESULTS / "evaluation.csv")
    held = ("highest memory", "beyond what was loaded before")
    lines = head("model", "cross_validation", "streaming", "times faster", *held)
    for row in rows.itertuples():
        memory = f"{row.cross_validation_peak_mb:,.0f} against {row.streaming_peak_mb:,.0f} MB"
        beyond = f"{row.times_less_memory_beyond_loading:,.0f} times less"
        seconds = f"{row.cross_validation_seconds:.1f} s | {row.streaming_seconds:.1f} s"
        lines.append(f"| {row.model} | {seconds} | {row.times_faster:.1f} | {memory} | {beyond} |")
    return "\n".join(lines)


WAYS = {
    "independent": "independent steps",
    "gaussian_copula": "NeuralForecast's Gaussian copula",
    "schaake_shuffle": "NeuralForecast's Schaake shuffle",
    "ar1_residuals": "AR(1) copula of validation residuals",
    "T2": "own paths of T2, the network without noise",
}


def paths() -> str:
    """Scores of EVE's own paths relative to other ways of joining the same marginals and to a twin's, a row each."""
    rows = pd.read_csv(RESULTS / "paths" / "paths.csv")
    rows = rows[rows["model"] == "EVE"]
    columns = [(s, d) for s in ("variogram_score", "energy_score") for d in ORDER if d in set(rows["dataset"])]
    lines = head("EVE's paths against", *(f"{dataset}, {score.split('_')[0]}" for score, dataset in columns))
    found = {(row["score"], row["dataset"], row["against"]): row for row in rows.to_dict("records")}
    for way, title in WAYS.items():
        cells = []
        for column in columns:
            row = found[(*column, way)]
            low, high = 100 * row["relative_low"], 100 * row["relative_high"]
            cells.append(f"{100 * row['relative']:+.1f} % [{low:+.1f}, {high:+.1f}]")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _plus(deviation: float) -> str:
    return "" if pd.isna(deviation) else f" ± {deviation:.4f}"


TABLES: dict[str, Callable[[], str]] = {
    "crps19": partial(accuracy, "ltsf", "crps19", "others"),
    "mse": partial(accuracy, "ltsf", "mse", "others"),
    "twins": partial(accuracy, "ltsf", "crps19", "twins"),
    "twins mse": partial(accuracy, "ltsf", "mse", "twins"),
    "coverage": coverage,
    "horizons": horizons,
    "horizon tests": horizon_tests,
    "trajectories": partial(accuracy, "areve", "crps19"),
    "paths": paths,
    "speed short": speed_short,
    "speed": speed,
    "phases": phases,
    "evaluation": evaluation,
}
PAGES = {
    "README.md": ("crps19", "mse", "speed short"),
    "docs/accuracy.md": ("twins", "twins mse", "coverage", "horizons", "horizon tests", "trajectories", "paths"),
    "docs/speed.md": ("speed", "phases", "evaluation"),
}


def main() -> None:
    """Rewrite the pages."""
    for page, names in PAGES.items():
        path = ROOT / page
        text = path.read_text()
        for name in names:
            pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
            if not pattern.search(text):
                raise ValueError(f"{page} has no <!-- {name} --> ... <!-- /{name} --> block")
            before, after = pattern.split(text)[0], pattern.split(text)[-1]
            text = f"{before}<!-- {name} -->\n{TABLES[name]()}\n<!-- /{name} -->{after}"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.replace(path)


if __name__ == "__main__":
    main()
