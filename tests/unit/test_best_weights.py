"""Models of NeuralForecast end with the weights of their lowest validation loss."""

from typing import Any

import numpy as np
import torch

from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.quiet import quiet_lightning

ROWS = np.random.default_rng(1).normal(size=(120, 2)).cumsum(0)
ARGUMENTS: dict[str, Any] = {
    "hidden_size": 32,
    "learning_rate": 0.05,
    "val_check_steps": 2,
    "early_stop_patience_steps": -1,
    "random_seed": 1,
}


def fit(val_size: int = 24, **arguments: Any) -> Any:
    with quiet_lightning():
        model = build_model("MLP", 6, 12, 12, **{**ARGUMENTS, **arguments})
        return model.fit(as_dataset(ROWS), val_size=val_size)


def test_the_weights_are_those_of_the_best_check() -> None:
    kept = fit(max_steps=40)
    checks = [pair for pair in kept.valid_trajectories if pair[0] > 0]
    best_step, best = min(checks, key=lambda pair: pair[1])
    assert best < checks[-1][1]  # else there would be nothing to restore
    stopped = fit(max_steps=best_step, best_weights=False)
    assert stopped.valid_trajectories[-1][1] == best
    for name, tensor in stopped.state_dict().items():
        assert torch.equal(tensor, kept.state_dict()[name]), name
    last = fit(max_steps=40, best_weights=False)
    assert any(not torch.equal(t, kept.state_dict()[n]) for n, t in last.state_dict().items())


def test_early_stopping_ends_a_fit_and_the_best_weights_stay() -> None:
    model = fit(max_steps=400, early_stop_patience_steps=3)
    steps, values = zip(*[pair for pair in model.valid_trajectories if pair[0] > 0], strict=True)
    assert len(model.train_trajectories) < 400
    assert len(steps) - 1 - int(np.argmin(values)) == 3
    stopped = fit(max_steps=steps[int(np.argmin(values))], best_weights=False)
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in stopped.state_dict().items())


def test_a_fit_without_validation_keeps_its_last_weights() -> None:
    one, other = (fit(val_size=0, max_steps=6, best_weights=chosen) for chosen in (True, False))
    assert all(torch.equal(t, other.state_dict()[n]) for n, t in one.state_dict().items())
