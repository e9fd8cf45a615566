"""Energy and variogram score of joint sample paths, one path ensemble per window."""

import torch
from torch import Tensor

POWER = 0.5
"""Of the variogram score."""
_NUMBERS_AT_ONCE = 2**20  # float32: 4 MiB, of which a few copies live


def energy_score(paths: Tensor, y: Tensor) -> Tensor:
    """Fair energy score: mean |X - y| - sum over pairs |X - X'| / (m (m - 1)), Euclidean norms over the horizon.

    Gneiting and Raftery (2007), eq. 22, with the estimator that is unbiased in the number of paths (Fricker, Ferro
    and Stephenson 2013): each unordered pair counts once.

    Args:
        paths: [W, m, h].
        y: [W, h].

    Returns:
        [W] in the unit of y; zero for paths that all hit y, on average lowest for the true distribution.

    Raises:
        ValueError: shapes that do not belong together, or a single path.
    """
    _check(paths, y)
    m = paths.shape[1]
    paths, y = paths.double(), y.double()
    near = (paths - y.unsqueeze(1)).norm(dim=-1).mean(1)
    # matrix products would lose the digits of near pairs
    apart = torch.cdist(paths, paths, compute_mode="donot_use_mm_for_euclid_dist").sum((1, 2))
    return near - apart / (2 * m * (m - 1))


def variogram_score(paths: Tensor, y: Tensor) -> Tensor:
    """Variogram score of power .5 with equal weights: sum over pairs of steps i, j of the squared difference between
    |y_i - y_j|^.5 and its mean over paths.

    Scheuerer and Hamill (2015). All ordered pairs count, each with weight one, so it grows with h squared. Costs
    h^2 m / 2 square roots a window.

    Args:
        paths: [W, m, h].
        y: [W, h].

    Returns:
        [W] in the unit of y.

    Raises:
        ValueError: as `energy_score`.
    """
    _check(paths, y)
    windows, m, h = paths.shape
    scores = torch.empty(windows, dtype=torch.float64)
    step = max(1, _NUMBERS_AT_ONCE // (m * h))
    for begin in range(0, windows, step):
        part = slice(begin, begin + step)
        x = paths[part].permute(2, 1, 0).float().contiguous()  # [h, m, w]: a difference over steps is contiguous
        observed = y[part].T.float().contiguous()  # [h, w]
        total = torch.zeros(x.shape[-1], dtype=torch.float64)
        for lag in range(1, h):
            expected = (x[lag:] - x[:-lag]).abs_().sqrt_().mean(1)  # [h - lag, w]
            found = (observed[lag:] - observed[:-lag]).abs_().sqrt_()
            total += (found - expected).square_().double().sum(0)
        scores[part] = 2 * total
    return scores


class PathScores:
    """Means of both scores over windows.

    Args:
        note: where the paths came from and which windows were scored; for the row.
    """

    def __init__(self, note: str) -> None:
        self.note = note
        self.count = 0
        self.sums = {"energy_score": 0.0, "variogram_score": 0.0}

    def update(self, paths: Tensor, y: Tensor) -> None:
        """Add paths [W, m, h] of windows y [W, h].

        Raises:
            ValueError: paths that are not finite.
        """
        if not bool(torch.isfinite(paths).all()):
            raise ValueError("the model returned a path that is not finite")
        self.count += len(y)
        self.sums["energy_score"] += float(energy_score(paths, y).sum())
        self.sums["variogram_score"] += float(variogram_score(paths, y).sum())

    def summary(self) -> dict[str, float]:
        """Plain means over the scored windows."""
        return {name: total / self.count for name, total in self.sums.items()}


def _check(paths: Tensor, y: Tensor) -> None:
    if paths.ndim != 3 or y.shape != (paths.shape[0], paths.shape[2]):
        raise ValueError(
            f"paths have shape {tuple(paths.shape)} and y {tuple(y.shape)}; they must be [W, m, h], [W, h]"
        )
    if paths.shape[1] < 2:
        raise ValueError(f"there are {paths.shape[1]} paths; the scores need at least 2")
