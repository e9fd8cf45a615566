"""Reports: figures by hand, protocols kept apart, published rows visibly so, pages that need nothing else."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vdn_forecast_cli
from vdn_forecast.evaluation import report_plots as plots
from vdn_forecast.evaluation import report_tables as tables
from vdn_forecast.evaluation.report import page, write_report
from vdn_forecast.evaluation.report_html import Picture, Table
from vdn_forecast.evaluation.results import SCHEMA, ResultTable

LTSF = "name=ltsf;version=1;input_size=336;stride=1;scale=train"
PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "published.csv"
MODELS = {"EVE": 0.9, "twin": 1.0, "SeasonalNaive": 1.5}


def row(model: str, dataset: str = "ETTh1", seed: int = 1, error: float = 1.0, **values: Any) -> dict[str, Any]:
    return {
        "cell": f"{model}-{dataset}-{seed}-{len(values)}", "protocol": LTSF, "dataset": dataset, "h": 96,
        "input_size": 336, "model": model, "arguments": "{}", "seed": seed, "mse": error**2, "mae": error,
        "mae_mean": error, "crps19": error, "coverage80": 0.8, "coverage90": 0.9, "fit_seconds": 10.0 * error,
        "predict_seconds": 1.0, "n_parameters": 0 if model == "SeasonalNaive" else 1000, "peak_mb": 100.0,
        "versions": "vdn-forecast 0.1.0 (abc1234+), torch 2", "command": "run <it>",
    } | values  # fmt: skip


def panel(datasets: tuple[str, ...] = ("ETTh1", "ETTh2")) -> list[dict[str, Any]]:
    return [
        row(model, dataset, seed, error * (1 + 0.01 * seed))
        for dataset in datasets
        for model, error in MODELS.items()
        for seed in (1, 2)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    table = ResultTable(path)
    for values in rows:
        table.append({name: value for name, value in values.items() if name in SCHEMA})
    return path


@pytest.fixture
def frame(tmp_path: Path) -> pd.DataFrame:
    return tables.read_rows(write(tmp_path / "r.csv", panel()))


def test_summary_is_mean_and_deviation_over_seeds(frame: pd.DataFrame) -> None:
    table = tables.summary_table(frame[frame["dataset"] == "ETTh1"]).set_index("model")
    assert list(table.index) == ["EVE", "twin", "SeasonalNaive"]
    assert table.loc["twin", "crps19"] == pytest.approx(1.015)
    assert table.loc["twin", "crps19_std"] == pytest.approx(np.std([1.01, 1.02], ddof=1))
    assert table["seeds"].tolist() == [2, 2, 2]
    assert table["failed"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("change", [{"protocol": LTSF.replace("336", "96")}, {"dataset": "ETTh2"}, {"h": 192}])
def test_one_table_mixes_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        tables.summary_table(pd.DataFrame([row("EVE"), row("EVE", **change)]))


def test_averages_do_not_mix_protocols() -> None:
    rows = pd.DataFrame([row("EVE"), row("EVE", protocol=LTSF.replace("336", "96"))])
    with pytest.raises(ValueError, match="protocol"):
        tables.task_errors(rows)


def test_look_backs_get_sections_of_their_own() -> None:
    other = [values | {"protocol": LTSF.replace("336", "96"), "input_size": 96} for values in panel()]
    blocks = list(page("t", pd.DataFrame(panel() + other)))
    lines = [
        block for block in blocks if isinstance(block, Table) and block.header[0] == "model" and "L" in block.header
    ]
    assert len(lines) == 4
    assert all(len({line.cells[1] for line in table.lines}) == 1 for table in lines)
    names = [block.name for block in blocks if isinstance(block, Picture)]
    assert len(names) == len(set(names)) == 6


def test_win_rate_and_skill_by_hand() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 1)], names=["dataset", "h"])
    errors = pd.DataFrame({"x": [1.0, 2.0], "y": [2.0, 2.0], "base": [2.0, 4.0]}, index)
    table = tables.ranking(errors, "base", draws=2000).set_index("model")
    # a: x beats both, y and base tie; b: x and y tie, both beat base
    assert table["win_rate"].to_dict() == {"x": 0.875, "y": 0.5, "base": 0.125}
    assert table.loc["x", "skill"] == pytest.approx(0.5)
    assert table.loc["y", "skill"] == pytest.approx(1 - np.sqrt(0.5))
    assert table.loc["base", ["skill", "skill_low", "skill_high"]].tolist() == [0, 0, 0]
    # of two datasets a draw is either of them twice, or both
    assert table.loc["y", "skill_low"] == pytest.approx(0)
    assert table.loc["y", "skill_high"] == pytest.approx(0.5)


def test_relative_errors_are_clipped_and_one_dataset_gives_no_interval() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["dataset", "h"])
    errors = pd.DataFrame({"x": [1e-6, 1.0], "y": [1e6, 1.0], "base": [1.0, 1.0]}, index)
    table = tables.ranking(errors, "base").set_index("model")
    assert table.loc["x", "skill"] == pytest.approx(0.9)
    assert table.loc["y", "skill"] == pytest.approx(-9)
    assert table[["skill_low", "skill_high", "win_low"]].isna().to_numpy().all()
    with pytest.raises(ValueError, match="baseline='z'"):
        tables.ranking(errors, "z")
    with pytest.raises(ValueError, match="above zero"):
        tables.ranking(errors.assign(x=[np.nan, 1.0]), "base")


def test_an_unfinished_task_is_named_and_stays_out_of_averages() -> None:
    rows = [values for values in panel() if (values["model"], values["dataset"]) != ("SeasonalNaive", "ETTh2")]
    text = " ".join(block for block in page("t", pd.DataFrame(rows)) if isinstance(block, str))
    assert "leave out ETTh2 h=96" in text
    assert "tasks: 1, datasets: 1" in text


def test_averages_take_the_most_cells_without_a_gap() -> None:
    """A model of one task is left out, one of two as well (of equals more tasks), unless it has to stay."""
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 1), ("c", 1)], names=["dataset", "h"])
    errors = pd.DataFrame({"x": 1.0, "y": 2.0, "slow": [1.0, np.nan, np.nan], "z": [1.0, 1.0, np.nan]}, index)
    assert tables.complete_tasks(errors).equals(errors[["x", "y"]])
    assert tables.complete_tasks(errors.assign(w=[3.0, 3.0, np.nan])).equals(
        errors.assign(w=3.0)[["x", "y", "z", "w"]].iloc[:2]
    )
    assert tables.complete_tasks(errors, ["x", "slow", "absent"]).equals(errors.iloc[:1])
    none = errors.assign(x=np.nan)
    assert tables.complete_tasks(none[["x"]]).empty


def test_models_that_averages_leave_out_are_named() -> None:
    rows = [values for values in panel() if (values["model"], values["dataset"]) != ("EVE", "ETTh2")]
    text = " ".join(block for block in page("t", pd.DataFrame(rows)) if isinstance(block, str))
    assert "leave out models without a result on some of them: EVE" in text
    assert "tasks: 2, datasets: 2" in text


def test_the_last_of_several_rows_counts_and_a_half_row_does_not(tmp_path: Path) -> None:
    again = row("EVE", error=0.5, cell="again")
    path = write(tmp_path / "r.csv", [*panel(), again])
    whole = path.read_bytes()
    path.write_bytes(whole + b"half,a,row")
    rows = tables.read_rows(path)
    assert path.read_bytes() == whole + b"half,a,row"
    assert len(rows) == len(panel())
    assert rows[(rows["model"] == "EVE") & (rows["dataset"] == "ETTh1") & (rows["seed"] == 1)]["crps19"].item() == 0.5
    assert any("1 rows were left out" in block for block in page("t", rows) if isinstance(block, str))


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("cell,mse\na,1\n")
    with pytest.raises(ValueError, match="crps19"):
        tables.read_rows(tmp_path / "r.csv")
    (tmp_path / "e.csv").write_text(",".join(SCHEMA) + "\n")
    with pytest.raises(ValueError, match="no row"):
        tables.read_rows(tmp_path / "e.csv")
    with pytest.raises(ValueError, match="columns"):
        tables.read_published(tmp_path / "r.csv")


def test_a_failed_seed_is_counted_not_averaged() -> None:
    table = tables.summary_table(pd.DataFrame([row("EVE"), row("EVE", seed=2, error=float("nan")), row("twin")]))
    eve = table.set_index("model").loc["EVE"]
    assert (eve["crps19"], eve["seeds"], eve["failed"]) == (1.0, 1, 1)


def test_ratios_of_probts_rank_where_they_are() -> None:
    rows = pd.DataFrame([row("EVE", crps_ratio=0.3, nmae=0.4), row("twin", error=0.5, crps_ratio=0.5, nmae=0.6)])
    assert tables.summary_table(rows.assign(protocol="name=probts"))["model"].tolist() == ["EVE", "twin"]
    table = next(block for block in page("t", rows) if isinstance(block, Table))
    assert "NMAE" in table.header


def keep_errors(folder: Path, rows: list[dict[str, Any]], origins: int = 2785) -> None:
    """Errors per origin and step beside a results file, around each row's own."""
    for values in rows:
        generator = np.random.default_rng([values["seed"], values["h"], len(values["dataset"])])
        shared = 0.05 * np.convolve(generator.standard_normal(origins + 95), np.ones(96) / 96**0.5, "valid")
        measures = {name: values[name] * (1 + shared) for name in ("crps19", "mse", "mae")}
        by_step = {name: values[name] * np.linspace(0.5, 1.5, 96) for name in measures}
        for kind, table in (("origins", measures), ("steps", by_step)):
            (folder / kind).mkdir(exist_ok=True)
            number = {"origin" if kind == "origins" else "step": np.arange(len(table["mse"]))}
            pd.DataFrame(number | table).to_parquet(folder / kind / f"{values['cell']}.parquet", index=False)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    rows = panel()
    write(tmp_path / "r.csv", rows)
    keep_errors(tmp_path, rows)
    write_report(tmp_path / "r.csv", tmp_path / "out", PUBLISHED)
    return tmp_path / "out"


