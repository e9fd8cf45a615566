"""How latents move from one patch to the next: sparse local transitions (AREVE) and a dense one (ARVAE)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .checks import require_int, require_range
from .graphs import neighbours
from .mixing import RowMixer

Mover = Callable[[Tensor], Tensor]

_TINY = 1e-12  # tanh(n) / n is 1 there
SCALES = (1e-4, 100.0)  # what s and sqrt(v_1) are held in, as posterior scales are: no overflow of their squares
_LOG_SCALES = tuple(map(math.log, SCALES))


class Transition(nn.Module, ABC):
    """p(z_t | z_t-1) = N(drift(z_t-1), s^2) with a linear drift, p(z_1) = N(0, v_1), per unit and latent.

    Latents come unit by unit, [N, k, ...].

    Args:
        n_units: N.
        latent_dim: k.
        rho_max: bound on the drift's norm, below 1: trajectories cannot explode.
        phi_init: memory of a unit's own past at the start, inside (-rho_max, rho_max).
        scale_init: s at the start, inside `SCALES`; v_1 starts as the stationary variance s^2 / (1 - phi^2).
        stationary: v_1 follows from s and phi instead of being learned; for uncoupled units only.
        deterministic: a twin's: no s, no v_1.

    Raises:
        ValueError: a bad argument, by name.
    """

    scale_parameter: nn.Parameter | None  # log s, [N k]: of one dimension, so that weight decay leaves it alone
    initial_parameter: nn.Parameter | None  # log sqrt(v_1), [N k]

    def __init__(
        self,
        n_units: int,
        latent_dim: int,
        rho_max: float,
        phi_init: float,
        scale_init: float,
        stationary: bool,
        deterministic: bool,
    ) -> None:
        super().__init__()
        require_int("n_units", n_units, 1)
        require_int("latent_dim", latent_dim, 1)
        require_range("rho_max", rho_max, 0.0, 1.0, open_low=True, open_high=True)
        require_range("phi_init", phi_init, -rho_max, rho_max, open_low=True, open_high=True)
        require_range("scale_init", scale_init, *SCALES)
        self.n_units, self.latent_dim, self.rho_max = n_units, latent_dim, rho_max
        self.stationary, self.deterministic = stationary, deterministic
        size = n_units * latent_dim
        start, first = math.log(scale_init), math.log(scale_init) - 0.5 * math.log1p(-(phi_init**2))
        self.scale_parameter = None if deterministic else nn.Parameter(torch.full((size,), start))
        learned = not (deterministic or stationary)
        self.initial_parameter = nn.Parameter(torch.full((size,), first)) if learned else None

    @property
    def log_scale(self) -> Tensor:
        """log s, [N, k]."""
        assert self.scale_parameter is not None
        return self.scale_parameter.clamp(*_LOG_SCALES).view(self.n_units, self.latent_dim)

    @property
    def initial_log_scale(self) -> Tensor:
        """log sqrt(v_1), [N, k]."""
        if self.initial_parameter is None:
            return self.log_scale - 0.5 * torch.log1p(-self.memory().square()).unsqueeze(-1)
        return self.initial_parameter.clamp(*_LOG_SCALES).view(self.n_units, self.latent_dim)

    @abstractmethod
    def memory(self) -> Tensor:
        """phi_i, the weight of a unit's own past, [N]; for a dense transition its mean over latents."""

    @abstractmethod
    def mover(self) -> Mover:
        """`drift` with the weights of now, computed once for many steps."""

    def drift(self, z: Tensor) -> Tensor:
        """Mean of the next latents given latents [N, k, ...], the same shape."""
        return self.mover()(z)

    @abstractmethod
    def drift_variance(self, variance: Tensor) -> Tensor:
        """Variance of `drift(z)` for independent latents of these variances, [N, k, ...]."""


