"""Pictures of a search: Optuna's own, and how the units of every trial fill their band."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState

from .study import quiet_optuna

SLICED = {
    "kl": ("kl_weight", "kl_min", "kl_width", "kl_max"),
    "band": ("band_target", "band_lower", "band_width", "band_spread", "band_weight"),
}
"""What the slices show."""
_PLACES = {"too_low": ("below", "#4c78a8"), "inside": ("inside", "#d9dde3"), "too_high": ("above", "#d1603d")}
_LEAST = 3  # complete trials, below which an importance is noise


@contextmanager
def _optunas_style() -> Iterator[Any]:
    """Optuna draws with pyplot and sets a global style: both are undone."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'vdn-forecast[plots]'") from error
    with plt.rc_context(), warnings.catch_warnings(), quiet_optuna():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # of values that cannot be shown
        plt.rcParams["figure.constrained_layout.use"] = True  # not after the fact: a colour bar would not fit in
        yield optuna.visualization.matplotlib


def _figure(draw: Callable[[], Any], width: float, height: float) -> Any:
    """The figure of what Optuna drew, taken out of pyplot's hands."""
    import matplotlib.pyplot as plt

    axes = draw()
    figure = np.ravel(axes)[0].figure
    figure.set_size_inches(width, height)
    if figure.get_layout_engine().colorbar_gridspec:  # tight, where Optuna asks for it
        figure.set_layout_engine("constrained")
    plt.close(figure)
    return figure


def optuna_figures(study: optuna.Study, objectives: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Name, figure and caption of Optuna's plots of a study with at least one complete trial.

    Raises:
        ImportError: matplotlib is not installed.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    two = len(objectives) == 2
    with _optunas_style() as draw:
        for number, name in enumerate(objectives):
            target: Any = (lambda trial, number=number: trial.values[number]) if two else None
            options = {"target": target, "target_name": name}

            def history(options: dict[str, Any] = options) -> Any:
                return draw.plot_optimization_history(study, **options)

            yield (
                f"history-{name}",
                _figure(history, 8, 3.8),
                f"{name} of every trial" + ("" if two else "; grey: infeasible"),
            )
            for part, names in SLICED.items():
                searched = sorted(p for p in names if any(p in trial.params for trial in done))
                if not searched:
                    continue

                def slices(options: dict[str, Any] = options, searched: list[str] = searched) -> Any:
                    return _few_ticks(draw.plot_slice(study, params=searched, **options))

                figure = _figure(slices, 2.4 + 2.2 * len(searched), 3.4)
                yield f"slice-{part}-{name}", figure, f"{name} over {', '.join(searched)}; grey: infeasible"
            if len(done) > _LEAST and len({trial.values[number] for trial in done}) > 1:

                def importances(options: dict[str, Any] = options) -> Any:
                    return draw.plot_param_importances(study, **options)

                yield (
                    f"importance-{name}",
                    _figure(importances, 8, 1.6 + 0.24 * len(study.best_trials[0].params if two else done[0].params)),
                    f"importance for {name} (Optuna's PED-ANOVA over complete trials, feasible or not)",
                )
        if two:
            yield (
                "front",
                _figure(lambda: draw.plot_pareto_front(study, target_names=list(objectives)), 7, 4.4),
                "Pareto front of the feasible trials",
            )
        elif any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
            yield (
                "checks",
                _figure(lambda: _without_legend(draw.plot_intermediate_values(study)), 8, 3.8),
                "best validation loss so far of every trial; pruned ones end early, infeasible ones are grey",
            )


def _few_ticks(axes: Any) -> Any:
    """Numbers at every minor tick of a logarithmic axis run into each other."""
    from matplotlib.ticker import NullFormatter

    for axis in np.ravel(axes):
        if axis.get_xscale() == "log":
            axis.xaxis.set_minor_formatter(NullFormatter())
    return axes


def _without_legend(axes: Any) -> Any:
    """One entry per trial would fill the page."""
    if axes.get_legend() is not None:
        axes.get_legend().remove()
    return axes


def band_occupancy(table: pd.DataFrame, objective: str, cap: float | None) -> tuple[Any, Any]:
    """Where the units of every complete trial lie, best trial first, and the objective against their share outside.

    Args:
        table: of `trials_frame`, complete trials only.
        objective: name of the column that trials are ordered by.
        cap: of the share outside; None for none.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'vdn-forecast[plots]'") from error
    table = table.sort_values(objective, ignore_index=True)
    shares = {
        "too_low": table.too_low.to_numpy(np.float64),
        "inside": 1 - table.out.to_numpy(np.float64),
        "too_high": table.too_high.to_numpy(np.float64),
    }
    figure = Figure(figsize=(max(8.0, 5.0 + 0.2 * len(table)), 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    bottom = np.zeros(len(table))
    for name, (label, colour) in _PLACES.items():
        left.bar(np.arange(len(table)), shares[name], bottom=bottom, color=colour, label=label, width=0.85)
        bottom += shares[name]
    left.set_xticks(np.arange(len(table)), [str(n) for n in table.number], fontsize=7, rotation=90)
    left.set_xlabel(f"trial, lowest {objective} first", fontsize=9)
    left.set_ylabel("share of units", fontsize=9)
    left.set_ylim(0, 1)
    regimes = table["param.control"] if "param.control" in table else pd.Series("trials", index=table.index)
    for number, (regime, part) in enumerate(table.groupby(regimes.fillna("fixed"), sort=True)):
        right.plot(part.out, part[objective], "o", ms=5, alpha=0.85, color=f"C{number}", label=str(regime))
    if cap is not None:
        right.axvline(cap, color="0.4", lw=0.9, ls="--")
    right.set_xlabel("share of units outside of their band", fontsize=9)
    right.set_ylabel(objective, fontsize=9)
    left.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    right.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(axis="y", labelsize=8)
    return figure, (left, right)
