"""Random search, TPE and the EVE paper's successive halving at equal numbers of training steps.

    python -m benchmarks.search.compare

Halving: 24 configurations train 3 epochs each, the best 35 % anew 6 epochs, of these the best 35 % anew 10 epochs. An
epoch is so many training steps; the learning rate's cosine ends with the budget. Random search and TPE spend the same
number of steps on full trials of 10 epochs. Nothing stops early. All share their first configurations: the default,
then (random search and halving) the same draws. Trials are ranked on validation crps19, infeasible ones last.
`search-compare.csv` holds every trial, `compare.csv` a row per method and seed. What was killed goes on.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vdn_forecast.search.constraints import is_feasible
from vdn_forecast.search.study import Search

from ..rows import write_csv
from .studies import Bench, prepare, ranked, rows_of, words

CONFIGURATIONS, EPOCHS, KEPT = 24, (3, 6, 10), 0.35
METHODS = ("random", "tpe", "halving")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, write the tables, print the summary."""
    parser = words(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epoch", type=int, default=120, metavar="STEPS", help="training steps of one epoch")
    chosen = parser.parse_args(arguments)
    prepare(chosen.threads)
    bench = Bench.open(chosen, "compare")
    trials, summary = [], []
    for seed in chosen.seeds:
        for method in METHODS:
            searches = list(run(bench, method, seed, chosen.epoch))
            table = pd.concat([rows_of(s, method=method, seed=seed, epochs=epochs) for epochs, s in searches])
            trials.append(table)
            summary.append(summarised(method, seed, table, searches[-1][1]))
            write_csv(pd.concat(trials), Path(chosen.out) / "search-compare.csv")
            write_csv(pd.DataFrame(summary), Path(chosen.out) / "compare.csv")
    print(pd.DataFrame(summary).to_string(index=False))


def rungs() -> list[tuple[int, int]]:
    """Configurations and epochs of each round of halving."""
    found, n = [], CONFIGURATIONS
    for epochs in EPOCHS:
        found.append((n, epochs))
        n = max(1, round(KEPT * n))
    return found


def full_trials() -> int:
    """How many trials of the last budget cost as many steps as the halving."""
    return sum(n * epochs for n, epochs in rungs()) // EPOCHS[-1]


def run(bench: Bench, method: str, seed: int, epoch: int) -> Iterator[tuple[int, Search]]:
    """The studies of one method, each with its epochs; the last one holds the candidates for the winner."""

    def constants(epochs: int) -> dict[str, Any]:
        return {"max_steps": epochs * epoch, "patience_checks": 0, "val_check_steps": epoch}

    if method != "halving":
        name = f"{method}-{seed}"
        yield (
            EPOCHS[-1],
            bench.run(name, full_trials(), seed, sampler=method, constants=constants(EPOCHS[-1])),
        )
        return
    survivors: list[dict[str, Any]] | None = None
    for n, epochs in rungs():
        search = bench.run(f"halving-{seed}-{epochs}", n, seed, constants=constants(epochs), firsts=survivors)
        yield epochs, search
        survivors = [trial.params for trial in ranked(search)[: max(1, round(KEPT * n))]]


def summarised(method: str, seed: int, table: pd.DataFrame, last: Search) -> dict[str, Any]:
    """What a method cost and found."""
    best = ranked(last)[0]
    return {
        "method": method,
        "seed": seed,
        "trials": len(table),
        "failed": int((table.state == "failed").sum()),
        "steps": int(table.steps.sum()),
        "seconds": float(table.seconds.sum()),
        "winner": best.number,
        "feasible": is_feasible(best),
        "crps19": best.values[0],
        "feasible_trials": sum(map(is_feasible, last.study.get_trials(deepcopy=False))),
    }


if __name__ == "__main__":
    main()
