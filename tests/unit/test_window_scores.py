"""The protocol `probts`: which windows, and its ratios against the definition written out in plain numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vdn_forecast.evaluation.cells import Cell, run_cell
from vdn_forecast.evaluation.data import PanelData
from vdn_forecast.evaluation.evaluator import evaluate
from vdn_forecast.evaluation.forecasts import blocks
from vdn_forecast.evaluation.models import build_model
from vdn_forecast.evaluation.naive import NaiveModel
from vdn_forecast.evaluation.protocols import Protocol, embedded, ltsf, probts
from vdn_forecast.evaluation.results import SCHEMA
from vdn_forecast.evaluation.scores import ForecastBlock
from vdn_forecast.evaluation.sources import synthetic_panel
from vdn_forecast.evaluation.window_scores import WindowRatios, standard_error, window_block
from vdn_forecast.mixture import LEVELS_19

H = 12
SHORT = Protocol("probts", 1, 24, stride=10, scale="restored")
Z = torch.special.ndtri(torch.tensor(LEVELS_19, dtype=torch.float64)).numpy()


def probts_by_hand(y: np.ndarray, quantiles: np.ndarray) -> tuple[float, float]:
    """ProbTS's CRPS and ND of one window; y [h, n_series], quantiles [h, n_series, 19]."""
    ratios = []
    for i, level in enumerate(np.arange(1, 20) * 0.05):
        forecast = quantiles[:, :, i]
        ratios.append(np.sum(2 * np.abs((forecast - y) * ((y <= forecast) - level))) / np.sum(np.abs(y)))
    return float(np.mean(ratios)), float(np.sum(np.abs(y - quantiles[:, :, 9])) / np.sum(np.abs(y)))


