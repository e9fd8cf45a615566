"""Every private name of NeuralForecast that `_compat` uses exists with its signature; and the registry."""

import inspect

import pytest
import torch
from neuralforecast import _serialization, core, tsdataset
from neuralforecast.common import _base_auto, _base_model, _scalers
from neuralforecast.losses.pytorch import MAE, DistributionLoss

from vdn_forecast._compat import (
    AutoHost,
    FlooredNorm,
    base_argument_names,
    check_encodable,
    read_metadata,
    register_loss,
    register_models,
    trainer_argument_names,
    with_metadata,
)

SIGNATURES = {
    _base_model.BaseModel._create_windows: ["self", "batch", "step"],
    _base_model.BaseModel._normalization: ["self", "windows", "y_idx"],
    _base_model.BaseModel._parse_windows: ["self", "batch", "windows"],
    _base_model.BaseModel._get_loc_scale: ["self", "y_idx", "add_channel_dim"],
    # not called, but the lazy views are handed to it
    _base_model.BaseModel._sample_windows: [
        "self",
        "windows_temporal",
        "static",
        "static_cols",
        "temporal_cols",
        "w_idxs",
        "final_condition",
        "sample_weight",
    ],
    core.NeuralForecast._prepare_fit: ["self", "df", "static_df", "id_col", "time_col", "target_col"],
    _base_auto.BaseAuto._fit_model: [
        "self",
        "cls_model",
        "config",
        "dataset",
        "val_size",
        "test_size",
        "distributed_config",
    ],
    _base_auto.BaseAuto._tune_model: [
        "self",
        "cls_model",
        "dataset",
        "val_size",
        "test_size",
        "cpus",
        "gpus",
        "verbose",
        "num_samples",
        "search_alg",
        "config",
        "time_budget",
    ],
    tsdataset.TimeSeriesDataset.__init__: [
        "self",
        "temporal",
        "temporal_cols",
        "indptr",
        "y_idx",
        "static",
        "static_cols",
    ],
    tsdataset.TimeSeriesDataset.__getitem__: ["self", "idx"],
    tsdataset.TimeSeriesLoader._collate_fn: ["self", "batch"],
    _scalers.TemporalNorm.transform: ["self", "x", "mask"],
    _scalers.TemporalNorm.inverse_transform: ["self", "z", "x_shift", "x_scale"],
    _serialization.encode_value: ["value", "tensors", "path"],
    _serialization.register_loss: ["cls", "name"],
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda f: f.__qualname__)
def test_signature(function):
    assert list(inspect.signature(function).parameters) == SIGNATURES[function]


@pytest.mark.parametrize("name", ["transform", "inverse_transform"])
def test_floored_norm_has_the_interface_of_temporal_norm(name):
    theirs = inspect.signature(getattr(_scalers.TemporalNorm, name)).parameters
    assert list(inspect.signature(getattr(FlooredNorm, name)).parameters) == list(theirs)


def test_serialization_error_is_an_exception():
    assert issubclass(_serialization.SerializationError, Exception)


@pytest.mark.parametrize(
    "name",
    [
        "input_size",
        "h",
        "val_size",
        "test_size",
        "step_size",
        "start_padding_enabled",
        "min_insample_fraction",
        "min_outsample_fraction",
        "windows_batch_size",
        "futr_exog_list",
        "scaler",
        "loss",
        "padder_train",
        "hist_cat_embeddings",
        "futr_cat_embeddings",
        "stat_cat_embeddings",
    ],
)
def test_base_model_has_the_attribute(name):
    model = _base_model.BaseModel(
        h=2,
        input_size=3,
        loss=MAE(),
        valid_loss=None,
        learning_rate=1e-3,
        max_steps=1,
        val_check_steps=1,
        batch_size=1,
        valid_batch_size=None,
        windows_batch_size=1,
        inference_windows_batch_size=None,
        start_padding_enabled=False,
    )
    assert hasattr(model, name)
    assert model.MULTIVARIATE is False
    assert model.RECURRENT is False


def test_model_filename_dict_maps_lower_case_names_to_classes():
    assert core.MODEL_FILENAME_DICT["nhits"].__name__ == "NHITS"
    assert all(name == name.lower() for name in core.MODEL_FILENAME_DICT)


def test_register_models(monkeypatch):
    monkeypatch.setattr("vdn_forecast._compat.registry.MODEL_FILENAME_DICT", table := {"nhits": MAE})

    class Ours: ...

    register_models({"ours": Ours, "autoours": Ours})
    register_models({"ours": Ours})  # twice is harmless
    assert table["autoours"] is Ours
    with pytest.raises(ValueError, match="already stands for"):
        register_models({"nhits": Ours})
    with pytest.raises(ValueError, match="lower case"):
        register_models({"Ours": Ours})
    assert set(table) == {"nhits", "ours", "autoours"}


def test_check_encodable_names_the_argument():
    class Unknown(torch.nn.Module): ...

    fine = [3, None, "homeo", float("inf"), {"a": [1, 2.0]}, (1, 2), torch.ones(2), torch.optim.AdamW, MAE()]
    for value in [*fine, DistributionLoss("Normal", level=[80])]:
        check_encodable("argument", value)
    for value in [{1, 2}, len, torch.float32, Unknown(), object(), {"a": {1}}]:
        with pytest.raises(ValueError, match=r"my_argument.*cannot be saved"):
            check_encodable("my_argument", value)


def test_register_loss_makes_a_loss_encodable(monkeypatch):
    monkeypatch.setattr(_serialization, "_USER_LOSSES", {})

    class Mine(MAE): ...

    with pytest.raises(ValueError, match="loss"):
        check_encodable("loss", Mine())
    assert register_loss(Mine) is Mine
    check_encodable("loss", Mine())


def test_argument_names():
    assert {"max_steps", "precision", "gradient_clip_val", "enable_progress_bar"} <= trainer_argument_names()
    assert {"h", "input_size", "loss", "random_seed", "dataloader_kwargs"} <= base_argument_names()
    assert not {"self", "trainer_kwargs", "kwargs"} & (trainer_argument_names() | base_argument_names())


@pytest.mark.parametrize("method", [core.NeuralForecast.fit, core.NeuralForecast.cross_validation])
def test_the_wrapped_methods_still_take_the_columns_by_name(method):
    assert {"df", "id_col", "time_col", "target_col"} <= set(inspect.signature(method).parameters)


def test_auto_host_takes_the_place_of_an_auto():
    assert issubclass(AutoHost, _base_auto.BaseAuto)
    source = inspect.getsource(core.NeuralForecast.fit)
    assert "_reuse_search = True" in source  # what `keeps_results` reads
    assert list(inspect.signature(_base_auto.BaseAuto.fit).parameters) == [
        "self",
        "dataset",
        "val_size",
        "test_size",
        "random_seed",
        "distributed_config",
    ]


def test_metadata_travels_with_a_safetensors_file():
    from safetensors.torch import load, save

    artifact = save({"x": torch.arange(3.0)}, {"model_class": "EVE"})
    assert read_metadata(artifact, "study") is None
    richer = with_metadata(artifact, "study", {"trials": [1, None, "ü"]})
    assert read_metadata(richer, "study") == {"trials": [1, None, "ü"]}
    assert read_metadata(richer, "model_class_") is None
    assert torch.equal(load(richer)["x"], torch.arange(3.0))
    for broken in (b"", b"PK\x03\x04" * 10, richer[:20]):
        with pytest.raises(ValueError, match="no safetensors file"):
            read_metadata(broken, "study")