def test_the_page_is_self_contained_and_marks_published_rows(written: Path) -> None:
    text = (written / "report.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:image/png;base64,)|@import|url\(|<script|<link", text)
    assert text.count("data:image/png;base64,") == 5  # two by step, heatmap, cost, skill
    assert "run &lt;it&gt;" in text
    ours = [line for line in text.splitlines() if line.startswith("<tr><td>EVE<")]
    theirs = [line for line in text.splitlines() if "<td>PatchTST/42 <" in line]
    assert ours
    assert "published" not in "".join(ours)
    assert len(theirs) == 2
    assert all(line.startswith('<tr class="published">') and ">published</span>" in line for line in theirs)
    assert "undecided: 2 of 5 seeds" in text
    assert "No critical-difference diagram" in text


def test_only_clean_rows_of_the_same_look_back_share_a_table(written: Path) -> None:
    first, second, *_ = re.findall(r"<tbody>(.*?)</tbody>", (written / "report.html").read_text(), re.DOTALL)
    assert "CycleNet/linear" in first
    assert "TimeBridge" not in first
    assert "TimeBridge" in second
    assert ">biased<" in second


def test_markdown_and_csv_say_the_same(written: Path) -> None:
    text = (written / "report.md").read_text()
    assert "**0.9135 ± 0.0064**" in text
    assert "*PatchTST/42* (published)" in text
    for name in re.findall(r"\]\((\S+\.png)\)", text):
        assert (written / name).stat().st_size > 1000
    rows = pd.read_csv(written / "report.csv")
    assert list(rows.columns[:5]) == ["model_name", "task_name", "dataset", "dataset_fingerprint", "horizon"]
    assert rows["commit"].unique().tolist() == ["abc1234+"]
    assert rows["seasonality"].unique().tolist() == [24]
    assert rows["task_name"].nunique() == 2
    assert not rows["trained_on_this_dataset"].any()


