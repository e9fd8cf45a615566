"""Datasets of a suite beside the benchmark's: a user's own file, or a synthetic panel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .data import PanelData
from .sources import synthetic_panel, user_panel

SYNTHETIC_SEASON = 24


@dataclass(frozen=True)
class UserPanel:
    """A file of one's own, see `sources.user_panel`.

    Attributes:
        file: CSV or parquet, wide or long.
        split: rows of train, validation and test.
        freq: pandas frequency.
        season: rows of one season.
    """

    file: Path
    split: tuple[int, int, int]
    freq: str
    season: int = 1

    def load(self, name: str) -> PanelData:
        """Read it; errors as of `user_panel`, and FileNotFoundError."""
        return user_panel(self.file, self.split, self.freq, self.season, name)

    def described(self) -> dict[str, Any]:
        """What `benchmark list` shows."""
        return {"file": str(self.file), "split": list(self.split), "freq": self.freq, "season": self.season}


@dataclass(frozen=True)
class SyntheticPanel:
    """A panel of any shape, see `sources.synthetic_panel`.

    Attributes:
        n_series, n_rows: its shape.
        seed: of its noise.
    """

    n_series: int
    n_rows: int
    seed: int = 0

    @property
    def season(self) -> int:
        """Rows of one season."""
        return SYNTHETIC_SEASON

    def load(self, name: str) -> PanelData:
        """Draw it."""
        return replace(synthetic_panel(self.n_series, self.n_rows, self.seed), name=name)

    def described(self) -> dict[str, Any]:
        """What `benchmark list` shows."""
        return {"synthetic": {"n_series": self.n_series, "n_rows": self.n_rows, "seed": self.seed}}


Panel = UserPanel | SyntheticPanel
Panels = Mapping[str, Panel]
