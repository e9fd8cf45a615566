"""`mixture_scores` against the exact functions of `vdn_forecast.mixture` and against scoringrules."""

import math

import numpy as np
import pytest
import scoringrules
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vdn_forecast import mixture
from vdn_forecast.mixture import LEVELS_19
from vdn_forecast.mixture_scores import mixture_scores


def random_mixtures(
    b: int, c: int, h: int, seed: int, spread: float = 1.0, narrow: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Outcomes [b, h], locations and scales [b, c, h]."""
    generator = torch.Generator().manual_seed(seed)
    loc = spread * torch.randn(b, c, h, generator=generator)
    scale = torch.exp(narrow * torch.randn(b, c, h, generator=generator))
    return 2 * torch.randn(b, h, generator=generator), loc, scale


def exact(y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """CRPS, negative log-density and quantiles in double precision."""
    y, loc, scale = y.double(), loc.transpose(1, 2).double(), scale.transpose(1, 2).double()
    return (
        mixture.mixture_crps(y, loc, scale),
        -mixture.mixture_log_prob(y, loc, scale),
        mixture.mixture_quantiles(loc, scale, LEVELS_19),
    )


@given(
    st.integers(1, 16),
    st.sampled_from([0.0, 0.3, 1.0, 5.0]),
    st.sampled_from([0.0, 0.5, 1.5, 3.0]),
    st.sampled_from([1e-3, 1.0, 1e4]),
    st.integers(0, 2**16),
)
@settings(max_examples=40, deadline=None)
def test_mean_scores_equal_the_exact_ones(c, spread, narrow, unit, seed):
    y, loc, scale = random_mixtures(40, c, 12, seed, spread, narrow)
    found = mixture_scores(unit * y, unit * loc, unit * scale)
    crps, nll, quantiles = exact(unit * y, unit * loc, unit * scale)
    last = unit * loc.transpose(1, 2).double(), unit * scale.transpose(1, 2).double()
    size = mixture.mixture_variance(*last).sqrt() + crps  # rounding of a far outcome is not the table's
    assert found.quantiles is not None
    assert float(((found.crps - crps) / size).mean().abs()) < 4e-5
    assert float(((found.crps - crps) / size).abs().max()) < 2e-3
    torch.testing.assert_close(found.nll, nll.float(), rtol=1e-4, atol=1e-4)
    below = mixture.mixture_cdf((unit * y).double(), *last)
    torch.testing.assert_close(found.cdf, below.float(), rtol=0, atol=1e-5)
    wide = [part.unsqueeze(-2) for part in last]
    reached = (mixture.mixture_cdf(found.quantiles.double(), *wide) - torch.tensor(LEVELS_19)).abs() < 2e-3
    near = (found.quantiles - quantiles).abs() < 1e-4 * size.unsqueeze(-1)  # in a spike, where a step is a probability
    assert bool((reached | near).all())
    exact19 = mixture.crps_from_quantiles((unit * y).double(), quantiles, LEVELS_19)
    # between modes far apart a level has an interval of quantiles, all of the same expected loss
    gap = size.log().unsqueeze(-1) + mixture.mixture_log_prob(quantiles, *wide) < math.log(1e-3)
    ours19 = mixture.crps_from_quantiles(
        (unit * y).double(), torch.where(gap, quantiles, found.quantiles.double()), LEVELS_19
    )
    assert float(((ours19 - exact19) / size).mean().abs()) < 5e-5


@given(st.integers(1, 16), st.sampled_from([0.5, 3.0]), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_quantiles_rise_with_the_level(c, narrow, seed):
    y, loc, scale = random_mixtures(20, c, 5, seed, 2.0, narrow)
    quantiles = mixture_scores(y, loc, scale).quantiles
    assert quantiles is not None
    assert quantiles.shape == (20, 5, 19)
    assert bool((quantiles.diff(dim=-1) >= -1e-5 * quantiles.abs().amax()).all())


def test_crps_equals_scoringrules():
    y, loc, scale = random_mixtures(50, 6, 4, 1)
    weight = np.full((50, 4, 6), 1 / 6)
    found = mixture_scores(y, loc, scale, quantiles=False)
    assert found.quantiles is None
    theirs = scoringrules.crps_mixnorm(
        y.double().numpy(), loc.transpose(1, 2).double().numpy(), scale.transpose(1, 2).double().numpy(), weight
    )
    np.testing.assert_allclose(found.crps.numpy(), theirs, atol=1e-3)
    assert abs(float(found.crps.double().mean()) - float(theirs.mean())) < 2e-5


def test_one_forecast_does_not_depend_on_its_neighbours():
    y, loc, scale = random_mixtures(900, 8, 6, 2)
    every, one = mixture_scores(y, loc, scale), mixture_scores(y[700:701], loc[700:701], scale[700:701])
    assert every.quantiles is not None
    assert one.quantiles is not None
    torch.testing.assert_close(every.crps[700:701], one.crps, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(every.quantiles[700:701], one.quantiles, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["y", "loc", "scale"])
def test_what_is_not_finite_stays_visible(where):
    y, loc, scale = random_mixtures(3, 4, 2, 3)
    {"y": y, "loc": loc, "scale": scale}[where][1] = float("nan")
    found = mixture_scores(y, loc, scale)
    assert bool(torch.isfinite(found.crps[0]).all())
    assert bool(found.crps[1].isnan().all())


def test_components_without_width_and_far_outcomes():
    loc, scale = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[1e-6], [1e-6]]])
    found = mixture_scores(torch.tensor([[0.25]]), loc, scale)
    assert found.quantiles is not None
    assert abs(float(found.crps[0, 0]) - 0.25) < 1e-4  # E|X - y| - E|X - X'| / 2 = .5 - .25
    assert abs(float(found.quantiles[0, 0, 0])) < 1e-3
    far = mixture_scores(torch.tensor([[1e4]]), loc, torch.ones_like(scale))
    assert float(far.nll[0, 0]) == pytest.approx(5e7, rel=1e-2)


@pytest.mark.parametrize("narrow", [0.0, 0.3, 0.6])
def test_mean_widths_of_intervals_equal_the_exact_ones(narrow):
    y, loc, scale = random_mixtures(400, 16, 12, 3, 0.7, narrow)
    found = mixture_scores(y, loc, scale).quantiles
    assert found is not None
    quantiles = exact(y, loc, scale)[2]
    for low, high in ((0, 18), (1, 17)):
        ours, theirs = found[..., high] - found[..., low], quantiles[..., high] - quantiles[..., low]
        assert float(ours.mean()) == pytest.approx(float(theirs.mean()), rel=5e-5)
