"""A suite killed at random moments ends with the table of an undisturbed run."""

import random
from pathlib import Path

import pandas as pd
import pytest
from killed_runs import DEADLINE, ROWS, all_gone, figures, kept, kill_in_the_middle, lines, start, words, write_suite

from vdn_forecast_cli import main


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The suite file, and the folder of a run from beginning to end in one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    suite = write_suite(folder)
    assert main(words(suite, folder / "out")) == 0
    assert lines(folder / "out" / "s.csv") == ROWS + 1
    return suite, folder / "out"


def same(one: Path, other: Path, *, in_order: bool) -> None:
    for left, right in zip(figures(one, in_order=in_order), figures(other, in_order=in_order), strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    assert kept(one) == kept(other)


def test_a_killed_run_takes_its_workers_along_and_is_resumed(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    suite, whole = undisturbed
    group = kill_in_the_middle(suite, tmp_path, random.Random(0), "--workers", "1")
    assert all_gone(group)
    done = lines(tmp_path / "s.csv")
    assert done < ROWS + 1
    assert main(words(suite, tmp_path)) == 0
    same(tmp_path, whole, in_order=False)


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["here", "workers"])
@pytest.mark.parametrize("seed", [1, 2])
def test_three_kills_change_nothing(
    undisturbed: tuple[Path, Path], tmp_path: Path, seed: int, more: tuple[str, ...]
) -> None:
    suite, whole = undisturbed
    chance = random.Random(seed)
    for _ in range(3):
        assert all_gone(kill_in_the_middle(suite, tmp_path, chance, *more))
    last = start(suite, tmp_path, *more)
    assert last.wait(DEADLINE) == 0
    same(tmp_path, whole, in_order=not more)
