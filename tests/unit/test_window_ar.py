"""Ties between a window's latents and those some steps earlier: penalty, prior, share control, the windows."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from neuralforecast import NeuralForecast
from pytorch_lightning import Callback

from vdn_forecast import EVE
from vdn_forecast.control import ARShare
from vdn_forecast.neurons import WindowPrior, ar_penalty, ar_scale, kl_gaussian, kl_standard

H, L, STRIDE = 4, 8, 3


@settings(max_examples=40, deadline=None)
@given(st.floats(-0.95, 0.95), st.integers(0, 1000), st.booleans())
def test_kl_to_the_prior_is_its_mean_over_the_earlier_posterior(phi, seed, sampled):
    """E over z_1 of KL(q || N(phi z_1, s^2)), by Gauss-Hermite nodes."""
    torch.manual_seed(seed)
    prior = WindowPrior(3, phi).double()
    with torch.no_grad():
        prior.log_scale.copy_(torch.randn(3) * 0.5)
    shape = (2, 4, 3, 2) if sampled else (2, 3, 2)  # [B(, S), N, k]
    mu, earlier = torch.randn(*shape).double(), torch.randn(*shape).double()
    log_sigma, earlier_log_sigma = torch.randn(3, 2).double() * 0.3, torch.randn(*shape).double() * 0.3
    found = prior.kl(mu, log_sigma, earlier, earlier_log_sigma, torch.tensor([True, False]))
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    expected = torch.zeros(shape).double()
    scale = prior.log_scale.unsqueeze(-1)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        latent = earlier + earlier_log_sigma.exp() * node
        expected += weight * kl_gaussian(mu, log_sigma, prior.phi().unsqueeze(-1) * latent, scale)
    expected[1] = kl_standard(mu, log_sigma.expand(shape[1:]))[1]  # no earlier window: held to N(0, 1)
    expected = expected.sum(-1)
    torch.testing.assert_close(found, expected if expected.ndim == 2 else expected.mean(1))


def test_prior_starts_stationary_and_phi_zero_is_the_usual_kl():
    prior = WindowPrior(2, 0.8)
    variance = torch.exp(2 * prior.log_scale) / (1 - prior.phi().square())
    torch.testing.assert_close(variance, torch.ones(2))
    mu, log_sigma = torch.randn(5, 2, 1), torch.randn(5, 2, 1) * 0.2
    far = torch.randn(5, 2, 1) * 9
    found = WindowPrior(2, 0.0).kl(mu, log_sigma, far, log_sigma, torch.ones(5, dtype=torch.bool))
    torch.testing.assert_close(found, kl_standard(mu, log_sigma).sum(-1))


def test_penalty_is_the_papers_term():
    mu, earlier = torch.randn(4, 3, 2), torch.randn(4, 3, 2)
    valid = torch.tensor([True, True, False, True])
    kept = valid.numpy()
    gap = mu.numpy()[kept] - 0.9 * earlier.numpy()[kept]
    expected = (gap**2).mean() / (2 * 0.2**2)
    assert float(ar_penalty(mu, earlier, valid, 0.9, 0.2)) == pytest.approx(expected, rel=1e-5)
    assert float(ar_penalty(mu, earlier, torch.zeros(4, dtype=torch.bool), 0.9, 0.2)) == 0.0
    assert ar_scale(torch.tensor([0.02]), torch.tensor([0.04])) == pytest.approx(0.8 * math.sqrt(0.03))
    assert ar_scale(torch.tensor([9.0]), torch.tensor([9.0])) == 1.0
    assert ar_scale(torch.tensor([1e-6]), torch.tensor([1e-6])) == 0.03


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.01, 0.6),
    st.floats(0.0, 0.3),
    st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)), min_size=1, max_size=20),
)
def test_share_never_exceeds_its_cap(target, extra, norms):
    share = ARShare(target, target + extra)
    for loss_norm, ar_norm in norms:
        share.update(torch.tensor(loss_norm), torch.tensor(ar_norm))
        part = float(share.weight()) * ar_norm
        assert part / (part + loss_norm) <= target + extra + 1e-4


def test_share_settles_at_its_target_and_ignores_batches_without_gradient():
    share = ARShare(0.2, 0.3)
    share.update(torch.tensor(0.0), torch.tensor(1.0))
    share.update(torch.tensor(math.nan), torch.tensor(1.0))
    assert float(share.weight()) == 1.0
    share.update(torch.tensor(3.0), torch.tensor(50.0))
    assert float(share.share) == pytest.approx(0.2, rel=1e-4)  # the first batch decides alone
    for _ in range(80):
        share.update(torch.tensor(3.0), torch.tensor(7.0))
    assert float(share.share) == pytest.approx(0.2, rel=1e-2)


@pytest.mark.parametrize("values", [(0.4, 0.3), (0.0, 0.3), (0.2, 1.0)])
def test_bad_shares_are_refused(values):
    with pytest.raises(ValueError, match="ar_share"):
        ARShare(*values)


class Earlier(Callback):
    """Keeps what a step saw: the windows, and the earlier ones beside them."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict, dict, torch.Tensor, torch.Tensor]] = []

    def __deepcopy__(self, memo):
        return self

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        original = type(model)._parse_windows

        def parse(batch, windows):
            parts = original(model, batch, windows)
            if model._earlier is not None:  # validation windows have none
                self.seen.append((parts, model._earlier, model.scaler.x_shift.clone(), model.scaler.x_scale.clone()))
            return parts

        model._parse_windows = parse

    def on_train_end(self, trainer, model):
        del model._parse_windows


