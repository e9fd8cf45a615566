"""Named settings of EVE through its constructors."""

import pytest
from neuralforecast.losses.pytorch import MQLoss

from vdn_forecast import EVE, LatentMixture


@pytest.mark.parametrize(
    ("overrides", "n_samples", "n_units"),
    [
        ({}, 1, 64),
        ({"n_latent_samples": 2, "n_units": 32}, 2, 32),
        ({"loss": LatentMixture(n_samples=3)}, 3, 64),  # a loss has its own number
        ({"loss": MQLoss(level=[80])}, 1, 64),
        ({"neuron": "deterministic"}, 1, 64),
    ],
)
def test_the_small_preset(overrides: dict, n_samples: int, n_units: int) -> None:
    model = EVE.small(h=6, input_size=12, **overrides)
    assert (model.n_latent_samples, model.layers[0].n_units) == (n_samples, n_units)
    assert (model.h, model.input_size, model.hparams["head_size"]) == (6, 12, 64)


@pytest.mark.parametrize(
    ("arguments", "trained", "recorded"),
    [
        ({}, 1, 1),
        ({"loss": LatentMixture(n_samples=3)}, 3, None),
        ({"neuron": "deterministic"}, 1, None),  # nothing to choose: its name in results stays
    ],
)
def test_one_latent_sample_is_the_default_and_stands_in_the_arguments(arguments, trained, recorded) -> None:
    model = EVE(h=6, input_size=12, **arguments)
    assert (model.n_latent_samples, model.hparams["n_latent_samples"]) == (trained, recorded)
