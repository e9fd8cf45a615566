"""Telling a model that shares its weights among series which series a window is of."""

from typing import Any

import pandas as pd

from .frames import check_frame


def tell_series(
    df: pd.DataFrame,
    static_df: pd.DataFrame | None = None,
    *,
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
    column: str = "series",
    cat_emb_dim: int = 16,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """A static column that names the series, and the arguments by which a model takes it as a learned embedding.

    For every model of NeuralForecast that takes static columns. Models of this package give a series that training did
    not see the mean of the embeddings. What it brings, and where it harms: benchmarks/studies/series.md.

        static, told = tell_series(df)
        nf = NeuralForecast(models=[EVE(h=12, input_size=36, **told)], freq="ME")
        nf.fit(df, static_df=static)
        nf.predict(new_df, static_df=tell_series(new_df)[0])

    Args:
        df: long frame.
        static_df: static columns that you have, one row per series. Of those, name the ones a model is to take in its
            `stat_exog_list`, beside the new one.
        id_col, time_col, target_col: columns of `df`.
        column: name of the new one.
        cat_emb_dim: numbers per series; NeuralForecast gives as many to every other categorical column of the model.

    Returns:
        Static frame (a copy of `static_df` with the new column, or ids and column), and the arguments
        `stat_exog_list`, `cat_exog_list`, `categorical_cardinalities`, `cat_emb_dim`.

    Raises:
        TypeError: a frame of another kind; of polars, NeuralForecast takes no static columns of text.
        ValueError: what `check_frame` refuses, cat_emb_dim < 1, a `column` that is taken, a `static_df` without
            `id_col`, with a series twice or without one of df's.
    """
    for name, frame in (("df", df), ("static_df", static_df)):
        if not isinstance(frame, pd.DataFrame) and (name == "df" or frame is not None):
            raise TypeError(f"{name} is a {type(frame).__name__}; it must be a pandas frame")
    check_frame(df, id_col, time_col, target_col)
    if isinstance(cat_emb_dim, bool) or not isinstance(cat_emb_dim, int) or cat_emb_dim < 1:
        raise ValueError(f"cat_emb_dim={cat_emb_dim!r} is not allowed; it must be an integer of at least 1")
    series = pd.DataFrame({id_col: df[id_col].unique()})
    if static_df is not None:
        _check_static(static_df, id_col, series[id_col])
    static = series if static_df is None else static_df
    for name, frame in (("df", df), ("static_df", static)):
        if column in frame.columns:
            raise ValueError(f"column={column!r} is taken: {name} has it already; choose another name")
    arguments = {
        "stat_exog_list": [column],
        "cat_exog_list": [column],
        "categorical_cardinalities": {column: len(static)},
        "cat_emb_dim": cat_emb_dim,
    }
    # as objects: NeuralForecast maps values to numbers, which a column of pandas' categorical dtype does not become
    return static.assign(**{column: static[id_col].astype(object)}), arguments


def _check_static(static_df: pd.DataFrame, id_col: str, series: pd.Series) -> None:
    if id_col not in static_df.columns:
        raise ValueError(f"static_df lacks the column {id_col!r}; it has {list(static_df.columns)}")
    repeated = static_df[id_col].duplicated()
    if repeated.any():
        first = static_df.loc[repeated, id_col].iloc[0]
        raise ValueError(f"static_df repeats a series in {int(repeated.sum())} rows (first: {first!r}); one row each")
    absent = series[~series.isin(static_df[id_col])]
    if len(absent):
        raise ValueError(f"static_df lacks {len(absent)} series of df (first: {absent.iloc[0]!r})")
