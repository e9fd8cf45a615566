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


def accuracy() -> str:
    """Means over seeds per dataset and model, best crps19 first."""
    rows = pd.read_csv(RESULTS / "first.csv")
    lines = [
        "| dataset | model | MSE | MAE | crps19 | exact CRPS | coverage 80 / 90 % | seeds | chosen on validation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for dataset, part in rows.groupby("dataset", sort=False):
        table = part.groupby("model", sort=False)
        means = table[["mse", "mae", "crps19", "crps_exact", "coverage80", "coverage90"]].mean().sort_values("crps19")
        spread = {name: table[name].std().to_dict() for name in ("mse", "crps19")}
        for model in map(str, means.index):
            mean = means.loc[model]
            mine = part[part["model"] == model]
            chosen = ", ".join(sorted({_chosen(text) for text in mine["arguments"]}))
            several = len(mine) > 1
            lines.append(
                f"| {dataset} | {model} | {mean['mse']:.4f}{_plus(spread['mse'][model], several)} | {mean['mae']:.4f} "
                f"| {mean['crps19']:.4f}{_plus(spread['crps19'][model], several)} | {mean['crps_exact']:.4f} "
                f"| {100 * mean['coverage80']:.1f} / {100 * mean['coverage90']:.1f} | {len(mine)} | {chosen} |"
            )
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


def _plus(deviation: float, several: bool) -> str:
    return f" ± {deviation:.4f}" if several else ""


def _chosen(arguments: str) -> str:
    found = json.loads(arguments)
    return " ".join(f"{name} {value}" for name, value in found.items() if name in ("control", "dropout")) or "–"


def main() -> None:
    """Rewrite README.md."""
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, table in (("accuracy", accuracy()), ("speed", speed())):
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
