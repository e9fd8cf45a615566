"""`vdn_forecast.diagnose` on training history, validation windows and new data, for every class."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import tiny_models
import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE
from neuralforecast.models import DLinear
from scipy.stats import theilslopes
from tiny_models import PANEL

import vdn_forecast
from vdn_forecast import AREVE, ARVAE, EVE, diagnose
from vdn_forecast.diagnostics import measure_validation
from vdn_forecast.diagnostics.persistence import persistence

H, LOOK_BACK = 12, 24
SMALL = {**tiny_models.SMALL, "max_steps": 20}


def models():
    return [
        EVE(n_units=6, depth=2, control="homeo", control_warmup=2, ar="penalty", **SMALL),
        EVE(n_units=6, neuron="deterministic", alias="twin", **SMALL),
        AREVE(n_units=6, **SMALL),
        ARVAE(latent_dim=4, **SMALL),
        DLinear(h=H, input_size=LOOK_BACK, max_steps=1, **{k: SMALL[k] for k in SMALL if k.startswith("enable")}),
    ]


@pytest.fixture(scope="module")
def nf() -> NeuralForecast:
    nf = NeuralForecast(models=models(), freq="ME")
    nf.fit(PANEL, val_size=36)
    return nf


@pytest.fixture(scope="module")
def loaded(nf, tmp_path_factory) -> NeuralForecast:
    path = tmp_path_factory.mktemp("saved") / "nf"
    nf.save(str(path))
    return vdn_forecast.load(path)


def states(nf):
    return {f"{model}.{name}": tensor.clone() for model in nf.models[:4] for name, tensor in model.state_dict().items()}


def test_history_has_every_unit_at_every_check(nf):
    found = diagnose(nf)
    assert list(found.units.columns[:4]) == ["model", "step", "layer", "unit"]
    counts = found.units.groupby("model").size()
    assert counts.to_dict() == {"EVE": 5 * 12, "twin": 5 * 6, "AREVE": 5 * 6, "ARVAE": 5}
    for name, part in found.summary.groupby("model"):
        assert part["step"].tolist() == [4, 8, 12, 16, 20]
        assert part["best"].sum() == 1
        model = next(m for m in nf.models if repr(m) == name)
        best = part.loc[part["best"], "val_loss"].item()
        assert best == pytest.approx(float(model.best_value), rel=1e-6)
        shares = found.units[found.units["model"] == name].groupby("step")["place"]
        np.testing.assert_allclose(part["out"], shares.apply(lambda place: (place != "inside").mean()))
        np.testing.assert_allclose(part["out"] + part["inside"], 1)
        np.testing.assert_allclose(part["frac_too_low"] + part["frac_too_high"], part["out"])


def test_the_check_whose_weights_were_kept_is_what_a_pass_over_the_same_windows_finds(nf):
    """The history against the measures of a validation pass through the final weights."""
    for model in nf.models[:4]:
        history = diagnose(model)
        best = history.summary.loc[history.summary["best"], "step"].item()
        units = history.units[history.units["step"] == best]
        passed = measure_validation(model, nf.dataset, crps=False)
        for name in ("kl", "energy", "signal", "info", "sigma"):
            if name in units:
                expected = np.concatenate([getattr(layer, name).numpy() for layer in passed.layers])
                np.testing.assert_allclose(units[name], expected, rtol=1e-5, err_msg=f"{model} {name}")
        assert history.summary.loc[history.summary["best"], "out"].item() == pytest.approx(passed.summary.out)


def test_every_check_knows_how_long_a_unit_remembers(nf, loaded):
    """The history's autocorrelations against those of a pass over the same windows; they survive save and load."""
    kept = {repr(model): model for model in loaded.models}  # in the order of file names
    for model in nf.models[:4]:
        history = diagnose(model)
        assert history.units.groupby("step")["lag_1"].apply(lambda lag: lag.notna().any()).all()
        best = history.summary.loc[history.summary["best"], "step"].item()
        units = history.units[history.units["step"] == best]
        passed = persistence(model, nf.dataset, "val")
        for name in ("lag_1", "lag_h", "half_life"):
            np.testing.assert_allclose(units[name], passed[name], rtol=1e-3, err_msg=f"{model} {name}")
        np.testing.assert_array_equal(diagnose(kept[repr(model)]).units["lag_1"], history.units["lag_1"])


@pytest.mark.parametrize("most", [1, 8])
def test_fewer_windows_than_there_are_may_be_recorded(most):
    model = EVE(n_units=6, **SMALL)
    model.record_windows = most
    nf = NeuralForecast(models=[model], freq="ME")
    nf.fit(PANEL, val_size=36)
    found = diagnose(nf)
    assert found.summary["windows"].between(1, most).all()
    assert ("lag_1" in found.units) == (most > 1)


