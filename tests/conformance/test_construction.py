"""What the constructor refuses, so that no training is lost to it."""

import dataclasses
import inspect
import pathlib

import pytest
import torch
from model_list import COMMON, MODELS
from neuralforecast.losses.pytorch import MAE

from vdn_forecast import LatentMixture


class UnregisteredLoss(MAE):
    """A loss that NeuralForecast cannot write."""


@dataclasses.dataclass
class Options:
    """Not encodable either."""

    size: int = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", UnregisteredLoss()),
        ("valid_loss", UnregisteredLoss()),
        ("objective", {"crps", "mixture"}),
        ("optimizer_kwargs", {"momentum": lambda: 0.5}),
        ("lr_scheduler_kwargs", {"T_max": Options()}),
        ("optimizer_kwargs", {"dtype": torch.float32}),
        ("default_root_dir", pathlib.Path("runs")),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(make, name, value):
    with pytest.raises(ValueError, match=rf"{name}=.*cannot be saved"):
        make(**{name: value})


@pytest.mark.parametrize("name", ["n_unit", "kl_wieght", "hidden_sizes", "max_step"])
def test_unknown_keyword_is_refused_by_name(make, name):
    with pytest.raises(TypeError, match=name):
        make(**{name: 3})


def test_trainer_keywords_are_taken(make):
    model = make(precision="32-true", deterministic=False, accumulate_grad_batches=2)
    assert model.trainer_kwargs["accumulate_grad_batches"] == 2


def test_every_argument_is_a_hyperparameter(make):
    """An argument that NeuralForecast does not record would be another one after loading."""
    model = make()
    named = [
        name
        for name, p in inspect.signature(type(model).__init__).parameters.items()
        if p.kind is not p.VAR_KEYWORD and name != "self"
    ]
    assert set(named) <= set(model.hparams)
    given = {**COMMON, **MODELS[type(model)]}
    assert {name: model.hparams[name] for name in given} == given


def test_latent_samples_follow_the_loss(make):
    """A `LatentMixture` brings its own number; two numbers that differ are refused."""
    assert make(loss=LatentMixture(n_samples=3)).n_latent_samples == 3
    with pytest.raises(ValueError, match="n_samples=3"):
        make(loss=LatentMixture(n_samples=3), n_latent_samples=2)


def test_models_of_one_default_do_not_share_a_loss(make):
    assert make().loss is not make().loss


def test_construction_leaves_the_global_random_state_to_neuralforecast(make):
    """Two models of one seed start from the same weights, whatever was drawn before."""
    torch.manual_seed(7)
    first = make()
    torch.rand(5)
    second = make()
    for (name, a), (_, b) in zip(first.state_dict().items(), second.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
