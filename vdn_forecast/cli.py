"""The console script `vdn-forecast`; every command is one documented Python call. Imports are lazy."""

import argparse
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None for the process's own.

    Returns:
        0; argparse leaves with 2 where the words are off.
    """
    parser = argparse.ArgumentParser(
        prog="vdn-forecast", description="Variational distributional neurons (EVE) for NeuralForecast."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="EVE, its twin and NeuralForecast's models side by side")
    demo.add_argument("--data", help="benchmark data folder (default: VDN_DATA_DIR; without: AirPassengers)")
    demo.add_argument("--out", default="runs", help="where results go (default: runs)")
    chosen = parser.parse_args(arguments)
    if chosen.command == "demo":
        from .evaluation.allocator import keep_memory
        from .evaluation.demo import demo as run_demo

        keep_memory()
        run_demo(chosen.data, chosen.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
