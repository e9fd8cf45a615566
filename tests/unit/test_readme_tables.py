"""The tables of README and docs are those of the committed results, and the table of paths is that of its files."""

import re

import pandas as pd
import pytest

from benchmarks import horizons, tables
from benchmarks.paths.__main__ import compare
from vdn_forecast.evaluation.report_tables import REQUIRED


def test_pages_hold_the_tables_of_the_results(tmp_path, monkeypatch):
    texts = {page: (tables.ROOT / page).read_text() for page in tables.PAGES}
    for page, text in texts.items():
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(text)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    tables.main()
    assert {page: (tmp_path / page).read_text() for page in texts} == texts


@pytest.mark.parametrize("page", [*tables.PAGES, "docs/diagnostics.md", "benchmarks/README.md"])
def test_links_lead_somewhere(page):
    """Relative links of the pages: files that are there."""
    path = tables.ROOT / page
    found = re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
    assert [link for link in found if not (path.parent / link).exists()] == []


def test_the_table_of_paths_is_that_of_its_files():
    folder = tables.RESULTS / "paths"
    pd.testing.assert_frame_equal(compare(folder), pd.read_csv(folder / "paths.csv"), rtol=1e-4)


def test_the_mean_of_four_horizons_is_over_seeds_that_ran_all(tmp_path, monkeypatch):
    figures = dict.fromkeys(REQUIRED, 1.0) | {"cell": "c", "protocol": "name=ltsf", "versions": "", "command": ""}
    cells = [(h, seed, model) for h in (96, 192, 336, 720) for seed in (1, 2, 3) for model in ("EVE", "T2")]
    rows = pd.DataFrame(
        figures | {"dataset": "ETTh1", "model": model, "h": h, "seed": seed, "crps19": h * seed, "mse": h + seed}
        for h, seed, model in cells
        if (h, seed, model) != (720, 2, "T2")
    )
    rows[rows["h"] == 96].to_csv(tmp_path / "ltsf.csv", index=False)
    rows[rows["h"] > 96].to_csv(tmp_path / "ltsf-long.csv", index=False)
    monkeypatch.setattr(horizons, "RESULTS", tmp_path)
    lines = horizons.horizons().splitlines()
    assert lines[0] == "| crps19 / MSE | EVE | T2 |"
    assert lines[2] == "| ETTh1, 192 | **384.0000** / **194.0000** | **384.0000** / **194.0000** |"
    assert lines[4] == "| ETTh1, 720 | **1440.0000** / **722.0000** | **1440.0000** / **722.0000** (2 seeds) |"
    assert lines[5] == "| ETTh1, mean of four | **672.0000** / **338.0000** | **672.0000** / **338.0000** (2 seeds) |"
