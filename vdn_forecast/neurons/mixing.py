"""Weighted sums of few rows each, many times with the same weights: a sparse matrix as embedding bags."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class RowMixer:
    """y_i = sum_d weight_id z_index(i, d), without a copy of a row per neighbour.

    The lists that the gradient needs are made at the first call and serve all later ones.

    Args:
        index: int64 [N, D], rows of z.
        weight: [N, D].
    """

    def __init__(self, index: Tensor, weight: Tensor) -> None:
        self.index, self.weight = index, weight
        self._backward: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, z: Tensor) -> Tensor:
        """Mix z, [N, ...]; the same shape."""
        rows, weight = z.reshape(len(z), -1), self.weight.to(z.dtype)
        # torch's own gradient for the weights; that for the rows sorts the index anew at each call
        mixed = F.embedding_bag(self.index, rows.detach(), per_sample_weights=weight, mode="sum")
        if torch.is_grad_enabled() and rows.requires_grad:
            self._backward = self._backward or _transposed(self.index)
            mixed = _GradientOfRows.apply(mixed, rows, weight.detach(), *self._backward)
        return mixed.view(z.shape)


def _transposed(index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which places of `index` name row 0, row 1 ..., which of its rows each belongs to, where each list begins."""
    rising, order = index.flatten().sort(stable=True)
    start = torch.searchsorted(rising, torch.arange(len(index), device=index.device))
    return order, order // index.shape[1], start


class _GradientOfRows(torch.autograd.Function):
    """Hands the mixed rows on; their gradient also goes to the rows, by the transposed matrix."""

    @staticmethod
    def forward(
        ctx: Any, mixed: Tensor, rows: Tensor, weight: Tensor, order: Tensor, target: Tensor, start: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weight, order, target, start)
        return mixed.view_as(mixed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, order, target, start = ctx.saved_tensors
        grad = grads[0].contiguous()
        of_rows = F.embedding_bag(target, grad, start, mode="sum", per_sample_weights=weight.flatten()[order])
        return grad, of_rows, None, None, None, None
