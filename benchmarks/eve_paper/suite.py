"""The suite from YAML, and its rows: one per (dataset, regime, seed), appended whole; a killed run goes on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from tqdm import tqdm

from vdn_forecast.evaluation.cells import versions
from vdn_forecast.evaluation.protocols import SampledWindows, eve_paper
from vdn_forecast.evaluation.results import ResultTable, Schema, cell_identity

from .panels import SIZES, Panel, load_panel
from .settings import REGIMES, Settings
from .training import train

SCHEMA = Schema(
    (
        *("cell", "protocol", "seed", "group", "regime", "variant", "best_epoch", "best_val_loss", "best_val_mse"),
        *("test_mse", "test_mae", "test_kl", "test_band", "test_mu2_mean", "test_frac_too_low", "test_frac_too_high"),
        *("test_out", "test_out_nominal", "steps", "seconds", "data_note", "versions", "command", "schema"),
    ),
    ((1, 24),),
)
"""The author's column names (test_out is `out_batch`, test_kl a sum over units), and what a row needs beside them."""


@dataclass(frozen=True)
class PaperSuite:
    """What a suite file says.

    Attributes:
        name: of the results file.
        datasets: keys of `SIZES`.
        regimes: keys of `REGIMES`.
        seeds: numbers >= 0.
        settings: what differs from the author's; a variant is another identity.
    """

    name: str
    datasets: tuple[str, ...]
    regimes: tuple[str, ...]
    seeds: tuple[int, ...]
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name={self.name!r} is not allowed; give the results file's name")
        for argument, values, allowed in (("datasets", self.datasets, SIZES), ("regimes", self.regimes, REGIMES)):
            if not values:
                raise ValueError(f"{argument} is empty; choose from {sorted(allowed)}")
            for value in values:
                if value not in allowed:
                    raise ValueError(f"{argument}: {value!r} is not known; choose from {sorted(allowed)}")
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise ValueError(f"seeds={list(self.seeds)!r} is not allowed; give whole numbers >= 0")
        for argument in ("datasets", "regimes", "seeds"):
            if len(set(getattr(self, argument))) < len(getattr(self, argument)):
                raise ValueError(f"{argument}={list(getattr(self, argument))!r} is not allowed; one of them repeats")


def read_paper_suite(path: str | Path) -> PaperSuite:
    """Read a suite file.

    Raises:
        ValueError: an unknown or missing key, another protocol, or a value outside of what is allowed.
    """
    content = yaml.safe_load(Path(path).read_text())
    needed = {"name", "protocol", "datasets", "regimes", "seeds"}
    known = needed | {"settings"}
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a mapping at its top")
    unknown, missing = sorted(map(str, set(content) - known)), sorted(needed - set(content))
    if unknown or missing:
        raise ValueError(f"{path}: unknown keys {unknown}, missing keys {missing}; known are {sorted(known)}")
    if content["protocol"] != "eve-paper":
        raise ValueError(f"protocol={content['protocol']!r} is not allowed here; this suite runs 'eve-paper' only")
    for argument in ("datasets", "regimes", "seeds"):
        if not isinstance(content[argument], list):
            raise ValueError(f"{argument}={content[argument]!r} is not allowed; give a list")
    datasets, regimes, seeds = (tuple(content[argument]) for argument in ("datasets", "regimes", "seeds"))
    return PaperSuite(content["name"], datasets, regimes, seeds, read_settings(content.get("settings", {})))


def read_settings(changes: Any) -> Settings:
    """The author's settings with some of them changed.

    Raises:
        ValueError: no mapping, an unknown name, or a value of another kind than the author's.
    """
    if not isinstance(changes, dict):
        raise ValueError(f"settings={changes!r} is not allowed; give a mapping of names to numbers")
    author = asdict(Settings())
    for name, value in changes.items():
        if name not in author:
            raise ValueError(f"settings: {name!r} is not known; choose from {sorted(author)}")
        if type(value) is not type(author[name]) or not value > 0:
            raise ValueError(
                f"settings: {name}={value!r} is not allowed; give a number > 0 of type {type(author[name]).__name__}"
            )
    return Settings(**changes)


