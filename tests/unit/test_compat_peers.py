"""NeuralForecast's own models on gathered windows: the same windows, losses and forecasts."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from neuralforecast import NeuralForecast
from neuralforecast.core import MODEL_FILENAME_DICT
from neuralforecast.losses.pytorch import MAE, MQLoss
from neuralforecast.models import MLP, NHITS, DeepAR, DLinear, PatchTST, TiDE, TSMixer
from scipy.stats import chisquare

from vdn_forecast import EVE
from vdn_forecast._compat import on_gathered_windows
from vdn_forecast.evaluation.forecasts import as_dataset
from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning

H, L = 4, 8
ARGUMENTS: dict[str, Any] = {
    "h": H,
    "input_size": L,
    "max_steps": 6,
    "val_check_steps": 3,
    "random_seed": 3,
    **QUIET_TRAINER,
}
SMALL: dict[type, dict[str, Any]] = {
    NHITS: {"mlp_units": 3 * [[16, 16]], "scaler_type": "standard"},
    DLinear: {"moving_avg_window": 3},
    MLP: {"hidden_size": 16, "loss": MQLoss(level=[80])},
    PatchTST: {
        "hidden_size": 16,
        "linear_hidden_size": 16,
        "n_heads": 2,
        "patch_len": 4,
        "stride": 2,
        "dropout": 0.0,
        "fc_dropout": 0.0,
    },
    TiDE: {"hidden_size": 16, "decoder_output_dim": 2, "temporal_decoder_dim": 8, "dropout": 0.0},
}


def panel(n_series: int = 3, n_rows: int = 60) -> np.ndarray:
    """[T, n_series], every value another one, so that a window says which it is."""
    return np.arange(n_series * n_rows, dtype=float).reshape(n_series, n_rows).T / 10


def fitted(cls: type, rows: np.ndarray, **arguments: Any) -> Any:
    with quiet_lightning():
        return cls(**{**ARGUMENTS, **SMALL.get(cls, {}), **arguments}).fit(as_dataset(rows), val_size=12)


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_every_window_gives_the_same_losses_and_forecasts(cls: type) -> None:
    rows = np.random.default_rng(1).normal(size=(60, 3)).cumsum(0)
    small = SMALL[cls]
    plain = fitted(cls, rows, windows_batch_size=None, **small)  # all windows: nothing is left to chance
    fast = fitted(on_gathered_windows(cls), rows, windows_batch_size=None, **small)
    np.testing.assert_allclose(fast.train_trajectories, plain.train_trajectories, rtol=1e-4)
    np.testing.assert_allclose(fast.valid_trajectories, plain.valid_trajectories, rtol=1e-4)
    fast.load_state_dict(plain.state_dict())  # rounding grows in training
    for model in (plain, fast):
        model.set_test_size(10)
    with quiet_lightning():
        tables = [model.predict(as_dataset(rows), step_size=2) for model in (fast, plain)]
    assert tables[0].shape[0] == 3 * 4 * H
    np.testing.assert_allclose(*tables, rtol=1e-5, atol=1e-6)


def test_windows_are_drawn_uniformly_from_the_same_set(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    for wrap in (on_gathered_windows, lambda cls: cls):
        seen: list[float] = []

        class Recording(DLinear):
            def forward(self, windows_batch: dict[str, Any]) -> Any:
                if self.training:
                    seen.extend(windows_batch["insample_y"][:, -1, 0].tolist())  # noqa: B023
                return super().forward(windows_batch)

        fitted(wrap(Recording), panel(), max_steps=150, windows_batch_size=32, moving_avg_window=3)
        ids, count = np.unique(np.round(seen, 4), return_counts=True)
        counts.append(dict(zip(ids, count, strict=True)))
        assert sum(counts[-1].values()) == 150 * 32
        assert chisquare(count).pvalue > 0.001
    assert set(counts[0]) == set(counts[1])


def test_save_writes_the_plain_class(tmp_path: Path) -> None:
    registry = dict(MODEL_FILENAME_DICT)
    cls = on_gathered_windows(NHITS)
    assert cls is on_gathered_windows(NHITS)
    assert registry == MODEL_FILENAME_DICT
    from vdn_forecast.evaluation.data import load_dataset

    frame = load_dataset("AirPassengers").frame()
    with quiet_lightning():
        forecaster = NeuralForecast(models=[cls(**{**ARGUMENTS, **SMALL[NHITS]})], freq="ME")
        forecaster.fit(frame, val_size=12)
        before = forecaster.predict()
        forecaster.save(str(tmp_path), overwrite=True)
        loaded = NeuralForecast.load(str(tmp_path))
        copied = copy.deepcopy(forecaster).predict()
        after = loaded.predict()
    assert type(loaded.models[0]) is NHITS
    assert repr(forecaster.models[0]) == "NHITS"
    for other in (after, copied):
        np.testing.assert_allclose(other["NHITS"], before["NHITS"], rtol=1e-6)


def test_a_horizon_beyond_the_models_own(tmp_path: Path) -> None:
    rows = np.random.default_rng(2).normal(size=(60, 3)).cumsum(0)
    tables = []
    for cls in (on_gathered_windows(DLinear), DLinear):
        model = fitted(cls, rows, windows_batch_size=None, moving_avg_window=3, loss=MAE())
        model.set_test_size(2 * H)
        with quiet_lightning():
            tables.append(model.predict(as_dataset(rows), h=2 * H))
    np.testing.assert_allclose(*tables, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"start_padding_enabled": True, "step_size": 2}, {"max_steps": 1}])
def test_a_multivariate_model_trains_on_the_very_same_windows(options: dict[str, Any]) -> None:
    rows = np.random.default_rng(1).normal(size=(60, 3)).cumsum(0)
    sizes = {"n_series": 3, "n_block": 1, "ff_dim": 8, "dropout": 0.1, "windows_batch_size": 5, **options}
    plain, fast = (fitted(cls, rows, **sizes) for cls in (TSMixer, on_gathered_windows(TSMixer)))
    assert fast.train_trajectories == plain.train_trajectories
    assert fast.valid_trajectories == plain.valid_trajectories
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, fast.state_dict()[name])
    with quiet_lightning():
        copied = copy.deepcopy(fast).fit(as_dataset(rows[:50]), val_size=12)  # other windows are valid then
        again = plain.fit(as_dataset(rows[:50]), val_size=12)
        np.testing.assert_array_equal(copied.predict(as_dataset(rows)), again.predict(as_dataset(rows)))


def test_a_multivariate_model_may_score_fewer_validation_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    class Recording(TSMixer):
        def forward(self, windows_batch: dict[str, Any]) -> Any:
            if not self.training:
                seen.extend(windows_batch["insample_y"][:, -1, 0].tolist())
            return super().forward(windows_batch)

    rows = panel(3, 60)
    model = on_gathered_windows(Recording)(
        n_series=3, n_block=1, ff_dim=8, windows_batch_size=5, **{**ARGUMENTS, "max_steps": 1, "val_check_steps": 1}
    )
    model.valid_windows = 12
    with quiet_lightning():
        model.fit(as_dataset(rows), val_size=12)
    last = (60 - 12 - 1 + np.array([0, 3, 5, 8])) / 10  # four of nine origins, evenly spaced
    np.testing.assert_allclose(seen[-4:], last, rtol=1e-6)
    assert len(set(seen)) == 4


def test_recurrent_models_are_refused() -> None:
    with pytest.raises(ValueError, match="DeepAR is recurrent"):
        on_gathered_windows(DeepAR)


def test_a_class_that_gathers_already_stays() -> None:
    assert on_gathered_windows(EVE) is EVE
