"""Paired tests of difference between two models: circular block bootstrap over origins, seeds above it, Holm."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

DRAWS = 10_000
INTERVAL_ONLY = ("Exchange", "ILI")
"""Datasets with too few independent windows for a verdict."""
UNTRAINED = ("Naive", "SeasonalNaive")
SEEDS_THAT_DECIDE = 5
BLOCKS_THAT_DECIDE = 10
"""Of overlapping windows with no difference, a test at 5 % rejects 11 % with 14 blocks (ETTh, h=96), 42 % with 1.5."""
_GATHERED = 2**22  # float64 numbers held at a time: 32 MiB


@dataclass(frozen=True)
class Difference:
    """Mean error of a first model minus that of a second one; below zero the first is better.

    Attributes:
        mean: averaged over seeds and origins, in the unit of the errors.
        low, high: 95 % interval.
        p: two-sided; `p < .05` says the same as an interval without zero.
        seeds: number of seeds of the first and of the second model.
        origins: number of forecast origins.
        block: origins per block.
    """

    mean: float
    low: float
    high: float
    p: float
    seeds: tuple[int, int]
    origins: int
    block: int


@dataclass(frozen=True)
class Comparison:
    """One member of a family of tests.

    Attributes:
        dataset, model, peer: what was compared; `difference` is `model` minus `peer`.
        difference: the outcome.
    """

    dataset: str
    model: str
    peer: str
    difference: Difference


def block_length(h: int, season: int, stride: int = 1) -> int:
    """Origins per block: max(2 h, one season) steps of the series, `stride` steps between origins.

    Raises:
        ValueError: a number below one.
    """
    for name, value in (("h", h), ("season", season), ("stride", stride)):
        if value < 1:
            raise ValueError(f"{name}={value} is not allowed; give a number >= 1")
    return -(-max(2 * h, season) // stride)


def paired_difference(
    first: np.ndarray, second: np.ndarray, block: int, *, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Compare two models on the same origins.

    Each draw resamples seeds with replacement, then circular blocks of origins, the same blocks for every seed: seeds
    share their test data, and blocks of their own would average the noise of that data away. The distribution of the
    drawn means around the observed one gives p and a symmetric interval. Of few seeds s, the bootstrap sees only
    (s - 1)/s of their variance, of one seed none; of few blocks (origins / block below about ten) it sees too little.

    Args:
        first, second: errors [seeds, origins] in time order, all series of an origin averaged; row i of both comes
            from the same seed. A model of one row (an untrained one) stands beside any number of seeds.
        block: origins per block, see `block_length`.
        draws: bootstrap draws.
        seed: of the generator; the same arguments always give the same outcome.

    Raises:
        ValueError: shapes that do not pair, errors that are not finite, or origins for no more than one block.
    """
    first, second = (np.asarray(errors, dtype=np.float64) for errors in (first, second))
    for name, errors in (("first", first), ("second", second)):
        if errors.ndim != 2 or not errors.size:
            raise ValueError(f"{name} has shape {errors.shape}; errors must be [seeds, origins]")
        if not np.isfinite(errors).all():
            raise ValueError(f"{name} holds an error that is not finite")
    seeds = (len(first), len(second))
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the models have {first.shape[1]} and {second.shape[1]} origins; a pair needs the same ones")
    if seeds[0] != seeds[1] and 1 not in seeds:
        raise ValueError(f"the models have {seeds[0]} and {seeds[1]} seeds; give the same ones, or one row")
    origins = first.shape[1]
    if not 1 <= block < origins:
        raise ValueError(
            f"block={block} is not allowed; {origins} origins must hold more than one block of >= 1 origins"
        )
    if draws < 1:
        raise ValueError(f"draws={draws} is not allowed; give a number >= 1")
    difference = first - second  # [seeds, origins]
    mean = float(difference.mean())
    away = np.abs(_drawn_means(difference, block, draws, np.random.default_rng(seed)) - mean)
    # rounding of the running sums must not decide where the models are equal
    rounding = 1e-12 * float(np.abs(difference).max())
    p = (1 + int((away >= abs(mean) - rounding).sum())) / (1 + draws)
    half = float(np.quantile(away, 0.95))
    return Difference(mean, mean - half, mean + half, p, seeds, origins, block)


