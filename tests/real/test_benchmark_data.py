"""The committed protocol on the published data: naive repeat must give the published figures."""

from pathlib import Path

import numpy as np
import pytest

from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import HORIZONS, ILI_HORIZONS, ltsf
from vdn_forecast.evaluation.scores import ScoreSums

NAIVE_REPEAT = {
    "ETTh1": [(1.2944, 0.7132, 2785), (1.3249, 0.7331, 2689), (1.3299, 0.7460, 2545), (1.3351, 0.7550, 2161)],
    "ETTh2": [(0.4317, 0.4216, 2785), (0.5337, 0.4725, 2689), (0.5973, 0.5109, 2545), (0.5945, 0.5190, 2161)],
    "ETTm1": [(1.2139, 0.6648, 11425), (1.2612, 0.6904, 11329), (1.2866, 0.7072, 11185), (1.3223, 0.7295, 10801)],
    "Weather": [(0.2591, 0.2542, 10444), (0.3092, 0.2917, 10348), (0.3764, 0.3377, 10204), (0.4652, 0.3935, 9820)],
    "Exchange": [(0.0811, 0.1964, 1422), (0.1671, 0.2887, 1326), (0.3057, 0.3978, 1182), (0.8101, 0.6764, 798)],
    "ILI": [(6.2133, 1.6222, 170), (7.7138, 1.9059, 158), (7.8513, 1.9521, 146), (6.8849, 1.7884, 134)],
}


@pytest.mark.real
@pytest.mark.parametrize("dataset", NAIVE_REPEAT)
def test_naive_repeat_equals_the_published_figures(dataset: str, data_dir: Path) -> None:
    protocol = ltsf(dataset)
    data = protocol.prepare(load_dataset(dataset, data_dir))
    train, validation, test = data.borders
    horizons = ILI_HORIZONS if dataset == "ILI" else HORIZONS
    for h, (mse, mae, windows) in zip(horizons, NAIVE_REPEAT[dataset], strict=True):
        sums = ScoreSums(len(data.series), h)
        first = train + validation
        for block in blocks(NaiveModel(1), data, 1, protocol.input_size, h, first, first + test, None):
            sums.update(block)
        assert protocol.origins(test, h) == windows
        assert set(sums.count.tolist()) == {float(windows)}
        got = sums.summary()
        assert (round(got["mse"], 4), round(got["mae"], 4)) == (mse, mae)


@pytest.mark.real
def test_scaling_uses_train_rows_only(data_dir: Path) -> None:
    data = load_dataset("ETTh1", data_dir)
    train = data.scaled().values[: data.borders[0]]
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-10)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-10)


@pytest.mark.real
def test_irregular_stamps_are_replaced_and_noted(data_dir: Path) -> None:
    data = load_dataset("Weather", data_dir)
    assert len(data.values) == 52_696
    assert data.note
    assert data.index.is_unique
