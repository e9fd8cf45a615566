"""Bad arguments and bad data, refused by name before any training."""

import copy
import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from neuralforecast.tsdataset import TimeSeriesDataset
from torch import Tensor, nn

from .._compat import base_argument_names, check_encodable, trainer_argument_names
from ..neurons.checks import require_choice, require_int, require_range
from .encoders import ACTIVATIONS, ANCHORS, ENCODERS
from .heads import HEADS
from .path_noise import nearest

NEURONS = ("variational", "deterministic")
SCALERS = ("window", "panel", "identity", "standard", "robust", "minmax", "minmax1", "invariant")
# arguments of NeuralForecast's base class that mean nothing here; a saved model brings them back with these values
_HOST_ONLY: dict[str, tuple[tuple[Any, ...], str]] = {
    "n_series": ((None, 1), "it forecasts each series by itself"),
    "h_train": ((1,), "it is not recurrent"),
    "inference_input_size": ((None,), "it must equal input_size"),
    "n_samples": ((100,), "set n_predict_samples"),
    "early_stop_patience_steps": ((-1,), "set patience_checks"),
    "val_monitor": (("ptl/val_loss",), "patience follows the validation loss"),
}
OBSERVED_AT_RUN_TIME = ("callbacks", "logger", "dataloader_kwargs", "profiler", "plugins", "strategy")


def check_arguments(arguments: Mapping[str, Any], trainer_kwargs: Mapping[str, Any]) -> None:
    """Check what the layers below do not check themselves.

    Args:
        arguments: the constructor's own arguments by name.
        trainer_kwargs: what was left over, meant for Lightning's trainer.

    Raises:
        ValueError: a value outside of what is allowed; the message names argument, value and what is allowed.
        TypeError: a keyword that neither the model nor the trainer knows.
    """
    unknown = sorted(set(trainer_kwargs) - trainer_argument_names() - base_argument_names())
    if unknown:
        raise TypeError(
            f"unknown keyword {unknown}: neither an argument of this model or of NeuralForecast's models, nor of "
            "pytorch_lightning.Trainer"
        )
    for name, (allowed, advice) in _HOST_ONLY.items():
        value = trainer_kwargs.get(name, allowed[0])
        if value not in (*allowed, arguments["input_size"] if name == "inference_input_size" else None):
            raise ValueError(f"{name}={value!r} is not allowed for this model; {advice}")
    for name in ("h", "input_size", "hidden_size", "head_size", "max_steps", "batch_size", "val_check_steps"):
        require_int(name, arguments[name], 1)
    for name in ("step_size", "decomposition_kernel"):
        require_int(name, arguments[name], 1)
    for name in ("n_latent_samples", "n_predict_samples", "n_components"):
        if arguments[name] is not None:
            require_int(name, arguments[name], 1)
    for name in ("windows_batch_size", "valid_windows"):
        if arguments[name] is not None:
            require_int(name, arguments[name], 1)
    require_int("patience_checks", arguments["patience_checks"], 0)
    require_int("random_seed", arguments["random_seed"], 0)
    if arguments["decomposition_kernel"] % 2 == 0:
        raise ValueError(f"decomposition_kernel={arguments['decomposition_kernel']} is not allowed; it must be odd")
    require_choice("neuron", arguments["neuron"], NEURONS)
    require_choice("encoder", arguments["encoder"], ENCODERS)
    require_choice("activation", arguments["activation"], ACTIVATIONS)
    require_choice("anchor", arguments["anchor"], ANCHORS)
    require_choice("head", arguments["head"], HEADS)
    require_choice("scaler_type", arguments["scaler_type"], (*SCALERS, "auto"))
    for name in ("dropout", "head_dropout", "skip_dropout"):
        require_range(name, arguments[name], 0.0, 1.0, open_high=True)
    for name in ("weight_decay", "local_weight", "kl_weight", "scale_floor", "lookback_weight"):
        if name in arguments:
            require_range(name, arguments[name], 0.0, math.inf)
    require_range("learning_rate", arguments["learning_rate"], 0.0, math.inf, open_low=True)
    alias = arguments["alias"]
    if alias is not None and (not isinstance(alias, str) or not alias or "/" in alias or "\\" in alias):
        raise ValueError(f"alias={alias!r} is not allowed; it must be a non-empty name without slashes")
    for name, value in {**arguments, **trainer_kwargs}.items():
        if name not in OBSERVED_AT_RUN_TIME and not isinstance(value, bool | int | float | str | None):
            check_encodable(name, value)
    for kwargs, owner in (("optimizer_kwargs", "optimizer"), ("lr_scheduler_kwargs", "lr_scheduler")):
        if arguments[kwargs] and arguments[owner] is None:
            raise ValueError(f"{kwargs}={arguments[kwargs]!r} is not allowed without {owner}")


