"""`LatentMixture` by itself: parameters, objectives, masks, units, refused arguments."""

from __future__ import annotations

import math

import pytest
import torch
from neuralforecast.losses.pytorch import GMM

from vdn_forecast import mixture
from vdn_forecast._loss_arguments import RawMixture
from vdn_forecast.losses import LatentMixture

B, H = 5, 6


def make(train: bool = True, **kwargs) -> LatentMixture:
    return LatentMixture(**{"n_samples": 3, "n_components": 2, **kwargs}).train(train)


def example(loss: LatentMixture, seed: int = 0, samples: int | None = None):
    """Raw output, targets, shift and scale of B windows."""
    generator = torch.Generator().manual_seed(seed)
    total = 2 * (samples or loss.n_samples) * loss.n_components
    output = torch.randn(B, H, total, generator=generator, requires_grad=True)
    shift, scale = (
        50 * torch.randn(B, 1, 1, generator=generator),
        torch.rand(B, 1, 1, generator=generator) + 5,
    )
    y = torch.randn(B, H, 1, generator=generator) * scale + shift
    return output, y, shift, scale


def args_of(loss: LatentMixture, output, shift=None, scale=None):
    return loss.scale_decouple(loss.domain_map(output), shift, scale)


def unit(loss, output, y, shift, scale):
    """Targets, locations and scales in the window's unit, by hand."""
    half = output.shape[-1] // 2
    scales = torch.nn.functional.softplus(output[..., half:]) + 1e-3
    return ((y - shift) / scale).squeeze(-1), output[..., :half], scales


def test_contract_of_neuralforecast():
    loss = make()
    assert isinstance(loss, GMM)
    assert loss.is_distribution_output
    assert loss.outputsize_multiplier == 12
    assert loss.output_names == ["", "-median", "-lo-90", "-lo-80", "-hi-80", "-hi-90"]
    assert len(loss.param_names) == 12
    assert loss.quantiles.dtype == torch.float32
    assert not loss.quantiles.requires_grad


@pytest.mark.parametrize("samples", [1, 3, 16])
def test_number_of_samples_comes_from_the_output(samples):
    loss = make(train=False)
    output, y, shift, scale = example(loss, samples=samples)
    args = args_of(loss, output, shift, scale)
    assert args[0].shape == args[1].shape == (B, H, 1, 2 * samples)
    none, mean, quantiles = loss.sample(args, num_samples=100)
    assert none is None
    assert mean.shape == (B, H, 1, 1)
    assert quantiles.shape == (B, H, 1, 5)
    assert loss(y, args, torch.ones_like(y)).ndim == 0
    # what NeuralForecast does for return_params=True
    assert torch.stack(args, dim=-1).flatten(-2, -1).shape == (B, H, 1, 4 * samples)


def test_parameters_in_the_unit_of_y():
    loss = make()
    output, y, shift, scale = example(loss)
    means, stds = args_of(loss, output, shift, scale)
    _, loc, std = unit(loss, output, y, shift, scale)
    torch.testing.assert_close(means.squeeze(2), loc * scale + shift)
    torch.testing.assert_close(stds.squeeze(2), std * scale)
    means, stds = args_of(loss, output)
    torch.testing.assert_close(means.squeeze(2), loc)
    torch.testing.assert_close(stds.squeeze(2), std)


@pytest.mark.parametrize("base", ["normal", "studentt"])
def test_training_objectives_by_hand(base):
    df = None if base == "normal" else 5
    for name in ("mixture", "elbo"):
        loss = make(base=base, objective=name)
        output, y, shift, scale = example(loss)
        target, loc, std = unit(loss, output, y, shift, scale)
        if name == "mixture":
            expected = -mixture.mixture_log_prob(target, loc, std, df).mean()
        else:  # components of one sample are neighbours
            by_sample = [
                -mixture.mixture_log_prob(target, loc[..., i : i + 2], std[..., i : i + 2], df).mean()
                for i in (0, 2, 4)
            ]
            expected = torch.stack(by_sample).mean()
        got = loss(y, args_of(loss, output, shift, scale), torch.ones_like(y))
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(loss(y, args_of(loss, output, shift, scale)), expected)


def test_crps_and_weighted_sum():
    loss = make(objective="crps")
    output, y, shift, scale = example(loss)
    args = args_of(loss, output, shift, scale)
    crps = loss(y, args)
    torch.testing.assert_close(crps, mixture.mixture_crps(*unit(loss, output, y, shift, scale)).mean())
    both = make(objective={"crps": 2.0, "mixture": 0.5})(y, args)
    torch.testing.assert_close(both, 2 * crps + 0.5 * make()(y, args))


@pytest.mark.parametrize("trajectory", [False, True])
def test_elbo_is_above_mixture_and_equal_for_one_sample(trajectory):
    for samples in (3, 1):
        elbo, mix = (make(n_samples=samples, objective=name, trajectory=trajectory) for name in ("elbo", "mixture"))
        output, y, shift, scale = example(elbo)
        args = args_of(elbo, output, shift, scale)
        if samples == 1:
            torch.testing.assert_close(elbo(y, args), mix(y, args))
        else:
            assert elbo(y, args) > mix(y, args)


