"""Tables of runs: mean and deviation over seeds, pairs with the author's runs, correlations of out and error."""

from pathlib import Path

import numpy as np
import pandas as pd

PUBLISHED = Path(__file__).parent / "published_runs.csv"
MEASURES = (
    *("test_mse", "test_mae", "test_kl", "test_mu2_mean", "test_frac_too_low", "test_frac_too_high", "test_out"),
)
KEYS = ["group", "variant"]


def published_runs() -> pd.DataFrame:
    """The author's 60 runs, as his notebook printed them (`vrsionpbli.ipynb` of YvesRuffenach/EVE, 2026-02-20)."""
    return pd.read_csv(PUBLISHED)


def aggregate(runs: pd.DataFrame) -> pd.DataFrame:
    """Per dataset and regime the mean and sample deviation (ddof 1) over seeds, named as the author's aggregate.

    Args:
        runs: group, variant, seed and `MEASURES`, one row a run.

    Returns:
        group, variant, seeds, then <measure>_mean, <measure>_std.
    """
    grouped = runs.groupby(KEYS)
    table = grouped.agg(
        seeds=("seed", "nunique"),
        **{f"{name}_{how}": (name, how) for name in MEASURES for how in ("mean", "std")},
    )
    return table.reset_index()


def paired(runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Our runs against the author's of the same dataset, regime and seed: the same windows and initial weights.

    Returns:
        group, variant, pairs; mse_ratio (geometric mean of ours / author's), mse_ratio_low and mse_ratio_high (of the
        seeds); mae_ratio, kl_ratio (geometric means); out_difference (mean of ours - author's), out_distance (largest
        absolute one); same_epoch (pairs with the same chosen epoch).
    """
    both = runs.merge(published, on=[*KEYS, "seed"], suffixes=("", "_published"), validate="one_to_one")
    rows = []
    for (group, variant), part in both.groupby(KEYS):
        logs = {name: np.log(part[name] / part[f"{name}_published"]) for name in ("test_mse", "test_mae", "test_kl")}
        out = part["test_out"] - part["test_out_published"]
        rows.append(
            {
                "group": group,
                "variant": variant,
                "pairs": len(part),
                "mse_ratio": float(np.exp(logs["test_mse"].mean())),
                "mse_ratio_low": float(np.exp(logs["test_mse"].min())),
                "mse_ratio_high": float(np.exp(logs["test_mse"].max())),
                "mae_ratio": float(np.exp(logs["test_mae"].mean())),
                "kl_ratio": float(np.exp(logs["test_kl"].mean())),
                "out_difference": float(out.mean()),
                "out_distance": float(out.abs().max()),
                "same_epoch": int((part["best_epoch"] == part["best_epoch_published"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def standardised(runs: pd.DataFrame, by: list[str], x: str = "test_out", y: str = "test_mse") -> pd.DataFrame:
    """`x` and `y` z-scored (ddof 1) within each group of `by`; the other columns stay.

    Raises:
        ValueError: a group in which one of them does not vary.
    """
    result = runs.copy()
    for name in (x, y):
        groups = runs.groupby(by)[name]
        deviation = groups.transform("std")
        if not (deviation > 0).all():
            raise ValueError(f"{name} does not vary, or stands alone, in a group of {by}; it cannot be standardised")
        result[name] = (runs[name] - groups.transform("mean")) / deviation
    return result


def correlations(runs: pd.DataFrame, x: str = "test_out", y: str = "test_mse") -> pd.DataFrame:
    """Pearson's r of out-of-band share and error: over all runs, per dataset, and within dataset x regime.

    Pooled figures are of values z-scored within their groups; every group takes one degree of freedom off the 95 %
    interval (Fisher's).

    Returns:
        scope, group, variant, runs, r, low, high.
    """
    rows = [
        _correlation(standardised(runs, ["group"], x, y), x, y, "z-scored per dataset", groups=runs["group"].nunique())
    ]
    cells = len(runs[KEYS].drop_duplicates())
    rows.append(_correlation(standardised(runs, KEYS, x, y), x, y, "z-scored per dataset and regime", groups=cells))
    for group, part in runs.groupby("group"):
        rows.append(_correlation(part, x, y, "one dataset", str(group)))
    for group, part in runs.groupby("group"):
        for variant, cell in part.groupby("variant"):
            rows.append(_correlation(cell, x, y, "one dataset and regime", str(group), str(variant)))
    return pd.DataFrame(rows)


def _correlation(
    runs: pd.DataFrame, x: str, y: str, scope: str, group: str = "", variant: str = "", groups: int = 1
) -> dict[str, object]:
    r = float(np.corrcoef(runs[x], runs[y])[0, 1])
    freedom = len(runs) - groups + 1 - 3
    half = 1.959964 / np.sqrt(freedom) if freedom > 0 else np.inf
    low, high = np.tanh(np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) + np.array([-half, half]))
    return {
        "scope": scope,
        "group": group,
        "variant": variant,
        "runs": len(runs),
        "r": r,
        "low": float(low),
        "high": float(high),
    }
