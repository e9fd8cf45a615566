"""Every loss, and every part of the model, trains and forecasts."""

import numpy as np
import pytest
import torch
from model_list import FREQ, H, Recorder, differing, fitted, state, values
from neuralforecast import NeuralForecast
from neuralforecast.losses import pytorch as losses

from vdn_forecast import LatentMixture

POINT = {
    "MAE": losses.MAE,
    "MSE": losses.MSE,
    "RMSE": losses.RMSE,
    "MAPE": losses.MAPE,
    "SMAPE": losses.SMAPE,
    "MASE": lambda: losses.MASE(seasonality=12),
    "FreDF": losses.FreDF,
    "QuantileLoss": lambda: losses.QuantileLoss(0.3),
    "IQLoss": losses.IQLoss,
    "HuberLoss": losses.HuberLoss,
    "TukeyLoss": losses.TukeyLoss,
    "HuberQLoss": lambda: losses.HuberQLoss(0.3),
    "HuberIQLoss": losses.HuberIQLoss,
}
QUANTILES = {
    "MQLoss": lambda: losses.MQLoss(level=[80]),
    "HuberMQLoss": lambda: losses.HuberMQLoss(level=[80]),
}
DISTRIBUTIONS = {
    "default": lambda: None,
    "Normal": lambda: losses.DistributionLoss("Normal", level=[80, 90]),
    "StudentT": lambda: losses.DistributionLoss("StudentT", level=[80, 90]),
    "Poisson": lambda: losses.DistributionLoss("Poisson", level=[80, 90]),
    "NegativeBinomial": lambda: losses.DistributionLoss("NegativeBinomial", level=[80, 90]),
    "Tweedie": lambda: losses.DistributionLoss("Tweedie", rho=1.5, level=[80, 90]),
    "Bernoulli": lambda: losses.DistributionLoss("Bernoulli", level=[80, 90]),
    "ISQF": lambda: losses.DistributionLoss("ISQF", level=[80, 90]),
    "GMM": lambda: losses.GMM(n_components=3, level=[80, 90]),
    "PMM": lambda: losses.PMM(n_components=3, level=[80, 90]),
    "NBMM": lambda: losses.NBMM(n_components=3, level=[80, 90]),
    "LatentMixture-studentt": lambda: LatentMixture(base="studentt"),
    "LatentMixture-elbo": lambda: LatentMixture(objective="elbo", trajectory=True),
    "LatentMixture-crps": lambda: LatentMixture(objective={"crps": 1.0, "mixture": 0.5}, eval_objective="mse"),
}


COUNTS = ("Poisson", "NegativeBinomial", "Tweedie", "PMM", "NBMM")


def matrices(model) -> set[str]:
    """Weights that an optimiser without decay moves only if a gradient reaches them."""
    return {name for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}


@pytest.mark.parametrize("loss", [*POINT, *QUANTILES, *DISTRIBUTIONS])
def test_loss_trains_and_forecasts(make, y_panel, loss):
    recorder = Recorder()
    model = make(loss={**POINT, **QUANTILES, **DISTRIBUTIONS}[loss](), weight_decay=0.0, callbacks=[recorder])
    start = state(model)
    if loss == "Bernoulli":
        y_panel = y_panel.assign(y=(y_panel.y > 300).astype(float))
    elif loss in COUNTS:
        y_panel = y_panel.assign(y=y_panel.y // 20)
    nf = fitted(model, df=y_panel)
    forecast = nf.predict()
    columns = 1 if loss in POINT else 3 if loss in QUANTILES else 6
    assert values(forecast).shape == (2 * H, columns)
    assert np.isfinite(values(forecast)).all()
    if columns > 1:
        low, high = forecast["m-lo-80"], forecast["m-hi-80"]
        assert (low <= high).all() or columns == 3  # learned quantiles may cross
        assert (low != high).any()
    trained = nf.models[0]
    assert len(trained.train_trajectories) == 4
    assert np.isfinite([value for _, value in trained.train_trajectories]).all()
    assert np.isfinite([value for _, value in trained.valid_trajectories]).all()
    assert matrices(model) <= set(differing(start, recorder.last))


@pytest.mark.parametrize(
    ("loss", "valid_loss"),
    [
        (lambda: None, losses.MAE),
        (lambda: None, lambda: losses.MQLoss(level=[80, 90])),
        (losses.MAE, losses.MSE),
        (lambda: losses.DistributionLoss("Normal"), losses.MAE),
        (lambda: losses.DistributionLoss("Normal"), lambda: losses.MQLoss(level=[80, 90])),
    ],
)
def test_valid_loss(make, y_panel, loss, valid_loss):
    nf = fitted(make(loss=loss(), valid_loss=valid_loss()), df=y_panel)
    assert torch.isfinite(nf.models[0].metrics["ptl/val_loss"])
    assert np.isfinite(values(nf.predict())).all()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"control": "homeo", "control_warmup": 1, "control_ramp": 1, "control_every": 1, "sigma": "unit"},
        {"control": "homeo", "calibration": True, "band_shape": "heterogeneous", "band_penalty": "absolute"},
        {"control": "projection", "projection_every": 2, "control_ramp": 0},
        {"control": "batchnorm", "depth": 2, "latent_dim": 2},
        {"control": "off", "kl_weight": 0.0},
        {"depth": 2, "latent_dim": 2, "pool": "sum", "emission": "affine", "control": "homeo"},
        {"depth": 2, "emission": "gaussian", "learned_prior": True, "pool": "sum_sqrtk", "latent_dim": 3},
        {"sigma": "unit"},
        {"sigma": "scalar"},
        {"local_weight": 0.1, "emission": "affine"},
    ],
    ids=str,
)
def test_part_of_the_neuron_trains(make, y_panel, kwargs):
    model = make(**kwargs, max_steps=6, weight_decay=0.0)
    start = state(model)
    trained = fitted(model, df=y_panel).models[0]
    assert matrices(model) <= set(differing(start, state(trained)))
    assert not any(tensor.isnan().any() for tensor in state(trained).values())
    assert float(trained.controllers[0].energy_ema.min()) > 0


