"""python -m benchmarks.eve_paper run SUITE | report RESULTS: see benchmarks/studies/eve_paper.md."""

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0; 1 where a cell failed; argparse leaves with 2 where the words are off.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.eve_paper", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run what is missing of the suite")
    run.add_argument("suite", help="YAML file, configs/benchmarks/eve-paper.yaml")
    run.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR)")
    run.add_argument("--out", default="runs/eve-paper", help="folder of the results (default: runs/eve-paper)")
    run.add_argument("--only", nargs="+", metavar="DATASET", help="these datasets of the suite (default: all)")
    run.add_argument("--threads", type=int, help="torch threads (default: torch's choice)")
    report = actions.add_parser("report", help="tables and figures of a results file beside the author's runs")
    report.add_argument("results", help="CSV that `run` wrote")
    report.add_argument("--out", default="runs/eve-paper", help="folder of the report (default: runs/eve-paper)")
    chosen = parser.parse_args(arguments)
    if chosen.action == "report":
        from .report import write_report

        print(write_report(chosen.results, chosen.out))
        return 0
    import torch

    from vdn_forecast.evaluation.allocator import keep_memory

    from .suite import PaperRunner, read_paper_suite

    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    keep_memory()
    command = f"python -m benchmarks.eve_paper run {chosen.suite}"
    runner = PaperRunner(read_paper_suite(chosen.suite), chosen.out, chosen.data, command)
    runner.run(chosen.only)
    return int(runner.failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
