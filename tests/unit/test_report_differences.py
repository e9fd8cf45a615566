"""Verdicts of a report: which pairs form a family, on which origins, and what is said where there is no test."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vdn_forecast_cli
from vdn_forecast.evaluation.differences import paired_difference
from vdn_forecast.evaluation.report import page, write_report
from vdn_forecast.evaluation.report_differences import difference_families
from vdn_forecast.evaluation.report_html import Table
from vdn_forecast.evaluation.report_tables import REQUIRED

LTSF = "name=ltsf;version=1;input_size=336;stride=1;scale=train"
PROBTS = "name=probts;version=1;input_size=96;stride=96;scale=restored"
LEVEL = {"EVE": 0.9, "T1": 1.0, "Naive": 1.5}


def suite(folder: Path, tasks: dict[tuple[str, int], int], seeds: int = 5, protocol: str = LTSF) -> pd.DataFrame:
    """Rows and their errors per origin; `tasks` maps (dataset, h) to the number of origins."""
    (folder / "origins").mkdir(exist_ok=True)
    rows: list[dict[str, Any]] = []
    for (dataset, h), origins in tasks.items():
        shared = np.random.default_rng(len(rows)).standard_normal(origins)
        for model, level in LEVEL.items():
            for seed in range(1, (seeds if model != "Naive" else 1) + 1):
                own = np.random.default_rng([len(rows), seed]).standard_normal(origins)
                values = (level + 0.2 * shared + 0.05 * own).astype(np.float32)
                cell = f"{model}-{dataset}-{h}-{seed}"
                table = pd.DataFrame({"origin": np.arange(origins), "crps19": values, "mse": 2 * values})
                if "probts" in protocol:
                    table["crps_ratio"] = 3 * values
                # a file's rows may come in any order
                table.sample(frac=1, random_state=1).to_parquet(folder / "origins" / f"{cell}.parquet")
                rows.append(
                    {"cell": cell, "protocol": protocol, "dataset": dataset, "h": h, "model": model, "seed": seed}
                    | ({"crps_ratio": 1.0} if "probts" in protocol else {})
                )
    return pd.DataFrame(rows)


def errors(folder: Path, model: str, dataset: str, h: int, seeds: int, measure: str = "crps19") -> np.ndarray:
    found = [
        pd.read_parquet(folder / "origins" / f"{model}-{dataset}-{h}-{seed}.parquet").sort_values("origin")[measure]
        for seed in range(1, seeds + 1)
    ]
    return np.stack(found).astype(np.float64)


def test_the_first_family_is_peers_by_datasets_at_the_shortest_horizon(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785, ("ETTh1", 192): 2689, ("Exchange", 96): 1422})
    first, means, mse, mse_means = difference_families(rows, tmp_path, "EVE")
    assert (first.title, mse.title) == (
        "crps19, shortest horizon of each dataset",
        "mse, shortest horizon of each dataset",
    )
    table = first.table
    assert table[["dataset", "h", "peer"]].to_numpy().tolist() == [
        ["ETTh1", "96", "T1"],
        ["ETTh1", "96", "Naive"],
        ["Exchange", "96", "T1"],
        ["Exchange", "96", "Naive"],
    ]
    assert table["verdict"].tolist() == ["significantly better"] * 2 + ["interval only"] * 2
    expected = paired_difference(errors(tmp_path, "EVE", "ETTh1", 96, 5), errors(tmp_path, "T1", "ETTh1", 96, 5), 192)
    assert table.loc[0, ["difference", "low", "high", "p"]].tolist() == [
        expected.mean,
        expected.low,
        expected.high,
        expected.p,
    ]
    assert table.loc[0, "blocks"] == pytest.approx(2785 / 192)
    assert mse.table.loc[0, "difference"] == pytest.approx(2 * table.loc[0, "difference"], rel=1e-5)
    assert mse_means.title == "mse, mean over horizons"
    assert means.table["dataset"].tolist() == ["ETTh1", "ETTh1"]  # Exchange has one horizon


def test_horizon_means_pair_the_origins_that_all_horizons_have(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785, ("ETTh1", 720): 2161})
    _, means, *_ = difference_families(rows, tmp_path, "EVE")
    one, other = (
        (errors(tmp_path, model, "ETTh1", 96, 5)[:, :2161] + errors(tmp_path, model, "ETTh1", 720, 5)) / 2
        for model in ("EVE", "T1")
    )
    expected = paired_difference(one, other, 1440)
    assert means.table.loc[0, "difference"] == pytest.approx(expected.mean)
    assert means.table.loc[0, "h"] == "mean of 96, 720"
    assert means.table["verdict"].str.startswith("undecided: 1.5 of 10 blocks").all()
    assert "ETTh1 (1.5)" in means.warning


def test_a_report_of_two_files_and_some_lines_has_the_horizon_means(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785, ("ETTh1", 192): 2689})
    figures = dict.fromkeys(REQUIRED, 1.0) | {"versions": "", "command": "", "arguments": "{}"}
    rows = rows.assign(**{name: value for name, value in figures.items() if name not in rows})
    paths = [tmp_path / "short.csv", tmp_path / "long.csv"]
    for path, h in zip(paths, (96, 192), strict=True):
        rows[rows["h"] == h].to_csv(path, index=False)
    words = ["benchmark", "report", *map(str, paths), "--lines", "EVE", "T1", "--out", str(tmp_path / "o")]
    assert vdn_forecast_cli.main(words) == 0
    text = (tmp_path / "o" / "report.md").read_text()
    assert text.startswith("# Benchmark report: short, long")
    section = text.split("Family: crps19, mean over horizons.")[1].split("Family")[0]
    assert re.search(r"\| ETTh1 \| mean of 96, 192 \| T1 \| −0\.1", section)
    assert "Naive" not in text


def test_lines_without_rows_and_files_of_two_folders_are_refused(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785}, seeds=1)
    figures = dict.fromkeys(REQUIRED, 1.0) | {"versions": "", "command": "", "arguments": "{}"}
    rows = rows.assign(**{name: value for name, value in figures.items() if name not in rows})
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "a.csv", tmp_path / "other" / "b.csv"]
    for path in paths:
        rows.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"lines=\['T9'\] have no rows; there are \['EVE', 'Naive', 'T1'\]"):
        write_report(paths[0], tmp_path / "o", lines=["EVE", "T9"])
    with pytest.raises(ValueError, match="lie in one folder"):
        write_report(paths, tmp_path / "o")


def test_enough_blocks_need_no_warning(tmp_path: Path) -> None:
    (first, *_) = difference_families(suite(tmp_path, {("ETTh1", 96): 2785}), tmp_path, "EVE")
    assert first.warning == ""


def test_probts_is_judged_by_what_ranks_it(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 29}, protocol=PROBTS)
    (first, *_) = difference_families(rows, tmp_path, "EVE")
    assert first.title.startswith("crps_ratio")
    assert first.table.loc[0, "difference"] == pytest.approx(-0.3, abs=0.1)
    assert first.table.loc[0, "blocks"] == 14.5  # two origins a block: 192 rows, one origin every 96


def test_pairs_without_a_test_are_named(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785, ("Exchange", 720): 798, ("ETTh2", 96): 2785}, seeds=2)
    (tmp_path / "origins" / "T1-ETTh1-96-2.parquet").unlink()  # one seed of two is left
    (tmp_path / "origins" / "Naive-ETTh1-96-1.parquet").unlink()
    (first, *_) = difference_families(rows, tmp_path, "EVE")
    assert first.table[["dataset", "peer", "seeds"]].to_numpy().tolist() == [
        ["ETTh1", "T1", 1],
        ["ETTh2", "T1", 2],
        ["ETTh2", "Naive", 2],
    ]
    text = " ".join(first.left_out)
    assert "ETTh1: EVE against Naive has no test, Naive lacks errors per origin." in text
    assert "798 origins are no more than one block of 1440" in text


def test_rows_without_files_or_without_the_candidate_have_no_section(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 96): 2785}, seeds=1)
    assert list(difference_families(rows, tmp_path, "EVA")) == []
    assert list(difference_families(rows, tmp_path / "elsewhere", "EVE")) == []
    with pytest.raises(ValueError, match="protocol"):
        list(difference_families(pd.concat([rows, rows.assign(protocol=PROBTS)]), tmp_path, "EVE"))


def test_the_page_states_blocks_and_warns(tmp_path: Path) -> None:
    rows = suite(tmp_path, {("ETTh1", 720): 2161}, seeds=2)
    figures = ("mse", "mae", "crps19", "coverage80", "coverage90", "fit_seconds", "predict_seconds", "n_parameters")
    rows = rows.assign(**dict.fromkeys(figures, 1.0), peak_mb=1.0, input_size=336, versions="", command="")
    blocks = list(page("t", rows, reference="T1", errors=tmp_path))
    table = next(block for block in blocks if isinstance(block, Table) and "p (Holm)" in block.header)
    line = dict(zip(table.header, table.lines[0].cells, strict=True))
    assert (line["blocks"], line["seeds"], line["peer"]) == ("1.5", "2", "T1")
    assert line["difference"].startswith("−0.1")
    assert any(isinstance(block, str) and "Fewer than 10 independent blocks" in block for block in blocks)
