"""`EVEEnsemble`: an equal mixture of EVEs that behaves as one model of NeuralForecast."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from model_list import COMMON, FREQ, LOSSES, MODELS, H, differing, fitted, state, values
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MAE

import vdn_forecast
from vdn_forecast import EVE, EVEEnsemble, LatentMixture, diagnose, tell_series

SMALL = {**COMMON, **MODELS[EVE], "alias": "m"}


def ensemble(**arguments) -> EVEEnsemble:
    return EVEEnsemble(**{**SMALL, "n_members": 3, "random_seed": 2, **arguments})


def alone(seed: int, **arguments) -> EVE:
    return EVE(**{**SMALL, "random_seed": seed, **arguments})


@pytest.mark.parametrize("arguments", [{}, {"neuron": "deterministic"}, {"base": "studentt"}])
def test_its_forecast_is_the_mixture_of_members_trained_alone(y_panel, arguments):
    nf = fitted(ensemble(**arguments), df=y_panel)
    found = nf.models[0].mixture_parameters(nf.dataset)
    singles = [fitted(alone(seed, **arguments), df=y_panel).models[0] for seed in (2, 7, 8)]
    parts = [model.mixture_parameters(nf.dataset) for model in singles]
    c = parts[0][0].shape[-1]
    assert not np.allclose(parts[0][0], parts[1][0])
    for whole, pieces in zip(found, zip(*parts, strict=True), strict=True):
        for k, piece in enumerate(pieces):
            np.testing.assert_allclose(whole[..., k * c : (k + 1) * c], piece, rtol=1e-5, atol=1e-4)
    mean = nf.predict()["m"].to_numpy().reshape(-1, H)
    np.testing.assert_allclose(mean, found[0].mean(-1), rtol=1e-5, atol=1e-2)
    low = nf.predict(quantiles=[0.3])["m_ql0.3"].to_numpy().reshape(-1, H)
    loss = nf.models[0].loss
    loc, scale = (torch.as_tensor(part).unsqueeze(2) for part in found)
    exact = vdn_forecast.mixture.mixture_quantiles(loc, scale, torch.tensor([0.3]), loss.df)
    np.testing.assert_allclose(low, exact.numpy().reshape(-1, H), rtol=1e-3)


def test_told_the_series_every_member_reads_the_embeddings_that_it_was_trained_with(y_panel):
    static, told = tell_series(y_panel)
    nf = fitted(ensemble(**told), df=y_panel, static_df=static)
    model = nf.models[0]
    parts = [member.mixture_parameters(nf.dataset)[0] for member in model.others]  # by their own tables
    c = parts[0].shape[-1]
    whole = model.mixture_parameters(nf.dataset)[0]
    for k, part in enumerate(parts, start=1):
        np.testing.assert_allclose(whole[..., k * c : (k + 1) * c], part, rtol=1e-5, atol=1e-4)
    new = fitted(ensemble(**told), df=y_panel, static_df=static).models[0]
    assert differing(state(new), state(model)) == []


@pytest.mark.parametrize("loss", ["default", "MAE", "MQLoss", "Normal"])
def test_saved_copied_and_trained_on(y_panel, tmp_path, loss):
    nf = fitted(ensemble(loss=LOSSES[loss]()), df=y_panel)
    forecast = nf.predict()
    nf.save(str(tmp_path / "saved"), overwrite=True)
    loaded, copied = vdn_forecast.load(tmp_path / "saved"), copy.deepcopy(nf)
    for again in (loaded, copied):
        assert type(again.models[0]) is EVEEnsemble
        assert differing(state(nf.models[0]), state(again.models[0])) == []
        pd.testing.assert_frame_equal(again.predict(), forecast, check_exact=True)
    before = state(nf.models[0])
    for each in (nf, copied):
        each.fit(y_panel, val_size=H)
    changed = differing(before, state(nf.models[0]))
    assert {name.split(".")[1] for name in changed if name.startswith("others")} == {"0", "1"}
    assert differing(state(copied.models[0]), state(nf.models[0])) == []


def test_one_share_of_persistence_for_the_whole_mixture(tmp_path):
    y = np.random.default_rng(1).standard_normal((3, 150)).cumsum(1)
    names, time = np.repeat(["a", "b", "c"], 150), np.tile(np.arange(150), 3)
    df = pd.DataFrame({"unique_id": names, "ds": time, "y": y.ravel()})
    nf, plain = (NeuralForecast(models=[ensemble(persistence=wanted)], freq=1) for wanted in (True, False))
    for each in (nf, plain):
        each.fit(df, val_size=40)
    model = nf.models[0]
    assert model.persistence.share > 0  # four steps of training are no match for a walk
    assert [member.persistence for member in model.others] == [None, None]
    own = plain.models[0].mixture_parameters(plain.dataset)[0].mean(-1)  # [series, h]
    share = model.persistence.share
    mean = nf.predict()["m"].to_numpy().reshape(-1, H)
    np.testing.assert_allclose(mean, (1 - share) * own + share * y[:, -1:], rtol=1e-3, atol=1e-3)
    loc = model.mixture_parameters(nf.dataset)[0]
    np.testing.assert_allclose(loc.mean(-1), mean, rtol=1e-3, atol=1e-3)
    nf.save(str(tmp_path), overwrite=True)
    pd.testing.assert_frame_equal(vdn_forecast.load(tmp_path).predict(level=[80]), nf.predict(level=[80]))


def test_a_point_loss_averages_its_members(y_panel):
    nf = fitted(ensemble(loss=MAE()), df=y_panel)
    singles = [fitted(alone(seed, loss=MAE()), df=y_panel) for seed in (2, 7, 8)]
    np.testing.assert_allclose(
        values(nf.predict()), np.mean([values(each.predict()) for each in singles], 0), rtol=1e-4
    )


@pytest.mark.parametrize("fresh", [False, True])
def test_paths_are_of_all_members(y_panel, fresh):
    nf = fitted(ensemble(), df=y_panel)
    loc, scale = nf.models[0].mixture_parameters(nf.dataset)
    paths = vdn_forecast.sample_paths(nf, n_paths=3000, seed=1, fresh_latents=fresh)
    found = paths.groupby(["unique_id", "ds"])["m"].mean().to_numpy().reshape(-1, H)
    deviation = np.sqrt((scale**2).mean(-1) + loc.var(-1))
    assert (np.abs(found - loc.mean(-1)) / deviation).max() < 0.25
    if not fresh:
        return
    # no member's paths alone have this spread between latents
    spread = paths.groupby(["unique_id", "ds"])["m"].std().to_numpy().reshape(-1, H)
    np.testing.assert_allclose(spread, deviation, rtol=0.2)


def test_beyond_the_horizon_and_in_cross_validation(y_panel):
    nf = fitted(ensemble(), df=y_panel)
    longer = nf.predict(h=2 * H)
    np.testing.assert_allclose(longer.groupby("unique_id").head(H)["m"], nf.predict()["m"], rtol=1e-4)
    table = NeuralForecast(models=[ensemble()], freq=FREQ).cross_validation(
        y_panel, n_windows=2, step_size=H, val_size=H, refit=True
    )
    assert np.isfinite(values(table)).all()


def test_diagnosis_is_of_the_first_member(y_panel):
    found = diagnose(fitted(ensemble(), df=y_panel), use=False)
    expected = diagnose(fitted(alone(2), df=y_panel), use=False)
    pd.testing.assert_frame_equal(found.units, expected.units)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_members": 1}, "n_members=1 is not allowed"),
        ({"n_members": 2.0}, "n_members=2.0 is not allowed"),
        ({"persistence": True, "loss": MAE()}, "persistence=True is not allowed with loss=MAE"),
        ({"loss": LatentMixture(n_samples=1, return_params=True)}, "return_params=True is not allowed"),
        ({"sigma": "wide"}, "sigma"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ensemble(**arguments)
    with pytest.raises(TypeError, match="n_unit"):
        ensemble(n_unit=3)


def test_no_spark():
    with pytest.raises(ValueError, match="distributed_config"):
        ensemble().fit(None, distributed_config=object())
