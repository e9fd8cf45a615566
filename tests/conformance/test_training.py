"""Seeds, validation and best weights: what may and what may not change the training."""

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import FREQ, LOSSES, H, Recorder, differing, fitted, state, values
from neuralforecast import NeuralForecast


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("control", ["batchnorm", "homeo"])
def test_two_runs_of_one_seed_are_bit_identical(make, y_panel, loss, control):
    runs = []
    for noise in (0, 1):
        model = make(loss=LOSSES[loss](), control=control, control_warmup=0, control_every=1)
        torch.manual_seed(noise)  # what the caller did before does not matter
        np.random.seed(noise)  # noqa: NPY002
        nf = fitted(model, df=y_panel)
        runs.append((state(nf.models[0]), nf.models[0].train_trajectories, nf.predict()))
    assert differing(runs[0][0], runs[1][0]) == []
    assert runs[0][1] == runs[1][1]
    pd.testing.assert_frame_equal(runs[0][2], runs[1][2], check_exact=True)


def test_another_seed_is_another_training(make, y_panel):
    losses = [fitted(make(random_seed=seed), df=y_panel).models[0].train_trajectories for seed in (1, 2)]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_training_does_not_depend_on_the_check_interval(make, y_panel, loss):
    runs = []
    for steps in (1, 3, 100):
        recorder = Recorder()
        nf = fitted(
            make(
                loss=LOSSES[loss](),
                val_check_steps=steps,
                max_steps=6,
                patience_checks=0,
                callbacks=[recorder],
            ),
            df=y_panel,
        )
        runs.append((recorder.losses, nf.models[0].train_trajectories))
    assert len(runs[0][0]) == 6
    assert runs[0] == runs[1] == runs[2]


def test_the_total_loss_has_more_than_the_forecast_loss(make, y_panel):
    """Validation and NeuralForecast's log stay the forecast loss; the optimiser also sees the KL."""
    recorder = Recorder()
    nf = fitted(make(kl_weight=1.0, callbacks=[recorder]), df=y_panel)
    forecast_loss = [value for _, value in nf.models[0].train_trajectories]
    assert all(total > part for total, part in zip(recorder.losses, forecast_loss, strict=True))


def revalidated(nf: NeuralForecast, model) -> float:
    """The validation loss of a fitted model, by Lightning's own loop over NeuralForecast's data."""
    import pytorch_lightning as pl
    from neuralforecast.tsdataset import TimeSeriesDataModule

    trainer = pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    data = TimeSeriesDataModule(dataset=nf.dataset, batch_size=32, valid_batch_size=32, drop_last=False)
    model.valid_trajectories = []
    model.val_size, model.test_size = H, 0
    best = model.best_value.clone()
    trainer.validate(model, datamodule=data, verbose=False)
    model.best_value.copy_(best)
    return model.valid_trajectories[-1][1]


@pytest.mark.parametrize("control", ["off", "homeo"])
@pytest.mark.parametrize("loss", LOSSES)
def test_best_weights_are_restored(make, y_panel, loss, control):
    """A learning rate that doubles at every step spoils the later ones: the kept weights give the best value seen."""
    model = make(
        loss=LOSSES[loss](),
        control=control,
        lr_scheduler=torch.optim.lr_scheduler.ExponentialLR,
        lr_scheduler_kwargs={"gamma": 2.0},
        learning_rate=1e-3,
        max_steps=20,
        val_check_steps=2,
        patience_checks=0,
    )
    nf = fitted(model, df=y_panel)
    trained = nf.models[0]
    trajectory = [value for step, value in trained.valid_trajectories if step > 0]
    best = float(trained.metrics["ptl/val_loss"])
    assert best == min(trajectory)
    assert best < trajectory[-1]  # otherwise nothing was restored
    assert revalidated(nf, trained) == pytest.approx(best, rel=1e-5)


def test_best_weights_with_statistics_estimated_anew(make, y_panel):
    """Under "batchnorm" the running statistics of the restored weights are replaced by exact ones."""
    nf = fitted(make(control="batchnorm", max_steps=40, val_check_steps=10, learning_rate=3e-3), df=y_panel)
    best = float(nf.models[0].metrics["ptl/val_loss"])
    assert revalidated(nf, nf.models[0]) == pytest.approx(best, rel=0.1)


def test_patience_stops_the_training(make, y_panel):
    model = make(learning_rate=0.3, max_steps=400, val_check_steps=1, patience_checks=3)
    trained = fitted(model, df=y_panel).models[0]
    trajectory = [value for step, value in trained.valid_trajectories if step > 0]
    assert len(trained.train_trajectories) < 400
    assert len(trajectory) - 1 - int(np.argmin(trajectory)) == 3


def test_without_validation_the_last_weights_are_kept_with_one_warning(make, y_panel):
    recorder = Recorder()
    with pytest.warns(UserWarning, match="no validation") as caught:
        nf = fitted(make(callbacks=[recorder]), df=y_panel, val_size=0)
    assert len([w for w in caught if "no validation" in str(w.message)]) == 1
    assert len(recorder.losses) == 4
    assert np.isfinite(values(nf.predict())).all()


@pytest.mark.parametrize("control", ["batchnorm", "homeo"])
def test_validation_changes_no_weight_and_no_buffer(make, y_panel, control):
    """The same steps, often and never validated, end in the same last state."""
    recorders = [Recorder(), Recorder()]
    for recorder, steps in zip(recorders, (1, 100), strict=True):
        model = make(
            control=control,
            control_warmup=0,
            control_every=1,
            val_check_steps=steps,
            patience_checks=0,
            max_steps=6,
            callbacks=[recorder],
        )
        fitted(model, df=y_panel)
    kept = ("best_value", "history._extra_state")  # what validation is there to find
    often, never = ({k: v for k, v in r.last.items() if k not in kept} for r in recorders)
    assert differing(often, never) == []


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize(
    ("loss", "scaler_type"),
    [(loss, "auto") for loss in ("default", "MAE", "MQLoss", "Normal", "StudentT", "GMM")] + [("default", "panel")],
)
def test_forecasts_scale_with_the_unit(make, y_panel, loss, scaler_type, scale):
    from neuralforecast.losses.pytorch import GMM, DistributionLoss

    build_loss = {
        **LOSSES,
        "StudentT": lambda: DistributionLoss("StudentT", level=[80]),
        "GMM": lambda: GMM(n_components=3, level=[80]),
    }[loss]
    forecasts = []
    for factor in (1.0, scale):
        nf = NeuralForecast(models=[make(loss=build_loss(), scaler_type=scaler_type, max_steps=8)], freq=FREQ)
        nf.fit(y_panel.assign(y=y_panel.y * factor), val_size=H)
        forecasts.append(values(nf.predict()) / factor)
    spread = y_panel.y.std()
    np.testing.assert_allclose(forecasts[1], forecasts[0], rtol=1e-3, atol=1e-4 * spread)
