"""What the units do on test windows, and whether what they say of their certainty ranks errors better than the width.

    python -m benchmarks.studies.units --datasets ETTh1 Exchange --lines EVE "EVE, heterogeneous band" --seeds 1 2 3

Every line is fitted on the train rows, its best step chosen on validation; then its units are measured, and its errors
ranked, on every window of the test rows (evenly spaced ones where there are more than `--max-windows`), on values
scaled by the train rows (h = 96, look-back 336; ILI 24 and 104). One row per fit in `results/units.csv`; one per error,
score and unit in `results/risk_coverage.csv`. The scores are fixed in `vdn_forecast.diagnostics`, and nothing is chosen
by these figures. What is there is not run again.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from neuralforecast import NeuralForecast
from tqdm import tqdm

from vdn_forecast import diagnose
from vdn_forecast.diagnostics import Diagnosis
from vdn_forecast.evaluation.data import DATASETS, load_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning

from ..rows import missing, put, run_as

OUT = Path("benchmarks/studies/results")
UNITS, RISK = "units.csv", "risk_coverage.csv"
SIZES = {"ILI": (24, 104)}
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "EVE": ("EVE", {}),
    "EVE, no control": ("EVE", {"control": "off"}),
    "EVE, heterogeneous band": ("EVE", {"band_shape": "heterogeneous", "band_spread": 8.0}),
    "EVE, bounded means": ("EVE", {"mean_bound": 0.15, "n_latent_samples": 2}),  # the default then
    "EVE, means bounded at .6": ("EVE", {"mean_bound": 0.6}),
    "EVE, means compressed": ("EVE", {"mean_compression": 0.2}),
    "EVE, means compressed at .3": ("EVE", {"mean_compression": 0.3}),
    "EVE, means compressed, heterogeneous band": (
        "EVE",
        {"mean_compression": 0.2, "band_shape": "heterogeneous", "band_spread": 8.0},
    ),
    "AREVE": ("AREVE", {}),
}
SHARES = ("out", "frac_too_low", "frac_too_high", "out_batch", "out_series", "mu2_mean", "kl_total")
SCORES = ("crps19", "mse", "windows")


def study(
    dataset: str, line: str, seed: int, max_windows: int, origins: int | None, **arguments: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row of `UNITS` and the rows of `RISK` for one fit.

    Args:
        dataset, line: names.
        seed: of the model.
        max_windows: of all series and origins, evenly spaced.
        origins: the first so many of the test rows; None for all.
        **arguments: of the model, over the line's.
    """
    data = load_dataset(dataset).scaled()
    h, input_size = SIZES.get(dataset, (96, 336))
    train, validation, test = data.borders
    model, own = LINES[line]
    panel = data.frame(train + validation + (test if origins is None else min(test, origins + h - 1)))
    row = panel.groupby("unique_id").cumcount()
    with quiet_lightning():
        built = BUILDERS[model](h=h, input_size=input_size, random_seed=seed, **{**QUIET_TRAINER, **own, **arguments})
        nf = NeuralForecast(models=[built], freq=data.info.freq)
        nf.fit(panel[row < train + validation], val_size=validation)
        known = diagnose(nf, "validation", max_windows=max_windows, season=data.info.season)
        looked = panel[row >= train + validation - input_size]
        found = diagnose(nf, looked, max_windows=max_windows, season=data.info.season)
    units = pd.DataFrame([_measured("val_", known) | _measured("", found)])
    return units, found.risk_coverage.drop(columns="model")


def _measured(prefix: str, found: Diagnosis) -> dict[str, float]:
    summary, units = found.summary.iloc[0], found.units
    shares = {name: units[name].mean() for name in ("informed", "alive", "alive_paper") if name in units}
    return {prefix + name: float(value) for name, value in {**summary[[*SHARES, *SCORES]], **shares}.items()}


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS)[:1], choices=sorted(DATASETS))
    parser.add_argument("--lines", nargs="+", default=["EVE"], choices=list(LINES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--max-windows", type=int, default=20_000)
    parser.add_argument("--origins", type=int, help="the first so many of the test rows (default: all)")
    parser.add_argument("--max-steps", type=int, help="of training (default: the model's own)")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    arguments = {} if chosen.max_steps is None else {"max_steps": chosen.max_steps}
    if chosen.max_steps is not None:
        arguments["val_check_steps"] = min(50, chosen.max_steps)
    work = [(d, line, s) for d in chosen.datasets for line in chosen.lines for s in chosen.seeds]
    for dataset, line, seed in tqdm(work, unit="fit", file=sys.stderr):
        key = {"dataset": dataset, "line": line, "seed": seed}
        if not missing(chosen.out / UNITS, key):
            continue
        units, risk = study(dataset, line, seed, chosen.max_windows, chosen.origins, **arguments)
        command = run_as("benchmarks.studies.units")
        put(risk.assign(**key), list(key), command, chosen.out / RISK)
        put(units.assign(**key), list(key), command, chosen.out / UNITS)  # last: its row says that the fit is done
    shown = ["val_crps19", "crps19", "mse", "val_out", "out", "informed", "alive", "kl_total"]
    table = pd.read_csv(chosen.out / UNITS)
    print(table.groupby(["dataset", "line"], sort=False)[shown].mean().to_string(float_format="%.4f"))


if __name__ == "__main__":
    main()
