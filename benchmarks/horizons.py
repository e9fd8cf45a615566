"""Tables of the longer horizons: `results/ltsf-long.csv` beside the shortest one, in `results/ltsf.csv`."""

import pandas as pd

from vdn_forecast.evaluation.report_differences import difference_families
from vdn_forecast.evaluation.report_tables import read_rows

from .markdown import ORDER, RESULTS, few_seeds, head

HORIZONS = 4
CANDIDATES = ("EVE", "EVE advised")
MEASURES = ("crps19", "mse")


def all_horizons() -> pd.DataFrame:
    """Rows of every horizon, of the models that have the longer ones."""
    longer = read_rows(RESULTS / "ltsf-long.csv")
    rows = read_rows(RESULTS / "ltsf.csv", RESULTS / "ltsf-long.csv")
    return rows[rows["model"].isin(longer["model"])]


def horizons() -> str:
    """crps19 and MSE at the longer horizons and the mean of all four, the lowest in bold, means over seeds.

    The mean of four is over the seeds that ran all of them.
    """
    rows = all_horizons()
    models = list(rows.loc[rows["h"] == rows["h"].max(), "model"].unique())
    lines = head("crps19 / MSE", *models)
    for dataset in ORDER:
        part = rows[rows["dataset"] == dataset]
        for h in sorted(part["h"].unique())[1:]:
            lines.append(_line(f"{dataset}, {h}", part[part["h"] == h], models))
        whole = part.groupby(["model", "seed"]).filter(lambda group: len(group) == HORIZONS)
        mean = whole.groupby(["model", "seed"])[list(MEASURES)].mean().reset_index()
        lines.append(_line(f"{dataset}, mean of four", mean, models))
    return "\n".join(lines)


def _line(name: str, rows: pd.DataFrame, models: list[str]) -> str:
    """A line of `horizons`: per model the means of both measures over seeds."""
    groups = rows.groupby("model")
    means, seeds = groups[list(MEASURES)].mean(), groups.size()
    cells = []
    for model in models:
        if model not in means.index:
            cells.append("")
            continue
        texts = []
        for measure in MEASURES:
            value = float(means[measure][model])
            texts.append(f"**{value:.4f}**" if value == means[measure].min() else f"{value:.4f}")
        cells.append(" / ".join(texts) + few_seeds(int(seeds[model])))
    return f"| {name} | {' | '.join(cells)} |"


def horizon_tests() -> str:
    """The family of horizon means (protocol `ltsf`): difference of crps19, 95 % interval, p with Holm's correction."""
    rows = all_horizons()
    lines = head("crps19, mean of four", *ORDER)
    for candidate in CANDIDATES:
        cells: dict[tuple[str, str], str] = {}
        for _, protocol in rows.groupby("protocol", sort=False):  # ILI has a look-back of its own
            for family in difference_families(protocol, RESULTS, candidate):
                if family.title == "crps19, mean over horizons":
                    cells |= {(str(r["peer"]), str(r["dataset"])): _test(r) for _, r in family.table.iterrows()}
        shown = CANDIDATES[: CANDIDATES.index(candidate)]  # the same pair stands above, with the other sign
        for peer in dict.fromkeys(peer for peer, _ in cells if peer not in shown):
            found = (cells.get((peer, dataset), "") for dataset in ORDER)
            lines.append(f"| {candidate} − {peer} | {' | '.join(found)} |")
    return "\n".join(lines)


def _test(row: "pd.Series[float]") -> str:
    p = "" if pd.isna(row["p_holm"]) else f", p {row['p_holm']:.3f}"
    text = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]{p}"
    return text.replace("-", "−") + few_seeds(int(row["seeds"]))