def panel(n: int = 60) -> pd.DataFrame:
    """Two series whose values tell the row, and a column that does so, too."""
    stamps = pd.date_range("2000-01-01", periods=n, freq="D")
    parts = [
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": start + np.arange(n) ** 1.1, "x": np.arange(n) * 0.5})
        for name, start in (("a", 0.0), ("b", 500.0))
    ]
    return pd.concat(parts, ignore_index=True)


def small(**kwargs) -> EVE:
    base = {"n_units": 6, "hidden_size": 8, "head_size": 8, "max_steps": 3, "val_check_steps": 3, "alias": "m"}
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return EVE(h=H, input_size=L, **{**base, **quiet, "windows_batch_size": 32, "ar_stride": STRIDE, **kwargs})


@pytest.mark.parametrize("scaler_type", ["auto", "standard", "identity"])
@pytest.mark.parametrize("padding", [False, True])
def test_earlier_windows_lie_a_stride_back_in_the_present_unit(scaler_type, padding):
    df, record = panel(), Earlier()
    model = small(
        ar="prior",
        hist_exog_list=["x"],
        scaler_type=scaler_type,
        start_padding_enabled=padding,
        callbacks=[record],
    )
    NeuralForecast(models=[model], freq="D").fit(df, val_size=H)
    assert len(record.seen) == 3
    without = 0
    for (y, mask, _, _, hist, _, _), earlier, shift, scale in record.seen:
        rows = (y * scale[:, :, 0] + shift[:, :, 0]).squeeze(-1)  # [B, L] in the unit of the data
        before = (earlier["insample_y"] * scale[:, :, 0] + shift[:, :, 0]).squeeze(-1)
        seen, seen_before = mask.squeeze(-1) > 0, earlier["insample_mask"].squeeze(-1) > 0
        table = {name: part.y.to_numpy() for name, part in df.groupby("unique_id")}
        for b in range(len(rows)):
            last = float(rows[b, -1])
            name = "b" if last >= 499 else "a"
            row = int(np.abs(table[name] - last).argmin()) - STRIDE
            expected = [row - L + 1 + i for i in range(L)]
            np.testing.assert_array_equal(seen_before[b], [i >= 0 for i in expected])
            wanted = [table[name][i] if i >= 0 else 0.0 for i in expected]
            np.testing.assert_allclose(
                np.where(seen_before[b], before[b], 0.0), wanted, rtol=1e-3, atol=1e-2, err_msg=f"{name} {row}"
            )
            without += not seen_before[b].any()
        assert earlier["hist_exog"].shape == hist.shape
        assert bool(seen.any(1).all())
    assert (without > 0) == padding


