"""Figures of a report, from result rows: pure functions from frames to frames."""

import io
import re
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd

from .data import DATASETS
from .error_files import STEPS, read_errors

SPREAD = ("mse", "mae", "crps19", "coverage80", "coverage90", "fit_seconds", "predict_seconds", "peak_mb")
"""Measures shown as mean and deviation over seeds."""
MEASURES = (*SPREAD, "n_parameters")
RATIOS = ("crps_ratio", "nmae")
"""Measures of protocol probts; a results file of an older schema has no such columns."""
FURTHER = (
    *(f"{name}{level}{end}" for name in ("coverage", "width") for level in (80, 90) for end in ("", "_cal")),
    *("mase", "wql", "sql", "energy_score", "variogram_score"),
)
"""Measures that rows of an older schema lack."""
FEV_ONLY = ("dataset_fingerprint", "num_windows", "mase_season")
TASK = ("protocol", "dataset", "h")
REQUIRED = (*TASK, "input_size", "model", "seed", *MEASURES, "arguments", "versions", "command")
PUBLISHED = ("dataset", "h", "input_size", "model", "mse", "mae", "source", "protocol_note", "kind")
PATHS_NOTE = r"paths: (.+?), \d+ each"
KINDS = ("clean", "biased", "searched")


def read_rows(*paths: str | Path) -> pd.DataFrame:
    """Rows of results files; they are left as they are, a last line without its end is not read.

    Of several rows with the same protocol, dataset, h, model and seed the last one counts (a cell that ran again, or
    ran again with another version); `attrs["superseded"]` says how many others there were.

    Raises:
        FileNotFoundError: no such file.
        ValueError: columns are missing, or there is no row.
    """
    parts = []
    for path in paths:
        text = Path(path).read_text()
        part = pd.read_csv(io.StringIO(text[: text.rfind("\n") + 1] or text), dtype={"cell": str})
        missing = sorted(set(REQUIRED) - set(part.columns))
        if missing:
            raise ValueError(f"{path} is no results file of this version: columns {missing} are missing")
        if part.empty:
            raise ValueError(f"{path} holds no row; run a suite first")
        parts.append(part)
    rows = pd.concat(parts, ignore_index=True)
    for name in (*MEASURES, *RATIOS, *FURTHER):
        if name in rows:
            rows[name] = pd.to_numeric(rows[name], errors="coerce")
    last = ~rows.duplicated([*TASK, "model", "seed"], keep="last")
    kept = rows[last].reset_index(drop=True)
    kept.attrs["superseded"] = int((~last).sum())
    return kept


def read_published(path: str | Path) -> pd.DataFrame:
    """Published figures.

    Raises:
        ValueError: other columns, an unknown dataset or kind, or a figure that is not above zero.
    """
    rows = pd.read_csv(path, dtype={"input_size": "Int64"}, keep_default_na=True)
    if tuple(rows.columns) != PUBLISHED:
        raise ValueError(f"{path} has columns {list(rows.columns)}; it needs {list(PUBLISHED)}")
    for name, known in (("dataset", tuple(DATASETS)), ("kind", KINDS)):
        unknown = sorted(set(rows[name]) - set(known))
        if unknown:
            raise ValueError(f"{path}: {name} {unknown} is not known; choose from {sorted(known)}")
    if not (rows[["mse", "mae"]].to_numpy(dtype=np.float64) > 0).all():
        raise ValueError(f"{path}: mse and mae must be above zero")
    return rows