def test_the_csv_carries_fevs_columns_and_what_ranks() -> None:
    filled = {"dataset_fingerprint": "14400x7-00ff00ff00ff", "num_windows": 2785, "mase": 0.9, "wql": 0.1, "sql": 0.7}
    probts = {"protocol": LTSF.replace("ltsf", "probts"), "crps_ratio": 0.25, "nmae": 0.3}
    rows = tables.fev_table(pd.DataFrame([row("EVE", **filled, mase_season=24), row("EVE", **probts), row("twin")]))
    first = rows.iloc[0]
    assert (first["num_windows"], first["num_forecasts"], first["seasonality"]) == (2785, 2785 * 7, 24)
    assert (first["MASE"], first["WQL"], first["SQL"]) == (0.9, 0.1, 0.7)
    assert rows["eval_metric"].tolist() == ["crps19", "crps_ratio", "crps19"]
    assert rows["test_error"].tolist() == [1.0, 0.25, 1.0]
    assert rows["MASE"].isna().tolist() == [False, True, True]


def test_a_row_that_says_more_gets_a_second_table() -> None:
    more: dict[str, Any] = {
        "coverage80_cal": 0.81,
        "width80": 1.5,
        "width80_cal": 1.25,
        "mase": 0.9,
        "energy_score": 3.0,
    }
    more["data_note"] = "regular index; paths: own mixture, 100 each, 199 of 2785 origins"
    found = [block for block in page("t", pd.DataFrame([row("EVE", **more), row("twin")])) if isinstance(block, Table)]
    assert "calibrated" in found[1].header
    assert found[1].lines[0].cells[found[1].header.index("energy score")] == "3.000"
    assert found[1].lines[1].cells[found[1].header.index("MASE")] == "–"
    assert [line.cells[found[1].header.index("paths from")] for line in found[1].lines] == ["own mixture", "–"]
    plain = [block for block in page("t", pd.DataFrame([row("EVE"), row("twin")])) if isinstance(block, Table)]
    assert "calibrated" not in plain[1].header


