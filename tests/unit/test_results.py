from pathlib import Path

import pandas as pd
import pytest

from vdn_forecast.evaluation.leaderboard import as_text, leaderboard
from vdn_forecast.evaluation.results import SCHEMA, ResultTable, cell_identity


def row(cell: str, **values: object) -> dict[str, object]:
    return {"cell": cell, "protocol": "p", "dataset": "d", "h": 1, "model": "m", "seed": 1, **values}


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "new" / "r.csv")
    table.append(row("a", crps19=0.123456789, arguments='{"x": "1,2"}'))
    table.append(row("b", crps19=0.5))
    again = ResultTable(table.path).read()
    assert list(again.columns) == list(SCHEMA)
    assert list(again["cell"]) == ["a", "b"]
    assert again["crps19"].iloc[0] == pytest.approx(0.12345679, abs=1e-8)
    assert again["arguments"].iloc[0] == '{"x": "1,2"}'


def test_a_row_cut_off_by_a_kill_is_dropped_and_runs_again(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "r.csv")
    table.append(row("a", crps19=1.0))
    table.append(row("b", crps19=2.0))
    whole = table.path.read_bytes()
    table.path.write_bytes(whole[:-7])
    again = ResultTable(table.path)
    assert again.cells() == {"a"}
    again.append(row("b", crps19=2.0))
    assert table.path.read_bytes() == whole


def test_another_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("cell,score\na,1\n")
    with pytest.raises(ValueError, match="another schema"):
        ResultTable(path)
    assert path.read_text() == "cell,score\na,1\n"


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scores"):
        ResultTable(tmp_path / "r.csv").append({"scores": 1})


def test_identity_depends_on_every_part_and_not_on_their_order() -> None:
    assert cell_identity(a=1, b={"x": 1, "y": 2}) == cell_identity(b={"y": 2, "x": 1}, a=1)
    assert cell_identity(a=1) != cell_identity(a=2)


def test_leaderboard_averages_seeds_and_ranks_by_crps19() -> None:
    rows = pd.DataFrame(
        [
            row("1", model="worse", crps19=2.0, mse=1, mae=1, coverage80=0.8, fit_seconds=1),
            row("2", model="better", crps19=1.0, mse=1, mae=1, coverage80=0.8, fit_seconds=1),
            row("3", model="better", crps19=2.0, mse=3, mae=1, coverage80=0.8, fit_seconds=1, seed=2),
        ]
    )
    table = leaderboard(rows)
    assert list(table["model"]) == ["better", "worse"]
    assert table["crps19"].iloc[0] == 1.5
    assert table["seeds"].tolist() == [2, 1]
    assert "better" in as_text(table)


def test_two_protocols_never_share_a_table() -> None:
    rows = pd.DataFrame([row("1"), row("2", protocol="q")])
    with pytest.raises(ValueError, match="protocol"):
        leaderboard(rows)