def _drawn_means(difference: np.ndarray, block: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Means of bootstrap samples of [seeds, origins], [draws]."""
    n_seeds, origins = difference.shape
    n_blocks = -(-origins // block)
    last = origins - (n_blocks - 1) * block  # the last block is cut, so that a sample has as many origins as the data
    running = np.concatenate([difference, difference[:, :block]], axis=1).cumsum(1)
    running = np.concatenate([np.zeros((n_seeds, 1)), running], axis=1)
    whole = running[:, block : block + origins] - running[:, :origins]  # sum of the block from each origin on
    cut = running[:, last : last + origins] - running[:, :origins]
    means = np.empty(draws)
    step = max(1, _GATHERED // (n_seeds * n_blocks))
    for begin in range(0, draws, step):
        count = min(step, draws - begin)
        weight = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=count) / n_seeds  # [count, seeds]
        start = generator.integers(0, origins, size=(count, n_blocks))
        total = whole[:, start[:, :-1]].sum(-1) + cut[:, start[:, -1]]  # [seeds, count]
        means[begin : begin + count] = (weight.T * total).sum(0) / origins
    return means


def holm(p: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of a family of p-values, in their order.

    Raises:
        ValueError: a value outside of [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    if values.size and not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p-values must lie in [0, 1]; got {values.tolist()}")
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * values[order]))
    return adjusted


def difference_table(
    family: Iterable[Comparison],
    *,
    interval_only: Collection[str] = INTERVAL_ONLY,
    untrained: Collection[str] = UNTRAINED,
    level: float = 0.05,
) -> pd.DataFrame:
    """A family of comparisons with Holm's correction over it and, where one is allowed, a verdict.

    Args:
        family: peers x datasets that are judged together; give another family its own call.
        interval_only: datasets that get an interval, no p-value and no verdict, and do not count in the correction.
        untrained: models that one run stands for; every other needs five seeds for a verdict.
        level: of the family.

    Returns:
        One row per comparison: dataset, model, peer, difference, low, high, seeds, blocks, p, p_holm, verdict. A test
        that lacks seeds or blocks stays in the family, so that the correction does not depend on what ran.
    """
    rows = []
    for item in family:
        found, few = item.difference, item.dataset in interval_only
        counts = zip((item.model, item.peer), found.seeds, strict=True)
        seeds = min((count for name, count in counts if name not in untrained), default=SEEDS_THAT_DECIDE)
        rows.append(
            {
                "dataset": item.dataset,
                "model": item.model,
                "peer": item.peer,
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "seeds": seeds,
                "blocks": found.origins / found.block,
                "p": np.nan if few else found.p,
            }
        )
    columns = ["dataset", "model", "peer", "difference", "low", "high", "seeds", "blocks", "p"]
    table = pd.DataFrame(rows, columns=columns)
    judged = table["p"].notna().to_numpy()
    adjusted = np.full(len(table), np.nan)
    adjusted[judged] = holm(table["p"].to_numpy(dtype=np.float64)[judged])
    table["p_holm"] = adjusted
    table["verdict"] = [
        _verdict(float(mean), float(p), int(seeds), float(blocks), level)
        for mean, p, seeds, blocks in zip(table["difference"], adjusted, table["seeds"], table["blocks"], strict=True)
    ]
    return table


def _verdict(mean: float, p: float, seeds: int, blocks: float, level: float) -> str:
    if np.isnan(p):
        return "interval only"
    if seeds < SEEDS_THAT_DECIDE:
        return f"undecided: {seeds} of {SEEDS_THAT_DECIDE} seeds"
    if blocks < BLOCKS_THAT_DECIDE:
        return f"undecided: {blocks:.1f} of {BLOCKS_THAT_DECIDE} blocks"
    if p >= level:
        return "no significant difference"
    return "significantly better" if mean < 0 else "significantly worse"