def test_plots_return_figure_and_axes_and_leave_pyplot_alone(frame: pd.DataFrame) -> None:
    errors = tables.task_errors(frame)
    figure, axis = plots.relative_heatmap(errors, "twin")
    assert axis.figure is figure
    assert [label.get_text() for label in axis.get_yticklabels()] == ["EVE", "twin", "SeasonalNaive"]
    figure, axes = plots.cost_scatter(tables.cost_table(frame, "twin"), "twin")
    assert len(axes) == 2
    figure, axis = plots.skill_intervals(tables.ranking(errors, "SeasonalNaive"), "SeasonalNaive")
    assert axis.figure is figure
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


def test_one_slow_run_of_three_does_not_move_the_cost(frame: pd.DataFrame) -> None:
    frame = pd.concat([frame.assign(seed=seed) for seed in (1, 2, 3)], ignore_index=True)
    usual = tables.cost_table(frame, "twin")
    slow = frame.copy()
    slow.loc[slow.index[0], "fit_seconds"] = 1e6
    found = tables.cost_table(slow, "twin")
    assert found["fit_seconds"].max() < 2 * usual["fit_seconds"].max()
    pd.testing.assert_frame_equal(found.drop(columns="fit_seconds"), usual.drop(columns="fit_seconds"))


def test_rank_diagram_needs_datasets_and_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tables.task_errors(pd.DataFrame(panel()))
    with pytest.raises(ValueError, match="5 datasets"):
        plots.critical_difference(few)
    many = tables.task_errors(pd.DataFrame(panel(("ETTh1", "ETTh2", "ETTm1", "ETTm2", "ECL"))))
    monkeypatch.setattr(plots.importlib.util, "find_spec", lambda name: None)
    assert "scikit-posthocs" in plots.can_rank(many)


