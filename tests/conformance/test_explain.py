"""Attributions add up to the forecast: without sampling noise nothing is left over."""

import numpy as np
import pytest
from model_list import INPUT_SIZE, H, fitted
from neuralforecast.losses.pytorch import MAE, MQLoss

pytest.importorskip("captum", reason="captum is not installed: NeuralForecast.explain needs it")


@pytest.mark.parametrize("loss", [MAE, lambda: MQLoss(level=[80])])
def test_attributions_add_up(make, panel, loss):
    later = panel.ds > "1959-12-31"
    model = make(loss=loss(), futr_exog_list=["trend"], hist_exog_list=["y_[lag12]"], max_steps=20, learning_rate=3e-3)
    nf = fitted(model, df=panel[~later])
    forecast, explanations = nf.explain(futr_df=panel[later], explainer="IntegratedGradients", verbose=False)
    parts = explanations["m"]
    assert parts["insample"].shape == (2, H, 1, 1, INPUT_SIZE, 2)
    total = parts["baseline_predictions"][..., 0, 0].numpy().copy()  # [2, H]
    for name, axes in (("insample", (-1, -2)), ("futr_exog", (-1, -2)), ("hist_exog", (-1, -2))):
        attribution = parts[name][:, :, 0, 0].numpy()
        assert np.abs(attribution).max() > 0
        total += attribution.sum(axes)
    column = "m" if loss is MAE else "m-median"
    np.testing.assert_allclose(total, forecast[column].to_numpy().reshape(2, H), rtol=1e-2)


def test_explaining_changes_no_forecast(make, y_panel):
    nf = fitted(make(loss=MAE()), df=y_panel)
    before = nf.predict()
    explained, _ = nf.explain(horizons=[0, 3], explainer="InputXGradient", verbose=False)
    np.testing.assert_array_equal(explained["m"], before["m"])
    np.testing.assert_array_equal(nf.predict()["m"], before["m"])
