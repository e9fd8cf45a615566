"""`vdn_forecast.mixture` against independent code: scipy, scoringrules, torch, numerical integration."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vdn_forecast import mixture
from vdn_forecast._table_inverse import table_quantiles
from vdn_forecast.mixture import LEVELS_19, STUDENT_DFS

BASES = (None, *STUDENT_DFS)


def random_mixture(rows: int, c: int, seed: int = 0, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Locations and scales [rows, c] in double precision."""
    generator = torch.Generator().manual_seed(seed)
    loc = spread * torch.randn(rows, c, generator=generator, dtype=torch.float64)
    return loc, torch.exp(0.5 * torch.randn(rows, c, generator=generator, dtype=torch.float64))


def scipy_component(df: int | None):
    return stats.norm() if df is None else stats.t(df)


@pytest.mark.parametrize("df", BASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-7), (torch.float64, 1e-14)])
def test_component_cdf_and_log_prob_equal_scipy(df, dtype, tolerance):
    x = torch.linspace(-40, 40, 2001, dtype=dtype)
    reference = scipy_component(df)
    np.testing.assert_allclose(
        mixture.component_cdf(x, df).numpy(), reference.cdf(x.double().numpy()), rtol=0, atol=tolerance
    )
    np.testing.assert_allclose(
        mixture.component_log_prob(x, df).numpy(), reference.logpdf(x.double().numpy()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("df", [1, 2, 6, 2.5, 0, -3, True])
def test_other_degrees_of_freedom_are_refused(df):
    with pytest.raises(ValueError, match=r"df must be None .* got"):
        mixture.component_cdf(torch.zeros(1), df)


@pytest.mark.parametrize("df", BASES)
def test_moments_log_prob_and_cdf_equal_torch_distributions(df):
    loc, scale = random_mixture(50, 6)
    y = torch.randn(50, dtype=torch.float64)
    weights = torch.distributions.Categorical(logits=torch.zeros_like(loc))
    components = torch.distributions.Normal(loc, scale) if df is None else torch.distributions.StudentT(df, loc, scale)
    reference = torch.distributions.MixtureSameFamily(weights, components)
    torch.testing.assert_close(mixture.mixture_log_prob(y, loc, scale, df), reference.log_prob(y))
    torch.testing.assert_close(mixture.mixture_mean(loc), reference.mean)
    torch.testing.assert_close(mixture.mixture_variance(loc, scale, df), reference.variance)
    if df is None:
        torch.testing.assert_close(mixture.mixture_cdf(y, loc, scale), reference.cdf(y))


def quantile_errors(loc, scale, levels, df, q):
    """Largest |F(q(p)) - p| over all rows and levels, in double precision."""
    p = torch.tensor(levels, dtype=torch.float64)
    got = mixture.mixture_cdf(q.double(), loc.double().unsqueeze(-2), scale.double().unsqueeze(-2), df)
    return (got - p).abs().max().item()


@pytest.mark.parametrize("df", BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0])
def test_quantiles_invert_the_cdf(df, dtype, spread):
    loc, scale = (part.to(dtype) for part in random_mixture(200, 8, spread=spread))
    levels = (0.001, *LEVELS_19, 0.999)
    q = mixture.mixture_quantiles(loc, scale, levels, df)
    assert q.shape == (200, 21)
    assert q.dtype == dtype
    assert quantile_errors(loc, scale, levels, df, q) < 2e-6
    assert (q.diff(dim=-1) >= 0).all()
    # float32 is within the promised 1e-5 of the standard deviation, in the extreme tails too
    exact = mixture.mixture_quantiles(loc.double(), scale.double(), levels, df)
    std = mixture.mixture_variance(loc.double(), scale.double(), df).sqrt()
    assert ((q - exact).abs() / std.unsqueeze(-1)).max() < 1e-5


@settings(max_examples=150, deadline=None)
@given(
    locs=st.lists(st.floats(-5, 5), min_size=1, max_size=6),
    log_scales=st.lists(st.floats(-4, 1.5), min_size=6, max_size=6),
    levels=st.lists(st.floats(0.001, 0.999), min_size=1, max_size=5),
    df=st.sampled_from(BASES),
)
def test_quantiles_of_any_mixture(locs, log_scales, levels, df):
    loc = torch.tensor(locs, dtype=torch.float64)
    scale = torch.tensor(log_scales[: len(locs)], dtype=torch.float64).exp()
    q = mixture.mixture_quantiles(loc, scale, levels, df)
    std = mixture.mixture_variance(loc, scale, df).sqrt()
    # where the CDF is steep 1e-5 of the standard deviation may be more than 1e-5 in probability
    low, high = (mixture.mixture_cdf(q + side * 1e-5 * std, loc, scale, df) for side in (-1, 1))
    p = torch.tensor(levels, dtype=torch.float64)
    assert ((low <= p + 1e-9) & (p - 1e-9 <= high)).all()
    order = torch.argsort(p)
    assert (q[order].diff() >= 0).all()


@pytest.mark.parametrize("df", BASES)
def test_equal_components_have_the_components_quantiles(df):
    levels = (0.001, 0.1, 0.5, 0.9, 0.999)
    q = mixture.mixture_quantiles(torch.full((3, 4), 2.0), torch.full((3, 4), 0.5), levels, df)
    expected = 2 + 0.5 * scipy_component(df).ppf(levels)
    np.testing.assert_allclose(q.numpy(), np.broadcast_to(expected, (3, 5)), rtol=1e-5, atol=1e-5)


def test_widely_separated_components():
    loc = torch.tensor([-100.0, 0.0, 0.0, 100.0])
    q = mixture.mixture_quantiles(loc, torch.full((4,), 0.01), (0.125, 0.5, 0.875))
    np.testing.assert_allclose(q.numpy(), [-100, 0, 100], atol=1e-3)


@pytest.mark.parametrize("tiny", [1e-6, 1e-12, 1e-30])
def test_tiny_scales(tiny):
    loc, levels = torch.tensor([[0.0, 1.0]]), (0.25, 0.45, 0.75)
    q = mixture.mixture_quantiles(loc, torch.full((1, 2), tiny), levels)
    np.testing.assert_allclose(q.numpy(), [[0, 0, 1]], atol=1e-5)
    together = mixture.mixture_quantiles(torch.zeros(1, 2), torch.full((1, 2), tiny), levels)
    np.testing.assert_allclose(together.numpy()[0] / tiny, stats.norm.ppf(levels), rtol=1e-4)


def test_quantiles_follow_the_unit_and_the_order_of_levels():
    loc, scale = (part.float() for part in random_mixture(50, 5))
    levels = (0.9, 0.1, 0.5, 0.1)
    q = mixture.mixture_quantiles(loc, scale, levels)
    torch.testing.assert_close(q[:, 1], q[:, 3], rtol=0, atol=0)
    assert ((q[:, 1] < q[:, 2]) & (q[:, 2] < q[:, 0])).all()
    for factor in (1e-20, 1e-3, 1e3, 1e20):
        scaled = mixture.mixture_quantiles(factor * loc, factor * scale, levels)
        torch.testing.assert_close(scaled / factor, q, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mixture.mixture_quantiles(loc + 8, scale, levels) - 8, q, rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 0.3, 1.0, 3.0]),
    narrowest=st.sampled_from([0.02, 0.2, 0.5]),
    widest=st.sampled_from([1.0, 4.0]),
    n_components=st.sampled_from([24, 64, 100]),
)
def test_quantiles_of_many_components(seed, spread, narrowest, widest, n_components):
    """The table answers for some rows, the search for the others: the same accuracy, monotone."""
    generator = torch.Generator().manual_seed(seed)
    loc = spread * torch.randn(70, n_components, generator=generator)
    scale = narrowest + (widest - narrowest) * torch.rand(70, n_components, generator=generator)
    levels = (0.02, 0.031, *LEVELS_19, 0.98)
    q = mixture.mixture_quantiles(loc, scale, levels)
    exact = mixture.mixture_quantiles(loc.double(), scale.double(), levels)
    std = mixture.mixture_variance(loc.double(), scale.double()).sqrt()
    assert ((q - exact).abs() / std.unsqueeze(-1)).max() < 1.2e-5  # 1e-5, and the rounding of float32
    order = torch.tensor(levels).argsort()
    assert (q[:, order].diff(dim=-1) >= 0).all()


