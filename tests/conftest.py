"""Fixtures for every test: one thread, and the benchmark data where they are."""

import os
from pathlib import Path

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    """Drop what NeuralForecast's own stack warns about in every fit."""
    for module in ("pytorch_lightning", "lightning_fabric", "neuralforecast", "torch"):
        config.addinivalue_line("filterwarnings", rf"ignore:::{module}\..*")


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Bit-identical results need one thread count; tiny models are fastest on one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the benchmark data; skips the test where VDN_DATA_DIR does not name one."""
    name = os.environ.get("VDN_DATA_DIR")
    if not name:
        pytest.skip("VDN_DATA_DIR is not set: no benchmark data")
    path = Path(name)
    missing = [part for part in ("longhorizon", "longhorizon2") if not (path / part).is_dir()]
    if missing:
        pytest.skip(f"VDN_DATA_DIR lacks the folder {' and '.join(missing)}: no benchmark data")
    return path
