"""Protocols: frozen identities that say which windows are forecast, on which scale, and how scores are averaged."""

from dataclasses import asdict, dataclass

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
        return ";".join(f"{key}={value}" for key, value in asdict(self).items())

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
