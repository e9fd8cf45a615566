"""Sparse graphs between units: which units each one reads, as indices [N, degree], never as an N x N table."""

import torch
from torch import Tensor

from .checks import require_choice, require_int

GRAPHS = ("none", "ring", "random", "topk")


def check_graph(graph: str, n_units: int, degree: int) -> None:
    """Raise ValueError unless units can have that many neighbours other than themselves."""
    require_choice("graph", graph, GRAPHS)
    require_int("n_units", n_units, 1)
    require_int("graph_degree", degree, 0)
    if graph != "none" and not 1 <= degree < n_units:
        raise ValueError(
            f"graph_degree={degree} is not allowed with graph={graph!r}; it must be at least 1 and below "
            f"n_units={n_units}"
        )


def neighbours(graph: str, n_units: int, degree: int, seed: int = 0) -> Tensor:
    """Whom each unit reads, int64 [N, degree] ([N, 0] for "none"): distinct, never the unit itself.

    Args:
        graph: "none"; "ring", the nearest units on both sides in turn (right first); "random", drawn by `seed`;
            "topk", which starts as "random".
        n_units: N.
        degree: neighbours per unit.
        seed: of a private generator.

    Raises:
        ValueError: an unknown graph, or a degree that N units cannot have.
    """
    check_graph(graph, n_units, degree)
    unit = torch.arange(n_units).unsqueeze(1)  # [N, 1]
    if graph == "none":
        return torch.empty(n_units, 0, dtype=torch.int64)
    if graph == "ring":
        step = torch.arange(degree)
        offset = (step // 2 + 1) * (1 - 2 * (step % 2))  # 1, -1, 2, -2, ...
        return (unit + offset) % n_units
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randperm(n_units - 1, generator=generator)[:degree] for _ in range(n_units)]
    others = torch.stack(rows)  # [N, degree] among the N - 1 others
    return others + (others >= unit)
