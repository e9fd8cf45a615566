"""Panels from a user's table, from a generator, and from a folder of wide CSVs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vdn_forecast.evaluation import data as data_module
from vdn_forecast.evaluation.data import DatasetInfo, load_dataset
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.files import read_wide
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import Protocol
from vdn_forecast.evaluation.sources import synthetic_panel, user_panel

SPLIT = (30, 10, 20)


def wide(rows: int = 60) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-01", periods=rows, freq="D")
    rng = np.random.default_rng(0)
    return pd.DataFrame({"date": stamps, "b": rng.normal(size=rows), "a": rng.normal(size=rows)})


def long(rows: int = 60) -> pd.DataFrame:
    return wide(rows).rename(columns={"date": "ds"}).melt("ds", var_name="unique_id", value_name="y")


def test_csv_parquet_wide_and_long_frames_give_one_panel(tmp_path: Path) -> None:
    table = wide()
    table.to_csv(tmp_path / "mine.csv", index=False)
    table.to_parquet(tmp_path / "mine.parquet")
    long().to_parquet(tmp_path / "long.parquet")
    table.set_index("date").to_parquet(tmp_path / "indexed.parquet")
    sources: list[Any] = [tmp_path / "mine.csv", str(tmp_path / "mine.parquet"), tmp_path / "indexed.parquet", table]
    for source in sources:
        panel = user_panel(source, SPLIT, "D", season=7)
        assert panel.series == ("b", "a")
        np.testing.assert_allclose(panel.values, table[["b", "a"]])
        assert panel.borders == SPLIT
        assert panel.index[0] == pd.Timestamp("2024-01-01")
        assert (panel.info.freq, panel.info.season, panel.scale) == ("D", 7, "original")
    for source in (long().sample(frac=1, random_state=0), tmp_path / "long.parquet"):
        panel = user_panel(source, SPLIT, "D")
        assert panel.series == ("a", "b")
        np.testing.assert_allclose(panel.values, table[["a", "b"]])
    assert user_panel(tmp_path / "mine.csv", SPLIT, "D").name == "mine"
    assert user_panel(table, SPLIT, "D").name == "user"


def test_the_note_tells_two_states_of_the_data_apart() -> None:
    changed = wide()
    changed.loc[3, "a"] += 1e-9
    assert user_panel(wide(), SPLIT, "D").note == user_panel(wide(), SPLIT, "D").note
    assert user_panel(wide(), SPLIT, "D").note != user_panel(changed, SPLIT, "D").note


def test_a_user_panel_runs_under_a_protocol() -> None:
    done = evaluate(NaiveModel(1), user_panel(wide(), SPLIT, "D"), Protocol("probts", 1, 8, 4, "restored"), 5)
    assert done.windows is not None
    assert len(done.windows.windows) == 4  # ceil((20 - 5) / 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": (30, 10, 21)}, "61 rows, the data 60"),
        ({"split": (40, 20)}, "split="),
        ({"split": (40, 0, 20)}, "split="),
        ({"split": (30.0, 10, 20)}, "split="),
        ({"freq": "h"}, "freq='h'"),
        ({"season": 0}, "season=0"),
        ({"name": "ETTh1"}, "ETTh1"),
        ({"source": "data.xlsx"}, "data.xlsx"),
        ({"source": wide().drop(index=5)}, "lacks 1 stamps"),
        ({"source": pd.concat([wide(), wide().tail(1)])}, "repeat"),
        ({"source": wide().assign(a=np.nan, c=1.0)}, "'y' is NaN in 60 rows"),
        ({"source": wide().assign(a=np.inf)}, "infinite"),
        ({"source": wide().assign(a="x")}, "column 'a' has dtype"),
        ({"source": wide().assign(date=range(60))}, "'date' holds numbers"),
        ({"source": wide().assign(date="soon")}, "no datetime"),
        ({"source": wide()[["date"]]}, "1 columns"),
        ({"source": wide().rename(columns={"b": "a"})}, r"columns repeat: \['a'\]"),
        ({"source": long().iloc[:-1]}, "1 of 2 series lack stamps .*'a' lacks 1 of 60"),
        ({"source": long().assign(available_mask=[0.0] + [1.0] * 119)}, "available_mask"),
    ],
)
def test_a_table_that_cannot_be_scored_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"source": wide(), "split": SPLIT, "freq": "D"}
    with pytest.raises(ValueError, match=message):
        user_panel(**{**arguments, **change})


def test_something_that_is_no_table_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="list"):
        user_panel([1, 2], SPLIT, "D")  # type: ignore[arg-type]


def test_a_synthetic_panel_has_its_shape_and_its_seed() -> None:
    panel = synthetic_panel(11, 100, seed=3)
    assert panel.values.shape == (100, 11)
    assert panel.borders == (70, 10, 20)
    assert len(set(panel.series)) == 11
    assert sorted(panel.series) == list(panel.series)
    np.testing.assert_array_equal(panel.values, synthetic_panel(11, 100, seed=3).values)
    assert not np.array_equal(panel.values, synthetic_panel(11, 100, seed=4).values)
    with pytest.raises(ValueError, match="n_rows=0"):
        synthetic_panel(1, 0)


@pytest.fixture
def small_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasets of sixty rows under their real names."""
    for name, family in (("Exchange", "longhorizon"), ("Weather", "longhorizon2")):
        collection = {"Exchange": "exchange_rate/exchange_rate.csv", "Weather": "weather/weather.csv"}[name]
        monkeypatch.setitem(data_module.DATASETS, name, DatasetInfo(family, name, "D", 7, collection=collection))


@pytest.mark.usefixtures("small_exchange")
@pytest.mark.parametrize(
    "place", ["{n}.csv", "raw/{n}.csv", "{c}/{c}.csv", "{c}.csv"], ids=["named", "raw", "collection", "flat"]
)
@pytest.mark.parametrize(("name", "collected"), [("Exchange", "exchange_rate"), ("Weather", "weather")])
def test_a_folder_of_wide_csvs_is_read(tmp_path: Path, place: str, name: str, collected: str) -> None:
    path = tmp_path / place.format(n=name, c=collected)
    path.parent.mkdir(exist_ok=True)
    wide().to_csv(path, index=False)
    panel = load_dataset(name, tmp_path, scale="original")
    assert panel.scale == "original"
    assert panel.borders == (42, 6, 12)
    np.testing.assert_allclose(panel.values, wide()[["b", "a"]])


@pytest.mark.usefixtures("small_exchange")
def test_standardised_values_never_pass_for_original_ones(tmp_path: Path) -> None:
    folder = tmp_path / "longhorizon" / "datasets" / "Exchange" / "M"
    folder.mkdir(parents=True)
    long().to_csv(folder / "df_y.csv", index=False)
    assert load_dataset("Exchange", tmp_path).scale == "standardised"
    with pytest.raises(FileNotFoundError, match=r"'Exchange' is not in .*original scale.*exchange_rate\.csv"):
        load_dataset("Exchange", tmp_path, scale="original")
    with pytest.raises(ValueError, match="scale='raw'"):
        load_dataset("Exchange", tmp_path, scale="raw")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("date,a\n", "0 rows"),
        ("date\n2024-01-01\n", "0 series"),
        ("date,a\n2024-01-01,x\n", "'a' has dtype"),
        ("date,a\n2024-01-01,1\n2024-01-02,\n", "'a' lacks 1 values .first: 2024-01-02"),
    ],
)
def test_a_wide_csv_that_is_damaged_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_wide(path)
