"""The AR-VAE networks against plain sequential code; causality, learned graphs, roll-on, refusals."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from linear_gaussian import dense_matrix
from neuralforecast import NeuralForecast
from torch.nn import functional as F

from vdn_forecast import AREVE, ARVAE, LatentMixture
from vdn_forecast.models.patches import PatchEncoder, cut

QUIET = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
SMALL = {"hidden_size": 5, "head_size": 6, "patch_size": 3, "dropout": 0.0, "alias": "m", **QUIET}


def build(cls=AREVE, h: int = 7, input_size: int = 10, **kwargs):
    """A small model whose parameters are all random: none stays at a start value that hides a mistake."""
    own = {"n_units": 4, "latent_dim": 2} if cls is AREVE else {"latent_dim": 3}
    model = cls(h=h, input_size=input_size, **{**SMALL, **own, **kwargs})
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=generator))
    return model.double()


def panel(n: int = 120) -> pd.DataFrame:
    """Two noisy waves."""
    rng, stamps = np.random.default_rng(0), pd.date_range("2000-01-01", periods=n, freq="D")
    parts = []
    for name, period in (("a", 7), ("b", 12)):
        y = np.sin(np.arange(n) * 2 * np.pi / period) + 0.2 * rng.standard_normal(n)
        parts.append(pd.DataFrame({"unique_id": name, "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)


def matrix_of(transition) -> np.ndarray:
    """Drift over all latents of all units, [N k, N k], unit by unit."""
    if hasattr(transition, "neighbours"):
        return np.kron(dense_matrix(transition), np.eye(transition.latent_dim))
    return transition.matrix().detach().numpy()


def reference(network, y: np.ndarray, seen: np.ndarray, eps: np.ndarray, h: int):
    """Outputs [S, O, h] of one window y [L], KL per unit (mean over patches) and misfit; eps [N, k, 1 + J, S]."""
    weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    layer, encoder, head = network.layer, network.encoder, network.head
    n, k, p, t_max = layer.n_units, layer.latent_dim, encoder.patch_size, encoder.n_patches
    gelu = lambda x: F.gelu(torch.from_numpy(np.asarray(x))).numpy()  # noqa: E731
    means, scales = [], []
    for t in range(t_max):
        end = len(y) - (t_max - 1 - t) * p
        row = np.concatenate([np.zeros(len(y) - end), y[:end]])
        context = gelu(weights["encoder.look_back.weight"] @ row + weights["encoder.look_back.bias"])
        means.append(weights["stack.layers.0.mu.weight"] @ context + weights["stack.layers.0.mu.bias"])
        if layer.sigma == "amortized":
            raw = weights["stack.layers.0.sigma_net.weight"] @ context + weights["stack.layers.0.sigma_net.bias"]
        else:
            raw = np.broadcast_to(weights["stack.layers.0.log_sigma"], (n, k)).ravel()
        scales.append(np.exp(raw))
    drift = matrix_of(layer.transition)
    s = layer.transition.log_scale.detach().exp().numpy().ravel()
    s_first = layer.transition.initial_log_scale.detach().exp().numpy().ravel()
    kl = np.zeros(n * k)
    for t in range(t_max):
        prior_mean = drift @ means[t - 1] if t else np.zeros(n * k)
        passed = (drift**2) @ (scales[t - 1] ** 2) if t else np.zeros(n * k)
        prior_scale = s if t else s_first
        square = scales[t] ** 2 + (means[t] - prior_mean) ** 2 + passed
        kl += np.log(prior_scale / scales[t]) + square / (2 * prior_scale**2) - 0.5
    pool = np.kron(np.eye(n), np.ones((1, k)) / k) if network.pooled else np.eye(n * k)
    misfit, missing = 0.0, t_max * p - len(y)
    padded, known = np.concatenate([np.zeros(missing), y]), np.concatenate([np.zeros(missing, bool), seen])
    noise = np.maximum(np.exp(weights["log_noise"]), 0.05)
    for t in range(t_max):
        read = weights["emission.weight"] @ pool
        fitted = read @ means[t] + weights["emission.bias"]
        spread = (read**2) @ (scales[t] ** 2)
        for i in range(p):
            if known[t * p + i]:
                square = (padded[t * p + i] - fitted[i]) ** 2 + spread[i]
                misfit += 0.5 * (square / noise[i] ** 2 + math.log(2 * math.pi * noise[i] ** 2))
    outputs = []
    for sample in range(eps.shape[-1]):
        z = means[-1] + scales[-1] * eps[:, :, 0, sample].ravel()
        patches = []
        for j in range(-(-h // p)):
            z = drift @ z + s * eps[:, :, 1 + j, sample].ravel()
            place = j % head.n_patches
            position = weights["head.position"].reshape(head.n_patches, -1)[place]
            hidden = gelu(weights["head.hidden.weight"] @ (pool @ z) + weights["head.hidden.bias"] + position)
            rows = head.n_outputs * p
            patch = weights["head.weight"][place * rows : (place + 1) * rows] @ hidden
            patch = patch + weights["head.bias"][place * rows : (place + 1) * rows]
            patches.append(patch.reshape(head.n_outputs, p))
        outputs.append(np.concatenate(patches, 1)[:, :h])
    return np.stack(outputs), kl.reshape(n, k).sum(1) / t_max, misfit


CASES = {
    "none": {"graph": "none"},
    "ring": {"graph": "ring", "graph_degree": 2},
    "random, amortized": {"graph": "random", "graph_degree": 3, "sigma": "amortized"},
    "scalar": {"graph": "topk", "graph_degree": 1, "sigma": "scalar"},
    "global": {"cls": ARVAE},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("h", [7, 17])
def test_the_network_equals_sequential_code(case, h):
    """Forecast (also rolled on beyond its horizon), closed-form KL and the look-back's likelihood."""
    model = build(**CASES[case], trajectory_windows=None)
    network, (b, s) = model.network, (3, 2)
    torch.manual_seed(0)
    y, seen = torch.randn(b, 10).double(), torch.rand(b, 10) > 0.2
    y = torch.where(seen, y, 0.0)
    eps = network.noise(b, s, h, mirrored=True)
    assert torch.equal(eps[..., :1, :], -eps[..., 1:, :])
    network.train()
    out = network(y, seen, None, eps, None, h)
    expected = [reference(network, y[i].numpy(), seen[i].numpy(), eps[..., i].numpy(), h) for i in range(b)]
    np.testing.assert_allclose(out.raw.detach(), np.stack([each[0] for each in expected]), atol=1e-9)
    kl = np.stack([each[1] for each in expected])
    found = out.state.kl.detach() if out.state.mean_kl is None else out.state.mean_kl.detach()
    np.testing.assert_allclose(found, kl if out.state.mean_kl is None else kl.mean(0), atol=1e-9)
    assert float(out.misfit.detach()) == pytest.approx(np.mean([each[2] for each in expected]))
    network.eval()  # the last patch alone
    np.testing.assert_allclose(network(y, seen, None, eps, None, h).raw.detach(), out.raw.detach(), atol=1e-12)


