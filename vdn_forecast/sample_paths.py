"""Joint sample paths of the package's models in a `NeuralForecast`, whatever its other models are."""

import copy
from typing import Any

from neuralforecast import NeuralForecast

from .losses import LatentMixture
from .models import VariationalModel


def sample_paths(
    nf: NeuralForecast,
    df: Any = None,
    n_paths: int = 100,
    seed: int | None = None,
    *,
    fresh_latents: bool = False,
    static_df: Any = None,
    futr_df: Any = None,
) -> Any:
    """Joint sample paths from the models' own latents, of this package's models (and Autos) alone.

    A path is one latent trajectory, one component of its mixture and correlated emission noise for all steps. Marginals
    are those of `predict(quantiles=...)`. A series' paths depend on `seed` and its place in the panel, not on batches.

    Args:
        nf: fitted.
        df: history to forecast from; None for that of the fit.
        n_paths: paths per series.
        seed: None for each model's own.
        fresh_latents: every path has latents of its own instead of sharing predict's few.
        static_df, futr_df: as `NeuralForecast.predict`.

    Returns:
        Long frame: id, time, sample_id, one column per model.

    Raises:
        ValueError: n_paths < 1, no model of this package, or one whose loss is not a `LatentMixture`.
        Exception: NeuralForecast's own, before a fit.
    """
    if isinstance(n_paths, bool) or not isinstance(n_paths, int) or n_paths < 1:
        raise ValueError(f"n_paths={n_paths!r} is not allowed; it must be an integer of at least 1")
    chosen = []
    for model in nf.models:
        inner = getattr(model, "model", model)  # an Auto's
        if not isinstance(inner, VariationalModel):
            if isinstance(getattr(model, "cls_model", None), type) and issubclass(model.cls_model, VariationalModel):
                chosen.append(model)  # not fitted yet: NeuralForecast says so
            continue
        if not isinstance(inner.loss, LatentMixture):
            raise ValueError(
                f"{model!r} has loss={type(inner.loss).__name__}, which has no paths of its own; use LatentMixture"
            )
        chosen.append(model if hasattr(model, "simulate") else inner)
    if not chosen:
        raise ValueError(f"models={nf.models!r} holds no model of this package; there are no native paths")
    view = copy.copy(nf)
    view.models = chosen
    return view.simulate(
        df=df, static_df=static_df, futr_df=futr_df, n_paths=n_paths, seed=seed, fresh_latents=fresh_latents
    )
