"""The paper's measures over one loader."""

from collections.abc import Iterable

import torch

from vdn_forecast.neurons import energy, out_of_band

from .control import PaperControl
from .network import PaperNetwork
from .windows import Batch


@torch.no_grad()
def score(network: PaperNetwork, control: PaperControl, batches: Iterable[Batch]) -> dict[str, float]:
    """Means over windows; band figures as the paper has them, and `out_nominal` as this project defines out.

    Returns:
        loss, mse, mae, kl (nats, summed over units), band (penalty P): averages over windows of the batches' values.
        mu2_mean, frac_too_low, frac_too_high, out: of each batch's energies against the calibrated band, averaged over
        batches. out_nominal: of the energies of all windows against the nominal band.
    """
    sums = dict.fromkeys(("loss", "mse", "mae", "kl", "band"), 0.0)
    shares = dict.fromkeys(("mu2_mean", "frac_too_low", "frac_too_high"), 0.0)
    pooled, windows, count = torch.zeros(control.settings.n_units, dtype=torch.float64), 0, 0
    for x, y in batches:
        forecast, state = network(x)
        assert state.kl is not None
        error = (forecast - y).square().mean()
        values = {
            "loss": control.validation_loss(error, state),
            "mse": error,
            "mae": (forecast - y).abs().mean(),
            "kl": state.kl.sum(1).mean(),
            "band": control.penalty(state),
        }
        for name, value in values.items():
            sums[name] += len(x) * float(value)
        batch_energy = energy(state.mu)
        too_low, too_high = out_of_band(batch_energy, control.bounds())
        for name, value in zip(shares, (batch_energy.mean(), too_low, too_high), strict=True):
            shares[name] += float(value)
        pooled += len(x) * batch_energy.double()
        windows, count = windows + len(x), count + 1
    found = {name: value / windows for name, value in sums.items()}
    found |= {name: value / count for name, value in shares.items()}
    too_low, too_high = out_of_band(pooled / windows, control.band)
    out = found["frac_too_low"] + found["frac_too_high"]
    return found | {"out": out, "out_nominal": float(too_low) + float(too_high)}
