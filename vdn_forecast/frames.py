"""A check of a user's frame before NeuralForecast takes it: NeuralForecast itself lets most of this pass."""

from typing import Any

import numpy as np
import pandas as pd

MASK_COLUMN = "available_mask"


def check_frame(
    df: Any,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    freq: str | int | pd.offsets.BaseOffset | None = None,
) -> None:
    """Refuse a long frame that cannot be trained on, naming column, count and first offender.

    Args:
        df: pandas frame, or one with `to_pandas` (polars).
        id_col: which series a row belongs to.
        time_col: datetimes or integers, each at most once per series.
        target_col: numbers; NaN or infinite only where a column `available_mask` is 0.
        freq: where given, every series must have every stamp between its first and its last: an offset (or
            its name) for datetimes, the step for integers.

    Raises:
        TypeError: not a frame.
        ValueError: anything of the above.
    """
    frame = df if isinstance(df, pd.DataFrame) or not hasattr(df, "to_pandas") else df.to_pandas()
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"df is a {type(df).__name__}; it must be a pandas or polars frame")
    missing = [name for name in (id_col, time_col, target_col) if name not in frame.columns]
    if missing:
        raise ValueError(f"df lacks the column {missing}; it has {list(frame.columns)}")
    if frame.empty:
        raise ValueError(f"df has 0 rows; at least one row of {id_col}, {time_col}, {target_col} is needed")
    for name in (id_col, time_col):
        _refuse(frame[name].isna().to_numpy(), frame, (id_col, time_col), f"column {name!r} is empty")
    _check_time(frame, time_col)
    repeated = frame.duplicated([id_col, time_col]).to_numpy()
    _refuse(repeated, frame, (id_col, time_col), f"columns {id_col!r} and {time_col!r} repeat an earlier row")
    _check_target(frame, id_col, time_col, target_col)
    if freq is not None:
        _check_steps(frame, id_col, time_col, freq)


def _check_time(frame: pd.DataFrame, time_col: str) -> None:
    kind = frame[time_col].dtype
    if not (pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_integer_dtype(kind)):
        first = frame[time_col].iloc[0]
        raise ValueError(f"column {time_col!r} has dtype {kind} (first: {first!r}); it must hold datetimes or integers")


def _check_target(frame: pd.DataFrame, id_col: str, time_col: str, target_col: str) -> None:
    kind = frame[target_col].dtype
    if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
        first = frame[target_col].iloc[0]
        raise ValueError(f"column {target_col!r} has dtype {kind} (first: {first!r}); it must hold numbers")
    y = frame[target_col].to_numpy(np.float64, na_value=np.nan)
    available = np.ones(len(y), dtype=bool)
    if MASK_COLUMN in frame.columns:
        available = frame[MASK_COLUMN].to_numpy(np.float64, na_value=np.nan) > 0
    if not (available & ~np.isnan(y)).any():
        raise ValueError(f"column {target_col!r} has no available value in any of its {len(y)} rows (all NaN)")
    keys = (id_col, time_col)
    advice = f"fill them and set {MASK_COLUMN!r} to 0 there"
    _refuse(np.isinf(y) & available, frame, keys, f"column {target_col!r} is infinite", advice)
    _refuse(np.isnan(y) & available, frame, keys, f"column {target_col!r} is NaN", advice)


def _check_steps(frame: pd.DataFrame, id_col: str, time_col: str, freq: str | int | pd.offsets.BaseOffset) -> None:
    for name, stamps in frame.groupby(id_col, observed=True, sort=False)[time_col]:
        ordered = stamps.sort_values()
        first, last = ordered.iloc[0], ordered.iloc[-1]
        steps: Any = range(first, last + 1, freq) if isinstance(freq, int) else pd.date_range(first, last, freq=freq)
        expected = pd.Index(steps)
        outside = ordered[~ordered.isin(expected)]
        absent = expected[~expected.isin(ordered)]
        for wrong, verb in ((list(outside), "has"), (list(absent), "lacks")):
            if wrong:
                raise ValueError(
                    f"column {time_col!r} of series {str(name)!r} {verb} {len(wrong)} stamps that "
                    f"freq={freq!r} {'does not reach' if verb == 'has' else 'demands'} (first: {wrong[0]})"
                )


def _refuse(bad: np.ndarray, frame: pd.DataFrame, keys: tuple[str, str], what: str, advice: str = "") -> None:
    count = int(bad.sum())
    if count:
        row = frame.iloc[int(bad.argmax())]
        where = ", ".join(f"{key}={row[key]!s}" for key in keys)
        raise ValueError(f"{what} in {count} rows (first: {where})" + (f"; {advice}" if advice else ""))