def test_what_a_class_does_not_have_is_absent(nf):
    twin = diagnose(nf.models[1])
    assert not {"kl", "info", "sigma", "local_elbo", "kl_weight", "informed", "collapse_prior"} & set(twin.units)
    assert not {"kl_total", "ar_share", "train_kl", "active_units", "drift_kl"} & set(twin.summary)
    assert {"energy", "signal", "position", "place"} <= set(twin.units)
    areve = diagnose(nf.models[2])
    assert not {"local_elbo", "ar_share", "train_ar"} & (set(areve.units) | set(areve.summary))
    assert {"train_lookback", "kl_total"} <= set(areve.summary)
    eve = diagnose(nf.models[0])
    assert {"ar_share", "train_ar", "collapse_ar", "local_elbo_total"} <= set(eve.summary)
    twin = diagnose(nf.models[1], PANEL)
    assert set(twin.risk_coverage["score"]) == {"within", "width"}
    assert twin.posteriors.empty
    assert "use" not in twin.units


def test_drift_is_the_theil_sen_slope_of_the_logarithm(nf):
    found = diagnose(nf.models[0])
    energy = found.units.groupby("step")["energy"].mean()
    slope = theilslopes(np.log(energy), energy.index)[0]
    assert found.summary["drift_energy"].iloc[-1] == pytest.approx(100 * slope, rel=1e-4)
    assert found.summary["drift_energy"].iloc[:2].isna().all()


def test_the_local_elbo_is_that_of_the_layer(nf):
    model = nf.models[0]
    found = diagnose(nf, "validation")
    units = found.units[(found.units["model"] == "EVE") & (found.units["layer"] == 0)]
    layer = model.layers[0]
    seen = []
    handle = layer.register_forward_hook(lambda _m, arguments, state: seen.append((arguments, state)))
    measure_validation(model, nf.dataset, crps=False)
    handle.remove()
    assert sum(len(state.mu) for _, state in seen) == 50
    context = torch.cat([arguments[0] for arguments, _ in seen])
    local = layer(context, None, None, True).local_elbo.mean(0)
    np.testing.assert_allclose(units["local_elbo"], local.detach(), rtol=1e-4)


def test_looking_changes_nothing(nf):
    before, modes = states(nf), [m.training for model in nf.models[:4] for m in model.modules()]
    sizes = [(model.val_size, model.test_size) for model in nf.models]
    scalers = copy.deepcopy(nf.scalers_)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    for data in (None, "validation", PANEL):
        diagnose(nf, data)
    assert torch.equal(torch.rand(4), expected)  # no number of the global stream was drawn
    after = states(nf)
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert modes == [m.training for model in nf.models[:4] for m in model.modules()]
    assert sizes == [(model.val_size, model.test_size) for model in nf.models]
    assert nf.scalers_ == scalers
    assert not any(layer._forward_hooks for model in nf.models[:4] for layer in model.layers)


def test_a_saved_model_says_the_same(nf, loaded):
    for data in (None, "validation", PANEL):
        before, after = diagnose(nf, data), diagnose(loaded, data)
        for name, frame in vars(before).items():
            wanted = (
                "model",
                "step",
                "layer",
                "unit",
                "kind",
                "level",
                "series",
                "origin",
                "latent",
                "window",
                "error",
            )
            keys = [key for key in (*wanted, "score") if key in frame]
            first, second = (
                each.sort_values(keys, ignore_index=True, kind="stable") for each in (frame, getattr(after, name))
            )
            pd.testing.assert_frame_equal(first, second[first.columns])


def test_new_data_is_measured_in_every_window(nf):
    found = diagnose(nf.models[2], PANEL, use=False)
    assert len(found.windows) == 2 * (144 - LOOK_BACK - H + 1)
    assert found.windows["origin"].min() == H
    some = diagnose(nf.models[2], PANEL, max_windows=50, use=False)
    assert len(some.windows) == 50 == some.summary["windows"].item()
    reliability = found.calibration[found.calibration["kind"] == "reliability"]
    assert len(reliability) == 19
    assert reliability["share"].is_monotonic_increasing
    pit = found.calibration[found.calibration["kind"] == "pit"]
    assert pit["share"].sum() == pytest.approx(1)


def test_alive_needs_information_and_use(nf):
    units = diagnose(nf, PANEL).units.query("model == 'EVE'")
    expected = (units["info"] > 0.005) & (units["use"] > 0)
    assert (units["alive"].astype(bool) == expected).all()
    assert (units["collapse_constant"].astype(bool) == ((units["kl"] > 0.005) & (units["info"] <= 0.005))).all()


