"""What `LatentMixture` measures outside of training."""

import torch

from vdn_forecast import mixture
from vdn_forecast.mixture_scores import mixture_scores


def mixture_error(
    objective: str, y: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor, df: int | None
) -> torch.Tensor:
    """CRPS, negative log-density or squared error of the mean ("crps", "mixture", "mse") of every step, [B, h].

    Args:
        objective: one of the three.
        y: [B, h].
        loc, scale: [B, C, h], components in the middle; scale positive.
        df: of Student-t components; None for Normal ones.
    """
    if objective == "mse":
        return (y - loc.mean(1)).square()
    many = df is None and loc.dtype == torch.float32 and not torch.is_grad_enabled()
    if objective == "crps" and many:  # a table is as good
        return mixture_scores(y, loc.contiguous(), scale.contiguous(), quantiles=False).crps
    loc, scale = loc.transpose(1, 2), scale.transpose(1, 2)  # [B, h, C]
    if objective == "mixture":
        return -mixture.mixture_log_prob(y, loc, scale, df)
    if df is None:
        return mixture.mixture_crps(y, loc, scale)
    # exact to 1e-4 would be mixture_crps_quadrature, at some twenty times the cost in every validation
    quantiles = mixture.mixture_quantiles(loc, scale, mixture.LEVELS_19, df)
    return mixture.crps_from_quantiles(y, quantiles, mixture.LEVELS_19)