@pytest.mark.parametrize("cls", [AREVE, ARVAE])
def test_objective_is_the_documented_sum(cls):
    """kl_weight / T on the KL of all patches, lookback_weight on the misfit, both over h."""
    model = build(cls, kl_weight=0.7, lookback_weight=0.3, trajectory_windows=None)
    network = model.network
    y, seen = torch.randn(4, 10).double(), torch.ones(4, 10, dtype=torch.bool)
    network.train()
    out = network(y, seen, None, network.noise(4, 2, 7, False), None, 7)
    kl = out.state.mean_kl.sum().detach()  # mean over patches
    model.trainer = SimpleNamespace(global_step=1)
    model._misfit = out.misfit
    total = model.regularizer([out.state], torch.zeros(()))
    assert float(total.detach()) == pytest.approx((0.7 * float(kl) + 0.3 * float(out.misfit.detach())) / 7)
    assert model._misfit is None


def test_a_share_of_the_windows_estimates_the_whole():
    """The KL and misfit of some windows drawn anew have the mean of those of all windows."""
    whole, part = (build(trajectory_windows=limit).network.train() for limit in (None, 2))
    torch.manual_seed(0)
    y, seen = torch.randn(6, 10).double(), torch.ones(6, 10, dtype=torch.bool)
    eps = whole.noise(6, 1, 7, False)
    expected = whole(y, seen, None, eps, None, 7)
    found = [part(y, seen, None, eps, None, 7) for _ in range(300)]
    kl = torch.stack([each.state.mean_kl.sum() for each in found]).detach()
    misfit = torch.stack([each.misfit for each in found]).detach()
    for values, wanted in ((kl, expected.state.mean_kl.sum()), (misfit, expected.misfit)):
        assert abs(float(values.mean() - wanted)) < 4 * float(values.std()) / math.sqrt(len(values))
    torch.testing.assert_close(found[0].raw, expected.raw)


