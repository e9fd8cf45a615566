"""README's tables are those of the committed results, and the table of paths is that of its files."""

import pandas as pd

from benchmarks import tables
from benchmarks.paths.__main__ import compare


def test_readme_holds_the_tables_of_the_results(tmp_path, monkeypatch):
    text = (tables.ROOT / "README.md").read_text()
    (tmp_path / "README.md").write_text(text)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    tables.main()
    assert (tmp_path / "README.md").read_text() == text


def test_the_table_of_paths_is_that_of_its_files():
    folder = tables.RESULTS / "paths"
    pd.testing.assert_frame_equal(compare(folder), pd.read_csv(folder / "paths.csv"), rtol=1e-4)
