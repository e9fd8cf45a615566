"""What a tie to earlier windows does to a unit: effective KL, information, persistence, accuracy on validation.

    python benchmarks/studies/ties.py --only ILI Exchange ETTh1

The lines `EVE`, `EVE penalty` and `EVE prior` of configs/benchmarks/areve.yaml, seed by seed; one row each in
results/ties.csv, what is there is not run again. The test split is never looked at. Persistence is the autocorrelation
of a unit's posterior mean over validation windows one step, `ar_stride` steps and h steps apart, series by series, mean
over units and series; the half-life is that of an AR(1) with the autocorrelation at one step, median over units.
`effective_kl` is against N(0, 1) for every line, `tied_kl` against the learned prior (each window on its own scale).
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from vdn_forecast._compat import window_batches
from vdn_forecast.control import UnitSums
from vdn_forecast.evaluation.allocator import keep_memory
from vdn_forecast.evaluation.cells import run_cell, versions
from vdn_forecast.evaluation.data import PanelData, load_dataset
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.suite_file import read_suite

OUT = Path("benchmarks/studies/results/ties.csv")
SUITE = Path("configs/benchmarks/areve.yaml")
LINES = ("EVE", "EVE penalty", "EVE prior")
MOST_WINDOWS = 1500  # per series, consecutive, from the start of validation


@torch.no_grad()
def posteriors(model: Any, data: PanelData, rows: slice) -> tuple[Tensor, Tensor, UnitSums]:
    """mu and log sigma of the first layer on consecutive windows, [n_series, W, N, k], and sums of its states.

    Args:
        model: fitted, a direct model with one layer at least.
        data: on the model's scale.
        rows: `model.input_size` + h + W - 1 of them.
    """
    layer = model.layers[0]
    sums, means, scales = UnitSums(layer.n_units, layer.latent_dim), [], []

    def keep(_module: Any, _arguments: Any, state: Any) -> None:
        sums.update(state)
        means.append(state.mu.clone())
        scales.append(state.log_sigma.expand_as(state.mu).clone())

    values = data.values[rows]
    before = model.get_test_size()
    model.set_test_size(len(values) - model.input_size)
    handle = layer.register_forward_hook(keep)
    try:
        for batch in window_batches(model, as_dataset(values), "predict", 1024):
            model(batch["windows_batch"])
    finally:
        handle.remove()
        model.set_test_size(before)
    by_series = (torch.cat(parts).unflatten(0, (values.shape[1], -1)) for parts in (means, scales))
    return *by_series, sums


def autocorrelation(mu: Tensor, lag: int) -> Tensor:
    """Of every latent, [n_series, W, N, k] -> [N, k]: mean over series."""
    centred = mu.double() - mu.double().mean(1, keepdim=True)
    power = centred.square().mean(1)
    return ((centred[:, lag:] * centred[:, :-lag]).mean(1) / power.clamp(min=1e-12)).mean(0)


def _pair(lag: int) -> tuple[slice, slice]:
    return slice(lag, None), slice(None, -lag)


def figures(model: Any, data: PanelData, h: int, stride: int) -> dict[str, float]:
    """Columns of a row that say what the units do on validation."""
    n_train, n_val, _ = data.borders
    last = min(n_train + n_val, n_train + MOST_WINDOWS + h - 1)
    mu, log_sigma, sums = posteriors(model, data, slice(n_train - model.input_size, last))
    measures = sums.measures()
    tied = float("nan")
    if len(getattr(model.window_ar, "priors", [])):
        now, before = ([each[:, part].flatten(0, 1) for each in (mu, log_sigma)] for part in _pair(stride))
        with torch.no_grad():
            everywhere = torch.ones(len(now[0]), dtype=torch.bool)
            tied = float(model.window_ar.priors[0].kl(*now, *before, everywhere).mean())
    one = autocorrelation(mu, 1)
    return {
        "windows": float(mu.shape[1]),
        "effective_kl": float(measures.kl.mean()),
        "tied_kl": tied,
        "info": float(measures.info.mean()),
        "alive": float(measures.alive.double().mean()),
        "energy": float(measures.energy.mean()),
        "persistence_1": float(one.mean()),
        f"persistence_{stride}": float(autocorrelation(mu, stride).mean()),
        "persistence_h": float(autocorrelation(mu, min(h, mu.shape[1] // 2)).mean()),
        "half_life": float(np.median(np.log(0.5) / np.log(one.clamp(1e-6, 1 - 1e-6).numpy()))),
    }


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", help="these datasets")
    parser.add_argument("--seeds", nargs="+", type=int, help="these seeds instead of the file's")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    keep_memory()
    suite = read_suite(SUITE)
    rows: list[dict[str, Any]] = pd.read_csv(OUT).to_dict("records") if OUT.exists() else []  # type: ignore[assignment]
    lines = [line for line in suite.lines if line.label in LINES]
    seeds, datasets = chosen.seeds or suite.seeds, chosen.only or list(suite.datasets)
    work = [(d, seed, line) for d in datasets for seed in seeds for line in lines]
    for dataset, seed, line in tqdm(work, desc="ties", unit="run", file=sys.stderr):
        cell = suite.cell(line, dataset, seed, {})
        if any(row["cell"] == cell.identity for row in rows):
            continue
        data = load_dataset(dataset)
        row, done = run_cell(cell, data, "python benchmarks/studies/ties.py", test=False)
        kept = ("cell", "dataset", "model", "seed", "h", "val_crps19", "val_mse", "steps", "command")
        found = figures(done.model, cell.protocol.prepare(data), cell.h, int(done.model.hparams["ar_stride"]))
        share = getattr(done.model.window_ar, "share", None)
        phi = [prior.phi().detach() for prior in getattr(done.model.window_ar, "priors", [])]
        rows.append(
            {
                **{name: row[name] for name in kept},
                **found,
                "ar_share": float("nan") if share is None else float(share.share),
                "phi": float(torch.cat(phi).mean()) if phi else float("nan"),
                "versions": versions(),
            }
        )
        temporary = OUT.with_suffix(".tmp")
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.6g")
        temporary.replace(OUT)


if __name__ == "__main__":
    main()
