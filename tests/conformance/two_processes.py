"""Fit with two CPU processes and leave every rank's state behind: `python two_processes.py FOLDER CLASS`.

A script of its own: Lightning forks the whole process, which must not be pytest.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from model_list import MODELS, Recorder, build, fitted, state
from neuralforecast.utils import AirPassengersPanel
from safetensors.torch import save_file

CONTROLS = ("homeo", "batchnorm", "balance")


def has(name: str, control: str) -> bool:
    """Whether a class has a regime."""
    return control != "balance" or name == "EVE"


class Keep(Recorder):
    """Writes the state and the losses of one rank."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        assert trainer.world_size == 2
        name = self.folder / f"{pl_module.alias}-{trainer.global_rank}"
        save_file(state(pl_module), f"{name}.safetensors")
        Path(f"{name}.json").write_text(json.dumps(self.losses))


def main(folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    panel = AirPassengersPanel[["unique_id", "ds", "y"]]
    # the second airline is the first one shifted: standardised windows would be equal
    panel = panel.assign(y=panel.y.where(panel.unique_id == "Airline1", panel.y.to_numpy()[::-1]))
    (cls,) = (each for each in MODELS if each.__name__ == name)
    for control in (each for each in CONTROLS if has(name, each)):
        model = build(
            cls,
            alias=control,
            control=control,
            control_warmup=1,
            control_every=1,
            sigma="unit",
            max_steps=6,
            batch_size=1,  # one airline per process
            devices=2,
            strategy="ddp_fork",
            callbacks=[Keep(folder)],
        )
        nf = fitted(model, df=panel)
        save_file(state(nf.models[0]), folder / f"{control}-main.safetensors")
        nf.predict().to_csv(folder / f"{control}.csv")
        assert nf.models[0].trainer_kwargs["devices"] == 2  # of the next fit


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
