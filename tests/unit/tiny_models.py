"""A small panel, and arguments of models that train on it in a moment."""

from neuralforecast.utils import AirPassengersPanel

PANEL = AirPassengersPanel[["unique_id", "ds", "y"]]
SMALL = {
    "h": 12,
    "input_size": 24,
    "hidden_size": 16,
    "head_size": 16,
    "max_steps": 12,
    "val_check_steps": 4,
    "windows_batch_size": 32,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "accelerator": "cpu",
}
