"""MC dropout, and ensembles as lines of a suite."""

from typing import Any

import pytest
import torch
from neuralforecast import NeuralForecast
from torch import Tensor

from vdn_forecast import EVE
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.protocols import ltsf
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
from vdn_forecast.evaluation.rivals import MCDropout
from vdn_forecast.evaluation.sources import synthetic_panel

H, L = 6, 12
TINY: dict[str, Any] = {"n_units": 16, "hidden_size": 16, "head_size": 16, "max_steps": 12, "val_check_steps": 4}
TINY |= {"windows_batch_size": 16, "n_components": 2, **QUIET_TRAINER}
PANEL = synthetic_panel(3, 150)


def fitted(model: Any) -> Any:
    forecaster = NeuralForecast(models=[model], freq=PANEL.info.freq)
    with quiet_lightning():
        forecaster.fit(PANEL.frame(120), val_size=30)
    return forecaster.models[0]


def mixture_of(model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Locations, scales [W, h, C] and quantiles [W, h, 19] of the last rows' forecasts."""
    with quiet_lightning():
        (block,) = blocks(model, PANEL, 2, L, H, 120, 150, None)
    assert block.mixture is not None
    assert block.quantiles is not None
    return *block.mixture, block.quantiles


def test_dropout_at_prediction_is_the_mixture_of_thinned_networks() -> None:
    model = fitted(MCDropout(H, L, n_passes=5, dropout=0.4, **TINY))
    loc, scale, _ = mixture_of(model)
    assert loc.shape[-1] == 5 * 2
    bank = model.network.encoder.dropout
    masks = bank.masks
    assert sorted(masks.unique().tolist()) == pytest.approx([0.0, 1 / 0.6])
    for number in range(5):
        bank.masks = masks[[number]]
        one_loc, one_scale, _ = mixture_of(model)
        torch.testing.assert_close(one_loc, loc[..., 2 * number : 2 * number + 2])
        torch.testing.assert_close(one_scale, scale[..., 2 * number : 2 * number + 2])


def test_without_its_bank_dropout_trains_as_the_twin_does() -> None:
    """The same weights after training without validation: prediction alone differs."""
    arguments = {**TINY, "patience_checks": 0}
    models = [MCDropout(H, L, dropout=0.4, **arguments), EVE.twin(H, L, dropout=0.4, **arguments)]
    for model in models:
        forecaster = NeuralForecast(models=[model], freq=PANEL.info.freq)
        with quiet_lightning():
            forecaster.fit(PANEL.frame(120))
    weights, twins = (dict(model.network.named_parameters()) for model in models)
    for name, weight in twins.items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "one", "members"), [("MCDropout", "T2", 1), ("Ensemble", "T2", 5), ("EVE-Ensemble", "EVE", 5)]
)
def test_rivals_run_as_any_line_of_a_suite(name: str, one: str, members: int) -> None:
    arguments = {key: value for key, value in TINY.items() if key not in QUIET_TRAINER}
    done = evaluate(build_model(name, H, L, 1, **arguments), PANEL, ltsf("ETTh1", L), H)
    assert done.test is not None
    assert 0 < done.test.summary()["crps19"] < 2
    single = build_model(one, H, L, 1, **arguments)
    assert done.n_parameters == members * sum(p.numel() for p in single.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: MCDropout(H, L, dropout=0.0), "dropout=0.0"),
        (lambda: MCDropout(H, L, n_passes=0), "n_passes=0"),
    ],
)
def test_what_they_cannot_be_is_refused(build: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build()