@pytest.mark.parametrize("name", ["elbo", "mixture"])
def test_trajectory(name):
    steps, paths = make(objective=name), make(objective=name, trajectory=True)
    output, y, shift, scale = example(steps)
    mask = torch.ones_like(y)
    one = args_of(steps, output[:, :1], shift, scale)
    torch.testing.assert_close(paths(y[:, :1], one, mask[:, :1]), steps(y[:, :1], one, mask[:, :1]))
    # by hand, with unobserved steps in window 0 and a window without any
    mask[0, 2:4] = 0
    mask[1] = 0
    target, loc, std = unit(steps, output, y, shift, scale)
    log_prob = mixture.log_prob_by_component(target, loc, std)  # [B, H, 6]
    total = (log_prob * mask).sum(1).reshape(B, 3, 2)
    path = {
        "mixture": torch.logsumexp(total.flatten(1), -1) - math.log(6),
        "elbo": (torch.logsumexp(total, -1) - math.log(2)).mean(-1),
    }[name]
    expected = -path.sum() / mask.sum()
    expected = expected - (-path[1]) / mask.sum()  # window 1 has no observed step
    torch.testing.assert_close(paths(y, args_of(paths, output, shift, scale), mask), expected)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"objective": {"elbo": 1.0, "mixture": 1.0, "crps": 1.0}},
        {"objective": "mixture", "trajectory": True},
        {"objective": "elbo", "trajectory": True, "base": "studentt"},
    ],
)
@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
def test_masked_targets_never_matter(kwargs, poison):
    loss = make(**kwargs)
    output, y, shift, scale = example(loss)
    mask = torch.ones_like(y)
    mask[0, 1:3] = 0
    mask[2] = 0
    clean = loss(y, args_of(loss, output, shift, scale), mask)
    (clean_gradient,) = torch.autograd.grad(clean, output)
    poisoned = torch.where(mask > 0, y, torch.full_like(y, poison))
    value = loss(poisoned, args_of(loss, output, shift, scale), mask)
    (gradient,) = torch.autograd.grad(value, output)
    torch.testing.assert_close(value, clean)
    torch.testing.assert_close(gradient, clean_gradient)
    assert torch.isfinite(gradient).all()
    assert not gradient[2].any()
    loss.eval()
    torch.testing.assert_close(
        loss(poisoned, args_of(loss, output, shift, scale), mask),
        loss(y, args_of(loss, output, shift, scale), mask),
    )
    nothing = loss.train()(poisoned, args_of(loss, output, shift, scale), torch.zeros_like(mask))
    assert nothing.item() == 0


def test_unmasked_nan_is_not_hidden():
    loss = make()
    output, y, shift, scale = example(loss)
    y[0, 0] = float("nan")
    assert torch.isnan(loss(y, args_of(loss, output, shift, scale), torch.ones_like(y)))


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("objective", ["elbo", "mixture", "crps"])
def test_unit_of_y(factor, objective):
    loss = make(objective=objective)
    output, y, shift, scale = example(loss)
    args, scaled = args_of(loss, output, shift, scale), args_of(loss, output, factor * shift, factor * scale)
    torch.testing.assert_close(loss(factor * y, scaled), loss(y, args), rtol=1e-4, atol=1e-5)
    loss.eval()  # CRPS in the unit of y
    torch.testing.assert_close(loss(factor * y, scaled) / factor, loss(y, args), rtol=1e-4, atol=1e-5)
    for a, b in zip(loss.sample(scaled)[1:], loss.sample(args)[1:], strict=True):
        torch.testing.assert_close(a / factor, b, rtol=1e-4, atol=1e-4)


def test_a_distant_window_costs_no_precision():
    loss = make()
    output, y, shift, scale = example(loss)
    near = loss(torch.round(y - shift), args_of(loss, output, torch.zeros_like(shift), scale))
    far = loss(torch.round(y - shift) + 2.0**20, args_of(loss, output, torch.full_like(shift, 2.0**20), scale))
    torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("base", ["normal", "studentt"])
@pytest.mark.parametrize("name", ["crps", "mixture", "mse"])
def test_eval_objectives(base, name):
    loss = make(train=False, base=base, eval_objective=name, trajectory=True)
    output, y, shift, scale = example(loss)
    args = args_of(loss, output, shift, scale)
    distribution = loss.get_distribution(args)
    if name == "mse":
        expected = (y - distribution.mean).square().mean()
    elif name == "mixture":
        expected = -distribution.log_prob(y).mean()
    elif base == "normal":
        expected = mixture.mixture_crps(y, *args).mean()
    else:
        expected = mixture.mixture_crps_quadrature(y, args[0], args[1], df=5).mean()
    tolerance = 0.05 if (base, name) == ("studentt", "crps") else 1e-5  # crps19 stands in for the CRPS
    torch.testing.assert_close(loss(y, args, torch.ones_like(y)), expected, rtol=tolerance, atol=1e-5)


