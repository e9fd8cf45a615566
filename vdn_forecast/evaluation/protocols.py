"""Protocols: frozen identities that say which windows are forecast, on which scale, and how scores are averaged."""

from dataclasses import asdict, dataclass

from .data import PanelData

ILI_LOOK_BACK, LOOK_BACK = 104, 336
HORIZONS = (96, 192, 336, 720)
ILI_HORIZONS = (24, 36, 48, 60)


@dataclass(frozen=True)
class Protocol:
    """Rolling evaluation over a test split.

    Attributes:
        name: "ltsf" or "embedded".
        version: raised whenever a figure would change.
        input_size: look-back L; it may reach into the split before.
        stride: steps between forecast origins.
        scale: "train" (standardised with train rows) or "original".
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

    def prepare(self, data: PanelData) -> PanelData:
        """The data on the scale that the metrics are computed on."""
        return data.scaled() if self.scale == "train" else data

    def origins(self, n_rows: int, h: int) -> int:
        """Number of forecast origins over a split of `n_rows` rows.

        Raises:
            ValueError: the horizon is longer than the split.
        """
        if n_rows < h:
            raise ValueError(f"h={h} is not allowed; the split has {n_rows} rows only")
        return (n_rows - h) // self.stride + 1


def ltsf(dataset: str, input_size: int | None = None) -> Protocol:
    """The long-horizon protocol: stride 1, all test − h + 1 origins, none dropped, scaled with train rows.

    Args:
        dataset: its standard look-back is 336, 104 for ILI.
        input_size: another look-back is another identity.
    """
    standard = ILI_LOOK_BACK if dataset == "ILI" else LOOK_BACK
    return Protocol("ltsf", 1, standard if input_size is None else input_size)


def embedded(input_size: int = 36) -> Protocol:
    """For the panel that NeuralForecast ships: stride 1, in passengers."""
    return Protocol("embedded", 1, input_size, scale="original")
