"""Does what the units say of their certainty rank errors better than the width of the interval?

    python benchmarks/studies/risk_coverage.py --datasets ETTh1 ETTh2 --models EVE AREVE --seeds 0 1 2

Every model is fitted at its defaults on the train rows, its best step chosen on validation; every window of the test
rows is scored on values scaled by the train rows (h = 96, look-back 336; ILI 24 and 104). The five scores and both
errors are fixed in `vdn_forecast.diagnostics`. One row per error, score and unit; what is there is not run again.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from neuralforecast import NeuralForecast
from tqdm import tqdm

from vdn_forecast import diagnose
from vdn_forecast.evaluation.cells import versions
from vdn_forecast.evaluation.data import DATASETS, load_dataset
from vdn_forecast.evaluation.models import BUILDERS
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning

OUT = Path("benchmarks/studies/results/risk_coverage.csv")
SIZES = {"ILI": (24, 104)}


def study(dataset: str, model: str, seed: int, max_windows: int, origins: int | None, **arguments: Any) -> pd.DataFrame:
    """The risk-coverage table of one model on one dataset's test rows.

    Args:
        dataset, model: names.
        seed: of the model.
        max_windows: of all series and origins, evenly spaced.
        origins: the first so many of the test rows; None for all.
        **arguments: of the model, over its defaults.
    """
    data = load_dataset(dataset).scaled()
    h, input_size = SIZES.get(dataset, (96, 336))
    train, validation, test = data.borders
    built = BUILDERS[model](h=h, input_size=input_size, random_seed=seed, **{**QUIET_TRAINER, **arguments})
    nf = NeuralForecast(models=[built], freq=data.info.freq)
    panel = data.frame(train + validation + (test if origins is None else min(test, origins + h - 1)))
    row = panel.groupby("unique_id").cumcount()
    with quiet_lightning():
        nf.fit(panel[row < train + validation], val_size=validation)
        looked = panel[row >= train + validation - input_size]
        return diagnose(nf, looked, max_windows=max_windows, use=False, season=data.info.season).risk_coverage


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--datasets", nargs="+", default=["ETTh1", "ETTh2", "ETTm1", "Exchange"], choices=sorted(DATASETS)
    )
    parser.add_argument("--models", nargs="+", default=["EVE", "AREVE"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--max-windows", type=int, default=20_000)
    parser.add_argument("--origins", type=int, help="the first so many of the test rows (default: all)")
    parser.add_argument("--max-steps", type=int, help="of training (default: the model's own)")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    rows = [pd.read_csv(chosen.out)] if chosen.out.exists() else []
    done = set() if not rows else set(zip(rows[0]["dataset"], rows[0]["line"], rows[0]["seed"], strict=True))
    work = [(d, m, s) for d in chosen.datasets for m in chosen.models for s in chosen.seeds if (d, m, s) not in done]
    arguments = {} if chosen.max_steps is None else {"max_steps": chosen.max_steps}
    if chosen.max_steps is not None:
        arguments["val_check_steps"] = min(50, chosen.max_steps)
    for dataset, model, seed in tqdm(work, unit="fit", file=sys.stderr):
        table = study(dataset, model, seed, chosen.max_windows, chosen.origins, **arguments)
        table = table.drop(columns="model")
        for at, (name, value) in enumerate({"dataset": dataset, "line": model, "seed": seed}.items()):
            table.insert(at, name, value)
        command = f"python {' '.join(sys.argv)}"
        rows.append(table.assign(versions=versions(), command=command))
        temporary = chosen.out.with_suffix(".tmp")
        pd.concat(rows, ignore_index=True).to_csv(temporary, index=False, float_format="%.6g")
        temporary.replace(chosen.out)
    if rows:
        table = pd.concat(rows, ignore_index=True)
        means = table[table["unit"] == "y"].groupby(["dataset", "line", "error", "score"], sort=False)
        shown = ["aurc", "excess", "minus_width", "minus_width_low", "minus_width_high", "partial_spearman"]
        print(means[shown].mean().to_string(float_format="%.4f"))


if __name__ == "__main__":
    main()
