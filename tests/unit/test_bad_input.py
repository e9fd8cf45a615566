"""Bad arguments and bad data are refused by name; what can be handled gives finite forecasts."""

import inspect

import numpy as np
import pandas as pd
import pytest
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE, DistributionLoss, MQLoss
from neuralforecast.models import MLP
from neuralforecast.tsdataset import TimeSeriesDataset
from neuralforecast.utils import AirPassengersPanel

from vdn_forecast import EVE, LatentMixture, check_frame
from vdn_forecast.models.outputs import BACKGROUND

TINY = {
    "h": 12,
    "input_size": 24,
    "n_units": 8,
    "hidden_size": 8,
    "head_size": 8,
    "max_steps": 2,
    "windows_batch_size": 8,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
}


class Unregistered(MAE):
    """A loss that NeuralForecast cannot write."""


@pytest.fixture
def panel() -> pd.DataFrame:
    """Two airlines in random row order and with an index that says nothing."""
    return AirPassengersPanel[["unique_id", "ds", "y"]].sample(frac=1, random_state=0)


def fit(df: pd.DataFrame, val_size: int = 12, **kwargs) -> NeuralForecast:
    nf = NeuralForecast(models=[EVE(**{**TINY, **kwargs})], freq="ME")
    nf.fit(df, val_size=val_size)
    return nf