def test_errors_are_those_of_the_forecast(nf):
    """MSE and coverage of the last window against NeuralForecast's own predict."""
    cut = PANEL.groupby("unique_id").head(144 - H)
    view = copy.copy(nf)
    view.models = [nf.models[2]]
    forecast = view.predict(df=cut, level=[80])
    actual = PANEL.groupby("unique_id").tail(H).reset_index(drop=True)
    windows = diagnose(nf, PANEL, use=False).windows.query("model == 'AREVE' and origin == 12")
    for series, part in forecast.groupby("unique_id"):
        y = actual.loc[actual["unique_id"] == series, "y"].to_numpy()
        mse = np.square(part["AREVE"].to_numpy() - y).mean()
        assert windows.loc[windows["series"] == series, "mse"].item() == pytest.approx(mse, rel=1e-4)


def test_a_point_loss_has_units_and_no_scores(nf):
    model = EVE(n_units=6, loss=MAE(), **SMALL)
    own = NeuralForecast(models=[model], freq="ME")
    own.fit(PANEL, val_size=36)
    found = diagnose(own, PANEL)
    assert {"kl", "info", "lag_1"} <= set(found.units)
    assert found.risk_coverage.empty
    assert found.calibration.empty
    assert not {"use", "alive"} & set(found.units)


def test_bad_targets_and_data_are_refused(nf):
    with pytest.raises(TypeError, match="target is a str"):
        diagnose("nf")
    with pytest.raises(ValueError, match="EVE is not fitted"):
        diagnose(NeuralForecast(models=[EVE(n_units=4, **SMALL)], freq="ME"))
    with pytest.raises(ValueError, match="EVE is not fitted"):
        diagnose(EVE(n_units=4, **SMALL), PANEL)
    with pytest.raises(ValueError, match="AutoEVE is not fitted"):
        diagnose(vdn_forecast.AutoEVE(h=H))
    with pytest.raises(ValueError, match="no model of vdn_forecast"):
        diagnose(NeuralForecast(models=[nf.models[4]], freq="ME"))
    days = pd.to_timedelta(PANEL.groupby("unique_id").cumcount(), unit="D")
    daily = PANEL.assign(ds=pd.Timestamp("2001-01-01") + days)
    with pytest.raises(ValueError, match="freq"):
        diagnose(nf, daily)
    with pytest.raises(ValueError, match=r"longest series of df has 35 rows; a window of EVE needs 36"):
        diagnose(nf, PANEL.groupby("unique_id").head(35))
    with pytest.raises(ValueError, match="df='test' is not allowed"):
        diagnose(nf, "test")
    with pytest.raises(TypeError, match="df is a list"):
        diagnose(nf, [1, 2])
    with pytest.raises(ValueError, match=r"NaN"):
        diagnose(nf, PANEL.assign(y=math.nan))
    with pytest.raises(ValueError, match="max_windows=0"):
        diagnose(nf, PANEL, max_windows=0)
    with pytest.raises(ValueError, match="keeps its data"):
        diagnose(nf.models[0], "validation")


def test_a_fit_without_validation_has_no_history():
    own = NeuralForecast(models=[EVE(n_units=6, **SMALL)], freq="ME")
    with pytest.warns(UserWarning, match="no validation"):
        own.fit(PANEL)
    with pytest.raises(ValueError, match="no validation check was recorded"):
        diagnose(own)
    with pytest.raises(ValueError, match="fitted without validation"):
        diagnose(own, "validation")
    assert len(diagnose(own, PANEL, use=False).units) == 6


def test_an_ar_share_over_its_cap_is_flagged(nf):
    model = copy.deepcopy(nf.models[0])
    assert diagnose(model, PANEL, use=False).summary["collapse_ar"].item() == 0
    model.window_ar.share.share.fill_(model.window_ar.share.cap + 0.05)
    assert diagnose(model, PANEL, use=False).summary["collapse_ar"].item() == 1


def test_an_auto_is_looked_at_through_its_winner():
    auto = vdn_forecast.AutoEVE(
        h=H,
        config={**{k: v for k, v in SMALL.items() if k != "h"}, "n_units": 6},
        num_samples=1,
        seed=1,
        constraints={},
    )
    own = NeuralForecast(models=[auto], freq="ME")
    own.fit(PANEL, val_size=36)
    found = diagnose(own)
    assert found.summary["model"].unique().tolist() == ["AutoEVE"]
    assert found.summary["step"].tolist() == [4, 8, 12, 16, 20]
    assert len(diagnose(own, "validation", use=False).units) == 6 == len(diagnose(own.models[0]).units) / 5
