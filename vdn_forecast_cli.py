"""The console script `vdn-forecast`; every command is one documented Python call.

A module of its own: importing anything of the package imports torch, and `--help` should not wait for that.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None for the process's own.

    Returns:
        0; 1 where cells failed, now or before, a dataset could not be used or a search has no winner; 2 where the
        words or a file of the user's are off (argparse leaves with 2 by itself).
    """
    parser = argparse.ArgumentParser(
        prog="vdn-forecast", description="Variational distributional neurons (EVE) for NeuralForecast."
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="EVE, its twin and NeuralForecast's models side by side")
    demo.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR; without: AirPassengers)")
    demo.add_argument("--out", default="runs", help="where results go (default: runs)")
    benchmark = commands.add_parser("benchmark", help="run a suite of models under a protocol")
    actions = benchmark.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="run what is missing of a suite")
    run.add_argument("suite", help="YAML file, see configs/benchmarks")
    run.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR)")
    run.add_argument("--out", default="runs", help="folder of the results (default: runs)")
    run.add_argument("--only", nargs="+", metavar="DATASET", help="these datasets of the suite (default: all)")
    run.add_argument("--lines", nargs="+", metavar="LINE", help="these lines of the suite (default: all)")
    run.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default: 0, run in this one)")
    run.add_argument("--executor", default="local", choices=("local", "ray"), help="where workers run")
    run.add_argument("--address", help="of a Ray cluster (default: a local one)")
    run.add_argument("--max-time", type=float, metavar="SECONDS", help="a cell that takes longer is a failed one")
    run.add_argument("--windows", action="store_true", help="keep the errors of every window too (parquet, large)")
    run.add_argument("--paths", action="store_true", help="score joint sample paths (energy and variogram score)")
    run.add_argument("--retry-failed", action="store_true", help="run cells again that failed in an earlier run")
    listing = actions.add_parser("list", help="show a suite's cells and every argument of their models; runs nothing")
    listing.add_argument("suite", help="YAML file, see configs/benchmarks")
    report = actions.add_parser("report", help="write Markdown, CSV and one HTML page from results files")
    report.add_argument("results", nargs="+", help="CSV that `benchmark run` wrote; several lie in one folder")
    report.add_argument("--out", default="runs/report", help="folder of the report (default: runs/report)")
    report.add_argument("--published", help="CSV of published figures to stand beside ours")
    report.add_argument("--candidate", default="EVE", help="line that the tests of difference compare with each other")
    report.add_argument("--lines", nargs="+", metavar="LINE", help="these lines (default: all)")
    search = commands.add_parser("search", help="search a model's arguments; trials are kept")
    steps = search.add_subparsers(dest="action", required=True)
    begun = steps.add_parser("run", help="begin a search")
    resumed = steps.add_parser("resume", help="go on with a search, or join one that runs elsewhere")
    page = steps.add_parser("report", help="write a page on a search, finished or under way")
    for parsed in (begun, resumed, page):
        parsed.add_argument("file", help="YAML file, see configs/search")
        parsed.add_argument("--out", default="runs", help="results lie in OUT/search-NAME (default: runs)")
    for parsed in (begun, resumed):
        parsed.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR)")
        parsed.add_argument("--trials", type=int, metavar="N", help="finished trials in all, in place of the file's")
        parsed.add_argument(
            "--workers", type=int, default=0, metavar="N", help="processes (default: 0, run in this one)"
        )
    looked = commands.add_parser("diagnose", help="write a page on what the units of a saved model do")
    looked.add_argument("path", help="folder that NeuralForecast.save wrote")
    looked.add_argument("--data", metavar="FILE", help="CSV or parquet (default: its own validation windows)")
    looked.add_argument("--out", default="runs/diagnosis", help="folder of the page (default: runs/diagnosis)")
    looked.add_argument("--max-windows", type=int, default=4096, metavar="N", help="look at so many (default: 4096)")
    for parsed in (demo, run, begun, resumed, looked):
        parsed.add_argument("--threads", type=int, help="torch threads (default: torch's choice; 1 for each worker)")
    chosen = parser.parse_args(arguments)
    try:
        return _run(chosen)
    except (ValueError, FileNotFoundError, ImportError, ConnectionError) as error:
        if getattr(chosen, "traceback", False):
            raise
        print(f"vdn-forecast: {error}", file=sys.stderr)
        return 2


def _run(chosen: argparse.Namespace) -> int:
    """The chosen command."""
    if chosen.command == "search":
        return _search(chosen)
    if getattr(chosen, "action", "") == "report":
        from vdn_forecast.evaluation.report import write_report

        paths, lines = chosen.results, chosen.lines
        print(write_report(paths, chosen.out, chosen.published, candidate=chosen.candidate, lines=lines).html)
        return 0
    if getattr(chosen, "action", "") == "list":
        from vdn_forecast.evaluation.listing import list_cells
        from vdn_forecast.evaluation.suite_file import read_suite

        for text in list_cells(read_suite(chosen.suite)):
            print(text)
        return 0
    _prepare(chosen.threads, getattr(chosen, "workers", 0))
    if chosen.command == "diagnose":
        from vdn_forecast.diagnostics.command import report_saved

        print(report_saved(chosen.path, chosen.out, chosen.data, max_windows=chosen.max_windows))
    elif chosen.command == "demo":
        from vdn_forecast.evaluation.demo import demo as run_demo

        run_demo(chosen.data, chosen.out)
    else:
        from vdn_forecast.evaluation.runner import Execution, Runner
        from vdn_forecast.evaluation.suite_file import read_suite

        execution = Execution(
            chosen.workers, chosen.threads, chosen.executor, chosen.address, chosen.max_time, chosen.retry_failed
        )
        source = f"vdn-forecast benchmark run {chosen.suite}"
        suite = read_suite(chosen.suite)
        suite = suite if chosen.lines is None else suite.of_lines(chosen.lines)
        suite = replace(suite, windows=suite.windows or chosen.windows, paths=suite.paths or chosen.paths)
        runner = Runner(suite, chosen.out, chosen.data, source, execution)
        runner.run(chosen.only)
        return int(runner.failures > 0 or bool(runner.refused))
    return 0


def _search(chosen: argparse.Namespace) -> int:
    """Run, resume or report a search."""
    if chosen.action != "report":
        _prepare(chosen.threads, chosen.workers)
    from vdn_forecast.search.command import report_search, run_search
    from vdn_forecast.search.winner import SearchError

    if chosen.action == "report":
        print(report_search(chosen.file, chosen.out))
        return 0
    try:
        found = run_search(
            chosen.file,
            chosen.out,
            chosen.data,
            resume=chosen.action == "resume",
            trials=chosen.trials,
            workers=chosen.workers,
            threads=chosen.threads,
        )
    except SearchError as error:
        print(f"vdn-forecast: {error}", file=sys.stderr)
        return 1
    print(found)
    return 0


def _prepare(threads: int | None, workers: int = 0) -> None:
    """Settings of a process of our own and its workers: freed memory stays."""
    if workers > 1:  # spinning threads would take the cores from each other; must stand before torch is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from vdn_forecast.evaluation.allocator import keep_memory

    if threads is not None:
        torch.set_num_threads(threads)
    keep_memory()


if __name__ == "__main__":
    raise SystemExit(main())