def summary_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per model, best first by `ranked_measure` (mse where it is missing).

    Args:
        rows: of one protocol, dataset and horizon.

    Returns:
        model, input_size, each measure and its sample deviation `<measure>_std` over seeds (NaN for one seed),
        n_parameters, paths (where a model's joint paths came from, as its rows' note says), seeds, failed (rows
        without a finite mse).

    Raises:
        ValueError: rows of several protocols, datasets or horizons.
    """
    refuse_mixture(rows, TASK)
    names = list(dict.fromkeys((*MEASURES, *RATIOS, *FURTHER)))
    rows = rows.reindex(columns=[*rows.columns, *(name for name in names if name not in rows)])
    done = rows[np.isfinite(rows["mse"])]
    groups = done.groupby("model", sort=False)
    table = groups[["input_size", *names]].mean()
    for name in dict.fromkeys((*SPREAD, *RATIOS, *FURTHER)):
        table[f"{name}_std"] = groups[name].std()
    notes = done.get("data_note", pd.Series("", done.index)).astype(object).fillna("").astype(str)
    table["paths"] = notes.str.extract(PATHS_NOTE, expand=False).groupby(done["model"]).first()
    table["seeds"] = groups["seed"].nunique()
    table = table.reindex(rows["model"].unique())
    table["seeds"] = table["seeds"].fillna(0).astype(int)
    table["failed"] = rows.groupby("model")["mse"].agg(lambda errors: int((~np.isfinite(errors)).sum()))
    return table.sort_values([ranked_measure(rows), "mse"]).rename_axis("model").reset_index()


def step_errors(rows: pd.DataFrame, folder: str | Path) -> pd.DataFrame | None:
    """Errors by horizon step of one task, from `steps/` beside the results file.

    Args:
        rows: of one protocol, dataset and horizon.
        folder: of the results file.

    Returns:
        model, step and the measures, means over the seeds that have a file; None where no cell has one.
    """
    refuse_mixture(rows, TASK)
    parts = []
    for model, cell in zip(rows["model"], rows["cell"], strict=True):
        table = read_errors(folder, STEPS, str(cell))
        if table is not None:
            parts.append(table.assign(model=str(model)))
    if not parts:
        return None
    return pd.concat(parts).groupby(["model", "step"], sort=False).mean().reset_index()


def ranked_measure(rows: pd.DataFrame) -> str:
    """The measure that ranks these rows: crps19, or its ratio per window where the protocol has it."""
    return "crps_ratio" if "crps_ratio" in rows and bool(rows["crps_ratio"].notna().any()) else "crps19"


def refuse_mixture(rows: pd.DataFrame, columns: tuple[str, ...]) -> None:
    """Rows of one table share these columns.

    Raises:
        ValueError: they do not.
    """
    for column in columns:
        found = rows[column].unique()
        if len(found) > 1:
            raise ValueError(f"one table holds one {column}; these rows have {sorted(map(str, found))}")


def task_errors(rows: pd.DataFrame, measure: str = "crps19") -> pd.DataFrame:
    """Mean over seeds: one row per (dataset, h), one column per model, NaN where a model did not run.

    Raises:
        ValueError: rows of several protocols.
    """
    refuse_mixture(rows, ("protocol",))
    table = rows.pivot_table(index=["dataset", "h"], columns="model", values=measure, aggfunc="mean", sort=False)
    return table.rename_axis(columns=None)


def complete_tasks(errors: pd.DataFrame, keep: Collection[str] = ()) -> pd.DataFrame:
    """Tasks and models without a gap: only these enter an average over tasks.

    Leaves out the models with the fewest tasks, as many as give the most cells (tasks x models); of equals, more tasks.

    Args:
        errors: of `task_errors`.
        keep: models that stay, at the expense of tasks that they have not run.
    """
    counts = errors.notna().sum()
    kept = set(keep) & set(errors.columns)
    parts = [errors.loc[:, counts >= least].dropna() for least in sorted(counts.unique())]
    return max((part for part in parts if kept <= set(part.columns)), key=lambda part: (part.size, len(part)))


def win_rates(errors: pd.DataFrame) -> pd.DataFrame:
    """Per task, the share of other models that a model beats; a tie counts one half. Same shape as `errors`."""
    values = errors.to_numpy(dtype=np.float64)
    mine, other = values[:, :, None], values[:, None, :]
    wins = (mine < other).sum(-1) + 0.5 * ((mine == other).sum(-1) - 1)
    return pd.DataFrame(wins / max(1, values.shape[1] - 1), errors.index, errors.columns)


def log_relative(errors: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Logarithm of each error over the baseline's, the ratio clipped to [0.01, 100]. Same shape as `errors`."""
    ratio = errors.div(errors[baseline], axis=0).clip(0.01, 100)
    return ratio.apply(np.log)