def test_a_table_answers_for_wide_components_only():
    loc, levels = torch.randn(5, 64, 8, generator=torch.Generator().manual_seed(1)), torch.tensor(LEVELS_19).double()
    scale = torch.full((5, 64, 8), 1.0)
    scale[:, 0, ::2] = 1e-3
    _, good = table_quantiles(loc, scale, levels)
    assert good.tolist() == [[False, True] * 4] * 5
    apart = torch.cat([torch.full((1, 32, 1), -6.0), torch.full((1, 32, 1), 6.0)], 1)
    _, good = table_quantiles(apart, torch.full((1, 64, 1), 1.5), levels)  # no density at the median
    assert not good.any()


@pytest.mark.parametrize("n_components", [4, 64])
@pytest.mark.parametrize("levels", [LEVELS_19, (0.975, 0.5, 0.025, 0.5)])
def test_quantiles_of_windows_are_those_of_their_rows(n_components, levels):
    loc, scale = (part.float().view(10, 12, n_components) for part in random_mixture(120, n_components))
    middle = (part.transpose(1, 2).contiguous() for part in (loc, scale))
    rows, windows = mixture.mixture_quantiles(loc, scale, levels), mixture.window_quantiles(*middle, levels)
    torch.testing.assert_close(windows, rows, rtol=1e-5, atol=1e-5)


