"""Write the README's tables from the committed results.

    python benchmarks/tables.py

Replaces what stands between `<!-- NAME -->` and `<!-- /NAME -->` in README.md.
"""

import json
import re
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def accuracy(name: str, *, chosen: bool) -> str:
    """Means over seeds per dataset and model of one results file, best crps19 first.

    Args:
        name: of the file, without ".csv".
        chosen: whether to say what validation chose.
    """
    rows = pd.read_csv(RESULTS / f"{name}.csv")
    titles = ["dataset", "model", "MSE", "MAE", "crps19", "exact CRPS", "coverage 80 / 90 %", "seeds"]
    titles += ["chosen on validation"] * chosen
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for dataset, part in rows.groupby("dataset", sort=False):
        table = part.groupby("model", sort=False)
        means = table[["mse", "mae", "crps19", "crps_exact", "coverage80", "coverage90"]].mean().sort_values("crps19")
        spread = {column: table[column].std().to_dict() for column in ("mse", "crps19")}
        for model in map(str, means.index):
            mean = means.loc[model]
            mine = part[part["model"] == model]
            several = len(mine) > 1
            cells = [
                str(dataset),
                model,
                f"{mean['mse']:.4f}{_plus(spread['mse'][model], several)}",
                f"{mean['mae']:.4f}",
                f"{mean['crps19']:.4f}{_plus(spread['crps19'][model], several)}",
                "–" if pd.isna(mean["crps_exact"]) else f"{mean['crps_exact']:.4f}",
                f"{100 * mean['coverage80']:.1f} / {100 * mean['coverage90']:.1f}",
                str(len(mine)),
            ]
            if chosen:
                cells.append(", ".join(sorted({_chosen(text) for text in mine["arguments"]})))
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def speed() -> str:
    """One row per model of the paired step times."""
    rows = pd.read_csv(RESULTS / "step_time.csv")
    lines = [
        "| panel | threads | model | ms per step: median (min – max) | times EVE's step: median (min – max) |",
        "|---|---|---|---|---|",
    ]
    for row in rows.itertuples():
        step = f"{row.step_ms_median:.0f} ({row.step_ms_min:.0f} – {row.step_ms_max:.0f})"
        times = f"{row.times_eve_median:.2f} ({row.times_eve_min:.2f} – {row.times_eve_max:.2f})"
        lines.append(f"| {row.panel} | {row.threads} | {row.model} | {step} | {times} |")
    return "\n".join(lines)


def evaluation() -> str:
    """Streaming evaluation beside `cross_validation`, one row per model."""
    rows = pd.read_csv(RESULTS / "evaluation.csv")
    lines = [
        "| model | cross_validation | streaming | times faster | highest memory | beyond what was loaded before |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows.itertuples():
        memory = f"{row.cross_validation_peak_mb:,.0f} against {row.streaming_peak_mb:,.0f} MB"
        beyond = f"{row.times_less_memory_beyond_loading:,.0f} times less"
        seconds = f"{row.cross_validation_seconds:.1f} s | {row.streaming_seconds:.1f} s"
        lines.append(f"| {row.model} | {seconds} | {row.times_faster:.1f} | {memory} | {beyond} |")
    return "\n".join(lines)


def _plus(deviation: float, several: bool) -> str:
    return f" ± {deviation:.4f}" if several else ""


def _chosen(arguments: str) -> str:
    found = json.loads(arguments)
    return " ".join(f"{name} {value}" for name, value in found.items() if name in ("control", "dropout")) or "–"


def main() -> None:
    """Rewrite README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    tables = {
        "leaderboard": accuracy("ltsf", chosen=False),
        "twins": accuracy("first", chosen=True),
        "speed": speed(),
        "evaluation": evaluation(),
    }
    for name, table in tables.items():
        pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- /{name} -->", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"README.md has no <!-- {name} --> ... <!-- /{name} --> block")
        before, after = pattern.split(text)[0], pattern.split(text)[-1]
        text = f"{before}<!-- {name} -->\n{table}\n<!-- /{name} -->{after}"
    temporary = readme.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(readme)


if __name__ == "__main__":
    main()
