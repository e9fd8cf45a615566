"""Tables and figures of a results file beside the author's runs."""

from pathlib import Path

import numpy as np
import pandas as pd

from vdn_forecast.evaluation.results import ResultTable

from .plots import figure4, figure5
from .suite import SCHEMA
from .tables import aggregate, correlations, paired, published_runs


def write_report(results: str | Path, folder: str | Path) -> Path:
    """Write aggregate.csv, paired.csv, correlations.csv, figures and tables.md.

    While some regime has one run only, ours have no correlations and no Figure 5.

    Args:
        results: what `run` wrote.
        folder: where the report goes.

    Returns:
        Path of tables.md.

    Raises:
        FileNotFoundError: no such results file.
        ValueError: it holds no rows, or of another schema, or of more than one protocol.
    """
    if not Path(results).is_file():
        raise FileNotFoundError(f"{results} does not exist")
    runs = ResultTable(results, SCHEMA).read()
    if runs.empty:
        raise ValueError(f"{results} holds no rows")
    if runs["protocol"].nunique() > 1:
        raise ValueError(f"{results} holds rows of several protocols; report each from a file of its own")
    published = published_runs()
    beside = published[published["group"].isin(runs["group"])]
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ours = aggregate(runs)
    pairs = paired(runs, published)
    related = [("author", correlations(published))]
    drawn = {
        "figure4": figure4(runs, beside),
        "figure5-author": figure5(published, f"the author's {len(published)} runs"),
    }
    if _vary(runs):
        related.insert(0, ("ours", correlations(runs)))
        drawn["figure5"] = figure5(runs, f"our {len(runs)} runs")
    both = pd.concat([table.assign(source=source) for source, table in related], ignore_index=True)
    for name, table in (("aggregate", ours), ("paired", pairs), ("correlations", both)):
        table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    for name, (figure, _) in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=110)
    text = "\n\n".join((_aggregates(ours, aggregate(beside)), _pairs(pairs), _correlations(both)))
    path = folder / "tables.md"
    path.write_text(text + "\n")
    return path


def _vary(runs: pd.DataFrame) -> bool:
    """Whether every regime of every dataset has runs that differ: without, there is no correlation."""
    return bool((runs.groupby(["group", "variant"])[["test_out", "test_mse"]].std() > 0).all(axis=None))


def _aggregates(ours: pd.DataFrame, theirs: pd.DataFrame) -> str:
    lines = [
        "| dataset | regime | whose | MSE | MAE | KL | too low | too high | out_batch | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    measures = ("test_mse", "test_mae", "test_kl", "test_frac_too_low", "test_frac_too_high", "test_out")
    both = pd.concat([ours.assign(whose="ours"), theirs.assign(whose="author's")])
    for (group, variant), part in both.groupby(["group", "variant"]):
        for _, row in part.iterrows():
            cells = [_plus(row[f"{name}_mean"], row[f"{name}_std"], 1 if name == "test_kl" else 3) for name in measures]
            lines.append(f"| {group} | {variant} | {row['whose']} | {' | '.join(cells)} | {row['seeds']} |")
    return "\n".join(lines)


def _plus(mean: float, std: float, digits: int) -> str:
    spread = f" ± {std:.{digits}f}" if np.isfinite(std) else ""
    return f"{mean:.{digits}f}{spread}"


def _pairs(pairs: pd.DataFrame) -> str:
    lines = [
        "| dataset | regime | pairs | MSE ratio (lowest – highest) | MAE ratio | KL ratio | "
        "out_batch: mean difference, largest | same epoch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for _, row in pairs.iterrows():
        cells = (
            f"{row['mse_ratio']:.3f} ({row['mse_ratio_low']:.3f} – {row['mse_ratio_high']:.3f})",
            f"{row['mae_ratio']:.3f}",
            f"{row['kl_ratio']:.3f}",
            f"{row['out_difference']:+.4f}, {row['out_distance']:.4f}",
            f"{row['same_epoch']} of {row['pairs']}",
        )
        lines.append(f"| {row['group']} | {row['variant']} | {row['pairs']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _correlations(related: pd.DataFrame) -> str:
    lines = ["| runs | scope | n | r of out_batch and MSE | 95 % interval |", "|---|---|---|---|---|"]
    for _, row in related.iterrows():
        scope = " ".join(part for part in (row["group"], row["variant"]) if part) or row["scope"]
        interval = f"[{row['low']:.2f}, {row['high']:.2f}]"
        lines.append(f"| {row['source']} | {scope} | {row['runs']} | {row['r']:.2f} | {interval} |")
    return "\n".join(lines)
