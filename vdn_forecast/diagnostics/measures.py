"""One pass over validation windows: crps19 and every unit's measures, against the nominal band."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor

from .._compat import count_windows, window_batches
from ..control import UnitMeasures, UnitSums
from ..losses import LatentMixture
from ..mixture import LEVELS_19, crps_from_quantiles, mixture_quantiles
from ..mixture_scores import mixture_scores
from ..models import VariationalModel
from ..models.checks import without_gaps
from ..models.observing import WINDOWS_PER_BATCH, evenly_spaced, unit_controllers, watching
from ..neurons import out_of_band


@dataclass(frozen=True)
class UnitSummary:
    """Shares of all units of a model, over all of its layers.

    Attributes:
        too_low, too_high: energy below or above the nominal band.
        alive: info above .005 nats.
        alive_paper: KL and energy above 1e-4.
        units: how many there are.
        windows: how many windows they were measured on.
    """

    too_low: float
    too_high: float
    alive: float
    alive_paper: float
    units: int
    windows: int

    @property
    def out(self) -> float:
        """Share of units outside of their nominal band."""
        return self.too_low + self.too_high


@dataclass(frozen=True, eq=False)
class ValidationMeasures:
    """What one pass over validation windows found.

    Attributes:
        crps19: mean over .05, .10 ... .95 of twice the pinball loss, in the unit of y, over every observed step of
            the windows; None where the model's loss is not a `LatentMixture`, or it was not asked for.
        layers: the units' measures, layer by layer.
        summary: shares over all layers.
    """

    crps19: float | None
    layers: tuple[UnitMeasures, ...]
    summary: UnitSummary


def measure_validation(
    model: VariationalModel, dataset: Any, max_windows: int | None = None, *, crps: bool = True, step: str = "val"
) -> ValidationMeasures:
    """Score a fitted model and measure its units on the validation windows of its last fit.

    Forecasts are the model's own: noise from the fixed bank, so a second call gives the same figures.

    Args:
        model: fitted with a `val_size`.
        dataset: NeuralForecast's `TimeSeriesDataset` that it was fitted on.
        max_windows: at most so many, evenly spaced over series and time; None for the model's `valid_windows`.
        crps: whether crps19 is wanted; without it a pass is cheaper.
        step: "train" for all valid training windows instead.

    Raises:
        TypeError: a dataset that is not in memory.
        ValueError: a model fitted without validation.
    """
    check_measurable(model, dataset, step)
    sums = [UnitSums(layer.n_units, layer.latent_dim) for layer in model.layers]
    wanted = crps and isinstance(model.loss, LatentMixture)
    limit = model.valid_windows if max_windows is None else max_windows
    indices = evenly_spaced(count_windows(model, dataset, step), limit)
    value = _crps19(model, dataset, step, indices, wanted, sums)
    layers = tuple(each.measures() for each in sums)
    return ValidationMeasures(value if wanted else None, layers, summarise(model, layers))


def summarise(model: VariationalModel, layers: tuple[UnitMeasures, ...]) -> UnitSummary:
    """Shares over the units of all layers, against each layer's nominal band."""
    low, high, alive, paper, units = 0.0, 0.0, 0.0, 0.0, 0
    for measures, controller in zip(layers, unit_controllers(model), strict=True):
        n = len(measures.energy)
        below, above = out_of_band(measures.energy.float(), (controller.band.lower.cpu(), controller.band.upper.cpu()))
        low, high = low + n * float(below), high + n * float(above)
        alive, paper = alive + float(measures.alive.sum()), paper + float(measures.alive_paper.sum())
        units += n
    return UnitSummary(low / units, high / units, alive / units, paper / units, units, layers[0].windows)


def unit_frame(model: VariationalModel, layers: tuple[UnitMeasures, ...]) -> pd.DataFrame:
    """One row per unit: layer, unit, its measures, nominal band and where in it the energy lies."""
    parts = []
    for number, (measures, controller) in enumerate(zip(layers, unit_controllers(model), strict=True)):
        energy = measures.energy.numpy()
        lower, upper = (bound.cpu().numpy() for bound in (controller.band.lower, controller.band.upper))
        parts.append(
            pd.DataFrame(
                {
                    "layer": number,
                    "unit": np.arange(len(energy)),
                    **{name: getattr(measures, name).numpy() for name in ("energy", "signal", "kl", "info", "sigma")},
                    "target": controller.band.targets.cpu().numpy(),
                    "lower": lower,
                    "upper": upper,
                    "place": np.where(energy < lower, "below", np.where(energy > upper, "above", "inside")),
                    "alive": measures.alive.numpy(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def check_measurable(model: VariationalModel, dataset: Any, step: str = "val") -> None:
    """Refuse what has no validation windows in memory; errors as of `measure_validation`."""
    if type(dataset) is not TimeSeriesDataset:
        raise TypeError(f"dataset is a {type(dataset).__name__}; measures need an in-memory TimeSeriesDataset")
    if step == "val" and not getattr(model, "val_size", 0):
        raise ValueError("the model was fitted without validation; give val_size to its fit")


def _crps19(
    model: VariationalModel, dataset: TimeSeriesDataset, step: str, indices: Tensor, wanted: bool, sums: list[UnitSums]
) -> float:
    """crps19 over the windows, every layer's states added to its sums; without `wanted` these alone."""
    total, count = 0.0, 0.0
    with watching(model) as states:
        for batch in window_batches(model, without_gaps(dataset), step, WINDOWS_PER_BATCH, indices):
            states.clear()
            raw = model(batch["windows_batch"])
            for target, state in zip(sums, states, strict=True):
                target.update(state)
            if not wanted:
                continue
            loss = model.loss
            assert isinstance(loss, LatentMixture)
            loc, scale = loss.scale_decouple(loss.domain_map(raw), loc=batch["loc"], scale=batch["scale"])[:2]
            y, mask = batch["y"].squeeze(-1), batch["mask"].squeeze(-1)
            observed = mask > 0
            y = torch.where(observed, y, 0.0)
            values = crps_from_quantiles(y, quantiles19(y, loc.squeeze(2), scale.squeeze(2), loss.df), LEVELS_19)
            total += float(torch.where(observed, values, 0.0).double().sum())
            count += float(observed.sum())
    return total / count if count else float("nan")


def quantiles19(y: Tensor, loc: Tensor, scale: Tensor, df: int | None) -> Tensor:
    """At the 19 levels, [W, h, 19]: of Normal mixtures from a table, which is faster and close enough for means."""
    if df is not None:
        return mixture_quantiles(loc, scale, LEVELS_19, df)
    found = mixture_scores(y, loc.transpose(1, 2).contiguous(), scale.transpose(1, 2).contiguous()).quantiles
    assert found is not None
    return found
