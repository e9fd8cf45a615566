"""What the written tables share."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
ORDER = ("ETTh1", "ETTh2", "ETTm1", "Weather", "Exchange", "ILI")
USUAL_SEEDS = 3


def head(*titles: str) -> list[str]:
    """The first two lines of a table."""
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]


def few_seeds(count: int) -> str:
    """What a cell says of fewer seeds than usual; nothing of enough."""
    return f" ({count} seed{'s' * (count > 1)})" if count < USUAL_SEEDS else ""
