"""How often does the protocol's paired block bootstrap find a difference where there is none?

Loss differences of mean zero are simulated with the serial dependence that overlapping forecast windows have, and
tested with `paired_difference` exactly as a report does. Prints a Markdown table; see bootstrap_size.md.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from tqdm import tqdm

from vdn_forecast.evaluation.differences import block_length, paired_difference

SEEDS = 5
OWN_NOISE = 0.3  # deviation of what seeds do not share, relative to what they share
RHO = 0.98  # of the slow case: half of a disturbance is gone after 34 rows


@dataclass(frozen=True)
class Case:
    """One test as the benchmarks meet it: origins of the test split, horizon, season, stride of origins."""

    name: str
    h: int
    origins: int
    season: int
    stride: int = 1

    @property
    def block(self) -> int:
        """Origins per block, by the protocol."""
        return block_length(self.h, self.season, self.stride)


CASES = (
    *(Case("ETTh, ltsf", h, 2880 - h + 1, 24) for h in (96, 192, 336, 720)),
    *(Case("ECL, ltsf", h, 5260 - h + 1, 24) for h in (96, 720)),
    *(Case("Weather, ltsf", h, 10539 - h + 1, 144) for h in (96, 720)),
    *(Case("ETTm, ltsf", h, 11520 - h + 1, 96) for h in (96, 192, 336, 720)),
    Case("Exchange, ltsf", 96, 1517 - 95, 7),
    Case("ILI, ltsf", 24, 193 - 23, 52),
    Case("ETTh, probts", 96, 29, 24, 96),
    Case("ETTm, probts", 96, 119, 96, 96),
)


def loss_differences(case: Case, rho: float, generator: np.random.Generator) -> np.ndarray:
    """[seeds, origins]: window means over h steps of per-row differences that are AR(1), plus each seed's own."""
    rows = (case.origins - 1) * case.stride + case.h
    parts = []
    for count, size in ((1, 1.0), (SEEDS, OWN_NOISE)):
        innovation = generator.standard_normal((count, rows + 1000))
        noise = lfilter([1.0], [1.0, -rho], innovation, axis=1)[:, 1000:] * np.sqrt(1 - rho**2)  # settled
        running = np.concatenate([np.zeros((count, 1)), noise.cumsum(1)], axis=1)
        windows = (running[:, case.h :] - running[:, : -case.h])[:, :: case.stride] / case.h
        parts.append(size * windows)
    return parts[0] + parts[1]


def size_of_test(case: Case, rho: float, replications: int, draws: int, seed: int) -> tuple[float, float]:
    """Share of rejections at 5 %, and mean length of the 95 % interval over the length that would be right."""
    p, half, means = [], [], []
    zero = np.zeros((1, case.origins))
    for number in range(replications):
        generator = np.random.default_rng([seed, number])
        found = paired_difference(loss_differences(case, rho, generator), zero, case.block, draws=draws, seed=number)
        p.append(found.p)
        half.append((found.high - found.low) / 2)
        means.append(abs(found.mean))
    return float(np.mean(np.array(p) < 0.05)), float(np.mean(half) / np.quantile(means, 0.95))


def lines(replications: int, draws: int, seed: int) -> Iterator[str]:
    """The table."""
    yield "| data, protocol | h | origins | block | blocks | rejects | interval | rejects, slow | interval, slow |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for case in tqdm(CASES, unit="case", file=sys.stderr):
        found = [size_of_test(case, rho, replications, draws, seed) for rho in (0.0, RHO)]
        figures = " | ".join(f"{100 * size:.1f} % | {length:.2f}" for size, length in found)
        blocks = case.origins / case.block
        yield f"| {case.name} | {case.h} | {case.origins:,} | {case.block} | {blocks:.1f} | {figures} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for line in lines(chosen.replications, chosen.draws, chosen.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