def ranking(errors: pd.DataFrame, baseline: str, draws: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """Win rate and skill score (1 − geometric mean of relative error), as fev computes them, best skill first.

    Args:
        errors: of `task_errors`, complete.
        baseline: model that has a skill score of zero.
        draws: of the bootstrap over datasets; the horizons of a dataset stay together.
        seed: of its generator.

    Returns:
        model, win_rate, win_low, win_high, skill, skill_low, skill_high: 95 % intervals, NaN for a single dataset.

    Raises:
        ValueError: the baseline is not there, or an error is missing or not above zero.
    """
    if baseline not in errors:
        raise ValueError(f"baseline={baseline!r} is not among the models {list(errors)}")
    if errors.empty or not (errors.to_numpy(dtype=np.float64) > 0).all():
        raise ValueError("a ranking needs one error above zero of every model on every task")
    wins, logs = win_rates(errors), log_relative(errors, baseline)
    datasets = errors.index.get_level_values("dataset")
    groups = [frame.groupby(datasets, sort=False).sum().to_numpy() for frame in (wins, logs)]  # [datasets, models]
    count = pd.Series(1, errors.index).groupby(datasets, sort=False).sum().to_numpy()
    generator = np.random.default_rng(seed)
    weight = generator.multinomial(len(count), np.full(len(count), 1 / len(count)), size=draws)  # [draws, datasets]
    drawn_wins, drawn_logs = (weight @ group / (weight @ count)[:, None] for group in groups)
    table = pd.DataFrame({"model": errors.columns})
    several = len(count) > 1
    for name, mean, drawn in (
        ("win", wins.mean(), drawn_wins),
        ("skill", 1 - np.exp(logs.mean()), 1 - np.exp(drawn_logs)),
    ):
        table["win_rate" if name == "win" else "skill"] = mean.to_numpy()
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        table[f"{name}_low"], table[f"{name}_high"] = (low, high) if several else (np.nan, np.nan)
    return table.sort_values("skill", ascending=False, ignore_index=True)


def cost_table(rows: pd.DataFrame, reference: str, measure: str = "crps19") -> pd.DataFrame:
    """Accuracy against cost over the tasks of `complete_tasks`.

    Args:
        rows: of one protocol.
        reference: model whose error is 1.
        measure: of accuracy.

    Returns:
        model, relative_error (geometric mean over tasks), fit_seconds and n_parameters (means over tasks of the median
        over seeds: one run of a busy machine does not move it).
    """
    errors = complete_tasks(task_errors(rows, measure), [reference])
    relative = log_relative(errors, reference).mean().apply(np.exp)
    index = pd.MultiIndex.from_frame(rows[["dataset", "h"]])
    by_task = rows[index.isin(errors.index) & rows["model"].isin(errors.columns)].groupby(["model", "dataset", "h"])[
        ["fit_seconds", "n_parameters"]
    ]
    costs = by_task.median().groupby("model").mean()
    table = costs.assign(relative_error=relative).rename_axis("model").reset_index()
    return table[["model", "relative_error", "fit_seconds", "n_parameters"]].sort_values("relative_error")


def fev_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows under the column names of fev's summaries, with the protocol and the season of MASE beside them.

    A row's eval_metric is the measure that ranks its protocol. Rows of an older schema leave empty what they lack.
    """
    commits = rows["versions"].astype(str).str.extract(r"\(([0-9a-f]{7,}\+?)\)", expand=False)
    seasons = {name: info.season for name, info in DATASETS.items()}
    protocol = rows["protocol"].astype(str).map(lambda text: re.sub(r"\w+=", "", text).replace(";", "-"))
    ranked = {str(name): ranked_measure(part) for name, part in rows.groupby("protocol")}
    metric = rows["protocol"].astype(str).map(ranked)
    wide = rows.reindex(columns=list(dict.fromkeys([*rows.columns, *FEV_ONLY, *FURTHER, *RATIOS])))
    series = wide["dataset_fingerprint"].astype(str).str.extract(r"^\d+x(\d+)-", expand=False).astype(float)
    columns = {
        "model_name": rows["model"],
        "task_name": rows["dataset"] + "_" + rows["h"].astype(str) + "_" + protocol,
        "dataset": rows["dataset"],
        "dataset_fingerprint": wide["dataset_fingerprint"],
        "horizon": rows["h"],
        "input_size": rows["input_size"],
        "num_windows": wide["num_windows"].astype("Int64"),
        "seasonality": wide["mase_season"].fillna(rows["dataset"].map(seasons)).astype("Int64"),
        "eval_metric": metric,
        "test_error": rows["crps19"].where(metric == "crps19", wide["crps_ratio"]),
        "MSE": rows["mse"],
        "MAE": rows["mae"],
        "MASE": wide["mase"],
        "WQL": wide["wql"],
        "SQL": wide["sql"],
        "coverage": rows["coverage80"],
        "training_time_s": rows["fit_seconds"],
        "inference_time_s": rows["predict_seconds"],
        "num_forecasts": (wide["num_windows"] * series).astype("Int64"),
        "seed": rows["seed"],
        "model_kwargs": rows["arguments"],
        "framework_version": rows["versions"],
        "commit": commits,
        "trained_on_this_dataset": False,  # fev's word for a leak: here only rows before the test split were seen
        "protocol": rows["protocol"],
    }
    return pd.DataFrame(columns)