def test_quantiles_do_not_depend_on_the_chunks(monkeypatch):
    loc, scale = (part.float() for part in random_mixture(500, 8))
    whole = mixture.mixture_quantiles(loc, scale, LEVELS_19)
    monkeypatch.setattr("vdn_forecast._quantile_search._CPU_ELEMENTS", 1000)
    torch.testing.assert_close(mixture.mixture_quantiles(loc, scale, LEVELS_19), whole, rtol=1e-5, atol=1e-5)
    assert mixture.mixture_quantiles(loc[:0], scale[:0], LEVELS_19).shape == (0, 19)


@pytest.mark.parametrize("levels", [[], [0.0], [1.0], [0.5, float("nan")], [[0.5]]])
def test_levels_outside_the_unit_interval_are_refused(levels):
    with pytest.raises(ValueError, match="levels must be a list of numbers strictly between 0 and 1"):
        mixture.mixture_quantiles(torch.zeros(2), torch.ones(2), levels)


def test_crps_of_normal_mixtures_equals_scoringrules():
    loc, scale = random_mixture(40, 7)
    y = 2 * torch.randn(40, dtype=torch.float64)
    got = mixture.mixture_crps(y, loc, scale)
    np.testing.assert_allclose(got, scoringrules.crps_mixnorm(y.numpy(), loc.numpy(), scale.numpy()), rtol=1e-10)
    single = mixture.mixture_crps(y, loc[:, :1], scale[:, :1])
    np.testing.assert_allclose(
        single, scoringrules.crps_normal(y.numpy(), loc[:, 0].numpy(), scale[:, 0].numpy()), rtol=1e-10
    )


def test_crps_is_the_same_with_and_without_gradients_and_in_chunks(monkeypatch):
    loc, scale = random_mixture(60, 5)
    y = torch.randn(3, 20, dtype=torch.float64)
    loc, scale = loc.reshape(3, 20, 5).requires_grad_(), scale.reshape(3, 20, 5).requires_grad_()
    with_gradient = mixture.mixture_crps(y, loc, scale)
    monkeypatch.setattr(mixture, "_CHUNK_ELEMENTS", 100)
    with torch.no_grad():
        torch.testing.assert_close(mixture.mixture_crps(y, loc, scale), with_gradient.detach())
    assert torch.autograd.gradcheck(mixture.mixture_crps, (y.requires_grad_(), loc, scale))


def test_crps_tends_to_the_ensembles_as_scales_vanish():
    loc, _ = random_mixture(10, 9)
    y = torch.randn(10, dtype=torch.float64)
    got = mixture.mixture_crps(y, loc, torch.full_like(loc, 1e-9))
    np.testing.assert_allclose(got, scoringrules.crps_ensemble(y.numpy(), loc.numpy()), atol=1e-8)


@pytest.mark.parametrize("df", STUDENT_DFS)
def test_crps_of_student_mixtures(df):
    loc, scale = random_mixture(6, 4)
    scale[:, 0] = 1e-3  # a component far narrower than the others
    y = 2 * torch.randn(6, dtype=torch.float64)
    got = mixture.mixture_crps_quadrature(y, loc, scale, df)
    std = mixture.mixture_variance(loc, scale, df).sqrt()
    for i in range(6):

        def cdf(x, i=i):
            return stats.t.cdf((x - loc[i].numpy()) / scale[i].numpy(), df).mean()

        breaks = sorted([*loc[i].tolist(), float(y[i]), float(loc[i, 0]) - 0.01, float(loc[i, 0]) + 0.01])
        edges = [-np.inf, *breaks, np.inf]
        expected = sum(
            integrate.quad(lambda x, i=i: (cdf(x) - (x >= float(y[i]))) ** 2, a, b, limit=200)[0]
            for a, b in pairwise(edges)
        )
        assert abs(float(got[i]) - expected) < 1e-4 * float(std[i])
    single = mixture.mixture_crps_quadrature(y, loc[:, 1:2], scale[:, 1:2], df)
    reference = scoringrules.crps_t(y.numpy(), df, loc[:, 1].numpy(), scale[:, 1].numpy())
    np.testing.assert_allclose(single, reference, atol=1e-4 * float(scale[:, 1].max()))


def test_crps_from_quantiles_tends_to_the_crps():
    loc, scale = random_mixture(30, 4)
    y = torch.randn(30, dtype=torch.float64)
    levels = [(i + 0.5) / 500 for i in range(500)]
    approximate = mixture.crps_from_quantiles(y, mixture.mixture_quantiles(loc, scale, levels), levels)
    torch.testing.assert_close(approximate, mixture.mixture_crps(y, loc, scale), rtol=2e-3, atol=2e-3)
    by_hand = 2 * np.mean([max(q * (1.0 - 0.4), (q - 1) * (1.0 - 0.4)) for q in LEVELS_19])
    got = mixture.crps_from_quantiles(torch.tensor(1.0), torch.full((19,), 0.4), LEVELS_19)
    assert float(got) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="levels must hold 19 numbers"):
        mixture.crps_from_quantiles(torch.tensor(1.0), torch.zeros(19), (0.5,))
