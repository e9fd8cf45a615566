"""From result rows to a leaderboard: mean and spread over seeds, best first."""

import pandas as pd

MEASURES = ("crps19", "mse", "mae", "coverage80", "fit_seconds")


def leaderboard(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per model, means over seeds (and their deviation for crps19 and mse), sorted by crps19.

    Args:
        rows: result rows of one protocol, dataset and horizon.

    Raises:
        ValueError: rows of several protocols, datasets or horizons.
    """
    for column in ("protocol", "dataset", "h"):
        found = rows[column].unique()
        if len(found) > 1:
            raise ValueError(f"one table holds one {column}; these rows have {sorted(map(str, found))}")
    numbers = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in MEASURES})
    groups = numbers.groupby("model", sort=False)
    table = groups[list(MEASURES)].mean()
    for name in ("crps19", "mse"):
        table[f"{name}_std"] = groups[name].std()
    table["seeds"] = groups["seed"].nunique()
    order = ["crps19", "crps19_std", "mse", "mse_std", "mae", "coverage80", "fit_seconds", "seeds"]
    return table[order].sort_values("crps19").reset_index()


def as_text(table: pd.DataFrame) -> str:
    """A leaderboard as aligned text for the terminal."""
    formats = {
        "crps19": "{:.4f}",
        "crps19_std": "± {:.4f}",
        "mse": "{:.4f}",
        "mse_std": "± {:.4f}",
        "mae": "{:.4f}",
        "coverage80": "{:.1%}",
        "fit_seconds": "{:.1f}",
    }
    shown = table.copy()
    for name, pattern in formats.items():
        shown[name] = [pattern.format(value) if pd.notna(value) else "–" for value in table[name]]
    names = {"crps19_std": "", "mse_std": " ", "coverage80": "cover 80", "fit_seconds": "fit s"}
    return shown.rename(columns=names).to_string(index=False)
