"""From result rows to a leaderboard: mean and spread over seeds, best first."""

import pandas as pd

from .report_tables import RATIOS, ranked_measure

MEASURES = ("crps19", "mse", "mae", "coverage80", "fit_seconds")


def leaderboard(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per model, means over seeds (and their deviation for some), best first by `ranked_measure`.

    Args:
        rows: result rows of one protocol, dataset and horizon.

    Raises:
        ValueError: rows of several protocols, datasets or horizons.
    """
    for column in ("protocol", "dataset", "h"):
        found = rows[column].unique()
        if len(found) > 1:
            raise ValueError(f"one table holds one {column}; these rows have {sorted(map(str, found))}")
    ratios = [name for name in RATIOS if name in rows and rows[name].notna().any()]
    names = [*ratios, *MEASURES]
    numbers = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in names})
    groups = numbers.groupby("model", sort=False)
    table = groups[names].mean()
    order = []
    for name in names:
        order.append(name)
        if name in ("crps_ratio", "crps19", "mse"):
            table[f"{name}_std"] = groups[name].std()
            order.append(f"{name}_std")
    table["seeds"] = groups["seed"].nunique()
    return table[[*order, "seeds"]].sort_values(ranked_measure(numbers)).reset_index()


def as_text(table: pd.DataFrame) -> str:
    """A leaderboard as aligned text for the terminal."""
    formats = {
        "crps_ratio": "{:.4f}",
        "crps_ratio_std": "± {:.4f}",
        "nmae": "{:.4f}",
        "crps19": "{:.4f}",
        "crps19_std": "± {:.4f}",
        "mse": "{:.4f}",
        "mse_std": "± {:.4f}",
        "mae": "{:.4f}",
        "coverage80": "{:.1%}",
        "fit_seconds": "{:.1f}",
    }
    shown = table.copy()
    for name in formats.keys() & set(table.columns):
        shown[name] = [formats[name].format(value) if pd.notna(value) else "–" for value in table[name]]
    names = {"crps_ratio_std": "  ", "crps19_std": "", "mse_std": " ", "coverage80": "cover 80", "fit_seconds": "fit s"}
    return shown.rename(columns=names).to_string(index=False)