def test_quantiles_set_and_restored():
    loss = make(quantiles=[0.1, 0.5, 0.7], return_params=True)
    names, quantiles = list(loss.output_names), loss.quantiles.clone()
    loss.update_quantile([0.25])
    assert loss.output_names == ["", "_ql0.25", *loss.param_names]
    torch.testing.assert_close(loss.quantiles.data, torch.tensor([0.25]))
    for _ in range(2):
        loss.update_quantile(None)
        assert loss.output_names == names
        torch.testing.assert_close(loss.quantiles, quantiles)
    with pytest.raises(ValueError, match="quantiles must be"):
        loss.update_quantile([1.5])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer of at least 1, got 0"),
        ({"n_components": 2.0}, "n_components must be an integer"),
        ({"base": "laplace"}, r"base must be one of \['normal', 'studentt'\], got 'laplace'"),
        ({"base": "studentt", "df": 6}, r"df must be .*\(3, 4, 5, 7, 10\), got 6"),
        ({"objective": "nll"}, r"objective must be one of \['elbo', 'mixture', 'crps'\].*got 'nll'"),
        ({"objective": {"crps": 1.0, "energy": 1.0}}, "objective must be one of"),
        ({"objective": {}}, "objective must be one of"),
        ({"objective": {"crps": -1.0}}, "every weight must be a positive finite number"),
        ({"objective": ["crps"]}, "objective must be one of"),
        ({"base": "studentt", "objective": {"crps": 1.0, "elbo": 1.0}}, "base='normal' only"),
        ({"objective": "crps", "trajectory": True}, "trajectory=True has no effect on objective 'crps'"),
        ({"trajectory": "no"}, "trajectory must be True or False, got 'no'"),
        ({"eval_objective": "mae"}, r"eval_objective must be one of .* got 'mae'"),
        ({"level": [100]}, "level must be a list of numbers strictly between 0 and 100"),
        ({"quantiles": [0.0, 0.5]}, "quantiles must be a list of numbers strictly between 0 and 1"),
        ({"return_params": 1}, "return_params must be True or False"),
        ({"scale_floor": 0.0}, "scale_floor must be a positive finite number"),
        ({"background": -0.1}, "background must be a non-negative finite number, got -0.1"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LatentMixture(**kwargs)


def test_bad_shapes_are_refused():
    loss = make(return_params=True)
    with pytest.raises(ValueError, match="outputs per step, got 7"):
        loss.domain_map(torch.zeros(B, H, 7))
    raw = loss.domain_map(torch.zeros(B, H, 12))
    with pytest.raises(ValueError, match="windows of 3 series"):
        loss.scale_decouple(raw, torch.zeros(B, 1, 3), torch.ones(B, 1, 3))
    with pytest.raises(ValueError, match="return_params=True needs n_samples=3"):
        loss.sample(args_of(loss, torch.zeros(B, H, 16)))


@pytest.mark.parametrize("objective", ["mixture", "elbo"])
@pytest.mark.parametrize("base", ["normal", "studentt"])
def test_background_bounds_the_cost_of_an_observation(objective, base):
    background = 0.02
    loss = make(objective=objective, base=base, background=background)
    output, y, shift, scale = example(loss)
    plain = make(objective=objective, base=base)
    y[0, 0] += 1e4 * scale[0, 0]  # an outlier
    by_step = torch.eye(B * H).view(-1, B, H, 1)
    for mask in by_step:  # one observation at a time
        value = loss(y, args_of(loss, output, shift, scale), mask)
        unbounded = plain(y, args_of(plain, output, shift, scale), mask)
        assert value <= -math.log(background) + 1e-5
        assert value <= unbounded + 1e-5
        if objective == "mixture":
            torch.testing.assert_close(value, -torch.log(torch.exp(-unbounded) + background), rtol=1e-4, atol=1e-5)
    (slope,) = torch.autograd.grad(loss(y, args_of(loss, output, shift, scale), by_step[0]), output)
    assert slope.abs().max() < 1e-6  # nothing is learned from the outlier


def test_background_is_for_training_only():
    with_it, without = make(train=False, background=0.1), make(train=False)
    output, y, shift, scale = example(with_it)
    assert with_it(y, args_of(with_it, output, shift, scale)) == without(y, args_of(without, output, shift, scale))


def test_background_in_the_hot_path_equals_the_usual_layout():
    loss = make(objective="mixture", background=0.05)
    raw = torch.randn(B, 3, 2, 2, H, requires_grad=True)
    _, y, shift, scale = example(loss)
    hot = loss(y, loss.scale_decouple(loss.domain_map(RawMixture(raw, None)), shift, scale))
    usual = loss(y, args_of(loss, raw.permute(0, 4, 2, 1, 3).flatten(2), shift, scale))
    torch.testing.assert_close(hot, usual)
    torch.testing.assert_close(torch.autograd.grad(hot, raw)[0], torch.autograd.grad(usual, raw)[0])