def random_blocks(n_origins: int = 7, n_series: int = 3, h: int = 4) -> list[ForecastBlock]:
    """Some origins in each block, the windows of a series together, as the evaluator gives them."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for origins in torch.arange(n_origins).split(3):
        size = (len(origins) * n_series, h)
        y, mean = 5 + torch.randn(size, generator=generator), 5 + torch.randn(size, generator=generator)
        quantiles = mean.unsqueeze(-1) + 0.7 * torch.from_numpy(Z).float()
        series = torch.arange(n_series).repeat_interleave(len(origins))
        found.append(ForecastBlock(series, y, mean, quantiles, origin=origins.repeat(n_series)))
    return found


def panel() -> PanelData:
    """Series of very different size, 140 / 20 / 40 rows."""
    data = synthetic_panel(3, 200, seed=4)
    return replace(data, values=data.values * [1.0, 50.0, 1e4] + [3.0, 1e3, 1e6])


def test_ratios_equal_the_definition_in_plain_numpy() -> None:
    found = random_blocks()
    ratios = WindowRatios(7)
    for block in found:
        ratios.update(block)
    by_window = ratios.by_window()
    for origin in range(7):
        block = next(b for b in found if b.origin is not None and origin in b.origin)
        assert block.origin is not None
        assert block.quantiles is not None
        mine = block.origin == origin
        y, quantiles = block.y[mine].double().numpy().T, block.quantiles[mine].double().numpy().transpose(1, 0, 2)
        crps, nmae = probts_by_hand(y, quantiles)
        assert by_window["crps_ratio"][origin] == pytest.approx(crps, rel=1e-9)
        assert by_window["nmae"][origin] == pytest.approx(nmae, rel=1e-9)
    summary = ratios.summary(2)
    assert summary["crps_ratio"] == pytest.approx(by_window["crps_ratio"].mean())
    assert summary["nmae"] == pytest.approx(by_window["nmae"].mean())
    assert 0 < summary["crps_ratio_se"] < by_window["crps_ratio"].std()


def test_the_whole_way_from_a_panel_to_a_row_equals_a_computation_on_original_values() -> None:
    data = panel()
    row, done = run_cell(Cell(SHORT, data.name, H, "Naive", "Naive", 1), data, "test")
    assert set(row) <= set(SCHEMA)
    values = data.values
    validation = np.arange(140, 160 - H + 1)
    residual = np.stack([values[o : o + H] - values[o - 1] for o in validation])  # [origins, h, n_series]
    scale = np.sqrt((residual**2).mean(0))
    windows = []
    for origin in 160 + 10 * np.arange(3):  # ceil((40 - 12) / 10)
        quantiles = values[origin - 1, :, None] + scale[..., None] * Z
        windows.append(probts_by_hand(values[origin : origin + H], quantiles))
    assert done.windows is not None
    assert len(done.windows.windows) == 3
    crps, nmae = np.mean(windows, 0)
    assert row["crps_ratio"] == pytest.approx(crps, rel=1e-5)
    assert row["nmae"] == pytest.approx(nmae, rel=1e-5)
    assert row["crps_ratio_se"] > 0
    errors = np.stack([values[o : o + H] - values[o - 1] for o in 160 + 10 * np.arange(3)])
    assert row["mse"] == pytest.approx(float((errors**2).mean()), rel=1e-5)


@pytest.mark.parametrize("name", ["EVE", "DLinear", "NHITS-MQLoss"])
def test_every_origin_of_a_trained_model_is_the_one_that_stride_one_finds_there(name: str) -> None:
    """Also where the stride is longer than the horizon."""
    data = synthetic_panel(2, 400, seed=1)
    small = {"n_units": 8, "hidden_size": 8, "head_size": 8} if name == "EVE" else {}
    model = build_model(name, H, 24, 24, max_steps=3, val_check_steps=3, random_seed=1, **small)
    strided = Protocol("probts", 1, 24, stride=15, scale="restored")
    done = evaluate(model, data, strided, H)
    assert done.windows is not None
    assert len(done.windows.windows) == 5  # ceil((80 - 12) / 15)
    scaled = data.scaled()
    residual = torch.ones(2, H)
    every = list(blocks(done.model, scaled, 1, 24, H, 320, 400, residual))
    some = list(blocks(done.model, scaled, 15, 24, H, 320, 400, residual, n_origins=5))
    everywhere = torch.cat([b.origin for b in every if b.origin is not None])
    assert everywhere.max() == 68
    for series in range(2):
        one = torch.cat([b.mean[b.series == series] for b in every])
        other = torch.cat([b.mean[b.series == series] for b in some])
        torch.testing.assert_close(other, one[::15], rtol=1e-4, atol=1e-5)
        y = torch.cat([b.y[b.series == series] for b in some])
        expected = np.stack([scaled.values[320 + 15 * j : 332 + 15 * j, series] for j in range(5)])
        np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_a_restored_block_is_the_same_forecast_in_another_unit() -> None:
    block = random_blocks()[0]
    block = replace(block, crps=torch.ones_like(block.y), nll=torch.ones_like(block.y))
    there = block.restored(torch.tensor([1e6, 0.0, -3.0]), torch.tensor([10.0, 1.0, 2.0]))
    first = block.series == 0
    torch.testing.assert_close(there.y[first], 1e6 + 10 * block.y[first].double())
    assert there.quantiles is not None
    assert there.crps is not None
    assert there.nll is not None
    assert block.quantiles is not None
    torch.testing.assert_close(there.quantiles[block.series == 2], -3 + 2 * block.quantiles[block.series == 2].double())
    assert there.crps[first].unique().tolist() == [10.0]
    np.testing.assert_allclose(there.nll[first], 1 + np.log(10))


@pytest.mark.parametrize(
    ("dataset", "rows", "h", "windows"),
    [
        ("ETTh1", 2880, 96, 29),
        ("ETTh1", 2880, 720, 23),
        ("ETTm1", 11_520, 96, 119),
        ("Weather", 10_539, 96, 109),
        ("ECL", 5260, 96, 54),
        ("TrafficL", 3508, 96, 36),
        ("Exchange", 1517, 96, 15),
        ("Exchange", 1517, 720, 9),
        ("ILI", 193, 24, 2),
    ],
)
def test_the_number_of_windows_is_probts_own(dataset: str, rows: int, h: int, windows: int) -> None:
    assert probts(dataset).origins(rows, h) == windows


@pytest.mark.parametrize("h", [40, 41])
def test_a_horizon_that_leaves_no_origin_is_refused(h: int) -> None:
    with pytest.raises(ValueError, match=f"h={h}"):
        probts("ETTh1").origins(40, h)


def test_another_look_back_or_stride_is_another_identity() -> None:
    standard = probts("ETTh1")
    assert standard.identity == "name=probts;version=1;input_size=96;stride=96;scale=restored"
    assert probts("ILI").input_size == 36
    others = [probts("ETTh1", 336), replace(standard, stride=48), replace(standard, scale="train"), ltsf("ETTh1", 96)]
    protocols = [standard, *others, ltsf("ETTh1"), ltsf("ETTh1", 512), replace(ltsf("ETTh1"), stride=2)]
    assert len({protocol.identity for protocol in protocols}) == len(protocols)
    cells = {Cell(protocol, "ETTh1", 96, "DLinear", "DLinear", 1).identity for protocol in protocols}
    assert len(cells) == len(protocols)


def test_the_identities_of_rows_that_are_out_there_stay() -> None:
    assert ltsf("ETTh1").identity == "name=ltsf;version=1;input_size=336;stride=1;scale=train"
    assert embedded().identity == "name=embedded;version=1;input_size=36;stride=1;scale=original"


def test_values_that_are_standardised_already_are_refused() -> None:
    with pytest.raises(ValueError, match="standardised"):
        evaluate(NaiveModel(1), replace(panel(), scale="standardised"), SHORT, H)


def test_other_protocols_have_no_ratios() -> None:
    data = panel()
    row, done = run_cell(Cell(Protocol("ltsf", 1, 24), data.name, H, "Naive", "Naive", 1), data, "test")
    assert done.windows is None
    assert "crps_ratio" not in row


def test_a_validation_trial_has_no_ratios() -> None:
    data = panel()
    row, done = run_cell(Cell(SHORT, data.name, H, "Naive", "Naive", 1), data, "test", test=False)
    assert done.windows is None
    assert not {"crps_ratio", "nmae", "mse"} & set(row)


def test_a_block_that_cannot_be_scored_is_refused() -> None:
    block = random_blocks()[0]
    nan = torch.full_like(block.y, torch.nan)
    for changed, message in (
        ({"origin": None}, "no origin"),
        ({"quantiles": None}, "no quantiles"),
        ({"y": nan}, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            WindowRatios(7).update(replace(block, **changed))  # type: ignore[arg-type]


def test_an_incomplete_window_and_one_of_zeros_are_refused() -> None:
    found = random_blocks()
    missing = WindowRatios(7)
    missing.update(found[0])
    with pytest.raises(ValueError, match="every window"):
        missing.by_window()
    zeros = WindowRatios(3)
    zeros.update(replace(found[0], y=torch.zeros_like(found[0].y)))
    with pytest.raises(ValueError, match="zero everywhere in window 0"):
        zeros.by_window()


def test_the_standard_error_of_independent_values_is_the_textbook_one_and_of_dependent_ones_larger() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    assert standard_error(noise, 1) == pytest.approx(noise.std() / 20, rel=0.03)
    smooth = np.convolve(rng.normal(size=409), np.ones(10), "valid")
    assert standard_error(smooth, 40) > 2 * standard_error(smooth, 1)
    assert standard_error(noise, 7) == standard_error(noise, 7)
    assert np.isnan(standard_error(noise[:1], 1))
    with pytest.raises(ValueError, match="block_length=401"):
        standard_error(noise, 401)


@pytest.mark.parametrize(
    ("h", "season", "n_origins", "expected"), [(96, 24, 29, 2), (96, 1000, 29, 11), (720, 24, 9, 4), (24, 52, 2, 1)]
)
def test_a_block_spans_two_horizons_or_a_season_but_never_more_than_half(
    h: int, season: int, n_origins: int, expected: int
) -> None:
    assert window_block(h, season, 96, n_origins) == expected