def check_dataset(
    dataset: Any, input_size: int, h: int, val_size: int, test_size: int, start_padding_enabled: bool
) -> None:
    """Refuse data that cannot train the model.

    Raises:
        ValueError: val_size between 1 and h − 1; no series long enough for one window; y infinite or NaN where
            it is marked as available; no available value at all.
    """
    if 0 < val_size < h:
        raise ValueError(f"val_size={val_size} is not allowed; it must be 0 or at least h={h}")
    if not hasattr(dataset, "max_size"):  # a Spark dataset: its partitions are seen by the workers only
        return
    train_rows = dataset.max_size - val_size - test_size
    needed = h + 1 if start_padding_enabled else input_size + h
    if train_rows < needed:
        raise ValueError(
            f"the longest series has {train_rows} rows for training (after val_size={val_size} and "
            f"test_size={test_size}); input_size={input_size} and h={h} need at least {needed} "
            f"(start_padding_enabled={start_padding_enabled})"
        )
    if not isinstance(dataset, TimeSeriesDataset):
        return
    y = dataset.temporal[:, dataset.y_idx]
    available = dataset.temporal[:, dataset.temporal_cols.get_loc("available_mask")] > 0
    if not bool(available.any()):
        raise ValueError("y has no available value: available_mask is 0 (or y is NaN) in every row")
    for kind, bad in (("infinite", torch.isinf(y)), ("NaN", torch.isnan(y))):
        rows = (bad & available).nonzero()
        if len(rows):
            raise ValueError(
                f"y is {kind} in {len(rows)} available rows (first: row {int(rows[0])} of the sorted panel); "
                "fill them and set available_mask to 0 there"
            )


def without_gaps(dataset: Any) -> Any:
    """The same data with 0 where a masked row holds NaN or an infinity: 0 times NaN would survive in a loss."""
    if type(dataset) is not TimeSeriesDataset:
        return dataset
    masked = dataset.temporal[:, dataset.temporal_cols.get_loc("available_mask")] == 0  # [R]
    gaps = masked.unsqueeze(1) & ~torch.isfinite(dataset.temporal)  # [R, C]
    if not bool(gaps.any()):
        return dataset
    filled = copy.copy(dataset)
    filled.temporal = dataset.temporal.masked_fill(gaps, 0.0)
    return filled


def fill_absent_buffers(model: nn.Module, state: dict[str, Tensor], *_: Any) -> None:
    """Let an artifact of an older version load: a buffer it does not know keeps its default, with a warning."""
    if (rho := state.pop("path_correlation", None)) is not None:  # version 0.1.0 knew AR(1) noise alone
        state.setdefault("path_kernel", nearest(float(rho)))
    persistent = model.state_dict()
    absent = {name: buffer for name, buffer in model.named_buffers() if name in persistent and name not in state}
    if absent:
        warnings.warn(f"the checkpoint lacks {sorted(absent)}; they keep their defaults", UserWarning, stacklevel=2)
        state.update(absent)
    for name in persistent:
        if name.endswith("_extra_state"):  # no history is a history without checks
            state.setdefault(name, torch.empty(0, dtype=torch.int32))
