"""`diagnose`: what every unit of a fitted model does, as tidy frames."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ..losses import LatentMixture
from ..models import VariationalModel
from .persistence import persistence
from .posteriors import posterior_frame
from .risk_coverage import risk_coverage
from .scoring import Scored, score_windows
from .targets import Sight, data_windows, fitted_models, validation_windows
from .units import data_frames, history_frames, with_use
from .use import group_use

IGNORED = 1e-4
"""A group whose use is at most this part of crps19 is ignored."""
VALIDATION = "validation"


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Tidy frames; the first column of each is `model`. `docs/diagnostics.md` explains every column.

    Columns of what no model here has are left out, and a row has NaN in those that only other models have.

    Attributes:
        units: one row per unit; on training history per unit and check (`step`).
        summary: one row per model, on training history per check, the one whose weights were kept marked `best`.
        windows: on data: every window's scores of certainty and its errors.
        risk_coverage: on data: how well each score ranks errors.
        calibration: on data: reliability of the 19 quantiles and histogram of PIT values.
        posteriors: on data: posteriors of a few chosen latents in some windows, and their prior.
    """

    units: pd.DataFrame
    summary: pd.DataFrame
    windows: pd.DataFrame = field(default_factory=pd.DataFrame)
    risk_coverage: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibration: pd.DataFrame = field(default_factory=pd.DataFrame)
    posteriors: pd.DataFrame = field(default_factory=pd.DataFrame)


def diagnose(
    target: Any,
    df: Any = None,
    *,
    static_df: Any = None,
    max_windows: int = 4096,
    use: bool = True,
    season: int = 1,
    seed: int = 0,
) -> Diagnosis:
    """Measure the units of fitted models of this package; nothing about the models changes.

    Sources: arXiv 2602.18250 (energy, band, KL), 2603.13849 (dimensions of a unit).

    Args:
        target: a `NeuralForecast`, of whose models this package's are looked at, or one of its models.
        df: None for the history of the last fit, which was measured at every validation check on up to 256 validation
            windows; a frame like that of the fit for all windows in it (the rows must hold a look-back and a horizon);
            "validation" for the validation windows of the last fit, from the data that the `NeuralForecast` keeps.
        static_df: static columns, where the models were fitted with some.
        max_windows: at most so many windows of data, evenly spaced over series and time.
        use: whether to measure on data what the forecast makes of groups of units (`group_use`, 8 groups a layer).
        season: rows of a season, for the blocks of the risk-coverage bootstrap: max(2 h, one season).
        seed: of that bootstrap and of the prior draws of `use`.

    Raises:
        TypeError: another target, or data that is no frame.
        ValueError: a model that is not fitted, no model of this package, a history without checks, or data that is of
            another frequency, too short, or lacks columns; argument and value are named.
    """
    for name, value in (("max_windows", max_windows), ("season", season)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} is not allowed; it must be an integer of at least 1")
    models = fitted_models(target)
    if df is None:
        return _of_history(models)
    if isinstance(df, str):
        if df != VALIDATION:
            raise ValueError(f"df={df!r} is not allowed; give a frame, {VALIDATION!r}, or None for the history")
        sight = validation_windows(target, models)
    else:
        sight = data_windows(target, models, df, static_df)
    found = [_of_data(name, model, sight, max_windows, use, season, seed) for name, model in models]
    return Diagnosis(*(_joined([parts[i] for parts in found]) for i in range(6)))


def _of_history(models: list[tuple[str, VariationalModel]]) -> Diagnosis:
    empty = [name for name, model in models if not len(model.history.checks)]
    if len(empty) == len(models):
        raise ValueError(
            f"{', '.join(empty)}: no validation check was recorded (fitted without val_size, by an earlier version, or "
            "with record_windows=0); give data as df"
        )
    frames = [history_frames(name, model) for name, model in models]
    return Diagnosis(_joined([units for units, _ in frames]), _joined([summary for _, summary in frames]))


def _of_data(
    name: str, model: VariationalModel, sight: Sight, max_windows: int, use: bool, season: int, seed: int
) -> tuple[pd.DataFrame, ...]:
    """The six frames of one model."""
    with sight.of(model):
        scored = score_windows(model, sight, max_windows)
        units, scalars = data_frames(name, model, scored.figures)
        memory = persistence(model, sight.dataset, sight.step)
        units = units.merge(memory, on=["layer", "unit"], validate="one_to_one")
        variational = not any(layer.deterministic for layer in model.layers)
        if use and variational and isinstance(model.loss, LatentMixture):
            table = group_use(model, sight.dataset, max_windows=min(512, max_windows), seed=seed, step=sight.step)
            whole = float((table["crps19"] - table["use"]).iloc[0])
            units = with_use(units, table, IGNORED * whole)
            scalars |= {"alive_units": int(units["alive"].sum())}
            scalars |= {"collapse_ignored": float(units["collapse_ignored"].mean())}
        posteriors = posterior_frame(model, sight, scored.figures)
    scalars |= _mean_errors(scored)
    risk = risk_coverage(scored.windows, max(2 * model.h, season), seed=seed)
    frames = (pd.DataFrame([scalars]), scored.windows, risk, scored.calibration, posteriors)
    return units, *(_named(frame, name) for frame in frames)


def _mean_errors(scored: Scored) -> dict[str, float]:
    return {name: float(scored.windows[name].mean()) for name in ("crps19", "mse") if name in scored.windows}


def _named(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    frame = frame.copy()
    frame.insert(0, "model", name)
    return frame


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frames = [frame for frame in frames if not frame.empty]
    if not frames:
        return pd.DataFrame()
    joined = pd.concat(frames, ignore_index=True)
    flags = {name for frame in frames for name in frame.select_dtypes("bool")}
    # a model without a flag has neither True nor False
    return joined.astype({name: "boolean" for name in flags if joined[name].isna().any()})
