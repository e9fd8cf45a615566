"""NeuralForecast's Spark path in local mode: `make test-spark`, in an environment of its own (needs Java)."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from neuralforecast import DistributedConfig, NeuralForecast
from neuralforecast.utils import AirPassengersPanel

from vdn_forecast import EVE, diagnose

pyspark_sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
PANEL = AirPassengersPanel[["unique_id", "ds", "y"]]
KEYS = ["unique_id", "ds"]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    os.environ["PYSPARK_PYTHON"] = sys.executable  # workers would take the system's python3
    found = pyspark_sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fitted(session: Any, tmp_path_factory: pytest.TempPathFactory) -> NeuralForecast:
    """EVE trained by two processes on a Spark frame, an airline each."""
    model = EVE(
        h=12,
        input_size=24,
        n_units=32,
        hidden_size=32,
        max_steps=150,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
    )
    nf = NeuralForecast(models=[model], freq="ME")
    where = DistributedConfig(partitions_path=str(tmp_path_factory.mktemp("partitions")), num_nodes=1, devices=2)
    nf.fit(session.createDataFrame(PANEL), val_size=12, distributed_config=where)
    return nf


def test_a_spark_frame_trains_the_model(fitted):
    model = fitted.models[0]
    checks = diagnose(fitted).summary
    assert list(checks.step) == [50, 100, 150]
    assert checks.val_loss.min() < checks.val_loss.iloc[0]  # it learned after the first check
    assert torch.isfinite(model.best_value)
    scale = model.layers[0].unit_scale.scale
    assert scale.ne(1).all()  # the default regime acted, on all processes' windows


def test_forecasts_on_spark_are_those_of_a_local_frame(fitted, session):
    there = fitted.predict(engine=session).toPandas().sort_values(KEYS)
    again = fitted.predict(df=session.createDataFrame(PANEL), engine=session).toPandas().sort_values(KEYS)
    here = fitted.predict(df=PANEL).sort_values(KEYS)
    assert list(there.columns) == list(here.columns)
    values = [name for name in here.columns if name not in KEYS]
    assert len(values) >= 5  # the mean, the median and two intervals
    for other in (there, again):
        assert (other.unique_id.to_numpy() == here.unique_id.to_numpy()).all()
        np.testing.assert_allclose(other[values], here[values], rtol=1e-4)


def test_a_model_trained_on_spark_is_saved_and_loaded(fitted, tmp_path):
    fitted.models[0].save(Path(tmp_path) / "eve.ckpt")
    loaded = EVE.load(Path(tmp_path) / "eve.ckpt")
    for name, tensor in fitted.models[0].state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
