"""The only place that names private things of NeuralForecast; `tests/unit/test_compat_names.py` pins each."""

from .auto import AutoHost, OptunaOptions, RayOptions, read_metadata, with_metadata
from .embeddings import embedding_tables
from .frame_hook import check_frames_for
from .gather import LazyWindows, Panel, PanelWindows, WindowSpec, evaluation_layout
from .new_data import new_dataset, whole_windows
from .peers import on_gathered_windows
from .registry import (
    base_argument_names,
    check_encodable,
    describe_arguments,
    register_loss,
    register_models,
    trainer_argument_names,
)
from .scaler import FlooredNorm, typical_deviation
from .windows import GatherWindows, IndexedDataset, count_windows, window_batches, window_spec

__all__ = [
    "AutoHost",
    "FlooredNorm",
    "GatherWindows",
    "IndexedDataset",
    "LazyWindows",
    "OptunaOptions",
    "Panel",
    "PanelWindows",
    "RayOptions",
    "WindowSpec",
    "base_argument_names",
    "check_encodable",
    "check_frames_for",
    "count_windows",
    "describe_arguments",
    "embedding_tables",
    "evaluation_layout",
    "new_dataset",
    "on_gathered_windows",
    "read_metadata",
    "register_loss",
    "register_models",
    "trainer_argument_names",
    "typical_deviation",
    "whole_windows",
    "window_batches",
    "window_spec",
    "with_metadata",
]
