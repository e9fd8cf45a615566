"""Prior and posteriors of a few chosen latents, window by window."""

import pandas as pd
import torch

from .._compat import window_batches
from ..models import VariationalModel
from ..models.autocorrelation import window_means
from ..models.observing import WINDOWS_PER_BATCH, watching
from ..models.unit_figures import UNIT_COLUMNS, UnitFigures
from .targets import Sight

CHOSEN = 6
COLUMNS = ("layer", "unit", "latent", "kl", "window", "mean", "sigma", "prior_mean", "prior_scale")


def posterior_frame(
    model: VariationalModel, sight: Sight, figures: UnitFigures, max_windows: int = 128
) -> pd.DataFrame:
    """Posterior mean and scale of chosen latents in some windows, beside their prior; empty for a twin.

    Of every layer's units in order of KL six are taken, evenly spaced from the highest to the lowest; where there are
    fewer units than that, more latents of each. A trajectory's posterior is that of the last patch, its prior that long
    after the start.

    Args:
        model: fitted; `sight.of(model)` must be open.
        sight: the windows.
        figures: of its units.
        max_windows: evenly spaced.

    Returns:
        One row per layer, unit, latent and window: see `COLUMNS`.
    """
    if any(layer.deterministic for layer in model.layers):
        return pd.DataFrame(columns=list(COLUMNS))
    kl = torch.from_numpy(figures.units[:, UNIT_COLUMNS.index("kl")])  # [layers, N]
    parts = []
    with watching(model) as states:
        first = 0
        indices = sight.indices(model, max_windows)
        for batch in window_batches(model, sight.dataset, sight.step, WINDOWS_PER_BATCH, indices):
            states.clear()
            model(batch["windows_batch"])
            for number, (layer, state) in enumerate(zip(model.layers, states, strict=True)):
                mu = window_means(layer, state)  # [W, N, k]
                assert state.log_sigma is not None
                sigma = state.log_sigma.exp().expand(state.mu.shape)
                if sigma.ndim == 4:
                    sigma = sigma[:, -1] if sigma.shape[1] > 1 else sigma[:, 0]
                assert layer.prior is not None
                zero = torch.zeros_like(mu[:1])
                centre = layer.prior.sample(zero)[0]  # [N, k]
                scale = layer.prior.sample(zero + 1)[0] - centre
                for unit, latent in _chosen(kl[number], layer.latent_dim):
                    parts.append(
                        pd.DataFrame(
                            {
                                "layer": number,
                                "unit": unit,
                                "latent": latent,
                                "kl": float(kl[number, unit]),
                                "window": range(first, first + len(mu)),
                                "mean": mu[:, unit, latent].double().cpu().numpy(),
                                "sigma": sigma[:, unit, latent].double().cpu().numpy(),
                                "prior_mean": float(centre[unit, latent]),
                                "prior_scale": float(scale[unit, latent]),
                            }
                        )
                    )
            first += len(batch["series"])
    return pd.concat(parts, ignore_index=True)


def _chosen(kl: torch.Tensor, latent_dim: int) -> list[tuple[int, int]]:
    """Units and latents, highest KL first."""
    order = kl.argsort(descending=True, stable=True)
    n = min(CHOSEN, len(order))
    places = torch.linspace(0, len(order) - 1, n, dtype=torch.float64).round().long()
    latents = min(latent_dim, max(1, CHOSEN // n))
    return [(int(order[place]), latent) for place in places for latent in range(latents)]
