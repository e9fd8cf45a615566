"""Silence Lightning inside our own runners, and nowhere else."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

QUIET_TRAINER: dict[str, Any] = {
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "accelerator": "cpu",
    "devices": 1,
}
"""Trainer arguments that print nothing and write no log folder."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Raise the level of every Lightning logger to ERROR and drop its known warnings; both come back after."""
    names = [name for name in list(logging.root.manager.loggerDict) if "lightning" in name]
    levels = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for module in ("pytorch_lightning", "lightning_fabric", "neuralforecast"):
                warnings.filterwarnings("ignore", module=rf"{module}\..*")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
