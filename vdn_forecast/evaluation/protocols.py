"""Protocols: frozen identities that say which windows are forecast, on which scale, and how scores are averaged."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .data import PanelData

ILI_LOOK_BACK, LOOK_BACK = 104, 336
PROBTS_ILI_LOOK_BACK, PROBTS_LOOK_BACK, PROBTS_STRIDE = 36, 96, 96
HORIZONS = (96, 192, 336, 720)
ILI_HORIZONS = (24, 36, 48, 60)


@dataclass(frozen=True)
class Protocol:
    """Rolling evaluation over a test split.

    Attributes:
        name: "ltsf", "probts" or "embedded".
        version: raised whenever a figure would change.
        input_size: look-back L; it may reach into the split before.
        stride: steps between forecast origins.
        scale: of the metrics: "train" (standardised with train rows), "original", or "restored" (trained on values
            standardised with train rows, forecasts mapped back to the original scale).
    """

    name: str
    version: int
    input_size: int
    stride: int = 1
    scale: str = "train"

    @property
    def identity(self) -> str:
        """The text that stands in every row: all parameters, in one order."""
        return _identity(self)

    @property
    def data_scale(self) -> str:
        """The scale that `load_dataset` must read: "original" where forecasts are mapped back to it."""
        return "original" if self.scale == "restored" else "published"

    @property
    def has_window_ratios(self) -> bool:
        """Whether rows also carry scores per window divided by Σ|y|."""
        return self.name == "probts"

    def prepare(self, data: PanelData) -> PanelData:
        """The data on the scale that models see; metrics too, unless the scale is "restored".

        Raises:
            ValueError: forecasts are to be mapped back to an original scale that the data does not have.
        """
        if self.scale == "restored" and data.scale != "original":
            raise ValueError(
                f"dataset={data.name!r} is at hand on the scale {data.scale!r} only; protocol {self.name!r} needs "
                "original values: load_dataset(..., scale='original')"
            )
        return data if self.scale == "original" else data.scaled()

    def origins(self, n_rows: int, h: int) -> int:
        """Number of forecast origins over a split of `n_rows` rows.

        `probts` counts ceil((rows − h) / stride), one less than fit where the stride divides rows − h.

        Raises:
            ValueError: the horizon is longer than the split, or leaves no origin.
        """
        if n_rows < h:
            raise ValueError(f"h={h} is not allowed; the split has {n_rows} rows only")
        if self.name != "probts":
            return (n_rows - h) // self.stride + 1
        if n_rows == h:
            raise ValueError(f"h={h} is not allowed; probts finds no origin in a split of {n_rows} rows")
        return -(-(n_rows - h) // self.stride)


def ltsf(dataset: str, input_size: int | None = None) -> Protocol:
    """The long-horizon protocol: stride 1, all test − h + 1 origins, none dropped, scaled with train rows.

    Args:
        dataset: its standard look-back is 336, 104 for ILI.
        input_size: another look-back is another identity.
    """
    standard = ILI_LOOK_BACK if dataset == "ILI" else LOOK_BACK
    return Protocol("ltsf", 1, standard if input_size is None else input_size)


def probts(dataset: str, input_size: int | None = None) -> Protocol:
    """ProbTS's long-horizon protocol: an origin every 96 rows, ratios to Σ|y| per window on the original scale.

    Args:
        dataset: its standard look-back is 96, 36 for ILI.
        input_size: another look-back is another identity.
    """
    standard = PROBTS_ILI_LOOK_BACK if dataset == "ILI" else PROBTS_LOOK_BACK
    return Protocol("probts", 1, standard if input_size is None else input_size, PROBTS_STRIDE, "restored")


def embedded(input_size: int = 36) -> Protocol:
    """For the panel that NeuralForecast ships: stride 1, in passengers."""
    return Protocol("embedded", 1, input_size, scale="original")


@dataclass(frozen=True)
class SampledWindows:
    """A fixed sample of windows per series and split, for training too: the EVE paper's own suite.

    Every split is a stretch of forecast origins; the first input_size + ar_stride rows have none. Windows of different
    splits may overlap, and the published scaling of the data has seen validation rows: figures under this protocol
    stand beside the paper's and no others.

    Attributes:
        name, version: "eve-paper"; the version is raised whenever a figure would change.
        input_size, h: look-back and horizon, rows.
        ar_stride: rows that the (unused) autoregressive term would reach further back.
        splits: share of the origins before which train, validation and test end.
        sizes: windows per series of train, validation and test.
        batch_size: windows per loader batch; of train, a last partial batch is dropped.
        epochs: passes over the train windows; the reported one has the lowest validation loss.
    """

    name: str
    version: int
    input_size: int
    h: int
    ar_stride: int
    splits: tuple[float, float, float]
    sizes: tuple[int, int, int]
    batch_size: int
    epochs: int

    @property
    def identity(self) -> str:
        """The text that stands in every row: all parameters, in one order."""
        return _identity(self)

    def origins(self, n_rows: int) -> tuple[range, range, range]:
        """Forecast origins (first row of the horizon) of train, validation and test in a series of `n_rows` rows.

        Raises:
            ValueError: a split with fewer origins than its windows.
        """
        first, last = self.input_size + self.ar_stride, n_rows - self.h
        ends = [first + int(share * (last - first)) for share in self.splits]
        parts = tuple(range(start, end) for start, end in zip([first, *ends], ends, strict=False))
        for part, size in zip(parts, self.sizes, strict=True):
            if len(part) < size:
                raise ValueError(
                    f"n_rows={n_rows} is not allowed; a split with {len(part)} origins cannot give {size} windows"
                )
        return parts[0], parts[1], parts[2]

    def draw(self, n_series: int, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows of train, validation and test, int64 [n_series * size, 2] of (series, origin) each.

        One legacy `numpy.random.RandomState` per split (seed, seed + 1, seed + 2), drawn from series by series; the
        order of drawing is kept.

        Raises:
            ValueError: series that are too short, or a seed that is no number in [0, 2**32 - 2).
        """
        if not 0 <= seed < 2**32 - 2:
            raise ValueError(f"seed={seed!r} is not allowed; it must be a number in [0, {2**32 - 2})")
        drawn = []
        for offset, (part, size) in enumerate(zip(self.origins(n_rows), self.sizes, strict=True)):
            generator = np.random.RandomState(seed + offset)  # not default_rng: the protocol names it
            chosen = [generator.choice(np.asarray(part), size, replace=False) for _ in range(n_series)]
            drawn.append(np.stack([np.repeat(np.arange(n_series), size), np.concatenate(chosen)], axis=1))
        return drawn[0], drawn[1], drawn[2]


def eve_paper() -> SampledWindows:
    """The suite of arXiv 2602.18250 (Figures 4 and 5): 400, 200 and 200 windows per series, 20 epochs."""
    return SampledWindows("eve-paper", 1, LOOK_BACK, 96, 4, (0.7, 0.9, 1.0), (400, 200, 200), 256, 20)


def _identity(protocol: Any) -> str:
    return ";".join(f"{key}={value}" for key, value in asdict(protocol).items())