class PaperRunner:
    """Runs what is missing of a suite.

    Args:
        suite: what to run.
        folder: where `<name>.csv` lies.
        directory: benchmark data; None for VDN_DATA_DIR.
        command: what the rows say they came from.
        protocol: the author's, unless told otherwise: another one makes other cells.

    Attributes:
        failures: cells that could not be run.
    """

    def __init__(
        self,
        suite: PaperSuite,
        folder: str | Path,
        directory: str | Path | None = None,
        command: str = "",
        protocol: SampledWindows | None = None,
    ) -> None:
        self.suite, self.directory, self.command = suite, directory, command
        self.protocol, self.settings = protocol or eve_paper(), suite.settings
        self.table = ResultTable(Path(folder) / f"{suite.name}.csv", SCHEMA)
        self.failures = 0

    def identity(self, dataset: str, regime: str, seed: int) -> str:
        """Twelve digits that name a cell."""
        return cell_identity(
            protocol=self.protocol.identity, dataset=dataset, regime=regime, seed=seed, settings=asdict(self.settings)
        )

    @property
    def protocol_text(self) -> str:
        """What stands in the rows: the protocol, and every setting that is not the author's."""
        author = asdict(Settings())
        changed = {name: value for name, value in asdict(self.settings).items() if value != author[name]}
        return self.protocol.identity + "".join(f";{name}={value}" for name, value in changed.items())

    def run(self, only: Sequence[str] | None = None) -> pd.DataFrame:
        """Run every missing cell; returns all rows.

        A cell that fails is reported on the terminal and left out, the others go on; so is a dataset that is not at
        hand.

        Args:
            only: these datasets of the suite; None for all.

        Raises:
            ValueError: a dataset that the suite does not have.
        """
        datasets = self.suite.datasets if only is None else tuple(only)
        for dataset in datasets:
            if dataset not in self.suite.datasets:
                raise ValueError(f"dataset={dataset!r} is not in the suite; it has {list(self.suite.datasets)}")
        cells = [(d, r, s) for d in datasets for s in self.suite.seeds for r in self.suite.regimes]
        done = self.table.cells()
        panel: Panel | None = None
        refused: dict[str, str] = {}
        with tqdm(total=len(cells) * self.protocol.epochs, desc=self.suite.name, unit="epoch", file=sys.stderr) as bar:
            for position, (dataset, regime, seed) in enumerate(cells, 1):
                name = f"{dataset} {regime} seed {seed}"
                bar.set_postfix_str(name)
                try:
                    if dataset in refused:
                        raise ValueError(refused[dataset])
                    if self.identity(dataset, regime, seed) not in done:
                        if panel is None or panel.name != dataset:
                            panel = self._load(dataset, refused)
                        row = self._row(panel, regime, seed, bar)
                        self.table.append(row)
                        bar.write(f"{name}: test MSE {row['test_mse']:.4f}, out {row['test_out']:.3f}", file=sys.stderr)
                except Exception as error:
                    self.failures += 1
                    bar.write(f"{name}: failed, {type(error).__name__}: {error}", file=sys.stderr)
                bar.update(position * self.protocol.epochs - bar.n)
        return self.table.read()

    def _load(self, dataset: str, refused: dict[str, str]) -> Panel:
        try:
            return load_panel(dataset, self.directory)
        except Exception as error:
            refused[dataset] = str(error)  # not asked for again in this run: it may have been a download
            raise

    def _row(self, panel: Panel, regime: str, seed: int, bar: Any) -> Mapping[str, Any]:
        chosen = REGIMES[regime]
        found = train(panel.values, self.protocol, chosen, self.settings, seed, lambda epoch: bar.update())
        figures = {name: found[name] for name in SCHEMA.columns if name in found}
        return {
            "cell": self.identity(panel.name, regime, seed),
            "protocol": self.protocol_text,
            "seed": seed,
            "group": panel.name,
            "regime": regime,
            "variant": chosen.variant,
            "best_val_loss": found["val_loss"],
            "best_val_mse": found["val_mse"],
            **figures,
            "data_note": panel.note,
            "versions": versions(),
            "command": self.command,
        }
