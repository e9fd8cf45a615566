"""Models frozen by every released version load, forecast as they did then, and train on."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from model_list import differing, state, values

import vdn_forecast

FOLDER = Path(__file__).parents[1] / "artifacts"
ARTIFACTS = sorted(path.parent for path in FOLDER.glob("*/*.json")) or [FOLDER / "none"]


@pytest.mark.parametrize("artifact", dict.fromkeys(ARTIFACTS), ids=lambda path: path.name)
def test_frozen_artifact(artifact, y_panel):
    nf = vdn_forecast.load(artifact)
    forecast = nf.predict(df=y_panel)
    then = pd.read_csv(artifact.with_suffix(".csv"), parse_dates=["ds"])
    assert list(forecast.columns) == list(then.columns)
    assert np.isfinite(values(forecast)).all()
    np.testing.assert_allclose(values(forecast), values(then), rtol=1e-3)
    before = state(nf.models[0])
    nf.fit(y_panel, val_size=12)
    assert differing(before, state(nf.models[0])) != []
    assert np.isfinite(values(nf.predict())).all()


def test_artifacts_stay_small():
    assert ARTIFACTS
    for artifact in ARTIFACTS:
        assert 0 < sum(path.stat().st_size for path in artifact.iterdir()) < 100_000