def test_rank_diagram_of_rows_joins_what_nemenyi_does_not_part(tmp_path: Path) -> None:
    pytest.importorskip("scikit_posthocs")
    from scipy import stats

    models = {"EVE": 1.0, "twin": 1.001, "NHITS": 1.5, "Naive": 3.0}
    datasets = ("ETTh1", "ETTh2", "ETTm1", "ETTm2", "ECL", "Weather", "Exchange", "TrafficL")
    rows = [
        row(model, dataset, 1, error * (1 + 0.002 * (number % 2) * (model == "EVE")))
        for number, dataset in enumerate(datasets)
        for model, error in models.items()
    ]
    blocks = list(page("t", tables.read_rows(write(tmp_path / "r.csv", rows)), reference="twin"))
    picture = next(block for block in blocks if isinstance(block, Picture) and block.name.startswith("ranks"))
    axis = picture.figure.axes[0]
    texts = " ".join(text.get_text() for text in axis.texts)
    ranks = {"EVE": 1.5, "twin": 1.5, "NHITS": 3.0, "Naive": 4.0}
    for model, rank in ranks.items():
        assert re.search(rf"{model}\s*\({rank:g}\)|\({rank:g}\)\s*{model}", texts), texts
    # Nemenyi's critical difference by hand; the bars join the models that lie closer than that
    k, n = len(models), len(datasets)
    critical = stats.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    assert 1.5 < critical < 2.5
    bars = sorted(
        (float(min(line.get_xdata())), float(max(line.get_xdata())))
        for line in axis.lines
        if len(set(line.get_ydata())) == 1 and len(set(line.get_xdata())) > 1
    )
    joined = {bar for bar in bars if bar[0] in ranks.values() and bar[1] in ranks.values()}
    assert joined == {(1.5, 3.0), (3.0, 4.0)}


def test_report_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "r.csv", panel(("ETTh1",)))
    assert vdn_forecast_cli.main(["benchmark", "report", str(path), "--out", str(tmp_path / "o")]) == 0
    assert Path(capsys.readouterr().out.strip()).exists()
    assert "published" not in (tmp_path / "o" / "report.md").read_text()


def test_the_report_command_takes_its_candidate(tmp_path: Path) -> None:
    rows = panel(("ETTh1",))
    path = write(tmp_path / "r.csv", rows)
    keep_errors(tmp_path, rows)
    words = ["benchmark", "report", str(path), "--out", str(tmp_path / "o"), "--candidate", "twin"]
    assert vdn_forecast_cli.main(words) == 0
    assert "Tests of difference: twin against each other line" in (tmp_path / "o" / "report.md").read_text()


def test_the_run_command_keeps_windows_and_scores_paths_where_asked(tmp_path: Path) -> None:
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "name: s\nprotocol: embedded\ndatasets: {AirPassengers: 12}\nseeds: [1]\n"
        "models: {SeasonalNaive: {model: SeasonalNaive}}\n"
    )
    for number, flags in enumerate(([], ["--windows", "--paths"])):
        out = tmp_path / f"out{number}"
        assert vdn_forecast_cli.main(["benchmark", "run", str(suite), "--out", str(out), *flags]) == 0
        assert len(list((out / "origins").glob("*.parquet"))) == len(list((out / "steps").glob("*.parquet"))) == 1
        assert (out / "windows").exists() is bool(flags)
        assert tables.read_rows(out / "s.csv")["energy_score"].notna().all() == bool(flags)


def test_published_figures_have_their_schema_and_lie_in_range() -> None:
    rows = tables.read_published(PUBLISHED)
    assert not rows[["model", "source", "protocol_note", "mse", "mae"]].isna().any().any()
    assert rows["mse"].between(0.05, 7).all()
    assert rows["mae"].between(0.15, 2).all()
    assert (np.sqrt(rows["mse"]) >= rows["mae"] - 0.001).all()  # Jensen: a swapped pair would break it
    assert not rows.duplicated(["dataset", "h", "input_size", "model", "source"]).any()
    short = np.where(rows["dataset"] == "ILI", 24, 96)
    same = rows[(rows["input_size"] == 336) & (rows["kind"] == "clean")]
    assert (rows["h"] == short)[~rows.index.isin(same.index)].all()
    assert set(same["h"]) == {96, 192, 336, 720}
    assert same.groupby(["dataset", "h"]).size().eq(4).all()
    assert rows[rows["kind"] == "searched"]["input_size"].isna().all()
    known = rows.set_index(["dataset", "h", "model", "input_size"])["mse"]
    assert known["ETTh1", 96, "DLinear", 336] == 0.384
    assert known["TrafficL", 96, "TimeBridge", 720] == 0.319
    assert known["ETTh2", 720, "CycleNet/mlp", 336] == 0.429