@pytest.mark.parametrize("ar", ["penalty", "prior"])
def test_ties_train_and_predict(ar):
    model = small(ar=ar, max_steps=25, learning_rate=1e-2, depth=2, latent_dim=2)
    nf = NeuralForecast(models=[model], freq="D")
    nf.fit(panel()[["unique_id", "ds", "y"]], val_size=H)
    fitted = nf.models[0]
    assert np.isfinite(nf.predict()["m"]).all()
    assert fitted._earlier is None
    assert fitted._before is None
    if ar == "prior":
        for prior in fitted.window_ar.priors:
            assert bool((prior.phi().abs() < 1).all())
            assert not torch.equal(prior.phi(), WindowPrior(6).phi())
    else:
        assert 1 <= int(fitted.window_ar.share.updates) <= 3  # every tenth step up to the best check
        assert 0 < float(fitted.window_ar.share.share) <= 0.3 + 1e-4


def test_without_a_tie_nothing_changes():
    """Same parameters, same numbers as a model that does not know the argument's values."""
    models = [small(), small(ar="none", ar_stride=7, ar_phi=0.1)]
    frames = []
    for model in models:
        nf = NeuralForecast(models=[model], freq="D")
        nf.fit(panel()[["unique_id", "ds", "y"]], val_size=H)
        frames.append(nf.predict())
    assert not [name for name, _ in models[0].named_parameters() if "window_ar" in name]
    pd.testing.assert_frame_equal(*frames, check_exact=True)


def persistence(ar: str, **kwargs) -> float:
    """Distance of neighbouring windows' means relative to their spread, after some training on a random walk."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2000-01-01", periods=400, freq="D")})
    df["y"] = rng.standard_normal(400).cumsum()
    model = small(ar=ar, max_steps=150, learning_rate=5e-3, dropout=0.0, ar_stride=1, patience_checks=0, **kwargs)
    nf = NeuralForecast(models=[model], freq="D")
    nf.fit(df, val_size=0)
    fitted, y = nf.models[0], torch.tensor(df.y.to_numpy(), dtype=torch.float32)
    windows = y.unfold(0, L, 1)
    windows = (windows - windows.mean(1, keepdim=True)) / windows.std()
    with torch.no_grad():
        mu = fitted.layers[0].mu(fitted.network.eval().encoder(windows - windows[:, -1:], None))
    return float((mu[1:] - mu[:-1]).square().mean() / mu.var(0).mean())


@pytest.mark.filterwarnings("ignore:.*no validation")
def test_the_prior_makes_latents_persist():
    assert persistence("prior", kl_weight=0.3) < 0.9 * persistence("none", kl_weight=0.3)


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({"ar": "always"}, "ar='always'"),
        ({"ar": "prior", "ar_stride": 0}, "ar_stride=0"),
        ({"ar": "prior", "ar_phi": 1.0}, r"ar_phi=1\.0"),
        ({"ar": "penalty", "ar_phi": -1.5}, r"ar_phi=-1\.5"),
        ({"ar": "penalty", "ar_share": 0.5, "ar_share_cap": 0.3}, r"ar_share=0\.5"),
        ({"ar": "penalty", "ar_share_cap": 1.0}, r"ar_share_cap=1\.0"),
        ({"ar": "prior", "neuron": "deterministic"}, "ar='prior' is not allowed with neuron='deterministic'"),
        ({"ar": "prior", "scaler_type": "revin"}, "scaler_type='revin' is not allowed"),
    ],
)
def test_bad_arguments_are_refused_by_name(kwargs, name):
    with pytest.raises(ValueError, match=name):
        small(**kwargs)
