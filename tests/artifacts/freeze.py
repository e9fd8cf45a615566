"""Freeze a tiny fitted model of this version: `python tests/artifacts/freeze.py`, once per release.

Later versions must load it and forecast the same: `tests/conformance/test_artifacts.py`.
"""

from pathlib import Path

import torch
from neuralforecast import NeuralForecast
from neuralforecast.utils import AirPassengersPanel

import vdn_forecast
from vdn_forecast import EVE
from vdn_forecast.evaluation.quiet import QUIET_TRAINER


def main() -> None:
    torch.set_num_threads(1)
    model = EVE(
        h=12,
        input_size=24,
        n_units=8,
        hidden_size=8,
        head_size=8,
        n_components=2,
        max_steps=40,
        val_check_steps=20,
        windows_batch_size=32,
        learning_rate=3e-3,
        random_seed=1,
        alias="frozen",
        **QUIET_TRAINER,
    )
    nf = NeuralForecast(models=[model], freq="ME")
    panel = AirPassengersPanel[["unique_id", "ds", "y"]]
    nf.fit(panel, val_size=12)
    name = f"eve_{vdn_forecast.__version__.replace('.', '_')}"
    folder = Path(__file__).parent / name
    nf.save(str(folder), save_dataset=False, overwrite=True)
    nf.predict(df=panel).to_csv(folder.with_suffix(".csv"), index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