@pytest.mark.parametrize(
    ("kwargs", "names"),
    [
        ({"h": 0}, ["h", "0"]),
        ({"h": 2.5}, ["h", "2.5"]),
        ({"input_size": 0}, ["input_size", "0"]),
        ({"input_size": -3}, ["input_size", "-3"]),
        ({"n_units": 0}, ["n_units", "0"]),
        ({"latent_dim": 0}, ["latent_dim", "0"]),
        ({"depth": 0}, ["depth", "0"]),
        ({"hidden_size": 0}, ["hidden_size", "0"]),
        ({"head_size": 0}, ["head_size", "0"]),
        ({"n_components": 0}, ["n_components", "0"]),
        ({"n_latent_samples": 0}, ["n_latent_samples", "0"]),
        ({"n_predict_samples": 0}, ["n_predict_samples", "0"]),
        ({"kl_min": 0.4, "kl_max": 0.3}, ["kl_min", "0.4", "kl_max"]),
        ({"kl_min": -0.1}, ["kl_min", "-0.1"]),
        ({"kl_weight": -1.0}, ["kl_weight", "-1.0"]),
        ({"kl_weight": float("nan")}, ["kl_weight", "nan"]),
        ({"kl_weight": 1.0, "kl_weight_max": 0.5, "control": "homeo"}, ["kl_weight_max", "0.5"]),
        ({"kl_weight": 1.0, "kl_weight_min": 2.0, "control": "homeo"}, ["kl_weight_min", "2.0"]),
        ({"band_lower": 1.6, "band_upper": 0.8}, ["band_lower", "1.6", "band_upper"]),
        ({"band_lower": 1.0, "band_upper": 1.0}, ["band_lower", "1.0", "band_upper"]),
        ({"band_target": 0.0}, ["band_target|target", "0.0"]),
        ({"band_shape": "round"}, ["shape", "round", "homogeneous"]),
        ({"band_penalty": "cubic"}, ["band_penalty", "cubic", "relative"]),
        ({"control": "pid"}, ["control", "pid", "homeo"]),
        ({"sigma": "matrix"}, ["sigma", "matrix", "amortized"]),
        ({"sigma_init": 0.0}, ["sigma_init", "0.0"]),
        ({"mean_bound": 0.0}, ["mean_bound", "0.0"]),
        ({"mean_bound": float("nan")}, ["mean_bound", "nan"]),
        ({"mean_compression": 0.0}, ["mean_compression", "0.0"]),
        ({"sigma_floor": 2.0, "sigma_ceil": 1.0}, ["sigma_floor", "2.0"]),
        ({"guard_sigma_floor": 2.0, "guard_sigma_ceil": 1.0}, ["sigma_floor", "2.0"]),
        ({"pool": "max"}, ["pool", "max", "mean"]),
        ({"emission": "poisson"}, ["emission", "poisson", "affine"]),
        ({"neuron": "spiking"}, ["neuron", "spiking", "variational"]),
        ({"encoder": "lstm"}, ["encoder", "lstm", "mlp"]),
        ({"head": "conv"}, ["head", "conv", "gated"]),
        ({"activation": "tan"}, ["activation", "tan", "gelu"]),
        ({"decomposition_kernel": 4}, ["decomposition_kernel", "4", "odd"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"objective": "mae"}, ["objective", "mae", "elbo"]),
        ({"eval_objective": "mae"}, ["eval_objective", "mae", "crps"]),
        ({"base": "cauchy"}, ["base", "cauchy", "normal"]),
        ({"base": "studentt", "df": 6}, ["df", "6"]),
        ({"base": "studentt", "objective": "crps"}, ["crps", "studentt"]),
        ({"scale_floor": -0.1}, ["scale_floor", "-0.1"]),
        ({"scaler_type": "zscore"}, ["scaler_type", "zscore", "window"]),
        ({"max_steps": 0}, ["max_steps", "0"]),
        ({"batch_size": 0}, ["batch_size", "0"]),
        ({"windows_batch_size": 0}, ["windows_batch_size", "0"]),
        ({"val_check_steps": 0}, ["val_check_steps", "0"]),
        ({"patience_checks": -1}, ["patience_checks", "-1"]),
        ({"learning_rate": 0.0}, ["learning_rate", "0.0"]),
        ({"weight_decay": -0.1}, ["weight_decay", "-0.1"]),
        ({"random_seed": None}, ["random_seed", "None"]),
        ({"alias": "a/b"}, ["alias", "a/b"]),
        ({"alias": ""}, ["alias", "''"]),
        ({"loss": LatentMixture(n_samples=2), "n_latent_samples": 3}, ["n_samples=2", "n_latent_samples=3"]),
        ({"loss": Unregistered()}, ["loss", "Unregistered", "saved"]),
        ({"neuron": "deterministic", "n_latent_samples": 4}, ["deterministic", "n_latent_samples"]),
        ({"neuron": "deterministic", "control": "homeo"}, ["control", "homeo", "deterministic"]),
    ],
    ids=lambda value: ",".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_argument_is_refused_with_its_name_and_value(kwargs, names):
    with pytest.raises(ValueError) as error:
        EVE(**{**TINY, **kwargs})
    assert all(any(option in str(error.value) for option in name.split("|")) for name in names), error.value


def test_unknown_keyword_is_refused():
    with pytest.raises(TypeError, match="n_neurons"):
        EVE(**TINY, n_neurons=3)


def fit_dataset(df: pd.DataFrame) -> None:
    """The model alone, as where the data come from files."""
    dataset, *_ = TimeSeriesDataset.from_df(df)
    EVE(**TINY).fit(dataset, val_size=12)


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_infinite_y(panel, bad):
    panel = panel.assign(y=panel.y.where(panel.index != 5, bad))
    with pytest.raises(ValueError, match=r"y is infinite in 1 available row"):
        fit_dataset(panel)
    for check in (fit, check_frame):
        with pytest.raises(ValueError, match=r"'y' is infinite in 1 rows \(first: unique_id=Airline1"):
            check(panel)


def test_nan_without_mask(panel):
    panel = panel.assign(y=panel.y.where(panel.index != 5))
    for check in (fit, check_frame):
        with pytest.raises(ValueError, match=r"'y' is NaN in 1 rows .*available_mask"):
            check(panel)


def test_no_value_at_all(panel):
    panel = panel.assign(y=np.nan)
    with pytest.raises(ValueError, match=r"y has no available value"):
        fit_dataset(panel.assign(available_mask=0.0))
    for frame in (panel, panel.assign(available_mask=0.0)):
        for check in (fit, check_frame):
            with pytest.raises(ValueError, match=r"'y' has no available value in any of its 288 rows"):
                check(frame)


@pytest.mark.parametrize(("rows", "val_size"), [(35, 0), (40, 12), (47, 12)])
def test_series_shorter_than_a_window(panel, rows, val_size):
    panel = panel.sort_values("ds").groupby("unique_id").tail(rows)
    with pytest.raises(ValueError, match=r"input_size=24.* (and h=12 need at least 36|training timestamp)|at least"):
        fit(panel, val_size=val_size)
    fit(panel, val_size=val_size, start_padding_enabled=True)


def test_series_of_exactly_one_window(panel):
    panel = panel.sort_values("ds").groupby("unique_id").tail(36)
    forecast = fit(panel, val_size=0, patience_checks=0).predict()
    assert np.isfinite(forecast["EVE"]).all()


def test_validation_shorter_than_the_horizon(panel):
    with pytest.raises(ValueError, match="val_size"):
        fit(panel, val_size=5)


@pytest.mark.parametrize(
    "loss", [None, MAE(), MQLoss(level=[80]), DistributionLoss("Normal"), DistributionLoss("StudentT")]
)
@pytest.mark.parametrize("level", [0.0, 5.0, -1e6])
def test_constant_series_gives_a_finite_forecast(panel, loss, level):
    nf = fit(panel.assign(y=level), loss=loss)
    forecast = nf.predict().drop(columns=["unique_id", "ds"]).to_numpy()
    assert np.isfinite(forecast).all()
    assert np.abs(forecast - level).max() < 10  # the scale of a panel without any deviation is 1


@pytest.mark.parametrize("loss", [None, MAE(), DistributionLoss("Normal")])
def test_one_constant_series_beside_another(panel, loss):
    nf = fit(panel.assign(y=panel.y.where(panel.unique_id == "Airline1", 1e5)), loss=loss)
    forecast = nf.predict().set_index("unique_id")["EVE"]
    assert np.isfinite(forecast).all()
    assert (forecast["Airline2"] - 1e5).abs().max() < 100


# ---------------------------------------------------------------------- frames


def test_a_good_frame_passes(panel):
    check_frame(panel)
    check_frame(panel, freq="ME")
    step = panel.groupby("unique_id").ds.rank().astype(int)
    check_frame(panel.assign(ds=step), freq=1)
    renamed = panel.rename(columns={"unique_id": "id", "ds": "t", "y": "target"})
    check_frame(renamed, "id", "t", "target")
    hidden = panel.index == 5
    for value in (np.nan, np.inf):
        check_frame(panel.assign(y=panel.y.mask(hidden, value), available_mask=(~hidden).astype(float)))


def cross_validate(df: pd.DataFrame) -> None:
    NeuralForecast(models=[EVE(**TINY)], freq="ME").cross_validation(df, n_windows=2, val_size=12)


def validate_on(df: pd.DataFrame) -> None:
    usual = AirPassengersPanel[["unique_id", "ds", "y"]]
    NeuralForecast(models=[EVE(**TINY)], freq="ME").fit(df=usual, val_df=df)


EVERYWHERE = pytest.mark.parametrize("check", [check_frame, fit, cross_validate, validate_on])


@EVERYWHERE
def test_empty_frame(panel, check):
    with pytest.raises(ValueError, match="df has 0 rows"):
        check(panel.iloc[:0])


@pytest.mark.parametrize("column", ["unique_id", "ds", "y"])
def test_missing_column(panel, column):
    with pytest.raises(ValueError, match=rf"lacks the column \['{column}'\]"):
        check_frame(panel.drop(columns=column))


@pytest.mark.parametrize("column", ["unique_id", "ds"])
def test_missing_key(panel, column):
    with pytest.raises(ValueError, match=rf"'{column}' is empty in 1 rows"):
        check_frame(panel.assign(**{column: panel[column].mask(panel.index == 7)}))


@EVERYWHERE
def test_duplicate_timestamps(panel, check):
    again = pd.concat([panel, panel[(panel.unique_id == "Airline2") & (panel.ds.dt.year == 1955)]])
    message = r"'unique_id' and 'ds' repeat .* in 12 rows \(first: unique_id=Airline2, ds=1955"
    with pytest.raises(ValueError, match=message):
        check(again)


def test_frames_of_other_models_and_stored_data_are_left_alone(panel):
    again = pd.concat([panel, panel[(panel.unique_id == "Airline2") & (panel.ds.dt.year == 1955)]])
    quiet = {name: TINY[name] for name in ("accelerator", "enable_progress_bar", "enable_model_summary", "logger")}
    NeuralForecast(models=[MLP(h=12, input_size=24, max_steps=1, **quiet)], freq="ME").fit(again)
    nf = fit(panel)
    nf.fit(val_size=12)  # on the stored data
    names = panel.rename(columns={"unique_id": "id", "ds": "t", "y": "target"})
    nf.fit(names, val_size=12, id_col="id", time_col="t", target_col="target")
    assert list(inspect.signature(NeuralForecast.fit).parameters)[1] == "df"


@pytest.mark.parametrize("convert", [lambda ds: ds.astype(str), lambda ds: ds.dt.year + 0.5, lambda ds: ds.dt.date])
def test_time_that_is_neither_date_nor_integer(panel, convert):
    with pytest.raises(ValueError, match=r"'ds' has dtype .* \(first: .*datetimes or integers"):
        check_frame(panel.assign(ds=convert(panel.ds)))


@pytest.mark.parametrize("y", ["many", 1 + 2j])
def test_target_that_is_no_number(panel, y):
    with pytest.raises(ValueError, match=r"'y' has dtype .*must hold numbers"):
        check_frame(panel.assign(y=y))


def test_steps_of_the_frequency(panel):
    gap = panel[~((panel.unique_id == "Airline2") & (panel.ds == "1955-03-31"))]
    with pytest.raises(ValueError, match=r"'Airline2' lacks 1 stamps that freq='ME' .*1955-03-31"):
        check_frame(gap, freq="ME")
    with pytest.raises(ValueError, match=r"'ds' of series .* has 143 stamps that freq='MS' does not reach|has 144"):
        check_frame(panel, freq="MS")
    step = panel.groupby("unique_id").ds.rank().astype(int)
    with pytest.raises(ValueError, match=r"has 72 stamps that freq=2 does not reach \(first: 2\)"):
        check_frame(panel.assign(ds=step), freq=2)


def test_not_a_frame():
    with pytest.raises(TypeError, match="dict"):
        check_frame({"unique_id": [], "ds": [], "y": []})


def test_a_frame_of_another_library_is_converted(panel):
    class Foreign:
        def to_pandas(self) -> pd.DataFrame:
            return panel.iloc[:0]

    with pytest.raises(ValueError, match="0 rows"):
        check_frame(Foreign())


def test_a_loss_of_the_users_own_stands_beside_the_models_default_background():
    model = EVE(h=4, input_size=8, loss=LatentMixture(n_samples=2, background=0.0))
    assert model.loss.background == 0.0
    assert EVE(h=4, input_size=8).loss.background == BACKGROUND
    with pytest.raises(ValueError, match=r"background=0\.5 is not allowed beside loss=LatentMixture"):
        EVE(h=4, input_size=8, background=0.5, loss=LatentMixture(n_samples=2))
