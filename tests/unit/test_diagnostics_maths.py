"""Risk-coverage, persistence and the history's encoding against independent computations."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, theilslopes

from vdn_forecast.diagnostics.persistence import runs
from vdn_forecast.diagnostics.risk_coverage import aurc, curve, partial_spearman, risk_coverage
from vdn_forecast.models.autocorrelation import autocorrelation, half_life, spaced_with_successors
from vdn_forecast.models.history import CHECK_COLUMNS, MOST_CHECKS, History
from vdn_forecast.models.unit_figures import UNIT_COLUMNS, UnitFigures, alive_paper, drift, informed, unit_flags

errors = st.lists(st.floats(0, 100), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(errors=errors, data=st.data())
def test_aurc_is_the_mean_risk_over_coverages_and_over_orders_of_equal_scores(errors, data):
    """Against every order that the scores allow, one by one."""
    error = np.array(errors)
    score = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(errors), max_size=len(errors))))
    allowed = [o for o in itertools.permutations(range(len(error))) if (np.diff(score[list(o)]) >= 0).all()]
    areas = [np.mean([error[list(o[: n + 1])].mean() for n in range(len(o))]) for o in allowed]
    assert aurc(score, error) == pytest.approx(np.mean(areas), rel=1e-9, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(errors=st.lists(st.floats(0, 100), min_size=2, max_size=50), seed=st.integers(0, 2**16))
def test_no_score_beats_the_oracle_and_a_constant_one_is_the_mean(errors, seed):
    error = np.array(errors)
    score = np.random.default_rng(seed).normal(size=len(error))
    assert aurc(error, error) <= aurc(score, error) + 1e-9
    assert aurc(score, error) <= aurc(-error, error) + 1e-9
    assert aurc(np.zeros(len(error)), error) == pytest.approx(error.mean())
    assert aurc(np.exp(score), error) == pytest.approx(aurc(score, error))  # only the order counts
    coverage, risk = curve(score, error, len(error))
    assert risk.mean() == pytest.approx(aurc(score, error))
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(error.mean())


def test_partial_spearman_is_the_correlation_of_rank_residuals():
    generator = np.random.default_rng(0)
    given_, noise = generator.normal(size=(2, 300))
    score, error = given_ + 0.5 * noise, np.exp(given_ + generator.normal(size=300))
    ranks = [rankdata(each) for each in (score, error, given_)]
    residuals = [each - np.polyval(np.polyfit(ranks[2], each, 1), ranks[2]) for each in ranks[:2]]
    assert partial_spearman(score, error, given_) == pytest.approx(np.corrcoef(*residuals)[0, 1])
    assert math.isnan(partial_spearman(np.ones(300), error, given_))
    assert math.isnan(partial_spearman(given_, error, given_))


def windows(n_origins=200, n_series=3, seed=0):
    """Errors whose size follows `between` alone; the width knows nothing."""
    generator = np.random.default_rng(seed)
    rows = n_origins * n_series
    between = generator.gamma(2.0, size=rows)
    return pd.DataFrame(
        {
            "series": np.tile(np.arange(n_series), n_origins),
            "origin": np.repeat(np.arange(n_origins), n_series),
            "scale": generator.gamma(3.0, size=rows),
            "between": between,
            "width": generator.gamma(2.0, size=rows),
            "crps19": between * generator.gamma(4.0, size=rows),
            "mse": between**2,
        }
    )


def test_a_score_that_knows_is_told_from_one_that_does_not():
    table = risk_coverage(windows(), block=10, draws=200).set_index(["error", "score", "unit"])
    assert sorted(set(table.index.get_level_values("score"))) == ["between", "width"]
    knows = table.loc[("crps19", "between", "window")]
    assert knows["minus_width_high"] < 0  # ranks better than the width, interval and all
    assert knows["partial_spearman"] > 0.5
    assert knows["excess_low"] <= knows["excess"] <= knows["excess_high"]
    assert knows["blocks"] == 20
    assert table.loc[("mse", "between", "window"), "excess"] == pytest.approx(0)
    blind = table.loc[("crps19", "width", "window")]
    assert blind["aurc"] == pytest.approx(blind["random"], rel=0.15)
    assert blind["minus_width"] == blind["minus_width_low"] == blind["minus_width_high"] == 0
    again = risk_coverage(windows(), block=10, draws=200).set_index(["error", "score", "unit"])
    pd.testing.assert_frame_equal(again, table)


def test_few_origins_give_no_interval_and_bad_arguments_are_refused():
    table = risk_coverage(windows(), block=101, draws=10)
    assert table["excess_low"].isna().all()
    assert table["aurc"].notna().all()
    with pytest.raises(ValueError, match="block=0"):
        risk_coverage(windows(), block=0)
    with pytest.raises(ValueError, match="draws=0"):
        risk_coverage(windows(), block=5, draws=0)
    assert risk_coverage(windows().drop(columns="mse"), block=5).empty


@pytest.mark.parametrize("lag", [1, 7])
def test_autocorrelation_of_an_ar1(lag):
    """A long AR(1) has phi ** lag; a constant unit and a lag beyond the data have none."""
    generator = np.random.default_rng(1)
    n, phi = 20_000, 0.9
    x = np.zeros(n)
    for i in range(1, n):
        x[i] = phi * x[i - 1] + generator.normal()
    mu = np.stack([x, np.full(n, 0.3)], 1)[:, :, None]
    series = np.repeat([0, 1], n // 2)
    start = np.tile(np.arange(n // 2), 2)
    mu[series == 1] += 100.0  # another level is no memory
    shuffled = generator.permutation(n)
    found = autocorrelation(mu[shuffled][:, :1], series[shuffled], start[shuffled], lag)
    assert found[0] == pytest.approx(phi**lag, abs=0.03)
    constant = np.full((n, 1, 1), 0.3)
    assert np.isnan(autocorrelation(constant, series, start, lag)).all()
    assert np.isnan(autocorrelation(mu, series, start, n)).all()


@given(n=st.integers(1, 3000), limit=st.integers(1, 300), h=st.integers(1, 100))
def test_windows_of_a_check_hold_successors(n, limit, h):
    found = spaced_with_successors(n, limit, h)
    assert 1 <= len(found) <= limit
    assert found.min() >= 0
    assert found.max() < n
    assert len(found.unique()) == len(found)
    if n <= limit:
        assert len(found) == n
        return
    chosen = set(found.tolist())
    spaced = np.linspace(0, n - 1, max(limit // 2, 1)).round().astype(int).tolist()
    assert set(spaced) <= chosen
    for number, index in enumerate(spaced if limit > 1 else []):
        lag = h if number % 2 else 1
        assert n < 2 * lag or {index + lag, index - lag} & chosen


def test_half_life_of_an_ar1():
    found = half_life(np.array([0.5, 0.25, 1.0, -0.2, 0.0, np.nan]))
    np.testing.assert_allclose(found, [1.0, 0.5, *[np.nan] * 4])


def test_autocorrelation_does_not_pair_over_gaps_or_series():
    mu = np.array([1.0, -1.0, 1.0, -1.0])[:, None, None]
    assert autocorrelation(mu, np.zeros(4, int), np.arange(4), 1)[0] == pytest.approx(-1)
    assert np.isnan(autocorrelation(mu, np.arange(4), np.arange(4), 1)[0])
    assert np.isnan(autocorrelation(mu, np.zeros(4, int), 2 * np.arange(4), 1)[0])
    assert autocorrelation(mu, np.array([0, 0, 1, 1]), np.array([5, 6, -3, -2]), 1)[0] == pytest.approx(-1)


@given(n=st.integers(1, 500), limit=st.integers(1, 600), length=st.integers(2, 100))
def test_runs_are_consecutive_windows(n, limit, length):
    found = runs(n, limit, length).tolist()
    assert found == sorted(set(found))
    assert found[0] == 0
    assert found[-1] == n - 1 or limit // length <= 1
    assert len(found) <= max(limit, length, 1)


@given(values=st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=9), every=st.integers(1, 50))
def test_drift_against_scipy(values, every):
    steps = every * np.arange(1, len(values) + 1)
    expected = 100 * theilslopes(np.log(values[-5:]), steps[-5:])[0]
    assert drift(steps, values) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_drift_needs_three_positive_values():
    assert math.isnan(drift([1, 2], [1.0, 2.0]))
    assert math.isnan(drift([1, 2, 3], [1.0, 0.0, 2.0]))


def filled(checks: int, layers: int = 2, units: int = 3) -> History:
    generator = np.random.default_rng(0)
    history = History(layers, units)
    for step in range(1, checks + 1):
        if history.wants_check():
            history.note("forecast", torch.tensor(2.0))
            history.note("forecast", torch.tensor(4.0))
            history.note("kl", torch.tensor(1.0))
            table = generator.normal(size=(layers, len(UNIT_COLUMNS), units))
            history.add({"step": step, "val_loss": 1 / step}, UnitFigures(table, 0.5, 0.25, 10))
    return history


def test_history_keeps_means_of_terms_and_survives_its_encoding():
    history = filled(4)
    row = dict(zip(CHECK_COLUMNS, history.checks[-1], strict=True))
    assert (row["step"], row["train_forecast"], row["train_kl"], row["out_batch"]) == (4, 3.0, 0.5, 0.5)
    assert math.isnan(row["train_ar"])
    other = History(2, 3)
    other.set_extra_state(history.get_extra_state())
    np.testing.assert_array_equal(other.checks, history.checks)
    np.testing.assert_array_equal(other.units, history.units)
    assert torch.equal(other.get_extra_state(), history.get_extra_state())  # NaN and all


def test_a_long_history_is_thinned_and_stays_evenly_spaced():
    history = filled(1000)
    steps = history.checks[:, 0]
    assert MOST_CHECKS / 2 <= len(steps) <= MOST_CHECKS
    assert set(np.diff(steps)) == {8.0}
    assert steps[-1] > 990


def test_a_history_of_fewer_columns_is_read_and_another_networks_is_refused():
    state = filled(3).get_extra_state().numpy().view(np.float32)
    checks = state[6 : 6 + 3 * len(CHECK_COLUMNS)].reshape(3, -1)[:, :5]
    units = state[6 + 3 * len(CHECK_COLUMNS) :].reshape(3, 2, len(UNIT_COLUMNS), 3)[:, :, :4]
    old = np.concatenate([[1, 3, 2, 3, 5, 4], checks.ravel(), units.ravel()]).astype(np.float32)
    history = History(2, 3)
    history.set_extra_state(torch.from_numpy(old.view(np.int32)))
    np.testing.assert_array_equal(history.checks[:, :5], checks)
    assert np.isnan(history.checks[:, 5:]).all()
    assert np.isnan(history.units[:, :, 4:]).all()
    with pytest.raises(ValueError, match="this network has 1 of 3"):
        filled(0, 1, 3).set_extra_state(torch.from_numpy(old.view(np.int32)))
    with pytest.raises(ValueError, match="announced"):
        history.set_extra_state(torch.from_numpy(old.view(np.int32)[:-1].copy()))
    with pytest.raises(ValueError, match="int32"):
        history.set_extra_state(torch.ones(3))
    later = old.copy()
    later[0] = 2
    with pytest.warns(UserWarning, match="format 2"):
        history.set_extra_state(torch.from_numpy(later.view(np.int32)))
    assert len(history.checks) == 0


def test_collapse_flags_by_hand():
    """Units: at the prior, constant, at the floor of sigma, healthy."""
    table = {
        "kl": [0.004, 1.0, 1.0, 1.0],
        "info": [0.0, 0.004, 0.5, 0.5],
        "sigma": [1.0, 0.5, 0.1005, 0.5],
        "energy": [0.0, 2.0, 1.0, 1.0],
    }
    units = np.full((1, len(UNIT_COLUMNS), 4), np.nan)
    for name, values in table.items():
        units[0, UNIT_COLUMNS.index(name)] = values
    flags = unit_flags(units, np.array([0.1]))
    assert flags["prior"].tolist() == [[True, False, False, False]]
    assert flags["constant"].tolist() == [[False, True, False, False]]
    assert flags["deterministic"].tolist() == [[False, False, True, False]]
    assert not unit_flags(units, np.array([0.0]))["deterministic"].any()  # without a floor nothing lies on it
    assert informed(units).tolist() == [[False, False, True, True]]
    assert alive_paper(units).tolist() == [[False, True, True, True]]  # it passes the constant one