@pytest.mark.parametrize("kind", ["linear", "mlp", "decomposition"])
@pytest.mark.parametrize(("length", "size"), [(12, 3), (10, 3), (10, 10), (7, 1)])
def test_contexts_are_causal(kind, length, size):
    torch.manual_seed(0)
    encoder = PatchEncoder(length, 0, 4, size, kind=kind, kernel_size=3).eval()
    y = torch.randn(2, length)
    contexts = encoder.contexts(y, None, last_only=False)
    assert contexts.shape[1] == cut(y, size).shape[1] == encoder.n_patches
    torch.testing.assert_close(contexts[:, -1], encoder(y, None))
    torch.testing.assert_close(encoder.contexts(y, None, last_only=True)[:, 0], contexts[:, -1])
    for t in range(encoder.n_patches - 1):
        changed = y.clone()
        changed[:, length - (encoder.n_patches - 1 - t) * size :] += 5.0  # all later patches
        found = encoder.contexts(changed, None, last_only=False)
        torch.testing.assert_close(found[:, : t + 1], contexts[:, : t + 1])
        assert not torch.allclose(found[:, t + 1 :], contexts[:, t + 1 :])


def test_patches_end_with_the_look_back():
    y = torch.arange(1.0, 8.0).unsqueeze(0)
    assert cut(y, 3).tolist() == [[[0.0, 0.0, 1.0], [2.0, 3.0, 4.0], [5.0, 6.0, 7.0]]]


def test_a_learned_graph_finds_a_unit_that_leads():
    """Unit 0 repeats what unit 7 did a patch before: its single edge has to move there."""
    from vdn_forecast.models.learned_graph import rewire
    from vdn_forecast.neurons import SparseTransition, TrajectoryLayer

    transition = SparseTransition(12, graph="topk", degree=1, seed=0, phi_init=0.1)
    layer = TrajectoryLayer(12, transition)
    with torch.no_grad():
        transition.neighbours[0] = 3
        layer.mu.weight.copy_(torch.eye(12))
        layer.mu.bias.zero_()
    context = torch.randn(40, 10, 12, generator=torch.Generator().manual_seed(0))
    context[:, 1:, 0] = context[:, :-1, 7]
    optimizer = torch.optim.Adam(layer.parameters())
    transition.raw_edges.sum().backward()
    optimizer.step()
    before = transition.neighbours.clone()
    rewire(layer, context, optimizer)
    assert int(transition.neighbours[0]) == 7
    moved = (transition.neighbours != before).squeeze(1)
    assert bool((transition.raw_edges[moved] == 0).all())
    memory = optimizer.state[transition.raw_edges]["exp_avg"]
    assert bool((memory[moved] == 0).all())
    assert all(int(row) != i for i, row in enumerate(transition.neighbours[:, 0]))


def test_a_learned_graph_moves_in_training_and_then_rests():
    start = AREVE(h=7, input_size=14, n_units=12, graph="topk", graph_degree=2, graph_every=2, **SMALL)
    model = AREVE(h=7, input_size=14, n_units=12, graph="topk", graph_degree=2, graph_every=2, max_steps=8, **SMALL)
    nf = NeuralForecast(models=[model], freq="D")
    nf.fit(panel(), val_size=14)
    first, last = (each.network.layer.transition.neighbours for each in (start, nf.models[0]))
    assert not torch.equal(first, last)
    assert all(len(set(row)) == 2 and i not in row for i, row in enumerate(last.tolist()))
    assert nf.models[0].network.layer.kept is None


