"""Freeze a small task, forecasts of it and fev's scores: `python tests/artifacts/freeze_fev.py PYTHON_WITH_FEV`."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vdn_forecast.evaluation.fev_adapter import export_task, forecast_task, score_task
from vdn_forecast.mixture import LEVELS_19

TASK: dict[str, Any] = {
    "horizon": 4,
    "num_windows": 3,
    "seasonality": 4,
    "eval_metric": "MASE",
    "extra_metrics": ["WQL", "SQL", "MSE"],
    "quantile_levels": list(LEVELS_19),
}


def example() -> pd.DataFrame:
    """Two quarterly series in fev's long form."""
    rng, quarter = np.random.default_rng(7), np.arange(32)
    values = {
        "a": 20 + 3 * np.sin(np.pi * quarter / 2) + 0.1 * quarter + rng.normal(size=32),
        "b": -5 + np.cos(np.pi * quarter / 2) + 0.3 * rng.normal(size=32),
    }
    stamps = pd.date_range("2010-03-31", periods=32, freq="QE")
    return pd.concat(
        [pd.DataFrame({"id": name, "timestamp": stamps, "target": y.round(3)}) for name, y in values.items()]
    )


def write_example(folder: str | Path) -> dict[str, Any]:
    """The data as parquet in a folder, and the task that reads it."""
    path = Path(folder) / "data.parquet"
    example().to_parquet(path)
    return {**TASK, "dataset_path": str(path)}


def rounded(values: Any) -> Any:
    """Four digits after the point, all through."""
    if isinstance(values, float):
        return round(values, 4)
    if isinstance(values, dict):
        return {key: rounded(value) for key, value in values.items()}
    return [rounded(value) for value in values] if isinstance(values, list) else values


def main() -> None:
    """Write the file beside this one."""
    with tempfile.TemporaryDirectory() as folder:
        task = write_example(folder)
        content = export_task(task, sys.argv[1])
        forecasts = forecast_task(content, "SeasonalNaive")
        forecasts = replace(forecasts, predictions=rounded(forecasts.predictions))
        summary = score_task(task, forecasts, sys.argv[1])
    content["task"] |= {"dataset_path": "data.parquet", "task_name": "example"}
    frozen = {
        "content": content,
        "predictions": forecasts.predictions,
        "scores": {name: summary[name] for name in ("MASE", "WQL", "SQL", "MSE", "test_error", "num_forecasts")},
    }
    path = Path(__file__).parent / "fev_example.json"
    path.write_text(json.dumps(frozen, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
