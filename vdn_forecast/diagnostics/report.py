"""A saved `NeuralForecast` as one HTML page: what its units do, did in training, and what their certainty is worth."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from neuralforecast import NeuralForecast

from .._version import __version__
from ..evaluation.fan_chart import fan_chart
from ..evaluation.report_html import Block, Heading, Line, Picture, Table, as_html
from ..frames import MASK_COLUMN
from ..losses import LatentMixture
from ..models import VariationalModel
from ..sample_paths import sample_paths
from .diagnosis import VALIDATION, Diagnosis, diagnose
from .forecast_plots import LABELS, calibration_plot, posteriors_plot, risk_coverage_plot
from .plots import band_heatmap, training_dynamics, unit_ranking
from .targets import fitted_models, fitted_sizes

_COLLAPSE = {
    "collapse_prior": "prior: KL at most .005 nats",
    "collapse_constant": "constant: KL, but at most .005 nats of information",
    "collapse_deterministic": "deterministic: σ at its floor",
    "collapse_ignored": "ignored: the forecast loses nothing without their group",
    "collapse_ar": "AR domination: share of the AR term over its cap (1: yes)",
}
_FIGURES = {
    **{"windows": "windows", "crps19": "crps19", "mse": "MSE", "kl_total": "KL, nats, sum over units"},
    **{"local_elbo_total": "local ELBO, nats, sum over units", "mu2_mean": "mean energy", "sigma_mean": "mean σ"},
    **{"kl_weight_mean": "mean KL weight", "active_units": "informed units", "alive_units": "alive units"},
    **{"active_units_paper": "alive units, the paper's test", "inside": "inside mass", "out": "out"},
    **{"frac_too_low": "too low", "frac_too_high": "too high", "out_batch": "out_batch", "out_series": "out_series"},
    **{"ar_share": "AR share", "drift_energy": "drift of energy, per 100 steps", "drift_kl": "drift of KL"},
}


def write_report(
    target: NeuralForecast, out: str | Path, df: pd.DataFrame | None = None, *, max_windows: int = 4096
) -> Path:
    """Write `report.html`, which needs no other file, and the frames as CSV beside it.

    Args:
        target: fitted, with a model of this package.
        out: folder; files of an earlier report are replaced.
        df: data to look at beside the training history; None for the validation windows of the last fit.
        max_windows: as `diagnose`.

    Returns:
        The page.

    Raises:
        ValueError: as `diagnose`; where there is neither a history nor data to look at, why.
        ImportError: matplotlib is not installed.
    """
    history, looked, notes = _both(target, df, max_windows)
    text = as_html("Units of a fitted model", list(_page(target, history, looked, df, notes)))
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for prefix, found in (("history", history), ("data", looked)):
        for name, frame in ({} if found is None else vars(found)).items():
            if not frame.empty:
                _replace(folder / f"{prefix}-{name}.csv", frame.to_csv(index=False))
    _replace(folder / "report.html", text)
    return folder / "report.html"


def _both(
    target: NeuralForecast, df: pd.DataFrame | None, max_windows: int
) -> tuple[Diagnosis | None, Diagnosis | None, list[str]]:
    """History and data; None for what there is not, with the reason."""
    fitted_models(target)
    notes: list[str] = []
    found: list[Diagnosis | None] = []
    for data in (None, VALIDATION if df is None else df):
        try:
            found.append(diagnose(target, data, max_windows=max_windows))
        except ValueError as error:
            if data is df and df is not None:  # what the user asked for
                raise
            found.append(None)
            notes.append(str(error))
    if found == [None, None]:
        raise ValueError("; ".join(notes))
    return found[0], found[1], notes


def _page(
    target: NeuralForecast, history: Diagnosis | None, looked: Diagnosis | None, df: Any, notes: list[str]
) -> Iterator[Block]:
    yield Heading("Units of a fitted model", 1)
    source = "data that was given" if df is not None else "the validation windows of the last fit"
    yield f"vdn_forecast {__version__}. Measured on {source}; docs/diagnostics.md explains every figure."
    yield from notes
    for name, model in fitted_models(target):
        yield Heading(f"{name} ({type(model).__name__})")
        yield from _figures(name, history, looked)
        if history is not None and name in set(history.summary["model"]):
            yield from _training(name, history)
        if looked is not None:
            yield from _data(name, looked)
            yield from _fan(target, name, model, df)


def _of(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["model"] == name].dropna(axis=1, how="all") if "model" in frame else frame[:0]


def _figures(name: str, history: Diagnosis | None, looked: Diagnosis | None) -> Iterator[Block]:
    """Summary side by side: the check whose weights were kept, and data."""
    columns: dict[str, pd.Series] = {}
    if history is not None and len(table := _of(history.summary, name)):
        kept = _kept(table)
        columns[f"kept weights, step {kept['step']:.0f} (up to 256 windows)"] = kept
    if looked is not None:
        columns["on data"] = _of(looked.summary, name).iloc[0]
    for title, names in (("figure", _FIGURES), ("collapse, share of units", _COLLAPSE)):
        lines = [
            Line((label, *(_plain(values.get(key)) for values in columns.values())))
            for key, label in names.items()
            if any(key in values for values in columns.values())
        ]
        if lines:
            yield Table((title, *columns), tuple(lines))


def _kept(summary: pd.DataFrame) -> pd.Series:
    """The check whose weights were kept, the last one where there is none."""
    best = summary[summary["best"].astype(bool)]
    return (best if len(best) else summary).iloc[-1]


def _training(name: str, history: Diagnosis) -> Iterator[Block]:
    summary = _of(history.summary, name)
    kept = int(_kept(summary)["step"])
    yield Heading("Training", 3)
    yield Picture("band", band_heatmap(history.units, name)[0], "Units by energy, lowest at the bottom, at every check")
    yield Picture("dynamics", training_dynamics(history.summary, name)[0], "Means of the loss's terms between checks")
    yield Picture(
        "ranking", unit_ranking(history.units, name, kept)[0], f"Units at step {kept}, whose weights are kept"
    )


def _data(name: str, looked: Diagnosis) -> Iterator[Block]:
    units = _of(looked.units, name)
    yield Heading("On data", 3)
    rank = "kl" if "kl" in units else "energy"
    shown = [column for column in _UNIT_COLUMNS if column in units]
    ordered = units.sort_values(rank, ascending=False)
    few = pd.concat([ordered.head(5), ordered.iloc[5:].tail(5)])
    lines = [Line((f"{row.layer}.{row.unit}", *(_plain(getattr(row, c)) for c in shown))) for row in few.itertuples()]
    yield Table(("unit", *shown), tuple(lines))
    yield f"The units with the highest and lowest {rank}, as layer.unit; all of them are in data-units.csv."
    if len(table := _of(looked.posteriors, name)):
        yield Picture("posteriors", posteriors_plot(table)[0], "Chosen units, from the highest KL to the lowest")
    if len(table := _of(looked.calibration, name)):
        yield Picture("calibration", calibration_plot(table)[0], "Every observed step of every window alike")
    if len(table := _of(looked.risk_coverage, name)):
        yield from _risk(table)


_UNIT_COLUMNS = ("kl", "info", "energy", "signal", "sigma", "position", "lag_1", "lag_h", "half_life", "use", "alive")


def _risk(table: pd.DataFrame) -> Iterator[Block]:
    yield Heading("Does certainty rank errors?", 3)
    lines = []
    for row in table[table["unit"] == "y"].to_dict("records"):
        spread = f"{_plain(row.get('minus_width_low'))} … {_plain(row.get('minus_width_high'))}"
        lines.append(
            Line(
                (
                    f"{row['error']}: {LABELS[row['score']]}",
                    *(_plain(row.get(key)) for key in ("aurc", "excess", "minus_width")),
                    spread,
                    _plain(row.get("partial_spearman")),
                )
            )
        )
    header = ("error: score", "AURC", "above the oracle", "minus the width's", "95 %", "Spearman given width")
    yield Table(header, tuple(lines))
    yield (
        "Scores times the window's scale. Below zero in the fourth column, interval and all: the score ranks errors "
        f"better than the width of the 90 % interval. {int(table['windows'].iloc[0])} windows, whose origins make "
        f"{table['blocks'].iloc[0]:.1f} blocks; of fewer than about ten the interval sees too little."
    )
    yield Picture("risk", risk_coverage_plot(table)[0], "Bars: 95 % intervals over blocks of origins")


def _fan(target: NeuralForecast, name: str, model: VariationalModel, df: Any) -> Iterator[Block]:
    """The last horizon of the data that was looked at, forecast from what comes before."""
    exogenous = [*model.hist_exog_list, *model.futr_exog_list, *model.stat_exog_list]
    if exogenous or not isinstance(model.loss, LatentMixture):
        why = "exogenous columns" if exogenous else f"loss={type(model.loss).__name__}"
        yield f"No fan chart: the model has {why}."
        return
    names = {target.id_col: "unique_id", target.time_col: "ds", target.target_col: "y"}
    kept = [*names, *({MASK_COLUMN} & set(df.columns if df is not None else ()))]
    panel = _kept_frame(target) if df is None else df[kept].rename(columns=names)
    panel = panel.sort_values(["unique_id", "ds"])
    cut = fitted_sizes(model)[1] if df is None else 0  # a test part stays unseen
    place = panel.groupby("unique_id").cumcount(ascending=False)
    history, actual = panel[place >= cut + model.h], panel[(place >= cut) & (place < cut + model.h)]
    view = copy.copy(target)
    view.models = [each for each in target.models if getattr(each, "model", each) is model]
    back = {value: key for key, value in names.items()}
    with _quiet(model):
        forecast = view.predict(df=history.rename(columns=back), level=[50, 80, 90]).rename(columns=names)
        paths = sample_paths(view, history.rename(columns=back), n_paths=12).rename(columns=names)
    figure, _ = fan_chart(history, forecast, repr(view.models[0]), paths, actual)
    yield Picture("fan", figure, "The last horizon of two series: intervals, joint sample paths, what happened")
    import matplotlib.pyplot as plt

    plt.close(figure)


@contextmanager
def _quiet(model: VariationalModel) -> Iterator[None]:
    """No progress bar and no log folder; what the user chose comes back after."""
    before = model.trainer_kwargs
    model.trainer_kwargs = {**before, "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    try:
        yield
    finally:
        model.trainer_kwargs = before


def _kept_frame(target: NeuralForecast) -> pd.DataFrame:
    """The panel that the NeuralForecast keeps, in the unit that its models see (after a `local_scaler_type`)."""
    dataset = target.dataset
    sizes = np.diff(np.asarray(dataset.indptr))
    y = dataset.temporal[:, dataset.y_idx].numpy().astype(np.float64)
    seen = dataset.temporal[:, dataset.temporal_cols.get_loc(MASK_COLUMN)].numpy()
    names = np.repeat(np.asarray(target.uids), sizes)
    return pd.DataFrame({"unique_id": names, "ds": target.ds, "y": np.where(seen > 0, y, 0.0), MASK_COLUMN: seen})


def _plain(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "–"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return f"{float(value):.4g}".replace("-", "−")


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