@pytest.mark.parametrize("cls", [AREVE, ARVAE])
def test_a_longer_forecast_rolls_the_latents_on(cls):
    """Its distribution is the network's own at that horizon; medians are not fed back."""
    own = {"n_units": 6} if cls is AREVE else {"latent_dim": 4}
    model = cls(h=7, input_size=14, max_steps=30, learning_rate=1e-2, **SMALL, **own)
    nf = NeuralForecast(models=[model], freq="D")
    nf.fit(panel(), val_size=14)
    near, far = nf.predict(level=[80]), nf.predict(h=25, level=[80])
    assert len(far) == 50
    columns = ["m", "m-lo-80", "m-hi-80"]
    np.testing.assert_allclose(far.groupby("unique_id").head(7)[columns], near[columns], rtol=1e-4, atol=1e-5)
    width = (far["m-hi-80"] - far["m-lo-80"]).to_numpy()
    assert np.isfinite(width).all()
    assert (width > 0).all()
    fitted = nf.models[0]
    assert (fitted.h, fitted.horizon_backup) == (7, 7)
    y = panel().query("unique_id == 'a'").y.to_numpy()[-14:]
    shift, scale = y.mean(), math.sqrt(y.var() + float(fitted.scaler.floor) ** 2)
    window = torch.from_numpy((y - shift) / scale).float().unsqueeze(0)
    level, seen = window[:, -1:], torch.ones(1, 14, dtype=torch.bool)
    with torch.no_grad():
        out = fitted.network.eval()(window - level, seen, None, fitted.network.banked(25), level, 25)
    locations = out.raw.unflatten(2, (2, -1))[0, :, 0].flatten(0, 1) + out.base  # [C, h]
    np.testing.assert_allclose(
        far["m"].to_numpy()[:25], locations.mean(0).numpy() * scale + shift, rtol=1e-3, atol=1e-4
    )
    pd.testing.assert_frame_equal(nf.predict(level=[80]), near)


@pytest.mark.parametrize(
    ("cls", "kwargs", "name"),
    [
        (AREVE, {"patch_size": 11}, "patch_size=11 is not allowed; it must be at most input_size=10"),
        (AREVE, {"patch_size": 0}, "patch_size=0"),
        (AREVE, {"graph": "ring", "graph_degree": 4}, "graph_degree=4"),
        (AREVE, {"graph": "topk", "graph_degree": 9}, "graph_degree=9"),
        (AREVE, {"graph": "dense"}, "graph='dense'"),
        (AREVE, {"graph": "tree"}, "graph='tree'"),
        (AREVE, {"graph_every": 0}, "graph_every=0"),
        (AREVE, {"phi_init": 1.0}, r"phi_init=1\.0"),
        (AREVE, {"phi_init": -1.0}, r"phi_init=-1\.0"),
        (AREVE, {"phi_init": 0.8, "rho_max": 0.7}, r"phi_init=0\.8"),
        (AREVE, {"rho_max": 1.0}, r"rho_max=1\.0"),
        (AREVE, {"transition_scale": 0.0}, r"transition_scale=0\.0"),
        (AREVE, {"lookback_weight": -0.1}, r"lookback_weight=-0\.1"),
        (AREVE, {"trajectory_windows": 0}, "trajectory_windows=0"),
        (AREVE, {"n_units": 0}, "n_units=0"),
        (ARVAE, {"n_units": 4}, "n_units=4 is not allowed; the global latent is one unit"),
        (ARVAE, {"graph": "ring"}, "graph='ring'"),
        (ARVAE, {"latent_dim": 0}, "latent_dim=0"),
    ],
)
def test_bad_arguments_are_refused_by_name(cls, kwargs, name):
    with pytest.raises(ValueError, match=name):
        cls(h=7, input_size=10, **{**SMALL, **({"n_units": 4} if cls is AREVE else {}), **kwargs})


@pytest.mark.parametrize(
    ("cls", "arguments", "samples"),
    [
        (AREVE, {}, 1),
        (ARVAE, {}, 2),
        (AREVE, {"n_latent_samples": 4}, 4),
        (AREVE, {"loss": LatentMixture(n_samples=3)}, 3),  # the loss says
        (ARVAE, {"neuron": "deterministic"}, 1),
    ],
)
def test_how_many_samples_train(cls, arguments, samples):
    assert cls(h=4, input_size=9, **QUIET, **arguments).n_latent_samples == samples
