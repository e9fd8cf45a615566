"""The default optimiser and learning-rate schedule."""

from typing import Any

import pytorch_lightning as pl
import torch


def adamw_with_cosine(
    module: pl.LightningModule, learning_rate: float, weight_decay: float, max_steps: int
) -> dict[str, Any]:
    """AdamW, decaying matrices only, and a cosine from `learning_rate` to zero over `max_steps`.

    Returns:
        What Lightning's `configure_optimizers` returns.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # Lightning refuses to clip the gradients of a fused optimiser under mixed precision
    fused = "mixed" not in str(module.trainer.precision)
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, fused=fused)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(max_steps, 1))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
