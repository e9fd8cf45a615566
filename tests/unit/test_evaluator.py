"""The streaming evaluator against NeuralForecast's own cross-validation on the embedded panel."""

from typing import Any

import numpy as np
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import DistributionLoss, MQLoss

from vdn_forecast.evaluation.data import load_dataset
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import knows_series
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import embedded
from vdn_forecast.evaluation.quiet import quiet_lightning
from vdn_forecast.mixture import LEVELS_19

H, INPUT_SIZE = 12, 36
TINY = {"n_units": 16, "hidden_size": 16, "head_size": 16}
KNOWN = {"stat_exog_list": ["series"], "cat_exog_list": ["series"], "categorical_cardinalities": {"series": 9}}


def by_cross_validation(model: Any) -> dict[str, float]:
    """MSE, crps19 and MAE of the median from the long frame that the evaluator never builds."""
    data = embedded(INPUT_SIZE).prepare(load_dataset("AirPassengers"))
    with quiet_lightning():
        forecaster = NeuralForecast(models=[model], freq="ME")
        frame = forecaster.cross_validation(
            data.frame(),
            static_df=data.static_frame() if knows_series(model) else None,
            **{"val_size": 24, "test_size": 24, "n_windows": None, "step_size": 1, "refit": False},
        )
    name = repr(model)
    columns = [c for c in frame.columns if c.startswith(name)]
    quantiles = frame[[c for c in columns if c != name]].to_numpy()
    if isinstance(model.loss, MQLoss):
        quantiles = np.sort(quantiles, 1)  # the evaluator puts crossed quantiles in order
    y = frame["y"].to_numpy()
    mean = frame[name].to_numpy() if name in columns else quantiles.mean(1)
    scores = {"mse": float(np.mean((y - mean) ** 2))}
    if quantiles.shape[1] == 19:
        difference, levels = y[:, None] - quantiles, np.asarray(LEVELS_19)
        scores["crps19"] = float(2 * np.maximum(levels * difference, (levels - 1) * difference).mean())
    return scores


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("DLinear", {}),
        ("NHITS", {"loss": MQLoss(quantiles=list(LEVELS_19))}),
        ("NHITS", {"loss": DistributionLoss("Normal", quantiles=list(LEVELS_19), num_samples=200)}),
        ("iTransformer", {"hidden_size": 16, "d_ff": 16, "n_heads": 2}),
        ("TimeMixer", {"down_sampling_layers": 2, "windows_batch_size": 8}),
        ("TSMixer", {"ff_dim": 8}),
        ("DeepAR", {"loss": DistributionLoss("StudentT", quantiles=list(LEVELS_19))}),
        ("EVE", TINY),
        ("EVE", {**TINY, "loss": MQLoss(quantiles=list(LEVELS_19))}),
        ("EVE", {**TINY, **KNOWN}),
        ("NHITS", {"loss": MQLoss(quantiles=list(LEVELS_19)), **KNOWN}),
    ],
)
def test_streaming_equals_cross_validation(name: str, arguments: dict[str, Any]) -> None:
    extra = {"max_steps": 20, "val_check_steps": 10, **arguments}
    data = load_dataset("AirPassengers")
    streamed = evaluate(build_model(name, H, INPUT_SIZE, 12, n_series=2, **extra), data, embedded(INPUT_SIZE), H)
    assert streamed.test is not None
    assert float(streamed.test.count.sum()) == 2 * (24 - H + 1)
    loss = arguments.get("loss")
    if name == "EVE" and loss is None:
        # the same quantiles for the long frame
        from vdn_forecast import LatentMixture

        own = streamed.model.loss
        same = {"n_samples": own.n_samples, "background": own.background}
        extra["loss"] = LatentMixture(quantiles=list(LEVELS_19), **same)
    whole = by_cross_validation(build_model(name, H, INPUT_SIZE, 12, n_series=2, **extra))
    got = streamed.test.summary()
    # NeuralForecast draws a distribution's quantiles from samples
    tolerance = 0.2 if isinstance(loss, DistributionLoss) else 1e-5
    assert ("crps19" in whole) is (loss is not None or name == "EVE")
    for measure, value in whole.items():
        # a recurrent model's mean is rolled out without sampling
        exact = measure == "mse" and name == "DeepAR"
        assert got[measure] == pytest.approx(value, rel=1e-5 if exact else tolerance)


def test_what_tells_series_apart_must_be_categorical() -> None:
    model = build_model("EVE", H, INPUT_SIZE, 12, **TINY, stat_exog_list=["series"])
    with pytest.raises(ValueError, match="cat_exog_list"):
        evaluate(model, load_dataset("AirPassengers"), embedded(INPUT_SIZE), H)


def test_a_point_model_gets_its_residual_gaussian_from_validation() -> None:
    data = load_dataset("AirPassengers")
    done = evaluate(NaiveModel(12), data, embedded(INPUT_SIZE), H)
    assert done.test is not None
    summary = done.test.summary()
    origins = np.arange(120, 144 - H + 1)
    y = np.stack([data.values[o : o + H] for o in origins])
    forecast = np.stack([data.values[o - 12 : o] for o in origins])
    assert summary["mse"] == pytest.approx(np.mean((y - forecast) ** 2), rel=1e-5)
    assert summary["width90"] > summary["width80"] > 0


def test_a_horizon_longer_than_the_split_is_refused() -> None:
    with pytest.raises(ValueError, match="h=25"):
        evaluate(NaiveModel(1), load_dataset("AirPassengers"), embedded(INPUT_SIZE), 25)
