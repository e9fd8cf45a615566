"""What the plots share. No pyplot: nothing global is touched."""

from typing import Any

import pandas as pd

BELOW, INSIDE, ABOVE = "#3b6ea5", "#dfe3e8", "#c8553d"
OURS, OTHER, THIRD = "#1f5fa8", "#7a7f87", "#d1722b"


def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure and its array of axes.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'vdn-forecast[plots]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def plain(axis: Any, title: str = "") -> None:
    """Two spines, small ticks, a title on the left."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
    if title:
        axis.set_title(title, fontsize=10, loc="left")


def one_model(frame: pd.DataFrame, model: str | None, needed: tuple[str, ...], name: str) -> pd.DataFrame:
    """The rows of one model, columns that it lacks left out.

    Args:
        frame: of a `Diagnosis`.
        model: its name; None where the frame holds only one.
        needed: columns that the plot reads.
        name: of the frame, for messages.

    Raises:
        ValueError: an empty frame, several models, an unknown one, or a column that is lacking.
    """
    if frame.empty:
        raise ValueError(f"{name} is empty; there is nothing to draw")
    known = list(dict.fromkeys(frame["model"])) if "model" in frame else []
    if model is None and len(known) > 1:
        raise ValueError(f"{name} holds the models {known}; say which one by model=")
    if model is not None and model not in known:
        raise ValueError(f"model={model!r} is not in {name}; choose from {known}")
    chosen = (frame if model is None else frame[frame["model"] == model]).dropna(axis=1, how="all")
    lacking = [column for column in needed if column not in chosen]
    if lacking:
        raise ValueError(f"{name} lacks {lacking} of this model, which this plot reads; it has {list(chosen.columns)}")
    return chosen
