"""Properties of the paired block bootstrap and of Holm's correction."""

import numpy as np
import pytest

from vdn_forecast.evaluation.differences import (
    Comparison,
    Difference,
    block_length,
    difference_table,
    holm,
    paired_difference,
)

H, SEASON, ORIGINS, SEEDS = 12, 24, 1200, 5


def overlapping(generator: np.random.Generator, seeds: int = SEEDS, origins: int = ORIGINS) -> np.ndarray:
    """Errors of overlapping windows, [seeds, origins]: a moving sum over H steps that seeds share, and their own."""
    shared = np.convolve(generator.standard_normal(origins + H), np.ones(H) / np.sqrt(H), "valid")[:origins]
    return shared + 0.3 * generator.standard_normal((seeds, origins))


def test_size_is_close_to_nominal_on_autocorrelated_errors() -> None:
    generator, block = np.random.default_rng(1), block_length(H, SEASON)
    zero = np.zeros((1, ORIGINS))
    p = [paired_difference(overlapping(generator), zero, block, draws=300, seed=i).p for i in range(400)]
    generator = np.random.default_rng(11)
    single = [paired_difference(overlapping(generator), zero, 1, draws=300, seed=i).p for i in range(80)]
    # blocks of two horizons see 5/6 of the variance of such errors: about .075 is what the protocol's block can give
    assert 0.04 < np.mean(np.array(p) < 0.05) < 0.12
    assert np.mean(np.array(single) < 0.05) > 0.3  # what blocks are for


def test_power_on_a_shift_that_is_there() -> None:
    generator, block = np.random.default_rng(2), block_length(H, SEASON)
    peer = 10 + 3 * overlapping(generator)  # noise of the test data that both models share
    found = [paired_difference(peer - 0.3 + overlapping(generator), peer, block, draws=400, seed=i) for i in range(100)]
    assert np.mean([item.p < 0.05 for item in found]) > 0.8
    assert np.mean([item.low <= -0.3 <= item.high for item in found]) > 0.85
    assert all(item.mean < 0 for item in found)


def test_the_spread_of_seeds_widens_the_interval() -> None:
    generator = np.random.default_rng(3)
    errors = overlapping(generator)
    spread = errors + generator.standard_normal((SEEDS, 1))
    zero, block = np.zeros((SEEDS, ORIGINS)), block_length(H, SEASON)
    narrow, wide = (
        paired_difference(errors, zero, block, draws=2000),
        paired_difference(spread, zero, block, draws=2000),
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_swapping_the_models_mirrors_the_outcome() -> None:
    generator = np.random.default_rng(4)
    one, two = overlapping(generator), overlapping(generator) + 0.1
    forth, back = paired_difference(one, two, 24, draws=500), paired_difference(two, one, 24, draws=500)
    assert forth.p == back.p
    np.testing.assert_allclose([forth.mean, forth.low, forth.high], [-back.mean, -back.high, -back.low], rtol=1e-9)
    assert (forth.p < 0.05) == (not forth.low <= 0 <= forth.high)


def test_identical_errors_differ_by_nothing() -> None:
    errors = overlapping(np.random.default_rng(5))
    found = paired_difference(errors, errors.copy(), 24, draws=200)
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_same_arguments_give_the_same_outcome_however_memory_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(6)
    one, two = overlapping(generator), overlapping(generator)
    first = paired_difference(one, two, 24, draws=1000)
    assert first == paired_difference(one, two, 24, draws=1000)
    assert first.p != paired_difference(one, two, 24, draws=1000, seed=1).p
    monkeypatch.setattr("vdn_forecast.evaluation.differences._GATHERED", SEEDS * 50 * 7)
    pieces = paired_difference(one, two, 24, draws=1000)  # other draws, the same distribution
    assert pieces.high - pieces.low == pytest.approx(first.high - first.low, rel=0.15)


def test_the_mean_of_a_drawn_sample_is_that_of_its_blocks() -> None:
    # of two values, blocks of two hold each once: every circular draw of whole blocks has the mean of the data
    errors = np.tile([[0.0, 2.0]], (1, 10))
    found = paired_difference(errors, np.zeros((1, 20)), 2, draws=50)
    assert (found.mean, found.low, found.high) == (1.0, 1.0, 1.0)
    # 20 origins in blocks of 3: the last block is cut to two origins, and the sample has 20 origins again
    found = paired_difference(np.ones((1, 20)), np.zeros((1, 20)), 3, draws=50)
    assert found.low == pytest.approx(1.0)
    assert found.high == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("first", "second", "block", "message"),
    [
        (np.zeros(5), np.zeros((1, 5)), 2, "seeds, origins"),
        (np.zeros((1, 5)), np.zeros((1, 6)), 2, "same ones"),
        (np.zeros((2, 5)), np.zeros((3, 5)), 2, "seeds"),
        (np.zeros((2, 5)), np.full((2, 5), np.nan), 2, "finite"),
        (np.zeros((2, 5)), np.zeros((2, 5)), 5, "block=5"),
        (np.zeros((2, 5)), np.zeros((2, 5)), 0, "block=0"),
    ],
)
def test_errors_that_do_not_pair_are_refused(first: np.ndarray, second: np.ndarray, block: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(first, second, block)


def test_block_length_covers_two_horizons_and_a_season() -> None:
    assert block_length(96, 24) == 192
    assert block_length(24, 52) == 52
    assert block_length(96, 24, stride=96) == 2
    with pytest.raises(ValueError, match="h=0"):
        block_length(0, 24)


def test_holm_against_a_computation_by_hand() -> None:
    # sorted .01 .02 .03 .04, times 4 3 2 1: .04 .06 .06 .04, then never below the one before
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, 0.9]), [1.0, 1.0])
    assert holm([]).size == 0
    with pytest.raises(ValueError, match="p-values"):
        holm([0.1, np.nan])


def outcome(mean: float, p: float, seeds: int = 5, origins: int = 2785, block: int = 192) -> Difference:
    return Difference(mean, mean - 1, mean + 1, p, (seeds, seeds), origins, block)


def test_a_verdict_needs_holm_and_a_dataset_seeds_and_blocks_that_allow_one() -> None:
    naive = Difference(-1.0, -2, 0, 1e-4, (5, 1), 2785, 192)
    table = difference_table(
        [
            Comparison("ETTh1", "EVE", "T1", outcome(-1.0, 0.001)),
            Comparison("ETTh1", "EVE", "T2", outcome(-1.0, 0.04)),  # .04 alone, .08 in its family
            Comparison("ETTh2", "EVE", "T1", outcome(1.0, 0.001)),
            Comparison("ETTh2", "EVE", "T2", outcome(-1.0, 0.001, seeds=3)),
            Comparison("ETTh2", "EVE", "T4", outcome(-1.0, 0.5, block=1440)),
            Comparison("Exchange", "EVE", "T1", outcome(-1.0, 1e-5)),
            Comparison("ETTh2", "EVE", "SeasonalNaive", naive),
        ]
    )
    assert table["verdict"].tolist() == [
        "significantly better",
        "no significant difference",
        "significantly worse",
        "undecided: 3 of 5 seeds",
        "undecided: 1.9 of 10 blocks",
        "interval only",
        "significantly better",
    ]
    exchange = table.iloc[5]
    assert np.isnan(exchange["p"])
    assert np.isnan(exchange["p_holm"])
    assert exchange["low"] == -2.0
    assert table["p_holm"].iloc[6] == pytest.approx(6e-4)  # six judged tests, Exchange is none of them
    assert table["p_holm"].iloc[1] == pytest.approx(0.08)  # second largest of six
