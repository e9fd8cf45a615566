import csv
import os
from pathlib import Path

import pandas as pd
import pytest

from vdn_forecast.evaluation.leaderboard import as_text, leaderboard
from vdn_forecast.evaluation.results import SCHEMA, SCHEMA_VERSION, ResultTable, Schema, cell_identity


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


@pytest.mark.parametrize("content", ["cell,score\na,1\nb", "cell,score", "cell,protocol\n"])
def test_nothing_is_cut_off_a_file_of_another_schema(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="another schema"):
        ResultTable(path)
    assert path.read_text() == content


@pytest.mark.parametrize("content", ["", "cell,proto", ",".join(SCHEMA)])
def test_a_header_cut_off_by_a_kill_starts_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content)
    table = ResultTable(path)
    assert table.cells() == set()
    table.append(row("a"))
    assert ResultTable(path).cells() == {"a"}


def version_1(path: Path, *cells: str) -> list[list[str]]:
    """A file as version 1 wrote it, and its rows."""
    rows = []
    for cell in cells:
        found = row(cell, arguments='{"x": "1,2"}', crps19="0.12345678", command="run it")
        rows.append([str(found.get(name, "")) for name in SCHEMA[:29]])
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([SCHEMA[:29], *rows])
    return rows


def test_a_file_of_version_1_is_upgraded_and_its_rows_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "r.csv"
    before = version_1(path, "a", "b")
    table = ResultTable(path)
    assert "results schema 1" in caplog.text
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == SCHEMA
    assert rows == [[*values, "", "", "", "1", *[""] * 12] for values in before]
    table.append(row("c", nmae=0.25))
    again = ResultTable(path).read()
    assert again["schema"].tolist() == [1, 1, SCHEMA_VERSION]
    assert again["nmae"].isna().tolist() == [True, True, False]
    once = path.read_bytes()
    ResultTable(path)
    assert path.read_bytes() == once


def test_a_file_of_version_2_keeps_what_its_rows_say(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    found = [{**row("a"), "schema": 1}, {**row("b"), "nmae": "0.25", "schema": 2}]
    rows = [[str(each.get(name, "")) for name in SCHEMA[:33]] for each in found]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([SCHEMA[:33], *rows, rows[0][:29]])
    table = ResultTable(path)
    table.append(row("c", dataset_fingerprint="0123", num_windows=7))
    again = table.read()
    assert again["schema"].tolist() == [1, 2, 1, 3]
    assert again["nmae"].tolist()[1] == 0.25
    assert again["dataset_fingerprint"].iloc[-1] == "0123"  # no number
    assert again["num_windows"].isna().tolist() == [True, True, True, False]


def test_the_order_of_columns_is_kept_for_good() -> None:
    assert SCHEMA[28:34] == ("command", "crps_ratio", "nmae", "crps_ratio_se", "schema", "dataset_fingerprint")
    assert len(SCHEMA) == 45
    assert len(set(SCHEMA)) == 45


def test_an_upgrade_drops_a_half_row_too(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    version_1(path, "a", "b")
    path.write_bytes(path.read_bytes()[:-20])
    assert ResultTable(path).cells() == {"a"}


def test_a_kill_in_the_middle_of_an_upgrade_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.csv"
    version_1(path, "a", "b")
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            ResultTable(path)
    assert path.read_bytes() == before
    assert ResultTable(path).cells() == {"a", "b"}


def test_a_row_with_too_many_values_stops_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    version_1(path, "a")
    path.write_text(path.read_text() + "," * 60 + "\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match="line 3 has 61 values"):
        ResultTable(path)
    assert path.read_bytes() == before


def test_short_rows_of_an_older_process_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    [values] = version_1(path, "a")
    table = ResultTable(path)
    table.append(row("b"))
    with path.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(["late", *values[1:]])
    again = ResultTable(path).read()
    assert again["cell"].tolist() == ["a", "b", "late"]
    assert again["schema"].tolist() == [1, SCHEMA_VERSION, 1]


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


def test_a_suite_may_bring_its_own_schema(tmp_path):
    first = Schema(("cell", "error", "schema"), ((1, 3),))
    path = tmp_path / "own.csv"
    ResultTable(path, first).append({"cell": "a", "error": 0.5})
    with pytest.raises(ValueError, match="unknown columns"):
        ResultTable(path, first).append({"cell": "b", "mse": 0.5})
    with pytest.raises(ValueError, match="another schema"):
        ResultTable(path)
    second = Schema((*first.columns, "bias"), ((1, 3), (2, 4)))
    table = ResultTable(path, second)
    table.append({"cell": "b", "error": 0.25, "bias": 0.1})
    assert path.read_text() == "cell,error,schema,bias\na,0.5,1,\nb,0.25,2,0.1\n"


def test_a_row_of_a_cell_that_is_there_is_left_out_on_request(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "r.csv")
    assert table.append(row("a", crps19=1.0), once=True)
    assert not ResultTable(table.path).append(row("a", crps19=2.0), once=True)
    assert table.find("a")["crps19"] == 1.0  # type: ignore[index]


def test_a_row_after_one_that_another_process_left_half_written_is_whole(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "r.csv")
    table.append(row("a"))
    with table.path.open("a") as file:
        file.write("b,p,d,1")
    assert table.cells() == {"a"}
    table.append(row("c"))
    assert table.cells() == {"a", "c"}
    assert table.path.read_text().count("\n") == 3


def test_a_value_of_several_lines_is_written_as_one(tmp_path: Path) -> None:
    table = ResultTable(tmp_path / "r.csv")
    table.append(row("a", data_note="one\ntwo"))
    assert table.read()["data_note"].iloc[0] == "one | two"
    assert table.path.read_text().count("\n") == 2
