"""Tests of difference for a report, from the errors per origin that lie beside a results file."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .data import DATASETS
from .differences import (
    BLOCKS_THAT_DECIDE,
    UNTRAINED,
    Comparison,
    block_length,
    difference_table,
    paired_difference,
)
from .error_files import ORIGINS, read_errors
from .report_tables import ranked_measure, refuse_mixture

Errors = dict[int, np.ndarray]
"""Seed to the errors of all origins in time order, series averaged."""


@dataclass(frozen=True)
class Family:
    """Tests that are corrected together.

    Attributes:
        title: what is compared, and where.
        table: of `difference_table`, with the horizon beside the dataset.
        left_out: why some pairs have no test, a sentence each.
    """

    title: str
    table: pd.DataFrame
    left_out: tuple[str, ...] = ()

    @property
    def warning(self) -> str:
        """A sentence where tests have few blocks; empty where none has."""
        few = self.table[self.table["blocks"] < BLOCKS_THAT_DECIDE]
        if few.empty:
            return ""
        where = ", ".join(
            f"{dataset} ({blocks:.1f})"
            for dataset, blocks in few.groupby("dataset", sort=False)["blocks"].min().items()
        )
        return (
            f"Fewer than {BLOCKS_THAT_DECIDE} independent blocks of origins: {where}. There the bootstrap sees too "
            "little of the variance, intervals are too short and p-values too small (by how much, says "
            "benchmarks/studies/bootstrap_size.md): read an interval there as a lower bound of the uncertainty."
        )


def difference_families(rows: pd.DataFrame, folder: str | Path, candidate: str) -> Iterator[Family]:
    """Both families of one protocol, for the ranked measure and for MSE.

    The first holds every peer and dataset at the dataset's shortest horizon, the second the means over horizons of
    datasets that have several: errors of the same origin are averaged over horizons, on the origins that the longest
    one has.

    Args:
        rows: result rows of one protocol.
        folder: of the results file, with its `origins/`.
        candidate: the model that is compared with each other one.

    Raises:
        ValueError: rows of several protocols, or a file of errors that cannot be read.
    """
    refuse_mixture(rows, ("protocol",))
    if candidate not in set(rows["model"]):
        return
    for measure in (ranked_measure(rows), "mse"):
        errors = _all_errors(rows, folder, measure)
        if not errors:
            return
        yield _shortest(rows, errors, candidate, measure)
        means = _horizon_means(rows, errors, candidate, measure)
        if means is not None:
            yield means


def _all_errors(rows: pd.DataFrame, folder: str | Path, measure: str) -> dict[tuple[str, int, str], Errors]:
    """(dataset, h, model) to its errors; without the cells that have no file."""
    found: dict[tuple[str, int, str], Errors] = {}
    for cell, dataset, h, model, seed in rows[["cell", "dataset", "h", "model", "seed"]].to_numpy(dtype=object):
        table = read_errors(folder, ORIGINS, str(cell))
        if table is not None and measure in table:
            values = table.sort_values("origin")[measure].to_numpy(np.float64)
            found.setdefault((str(dataset), int(h), str(model)), {})[int(seed)] = values
    return found


def _shortest(rows: pd.DataFrame, errors: dict[tuple[str, int, str], Errors], candidate: str, measure: str) -> Family:
    members: list[Comparison] = []
    left_out: list[str] = []
    horizons: dict[str, str] = {}
    for dataset, part in rows.groupby("dataset", sort=False):
        h = int(part["h"].min())
        horizons[str(dataset)] = f"{h}"
        block = block_length(h, _season(part), _stride(part))
        for peer in part.loc[part["h"] == h, "model"].unique():
            if peer != candidate:
                pair = errors.get((str(dataset), h, candidate)), errors.get((str(dataset), h, str(peer)))
                _add(members, left_out, str(dataset), candidate, str(peer), pair, block)
    return _family(f"{measure}, shortest horizon of each dataset", members, left_out, horizons)


def _horizon_means(
    rows: pd.DataFrame, errors: dict[tuple[str, int, str], Errors], candidate: str, measure: str
) -> Family | None:
    members: list[Comparison] = []
    left_out: list[str] = []
    horizons: dict[str, str] = {}
    for dataset, part in rows.groupby("dataset", sort=False):
        hs = sorted(int(h) for h in part["h"].unique())
        if len(hs) < 2:
            continue
        horizons[str(dataset)] = f"mean of {', '.join(map(str, hs))}"
        block = block_length(hs[-1], _season(part), _stride(part))
        for peer in part["model"].unique():
            if peer != candidate:
                first, second = (_mean_errors(errors, str(dataset), hs, name) for name in (candidate, str(peer)))
                _add(members, left_out, str(dataset), candidate, str(peer), (first, second), block)
    if not members and not left_out:
        return None
    return _family(f"{measure}, mean over horizons", members, left_out, horizons)


def _mean_errors(errors: dict[tuple[str, int, str], Errors], dataset: str, hs: list[int], model: str) -> Errors | None:
    """Errors averaged over horizons at the origins of the longest, for the seeds that ran all of them."""
    parts = [errors.get((dataset, h, model)) for h in hs]
    if any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    seeds = set.intersection(*(set(part) for part in known))
    shortest = min((len(values) for part in known for values in part.values()), default=0)
    return {seed: np.mean([part[seed][:shortest] for part in known], axis=0) for seed in sorted(seeds)} or None


def _add(
    members: list[Comparison],
    left_out: list[str],
    dataset: str,
    candidate: str,
    peer: str,
    pair: tuple[Errors | None, Errors | None],
    block: int,
) -> None:
    """One test, or the reason why there is none."""
    first, second = pair
    if first is None or second is None:
        missing = candidate if first is None else peer
        left_out.append(f"{dataset}: {candidate} against {peer} has no test, {missing} lacks errors per origin.")
        return
    if peer in UNTRAINED or candidate in UNTRAINED:  # one run stands beside any number of seeds
        seeds = [sorted(first), sorted(second)]
    else:
        seeds = [sorted(set(first) & set(second))] * 2
    if not seeds[0] or not seeds[1]:
        left_out.append(f"{dataset}: {candidate} against {peer} has no test, they share no seed.")
        return
    one, other = (np.stack([part[seed] for seed in own]) for part, own in zip((first, second), seeds, strict=True))
    if one.shape[1] <= block:
        left_out.append(
            f"{dataset}: {candidate} against {peer} has no test, {one.shape[1]} origins are no more than one block of "
            f"{block}."
        )
        return
    members.append(Comparison(dataset, candidate, peer, paired_difference(one, other, block)))


def _family(title: str, members: list[Comparison], left_out: list[str], horizons: dict[str, str]) -> Family:
    table = difference_table(members)
    table.insert(1, "h", table["dataset"].map(horizons))
    return Family(title, table, tuple(left_out))


def _season(rows: pd.DataFrame) -> int:
    """Rows of one season: what the rows say, else what the dataset is known for."""
    said = rows["mase_season"].dropna() if "mase_season" in rows else pd.Series(dtype=float)
    return int(said.iloc[0]) if len(said) else DATASETS[str(rows["dataset"].iloc[0])].season


def _stride(rows: pd.DataFrame) -> int:
    """Steps between origins, as the protocol's identity says."""
    found = re.search(r"(?:^|;)stride=(\d+)", str(rows["protocol"].iloc[0]))
    return int(found.group(1)) if found else 1
