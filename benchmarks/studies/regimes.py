"""The regime map: what each regime of control makes of the units, and what it costs, over KL weights and band energies.

    python -m benchmarks.studies.regimes --datasets ETTh1 Exchange Weather
    python -m benchmarks.studies.regimes --plot

EVE's own network and training but for `--max-steps` and two latent samples (the default then), one seed, h = 96,
look-back 336 (ILI 24 and 104). Everything is measured on validation windows with the weights of the best check; test
rows are never read. One row per fit in `results/regimes.csv`; what is there is not run again. `--plot` draws one page
of maps per dataset from the rows.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast
from tqdm import tqdm

from vdn_forecast import EVE, diagnose
from vdn_forecast.evaluation.data import DATASETS, load_dataset
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning

from ..rows import missing, put, run_as
from .units import OUT, SIZES

ROWS = "regimes.csv"
KL_WEIGHTS = (1e-4, 1e-3, 1e-2, 1e-1)
BANDS = (0.03, 0.3, 1.0, 3.0)
REGIMES = ("homeo", "projection", "batchnorm", "balance")
MEASURES = {"out": ".2f", "informed": ".2f", "kl_total": ".0f", "crps19": ".4f", "mse": ".4f"}


def grid(kl_weights: list[float], bands: list[float], regimes: list[str]) -> Iterator[dict[str, Any]]:
    """Every cell; "off", where no band acts, once per KL weight with the default's band as the ruler."""
    for regime, weight in itertools.product(regimes, kl_weights):
        for band in bands if regime != "off" else [1.0]:
            yield {"control": regime, "kl_weight": weight, "band_target": band}


def fit(dataset: str, seed: int, max_windows: int, **arguments: Any) -> pd.DataFrame:
    """One row: figures on validation of one fit.

    Args:
        dataset: name.
        seed: of the model.
        max_windows: of all series and origins of the validation rows, evenly spaced.
        **arguments: of EVE.
    """
    data = load_dataset(dataset).scaled()
    h, input_size = SIZES.get(dataset, (96, 336))
    train, validation, _ = data.borders
    with quiet_lightning():
        nf = NeuralForecast(
            [EVE(h=h, input_size=input_size, n_latent_samples=2, random_seed=seed, **QUIET_TRAINER, **arguments)],
            data.info.freq,
        )
        nf.fit(data.frame(train + validation), val_size=validation)
        found = diagnose(nf, "validation", max_windows=max_windows, use=False)
        history = diagnose(nf).summary
    shares = {name: found.units[name].mean() for name in ("informed", "alive_paper")}
    summary = found.summary.iloc[0]
    names = ["out", "frac_too_low", "frac_too_high", "kl_total", "mu2_mean", "sigma_mean", "crps19", "mse", "windows"]
    best = history.loc[history["best"], "step"].iloc[-1]
    return pd.DataFrame([{**summary[names], **shares, "best_step": best}])


def maps(table: pd.DataFrame, dataset: str) -> Any:
    """One figure: a row of maps per regime, a column per measure, KL weight over band energy.

    Args:
        table: rows of the study, of one number of steps.
        dataset: whose.
    """
    from matplotlib.figure import Figure

    table = table[table["dataset"] == dataset]
    regimes = [regime for regime in (*REGIMES, "off") if regime in set(table["control"])]
    figure = Figure(figsize=(2.5 * len(MEASURES) + 1, 1.9 * len(regimes) + 0.6), layout="constrained")
    axes = figure.subplots(len(regimes), len(MEASURES), squeeze=False)
    for (row, regime), (column, (measure, digits)) in itertools.product(
        enumerate(regimes), enumerate(MEASURES.items())
    ):
        axis, values = axes[row, column], table[table["control"] == regime]
        values = values.pivot_table(index="kl_weight", columns="band_target", values=measure)
        limits = (table[measure].min(), table[measure].quantile(0.9))  # one run far off would wash out the rest
        axis.imshow(values, vmin=limits[0], vmax=limits[1], cmap="YlGnBu", origin="lower", aspect="auto")
        for (i, j), value in np.ndenumerate(values.to_numpy()):
            if np.isnan(value):  # not run
                continue
            dark = value > limits[0] + 0.6 * (limits[1] - limits[0])
            axis.text(
                j, i, format(value, digits), ha="center", va="center", fontsize=8, color="white" if dark else "black"
            )
        axis.set_xticks(
            range(values.shape[1]), ["any"] if regime == "off" else [f"{band:g}" for band in values.columns]
        )
        axis.set_yticks(range(len(values)), [f"{weight:g}" for weight in values.index] if column == 0 else [])
        axis.tick_params(length=0, labelsize=8)
        if row == 0:
            axis.set_title({"kl_total": "KL, nats", "informed": "informed"}.get(measure, measure), fontsize=10)
        if column == 0:
            axis.set_ylabel(f"{regime}\nKL weight", fontsize=9)
        if row == len(regimes) - 1:
            axis.set_xlabel("band energy", fontsize=9)
    figure.suptitle(f"{dataset}, validation", fontsize=11)
    return figure


def main() -> None:
    """Run what is missing, or draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", default=["ETTh1", "Exchange", "Weather"], choices=sorted(DATASETS))
    parser.add_argument("--regimes", nargs="+", default=[*REGIMES, "off"], choices=[*REGIMES, "off"])
    parser.add_argument("--kl-weights", nargs="+", type=float, default=list(KL_WEIGHTS))
    parser.add_argument("--bands", nargs="+", type=float, default=list(BANDS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-steps", type=int, default=600)
    parser.add_argument("--max-windows", type=int, default=4096)
    parser.add_argument("--plot", action="store_true", help="draw the rows that are there")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    path = chosen.out / ROWS
    if chosen.plot:
        table = pd.read_csv(path)
        for dataset in table["dataset"].unique():
            maps(table[table["max_steps"] == chosen.max_steps], dataset).savefig(
                chosen.out / f"regimes-{dataset}.png", dpi=110
            )
        return
    cells = list(grid(chosen.kl_weights, chosen.bands, chosen.regimes))
    work = [(dataset, cell) for dataset in chosen.datasets for cell in cells]
    for dataset, cell in tqdm(work, unit="fit", file=sys.stderr):
        key = {"dataset": dataset, **cell, "seed": chosen.seed, "max_steps": chosen.max_steps}
        if missing(path, key):
            steps = {"max_steps": chosen.max_steps, "val_check_steps": min(50, chosen.max_steps)}
            rows = fit(dataset, chosen.seed, chosen.max_windows, **cell, **steps)
            put(rows.assign(**key), list(key), run_as("benchmarks.studies.regimes"), path)


if __name__ == "__main__":
    main()
