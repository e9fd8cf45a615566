"""Data files that change are noticed; folders that are read-only stay as they are; downloads fail in plain words."""

import hashlib
import json
from pathlib import Path

import pytest
import requests
from datasetsforecast.long_horizon import LongHorizon
from datasetsforecast.long_horizon2 import LongHorizon2

from vdn_forecast.evaluation.checksums import MANIFEST, PUBLISHED, verify_file
from vdn_forecast.evaluation.data import load_dataset

TEXT = "date,a\n2024-01-01,1\n"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one file."""
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "x.csv").write_text(TEXT)
    return tmp_path / "data"


def test_a_digest_is_written_at_first_use_and_a_changed_file_refused(folder: Path) -> None:
    path = folder / "raw" / "x.csv"
    assert verify_file(path, folder) == DIGEST
    assert json.loads((folder / MANIFEST).read_text()) == {"raw/x.csv": DIGEST}
    assert verify_file(path, folder) == DIGEST
    path.write_text(TEXT + "2024-01-02,2\n")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=rf"x\.csv has changed.*{found}.*{MANIFEST} has {DIGEST}"):
        verify_file(path, folder)
    assert json.loads((folder / MANIFEST).read_text()) == {"raw/x.csv": DIGEST}


def test_a_second_file_joins_the_first(folder: Path) -> None:
    verify_file(folder / "raw" / "x.csv", folder)
    (folder / "y.csv").write_text("other")
    verify_file(folder / "y.csv", folder)
    assert set(json.loads((folder / MANIFEST).read_text())) == {"raw/x.csv", "y.csv"}
    assert sorted(path.name for path in folder.iterdir()) == ["raw", MANIFEST, "y.csv"]


def test_published_sums_are_the_manifest(folder: Path) -> None:
    path = folder / "raw" / "x.csv"
    for line in (f"{DIGEST}  ./raw/x.csv\n", f"{DIGEST.upper()} *raw/x.csv\n"):
        (folder / PUBLISHED).write_text(line)
        assert verify_file(path, folder) == DIGEST
    assert not (folder / MANIFEST).exists()
    (folder / PUBLISHED).write_text(f"{'0' * 64}  raw/x.csv\n")
    with pytest.raises(ValueError, match=f"{PUBLISHED} has 0000"):
        verify_file(path, folder)


def test_a_read_only_folder_is_left_alone(folder: Path, cache: Path) -> None:
    path = folder / "raw" / "x.csv"
    folder.chmod(0o555)
    try:
        verify_file(path, folder)
        assert not (folder / MANIFEST).exists()
        assert [json.loads(p.read_text()) for p in cache.rglob("*.json")] == [{"raw/x.csv": DIGEST}]
        path.write_text("changed")
        with pytest.raises(ValueError, match="has changed"):
            verify_file(path, folder)
    finally:
        folder.chmod(0o755)


def test_a_broken_manifest_is_named(folder: Path) -> None:
    for content in ("{", "[]"):
        (folder / MANIFEST).write_text(content)
        with pytest.raises(ValueError, match=MANIFEST):
            verify_file(folder / "raw" / "x.csv", folder)


def test_a_manifest_that_cannot_be_written_is_only_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "raw" / "x.csv"))  # no folder
    folder.chmod(0o555)
    try:
        assert verify_file(folder / "raw" / "x.csv", folder) == DIGEST
    finally:
        folder.chmod(0o755)
    assert "would not be noticed" in caplog.text


@pytest.mark.parametrize(
    ("dataset", "source", "made"),
    [("ETTm2", LongHorizon2, "longhorizon2"), ("ILI", LongHorizon, "longhorizon/datasets")],
)
def test_a_network_that_refuses_gives_advice_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, source: type, made: str
) -> None:
    def refused(directory: str) -> None:
        (Path(directory) / made).mkdir(parents=True)
        raise requests.exceptions.ProxyError("no route")

    monkeypatch.setattr(source, "download", refused)
    folder = tmp_path / "empty"
    folder.mkdir()
    for _ in range(2):  # the second call must not take what the first one left for data
        with pytest.raises(ConnectionError, match=rf"https://.*ProxyError.*proxy.*{made}"):
            load_dataset(dataset, folder)
        assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_filled_is_no_network_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LongHorizon2, "download", denied)
    with pytest.raises(PermissionError, match="could not be filled"):
        load_dataset("ECL", tmp_path)


def test_an_archive_without_the_dataset_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LongHorizon2, "download", lambda _: None)
    with pytest.raises(FileNotFoundError, match="delivered"):
        load_dataset("ECL", tmp_path)
    (tmp_path / "longhorizon2").mkdir()
    with pytest.raises(FileNotFoundError, match="holds other datasets"):
        load_dataset("ECL", tmp_path)
