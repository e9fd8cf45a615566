"""Which of a model's arguments go on, unchanged, to NeuralForecast and to the controllers."""

HOST_ARGUMENTS = (
    *("h", "input_size", "valid_loss", "learning_rate", "max_steps", "val_check_steps", "batch_size"),
    *("valid_batch_size", "windows_batch_size", "inference_windows_batch_size", "start_padding_enabled"),
    *("training_data_availability_threshold", "step_size", "num_lr_decays", "futr_exog_list", "hist_exog_list"),
    *("stat_exog_list", "cat_exog_list", "categorical_cardinalities", "cat_emb_dim", "exclude_insample_y"),
    *("drop_last_loader", "random_seed", "alias", "optimizer", "optimizer_kwargs", "lr_scheduler"),
    *("lr_scheduler_kwargs", "dataloader_kwargs", "gradient_clip_val"),
)
CONTROL_ARGUMENTS = (
    *("kl_weight", "kl_weight_min", "kl_weight_max", "kl_min", "kl_max", "thermostat", "thermostat_rate"),
    *("thermostat_gain", "band_target", "band_shape", "band_spread", "band_lower", "band_upper", "band_penalty"),
    *("band_weight", "control_warmup", "control_ramp", "control_every", "homeostat_rate", "calibration"),
    *("projection_every", "ema_after_rescale"),
)
GUARD_ARGUMENTS = ("guard_sigma_floor", "guard_sigma_ceil", "guard_sigma_kick")
