"""The tables of README and docs are those of the committed results, and the table of paths is that of its files."""

import re

import pandas as pd
import pytest

from benchmarks import tables
from benchmarks.paths.__main__ import compare


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
