"""Tables and figures of the paper's suite, on the author's own runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.eve_paper.plots import figure4, figure5
from benchmarks.eve_paper.tables import MEASURES, aggregate, correlations, paired, published_runs, standardised

# mean and deviation of test MSE, then of out, from the author's aggregate
AGGREGATE = {
    ("ECL", "homeo"): (0.217084, 0.006846, 0.362253, 0.072009),
    ("ECL", "projOFF"): (0.214333, 0.008942, 0.483254, 0.06376),
    ("ECL", "projON"): (0.224341, 0.006378, 0.421193, 0.03168),
    ("Exchange", "homeo"): (0.150819, 0.04411, 0.455525, 0.043672),
    ("Exchange", "projOFF"): (0.305344, 0.261667, 0.584849, 0.039868),
    ("Exchange", "projON"): (0.709189, 0.25336, 0.555748, 0.086325),
    ("TrafficL", "homeo"): (0.462365, 0.001448, 0.32253, 0.013685),
    ("TrafficL", "projOFF"): (0.451469, 0.002152, 0.355987, 0.005849),
    ("TrafficL", "projON"): (0.460295, 0.023789, 0.458813, 0.00559),
    ("Weather", "homeo"): (0.193232, 0.009057, 0.599276, 0.036572),
    ("Weather", "projOFF"): (0.191464, 0.017321, 0.762787, 0.009718),
    ("Weather", "projON"): (0.1906, 0.010056, 0.777045, 0.021252),
}


def test_the_authors_runs_give_his_aggregate():
    runs = published_runs()
    assert len(runs) == 60
    np.testing.assert_allclose(runs["test_frac_too_low"] + runs["test_frac_too_high"], runs["test_out"], atol=2e-6)
    table = aggregate(runs).set_index(["group", "variant"])
    assert set(table.index) == set(AGGREGATE)
    assert (table["seeds"] == 5).all()
    for key, want in AGGREGATE.items():
        row = table.loc[key]
        got = [row[f"{name}_{how}"] for name in ("test_mse", "test_out") for how in ("mean", "std")]
        np.testing.assert_allclose(got, want, atol=1.1e-6)


def test_out_and_error_of_the_authors_runs_are_not_related():
    table = correlations(published_runs())
    pooled = table[table["scope"] == "z-scored per dataset"].iloc[0]
    assert pooled["r"] == pytest.approx(-0.09, abs=0.005)
    assert pooled["low"] < 0 < pooled["high"]
    own = table[table["scope"] == "one dataset"].set_index("group")["r"].round(2).to_dict()
    assert own == {"ECL": -0.64, "Exchange": 0.23, "TrafficL": 0.03, "Weather": 0.01}
    cells = table[table["scope"] == "one dataset and regime"]
    assert len(cells) == 12
    assert (cells["runs"] == 5).all()


def test_correlations_equal_a_plain_computation():
    rng = np.random.default_rng(0)
    runs = pd.DataFrame(
        {
            "group": np.repeat(["A", "B"], 8),
            "variant": np.tile(np.repeat(["x", "y"], 4), 2),
            "test_out": rng.random(16),
            "test_mse": rng.random(16) * np.repeat([1.0, 100.0], 8),
        }
    )
    table = correlations(runs).set_index(["scope", "group", "variant"])
    cells = [part for _, part in runs.groupby(["group", "variant"])]
    for by, scope, groups in ((["group"], "z-scored per dataset", 2), (None, "z-scored per dataset and regime", 4)):
        parts = cells if by is None else [part for _, part in runs.groupby(by)]
        pairs = [
            [(part[name] - part[name].mean()) / part[name].std(ddof=1) for name in ("test_out", "test_mse")]
            for part in parts
        ]
        x, y = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
        want = (x @ y) / np.sqrt((x @ x) * (y @ y))
        row = table.loc[(scope, "", "")]
        assert row["r"] == pytest.approx(want)
        half = 1.959964 / np.sqrt(16 - groups + 1 - 3)
        assert np.arctanh(row["high"]) - np.arctanh(row["r"]) == pytest.approx(half)
        assert np.arctanh(row["r"]) - np.arctanh(row["low"]) == pytest.approx(half)
    one = table.loc[("one dataset", "B", "")]
    assert one["r"] == pytest.approx(runs[8:]["test_out"].corr(runs[8:]["test_mse"]))


def test_values_that_do_not_vary_cannot_be_standardised():
    runs = published_runs()
    with pytest.raises(ValueError, match="test_out does not vary"):
        standardised(runs[runs["seed"] == 0], ["group", "variant"])


def test_pairs_are_by_seed():
    published = published_runs()
    runs = published.copy().sample(frac=1, random_state=0)
    runs["test_mse"] *= np.where(runs["seed"] == 0, 2.0**5, 1.0)
    runs["test_out"] += np.where(runs["seed"] == 1, 0.05, 0.0)
    runs.loc[runs["seed"] == 2, "best_epoch"] += 1
    table = paired(runs, published)
    assert len(table) == 12
    np.testing.assert_allclose(table["mse_ratio"], 2.0)
    np.testing.assert_allclose(table["mse_ratio_low"], 1.0)
    np.testing.assert_allclose(table["mse_ratio_high"], 32.0)
    np.testing.assert_allclose(table[["mae_ratio", "kl_ratio"]], 1.0)
    np.testing.assert_allclose(table["out_difference"], 0.01)
    np.testing.assert_allclose(table["out_distance"], 0.05)
    assert (table["same_epoch"] == 4).all()


def test_figure4_has_a_bar_for_every_mean():
    runs = published_runs()
    figure, axes = figure4(runs, runs, ("test_mse", "test_out"))
    assert len(axes) == 2
    heights = sorted(bar.get_height() for bar in axes[0].patches)
    np.testing.assert_allclose(heights, sorted(aggregate(runs)["test_mse_mean"]))
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["ECL", "TrafficL", "Exchange", "Weather"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == ["author's runs", "homeo", "projOFF", "projON"]
    part = runs[(runs["group"] == "Weather") & (runs["variant"] == "homeo") & (runs["seed"] == 0)]
    _, axes = figure4(part)  # one run: a bar without a deviation
    assert len(axes) == len(set(MEASURES) & {"test_mse", "test_mae", "test_kl", "test_out"})
    assert len(axes[0].patches) == 1


def test_figure5_shows_every_run_and_r():
    runs = published_runs()
    figure, axes = figure5(runs, "the author's runs")
    for axis in axes:
        points = sum(len(line.get_xdata()) for line in axis.lines if line.get_marker() in ("o", "s", "^"))
        assert points == 60
    assert "r = −0.09 [" in axes[0].get_title(loc="left")
    assert "ECL  r = −0.64" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_figures_refuse_what_they_cannot_draw():
    runs = published_runs()
    with pytest.raises(ValueError, match="runs is empty"):
        figure4(runs[:0])
    with pytest.raises(ValueError, match=r"group: \['ETTh1'\] are not known"):
        figure5(runs.assign(group=runs["group"].replace("ECL", "ETTh1")))
