"""The history of a fit: what it costs the model (nothing), and that loggers get the same scalars."""

import copy

import pandas as pd
import pytest
import torch
from neuralforecast import NeuralForecast
from pytorch_lightning.loggers import CSVLogger
from tiny_models import PANEL, SMALL

from vdn_forecast import AREVE, ARVAE, EVE, diagnose
from vdn_forecast.models.recording import PREFIX, UNLOGGED

CLASSES = [
    (EVE, {"n_units": 6, "control": "homeo", "control_warmup": 2, "ar": "penalty", "depth": 2}),
    (EVE, {"n_units": 6, "control": "batchnorm", "ar": "prior"}),
    (EVE, {"n_units": 6, "neuron": "deterministic"}),
    (AREVE, {"n_units": 6, "graph": "topk", "graph_degree": 2, "graph_every": 2}),
    (ARVAE, {"latent_dim": 4, "sigma": "amortized"}),
]


def fitted(cls, kwargs, windows=None, **more):
    model = cls(**{**SMALL, **kwargs, **more})
    if windows is not None:
        model.record_windows = windows
    nf = NeuralForecast(models=[model], freq="ME")
    nf.fit(PANEL, val_size=36)
    return nf


@pytest.mark.parametrize(("cls", "kwargs"), CLASSES, ids=lambda each: str(each))
def test_recording_leaves_the_training_bit_identical(cls, kwargs):
    """Noise, weights, buffers, losses and the global stream, with and without."""
    ends, streams, losses = [], [], []
    for windows in (0, 256):
        nf = fitted(cls, kwargs, windows)
        streams.append(torch.get_rng_state())
        state = {name: t.clone() for name, t in nf.models[0].state_dict().items() if name != "history._extra_state"}
        ends.append(state)
        losses.append((nf.models[0].train_trajectories, nf.models[0].valid_trajectories))
    assert len(nf.models[0].history.checks) == 3
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []
    assert torch.equal(*streams)
    assert losses[0] == losses[1]


def test_a_second_fit_begins_a_new_history_and_copies_keep_theirs():
    nf = fitted(EVE, {"n_units": 6})
    kept = copy.deepcopy(nf)
    before = diagnose(nf).summary
    nf.fit(PANEL, val_size=24)
    after = diagnose(nf).summary
    assert after["step"].tolist() == [4, 8, 12]
    assert not after["val_loss"].equals(before["val_loss"])
    pd.testing.assert_frame_equal(diagnose(kept).summary, before)


def test_the_history_reaches_beyond_the_kept_weights():
    """A learning rate that spoils the later steps: the best weights come back, the history stays whole."""
    growing = {"lr_scheduler": torch.optim.lr_scheduler.ExponentialLR, "lr_scheduler_kwargs": {"gamma": 2.0}}
    nf = fitted(EVE, {"n_units": 6}, patience_checks=0, max_steps=20, **growing)
    summary = diagnose(nf).summary
    assert summary["step"].tolist() == [4, 8, 12, 16, 20]
    assert not summary["best"].iloc[-1]
    assert summary["val_loss"].iloc[-1] > summary["val_loss"].min()


def test_terms_add_up_to_what_was_minimised():
    """KL over h as weights times nats; the terms of a twin are the forecast's alone."""
    nf = fitted(EVE, {"n_units": 6}, max_steps=4, kl_weight=0.5, learning_rate=1e-9)
    row = diagnose(nf).summary.iloc[0]
    assert row["train_kl"] == pytest.approx(0.5 * row["kl_total"] / 12, rel=0.1)
    assert row["train_forecast"] == pytest.approx(nf.models[0].train_trajectories[0][1], rel=0.5)


@pytest.mark.parametrize(("cls", "kwargs"), CLASSES, ids=lambda each: str(each))
def test_loggers_get_the_scalars_of_the_history(cls, kwargs, tmp_path):
    logger = CSVLogger(str(tmp_path), name="run")
    nf = fitted(cls, kwargs, logger=logger)
    (path,) = tmp_path.rglob("metrics.csv")
    logged = pd.read_csv(path)
    names = [name for name in logged if name.startswith(PREFIX)]
    logged = logged.dropna(subset=[PREFIX + "out"])
    summary = diagnose(nf).summary.drop(columns=["model", "best", *UNLOGGED[1:]])
    assert sorted(names) == sorted(PREFIX + name for name in summary if name != "step")
    assert logged["step"].tolist() == summary["step"].tolist()
    for name in summary.columns.drop("step"):
        pd.testing.assert_series_equal(
            logged[PREFIX + name].reset_index(drop=True), summary[name], check_names=False, rtol=1e-5
        )
