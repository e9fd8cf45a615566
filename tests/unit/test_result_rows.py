"""Rows of the benchmarks' CSV files: added, replaced by key, found again."""

import pandas as pd

from benchmarks.rows import missing, put, put_shown


def test_rows_replace_those_of_the_same_key(tmp_path, capsys):
    out = tmp_path / "rows.csv"
    put_shown([{"case": "a", "threads": 1, "ms": 1.0}, {"case": "b", "threads": 1, "ms": 2.0}], ["case"], "one", out)
    put_shown([{"case": "b", "threads": 2, "ms": 3.0}, {"case": "c", "threads": 2, "ms": 4.0}], ["case"], "two", out)
    rows = pd.read_csv(out)
    assert list(rows["case"]) == ["a", "b", "c"]
    assert list(rows["ms"]) == [1.0, 3.0, 4.0]
    assert list(rows["command"]) == ["one", "two", "two"]
    assert list(tmp_path.iterdir()) == [out]
    put_shown([{"case": "d"}], ["case"], "none", None)
    assert "d" in capsys.readouterr().out


def test_a_key_of_several_kinds_is_found_again_after_writing(tmp_path):
    out = tmp_path / "deep" / "rows.csv"
    key = {"dataset": "ILI", "kl_weight": 3e-4, "band": 1.0, "seed": 1}
    assert missing(out, key)
    for value in (1.0, 2.0):
        put(pd.DataFrame([{"value": value}]).assign(**key), list(key), "command", out)
    assert list(pd.read_csv(out)["value"]) == [2.0]
    assert not missing(out, key)
    assert missing(out, key | {"kl_weight": 1e-3})
