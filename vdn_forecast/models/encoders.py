"""From a window to the context that the neurons condition on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
ANCHORS = ("last", "mean")
ENCODERS = ("linear", "mlp", "decomposition")


def moving_average(y: Tensor, kernel_size: int) -> Tensor:
    """Centred moving average over time, the ends replicated as in DLinear (arXiv 2205.13504).

    Args:
        y: [B, L].
        kernel_size: odd number of steps.

    Returns:
        [B, L].
    """
    reach = kernel_size // 2
    padded = F.pad(y.unsqueeze(1), (reach, reach), mode="replicate")  # [B, 1, L + kernel - 1]
    return F.avg_pool1d(padded, kernel_size, stride=1).squeeze(1)


class Dropout(nn.Module):
    """Inverted dropout from uniform numbers: on a CPU a third of the time of torch's, which draws Bernoulli ones.

    Args:
        p: share of the elements set to zero in training.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        if not self.training or self.p == 0:
            return x
        return x * (torch.rand_like(x) >= self.p) / (1 - self.p)


class Encoder(nn.Module):
    """The context h of one window, from its look-back and its exogenous columns.

    Args:
        input_size: L.
        n_extra: number of exogenous features, flattened over time.
        hidden_size: D, the size of the context.
        kind: "linear"; "mlp", one hidden layer more; "decomposition", DLinear's trend and remainder, each with
            its own linear map, then the activation.
        activation: name in `ACTIVATIONS`; "linear" uses none.
        dropout: share of the context set to zero in training.
        kernel_size: of the moving average in "decomposition".
    """

    def __init__(
        self,
        input_size: int,
        n_extra: int,
        hidden_size: int,
        kind: str = "mlp",
        activation: str = "gelu",
        dropout: float = 0.0,
        kernel_size: int = 25,
    ) -> None:
        super().__init__()
        self.kind, self.kernel_size = kind, kernel_size
        self.activation = ACTIVATIONS[activation]
        self.look_back = nn.Linear(input_size, hidden_size)
        self.trend = nn.Linear(input_size, hidden_size) if kind == "decomposition" else None
        self.extra = nn.Linear(n_extra, hidden_size) if n_extra else None
        self.dropout = Dropout(dropout)

    def forward(self, y: Tensor, extra: Tensor | None) -> Tensor:
        """Context [B, D] of look-backs y [B, L] and flattened exogenous features [B, n_extra]."""
        if self.trend is None:
            context = self.look_back(y)
        else:
            trend = moving_average(y, self.kernel_size)
            context = self.look_back(y - trend) + self.trend(trend)
        if self.extra is not None and extra is not None:
            context = context + self.extra(extra)
        if self.kind != "linear":
            context = self.activation(context)
        return self.dropout(context)


def flatten_exogenous(*streams: Tensor | None) -> Tensor | None:
    """Exogenous streams, [B, T, X] or [B, X] each, as one table [B, features]; None where there are none."""
    present = [stream.flatten(1) for stream in streams if stream is not None]
    return torch.cat(present, dim=1) if present else None


def last_observed(y: Tensor, seen: Tensor) -> Tensor:
    """The last observed value of each window, 0 where there is none.

    Args:
        y: [B, L].
        seen: [B, L] bool.

    Returns:
        [B, 1].
    """
    steps = torch.arange(1, y.shape[1] + 1, device=y.device)
    position = (seen * steps).amax(1, keepdim=True)  # [B, 1], 0 for none
    value = y.gather(1, (position - 1).clamp(min=0))
    return torch.where(position > 0, value, 0.0)