@pytest.mark.parametrize(
    "kwargs",
    [
        {"encoder": "linear"},
        {"encoder": "decomposition", "activation": "silu", "decomposition_kernel": 5},
        {"head": "gated", "head_dropout": 0.1},
        {"head": "linear", "skip": False},
        {"skip_dropout": 0.2, "n_latent_samples": 3, "n_components": 1},
        {"neuron": "deterministic"},
        {"neuron": "deterministic", "control": "batchnorm", "depth": 2},
        {"num_lr_decays": 2},
        {"optimizer": torch.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}},
        {"scaler_type": "robust"},
        {"start_padding_enabled": True},
        {"step_size": 3, "batch_size": 1, "drop_last_loader": True},
        {"gradient_clip_val": None, "accumulate_grad_batches": 2},
    ],
    ids=str,
)
def test_argument_trains(make, y_panel, kwargs):
    model = make(**kwargs, weight_decay=0.0)
    start = state(model)
    nf = fitted(model, df=y_panel)
    assert matrices(model) <= set(differing(start, state(nf.models[0])))
    assert np.isfinite(values(nf.predict())).all()


def test_kl_weight_reaches_the_units(make, y_panel):
    def energy(weight: float) -> float:
        model = make(control="off", kl_weight=weight, max_steps=60, learning_rate=1e-2)
        return float(fitted(model, df=y_panel, val_size=0).models[0].controllers[0].energy_ema.mean())

    assert energy(30.0) < 0.5 * energy(0.0)


def test_a_longer_horizon_recurses(make, y_panel):
    nf = fitted(make(), df=y_panel)
    far = nf.predict(h=2 * H + 3)
    assert len(far) == 2 * (2 * H + 3)
    assert np.isfinite(values(far)).all()
    near = far.groupby("unique_id").head(H)
    np.testing.assert_allclose(values(near), values(nf.predict()), rtol=1e-5)


def test_predict_insample_covers_the_training_rows(make, y_panel):
    nf = fitted(make(), df=y_panel)
    insample = nf.predict_insample(step_size=H)
    assert len(insample) == len(y_panel)
    inside = insample[insample.cutoff >= insample.ds.min()]
    assert np.isfinite(values(inside)).all()


@pytest.mark.parametrize("loss", [lambda: None, losses.MAE])
def test_cross_validation_equals_predictions(make, y_panel, loss):
    nf = NeuralForecast(models=[make(loss=loss())], freq=FREQ)
    windows = nf.cross_validation(y_panel, n_windows=3, step_size=5, val_size=H)
    assert windows.cutoff.nunique() == 3
    for cutoff, window in windows.groupby("cutoff"):
        again = nf.predict(df=y_panel[y_panel.ds <= cutoff])
        np.testing.assert_allclose(values(window), values(again), rtol=1e-5)
