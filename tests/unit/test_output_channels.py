"""The anchor: what is taken off the look-back must come back in the forecast, for every loss that allows it."""

import pytest
import torch
from neuralforecast.losses import pytorch as losses

from vdn_forecast import EVE, LatentMixture
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.models.outputs import keeps_locations, location_channels

KEEPING = {
    "default": lambda: None,
    "MAE": losses.MAE,
    "MQLoss": losses.MQLoss,
    "Normal": lambda: losses.DistributionLoss("Normal"),
    "StudentT": lambda: losses.DistributionLoss("StudentT"),
    "GMM": lambda: losses.GMM(n_components=3),
}
OTHERS = {
    "IQLoss": losses.IQLoss,
    "Tweedie": lambda: losses.DistributionLoss("Tweedie", rho=1.5),
    "Bernoulli": lambda: losses.DistributionLoss("Bernoulli"),
    "ISQF": lambda: losses.DistributionLoss("ISQF", quantiles=[0.1, 0.5, 0.9]),
    "NBMM": losses.NBMM,
}


def build(loss: object) -> EVE:
    with quiet_lightning():
        return EVE(h=3, input_size=8, n_units=4, hidden_size=4, head_size=4, loss=loss, **QUIET_TRAINER)


def output(model: EVE, y: torch.Tensor) -> torch.Tensor:
    batch = {
        "insample_y": y.unsqueeze(-1),
        "insample_mask": torch.ones(*y.shape, 1),
        "hist_exog": None,
        "futr_exog": None,
        "stat_exog": None,
    }
    with torch.no_grad():
        return model(batch)


@pytest.mark.parametrize("name", KEEPING)
def test_a_shift_of_the_look_back_shifts_exactly_the_locations(name: str) -> None:
    model = build(KEEPING[name]())
    y = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    moved = output(model, y + 2.5) - output(model, y)  # [B, h, outputs]
    if name == "default":
        first, last = 0, moved.shape[-1] // 2
    else:
        first, last = location_channels(model.loss)
    expected = torch.zeros_like(moved)
    expected[..., first:last] = 2.5
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", OTHERS)
def test_a_loss_without_locations_keeps_the_windows_mean_as_level(name: str) -> None:
    model = build(OTHERS[name]())
    assert not keeps_locations(model.loss)
    assert model.anchor == "mean"


def test_arguments_that_contradict_the_given_mixture_are_refused() -> None:
    with pytest.raises(ValueError, match="n_components=8"), quiet_lightning():
        EVE(h=3, input_size=8, loss=LatentMixture(n_components=2), n_components=8)
    with pytest.raises(ValueError, match="objective='crps'"), quiet_lightning():
        EVE(h=3, input_size=8, loss=LatentMixture(), objective="crps")
    with quiet_lightning():
        same = EVE(h=3, input_size=8, loss=LatentMixture(n_components=2, objective="elbo"), objective="elbo")
    assert same.loss.n_components == 2


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("n_series", 3), ("h_train", 2), ("n_samples", 7), ("early_stop_patience_steps", 2), ("inference_input_size", 4)],
)
def test_host_arguments_without_meaning_here_are_refused_by_name(keyword: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{keyword}={value}"), quiet_lightning():
        EVE(h=3, input_size=8, **{keyword: value})
