"""Training time with pruning and without, on the same configurations in the same order.

    python -m benchmarks.search.pruning

Configurations are drawn at random, so that none depends on what was pruned before it. One study per pruner and one
without; one that was killed goes on where it stopped. `search-pruning.csv` holds every trial, `pruning.csv` a row per
study. With `--replay` nothing is trained: every pruner's saving is read off the curves of the study without
pruning (`pruning-replay.csv`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from vdn_forecast.search.pruning import PRUNERS, build_pruner
from vdn_forecast.search.spaces import defaults_of
from vdn_forecast.search.storage import result_of
from vdn_forecast.search.study import Search, quiet_optuna

from ..rows import write_csv
from .studies import Bench, prepare, ranked, rows_of, words


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing, write the tables, print the summary."""
    parser = words(__doc__)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    pruners = [name for name in PRUNERS if name != "none"]
    parser.add_argument("--pruners", nargs="+", default=["median", "hyperband"], choices=pruners)
    parser.add_argument("--replay", action="store_true", help="train nothing beyond the study without pruning")
    chosen = parser.parse_args(arguments)
    prepare(chosen.threads)
    bench = Bench.open(chosen, "pruning")
    out = Path(chosen.out)
    without = bench.run("none", chosen.trials, chosen.seed)
    if chosen.replay:
        summary = pd.DataFrame(replayed(bench, without))
        write_csv(summary, out / "pruning-replay.csv")
        print(summary.to_string(index=False))
        return
    studies = {
        name: bench.run(name, chosen.trials, chosen.seed, pruner=pruner_of(bench, name)) for name in chosen.pruners
    } | {"none": without}
    write_csv(pd.concat([rows_of(search, pruner=name) for name, search in studies.items()]), out / "search-pruning.csv")
    summary = pd.DataFrame(summarised(studies))
    write_csv(summary, out / "pruning.csv")
    print(summary.to_string(index=False))


def pruner_of(bench: Bench, name: str) -> BasePruner:
    """A pruner for the plan's number of steps and checks."""
    first = {**defaults_of(bench.plan.space.model), **bench.plan.space.first()}
    return build_pruner(name, int(first["max_steps"]), int(first["val_check_steps"]))


def summarised(studies: dict[str, Search]) -> Iterator[dict[str, Any]]:
    """One row per study: what it cost and what it found, against the one without pruning."""
    reference = rows_of(studies["none"])
    best_without = ranked(studies["none"])[0]
    for name, search in studies.items():
        table, best = rows_of(search), ranked(search)[0]
        yield {
            "pruner": name,
            "trials": len(table),
            **{state: int((table.state == state).sum()) for state in ("complete", "pruned", "failed")},
            "steps": int(table.steps.sum()),
            "seconds": float(table.seconds.sum()),
            "steps_saved": 1 - table.steps.sum() / reference.steps.sum(),
            "seconds_saved": 1 - table.seconds.sum() / reference.seconds.sum(),
            "winner": best.number,
            "feasible": all(value <= 0 for value in best.constraints.values()),
            "crps19": best.values[0],
            "worse_by": best.values[0] / best_without.values[0] - 1,
        }


def replayed(bench: Bench, without: Search) -> Iterator[dict[str, Any]]:
    """What each pruner would have saved on the curves of the trials without pruning, one trial after the other."""
    trials = [trial for trial in without.study.get_trials(deepcopy=False) if trial.state is TrialState.COMPLETE]
    whole = sum(result_of(trial)["steps"] for trial in trials)
    seconds = sum(result_of(trial)["seconds"] for trial in trials)
    for name in PRUNERS:
        with quiet_optuna():
            study = optuna.create_study(pruner=pruner_of(bench, name), study_name=name)
        steps, spent, kept = 0.0, 0.0, []
        for trial in trials:
            ended, whole_trial = _replay(study, trial)
            steps += ended
            spent += result_of(trial)["seconds"] * ended / result_of(trial)["steps"]
            if whole_trial:
                kept.append(trial)
        order = [trial for trial in ranked(without) if trial in kept]
        yield {
            "pruner": name,
            "complete": len(kept),
            "steps_saved": 1 - steps / whole,
            "seconds_saved": 1 - spent / seconds,
            "winner": order[0].number,
            "worse_by": order[0].values[0] / ranked(without)[0].values[0] - 1,
        }


def _replay(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> tuple[float, bool]:
    """Steps until a trial whose curve is known ends, and whether it is completed."""
    live = study.ask()
    for step, value in sorted(trial.intermediate_values.items()):
        live.report(value, step)
        if step < result_of(trial)["steps"] and live.should_prune():
            with quiet_optuna():
                study.tell(live, state=TrialState.PRUNED)
            return float(step), False
    for name, value in trial.constraints.items():
        live.set_constraint(name, value)
    with quiet_optuna():
        study.tell(live, trial.values[0])
    return float(result_of(trial)["steps"]), True


if __name__ == "__main__":
    main()
