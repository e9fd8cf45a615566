"""Does a score know which forecasts will be wrong? Risk against coverage, beside an oracle and the interval's width.

The windows with the lowest score are kept first. The risk at coverage c is the mean error of the kept share c, AURC its
mean over all coverages (Geifman & El-Yaniv, arXiv 1705.08500), and the excess is AURC minus that of an oracle which
keeps the smallest errors first (arXiv 1805.08206).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .scoring import SCORES

ERRORS = ("crps19", "mse")
WIDTH = "width"
DRAWS = 500


def aurc(score: np.ndarray, error: np.ndarray) -> float:
    """Area under the risk-coverage curve; windows of one score are kept in random order, in expectation.

    Args:
        score: [W], low for windows that are kept first.
        error: [W].
    """
    return _Order(score).aurc(error, None)


class _Order:
    """Windows ordered by a score, ties known."""

    def __init__(self, score: np.ndarray) -> None:
        values, group = np.unique(score, return_inverse=True)
        self._order = np.argsort(group, kind="stable")
        self._group, self._groups = group[self._order], len(values)

    def aurc(self, error: np.ndarray, times: np.ndarray | None) -> float:
        """AURC of a sample in which window i comes `times[i]` times."""
        error, group = error[self._order], self._group
        if times is not None:
            repeats = times[self._order]
            error, group = np.repeat(error, repeats), np.repeat(group, repeats)
        if self._groups < len(self._group) or times is not None:
            # of equal scores any order is as good: each of them counts as their mean
            counts = np.bincount(group, minlength=self._groups)
            means = np.bincount(group, error, minlength=self._groups) / np.maximum(counts, 1)
            error = means[group]
        return float((error.cumsum() / np.arange(1, len(error) + 1)).mean())


def partial_spearman(score: np.ndarray, error: np.ndarray, given: np.ndarray) -> float:
    """Rank correlation of score and error with the ranks of `given` taken out of both; NaN where one is constant."""
    s, e, g = (rankdata(each) for each in (score, error, given))
    if min(np.ptp(s), np.ptp(e), np.ptp(g)) == 0:
        return float("nan")
    se, sg, eg = np.corrcoef(s, e)[0, 1], np.corrcoef(s, g)[0, 1], np.corrcoef(e, g)[0, 1]
    rest = (1 - sg**2) * (1 - eg**2)
    return float((se - sg * eg) / np.sqrt(rest)) if rest > 1e-12 else float("nan")


@dataclass(frozen=True)
class _Interval:
    low: float
    high: float


def risk_coverage(windows: pd.DataFrame, block: int, draws: int = DRAWS, seed: int = 0) -> pd.DataFrame:
    """Every score of `scoring.SCORES` against every error.

    Args:
        windows: of `score_windows`: origin, scale, scores, crps19, mse.
        block: origins per block of the bootstrap, max(2 h, one season).
        draws: of the bootstrap: circular blocks of origins, all series of an origin together.
        seed: of the draws.

    Returns:
        One row per error, score and unit ("window": as the network sees it; "y": times the window's scale): aurc,
        oracle, random (the mean error), excess (aurc - oracle) with a 95 % interval, minus_width (aurc minus that of
        the 90 % interval's width in the same unit: below zero the score ranks errors better) with its own, and the
        partial Spearman correlation given that width; windows, and how many blocks their origins make. Scores that the
        model lacks are left out; no interval where the
        origins do not hold two blocks. Empty without errors.

    Raises:
        ValueError: block or draws below one.
    """
    for argument, given in (("block", block), ("draws", draws)):
        if given < 1:
            raise ValueError(f"{argument}={given!r} is not allowed; give a number >= 1")
    if not set(ERRORS) <= set(windows.columns):
        return pd.DataFrame()
    windows = windows.dropna(subset=list(ERRORS))
    origin = windows["origin"].to_numpy()
    blocks, samples = (np.ptp(origin) + 1) / block, list(_samples(origin, block, draws, seed))
    rows = []
    for error_name in ERRORS:
        error = windows[error_name].to_numpy(np.float64)
        by_error = _Order(error)
        oracle = by_error.aurc(error, None)
        best = np.array([by_error.aurc(error, times) for times in samples])
        for unit in ("window", "y"):
            factor = windows["scale"].to_numpy(np.float64) if unit == "y" else 1.0
            width = windows[WIDTH].to_numpy(np.float64) * factor
            by_width = _Order(width)
            of_width = by_width.aurc(error, None)
            drawn_width = np.array([by_width.aurc(error, times) for times in samples])
            for name in (name for name in SCORES if name in windows):
                score = windows[name].to_numpy(np.float64) * factor
                order = _Order(score)
                value = order.aurc(error, None)
                drawn = np.array([order.aurc(error, times) for times in samples])
                excess, less = _interval(drawn - best), _interval(drawn - drawn_width)
                rows.append(
                    {
                        "error": error_name,
                        "score": name,
                        "unit": unit,
                        "aurc": value,
                        "oracle": oracle,
                        "random": float(error.mean()),
                        "excess": value - oracle,
                        "excess_low": excess.low,
                        "excess_high": excess.high,
                        "minus_width": value - of_width,
                        "minus_width_low": less.low,
                        "minus_width_high": less.high,
                        "partial_spearman": partial_spearman(score, error, width) if name != WIDTH else float("nan"),
                        "windows": len(windows),
                        "blocks": blocks,
                    }
                )
    return pd.DataFrame(rows)


def curve(score: np.ndarray, error: np.ndarray, points: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Coverages and risks, [points] each; see `aurc`."""
    order = np.argsort(score, kind="stable")
    risk = error[order].cumsum() / np.arange(1, len(error) + 1)
    kept = np.unique(np.linspace(1, len(error), min(points, len(error))).round().astype(int))
    return kept / len(error), risk[kept - 1]


def _samples(origin: np.ndarray, block: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often every window comes in each bootstrap sample; nothing where there are not two blocks."""
    known, number = np.unique(origin, return_inverse=True)
    # origins may lie several rows apart: a block is so many rows, as far as the data reach
    stride = max(1, round((known[-1] - known[0]) / (len(known) - 1))) if len(known) > 1 else 1
    length = -(-block // stride)
    n = len(known)
    if n < 2 * length:
        return
    generator = np.random.default_rng(seed)
    for _ in range(draws):
        start = generator.integers(0, n, size=-(-n // length))
        chosen = ((start[:, None] + np.arange(length)) % n).ravel()[:n]
        yield np.bincount(chosen, minlength=n)[number]


def _interval(values: Sequence[float] | np.ndarray) -> _Interval:
    if not len(values):
        return _Interval(float("nan"), float("nan"))
    low, high = np.quantile(values, (0.025, 0.975))
    return _Interval(float(low), float(high))