class SparseTransition(Transition):
    """N(phi_i z_i,t-1 + sum_j A_ij z_j,t-1, s_i^2) over a unit's few neighbours j.

    Stable by parametrisation: (phi_i, A_i.) = rho_max u tanh(|u|_1) / |u|_1, so |phi_i| + sum_j |A_ij| < rho_max.
    The same weights serve every latent of a unit.

    Args:
        n_units, latent_dim, rho_max, phi_init, scale_init, stationary, deterministic: see `Transition`.
        graph: "none", "ring", "random" or "topk" (see `graphs.neighbours`; `rewiring` moves the edges of "topk").
        degree: neighbours per unit; without effect for "none".
        seed: of the graph.
        edge_init: standard deviation of the edges' raw weights at the start.

    Attributes:
        neighbours: int64 [N, degree].

    Raises:
        ValueError: a bad argument, by name.
    """

    neighbours: Tensor

    def __init__(
        self,
        n_units: int,
        latent_dim: int = 1,
        *,
        graph: str = "ring",
        degree: int = 8,
        seed: int = 0,
        rho_max: float = 0.99,
        phi_init: float = 0.9,
        scale_init: float = 0.3,
        edge_init: float = 0.01,
        stationary: bool = False,
        deterministic: bool = False,
    ) -> None:
        super().__init__(n_units, latent_dim, rho_max, phi_init, scale_init, stationary, deterministic)
        require_range("edge_init", edge_init, 0.0)
        if stationary and graph != "none":
            raise ValueError(f"stationary=True is not allowed with graph={graph!r}; its variances have no closed form")
        self.graph = graph
        self.register_buffer("neighbours", neighbours(graph, n_units, degree, seed))
        degree = self.neighbours.shape[1]
        self.raw_memory = nn.Parameter(torch.full((n_units,), math.atanh(phi_init / rho_max)))
        self.raw_edges: nn.Parameter | None = None
        if degree:
            noise = torch.randn(n_units, degree, generator=torch.Generator().manual_seed(seed + 1))
            self.raw_edges = nn.Parameter(edge_init * noise.to(torch.get_default_dtype()))

    def weights(self) -> tuple[Tensor, Tensor | None]:
        """(phi [N], A [N, degree] in the order of `neighbours`, None for graph "none")."""
        if self.raw_edges is None:
            return self.rho_max * torch.tanh(self.raw_memory), None
        size = self.raw_memory.abs() + self.raw_edges.abs().sum(1)  # [N]
        factor = self.rho_max * torch.tanh(size) / size.clamp(min=_TINY)
        return factor * self.raw_memory, factor.unsqueeze(1) * self.raw_edges

    @torch.no_grad()
    def set_weights_(self, phi: Tensor, edges: Tensor | None = None) -> None:
        """Choose raw weights that give these, [N] and [N, degree].

        Raises:
            ValueError: |phi_i| + sum_j |A_ij| reaches rho_max.
        """
        both = phi.unsqueeze(1) if edges is None else torch.cat([phi.unsqueeze(1), edges], 1)
        size = both.abs().sum(1, keepdim=True)
        if bool((size >= self.rho_max).any()):
            raise ValueError(f"|phi| + sum |A| = {float(size.max()):g} is not allowed; it must be < {self.rho_max:g}")
        raw = both * torch.atanh(size / self.rho_max) / size.clamp(min=_TINY)
        self.raw_memory.copy_(raw[:, 0])
        if self.raw_edges is not None:
            self.raw_edges.copy_(raw[:, 1:])

    def memory(self) -> Tensor:
        """phi_i, [N]."""
        return self.weights()[0]

    def mover(self) -> Mover:
        """phi_i z_i + sum_j A_ij z_j."""
        return self._mixer(*self.weights())

    def drift_variance(self, variance: Tensor) -> Tensor:
        """phi_i^2 v_i + sum_j A_ij^2 v_j."""
        phi, edges = self.weights()
        return self._mixer(phi.square(), None if edges is None else edges.square())(variance)

    def _mixer(self, own: Tensor, edges: Tensor | None) -> Mover:
        if edges is None:
            return lambda z: own.to(z.dtype).view(-1, *[1] * (z.ndim - 1)) * z
        unit = torch.arange(self.n_units, device=own.device).unsqueeze(1)
        # [N, 1 + degree] each
        return RowMixer(torch.cat([unit, self.neighbours], 1), torch.cat([own.unsqueeze(1), edges], 1))


class DenseTransition(Transition):
    """z_t = A z_t-1 + s eps for one vector latent of K dimensions: the global AR-VAE's dynamics.

    Stable by parametrisation: A = rho_max W tanh(b) / b with b = sqrt(|W|_1 |W|_inf) >= |W|_2, so |A|_2 < rho_max.

    Args:
        latent_dim: K.
        rho_max, phi_init, scale_init, deterministic: see `Transition`; A starts as phi_init times the identity.

    Raises:
        ValueError: a bad argument, by name.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        rho_max: float = 0.99,
        phi_init: float = 0.9,
        scale_init: float = 0.3,
        deterministic: bool = False,
    ) -> None:
        super().__init__(1, latent_dim, rho_max, phi_init, scale_init, False, deterministic)
        self.raw_memory = nn.Parameter(torch.full((latent_dim,), math.atanh(phi_init / rho_max)))
        self.raw_edges = nn.Parameter(torch.zeros(latent_dim, latent_dim))  # added to the diagonal, decays to 0

    def matrix(self) -> Tensor:
        """A, [K, K]."""
        raw = torch.diag(self.raw_memory) + self.raw_edges
        size = (raw.abs().sum(0).max() * raw.abs().sum(1).max()).sqrt()
        return raw * (self.rho_max * torch.tanh(size) / size.clamp(min=_TINY))

    def memory(self) -> Tensor:
        """Mean of A's diagonal, [1]."""
        return self.matrix().diagonal().mean().unsqueeze(0)

    def mover(self) -> Mover:
        """A z over the latents, [1, K, ...]."""
        return partial(_apply, self.matrix())

    def drift_variance(self, variance: Tensor) -> Tensor:
        """(A * A) v."""
        return _apply(self.matrix().square(), variance)


def _apply(matrix: Tensor, z: Tensor) -> Tensor:
    return (matrix.to(z.dtype) @ z.reshape(z.shape[1], -1)).view(z.shape)
