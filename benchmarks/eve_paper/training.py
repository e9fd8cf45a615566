"""One run of the suite: train the author's network under one regime, choose its epoch, score it."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from vdn_forecast.evaluation.protocols import SampledWindows

from .control import PaperControl
from .network import PaperNetwork
from .scores import score
from .settings import Regime, Settings
from .windows import make_loaders


def train(
    values: np.ndarray,
    protocol: SampledWindows,
    regime: Regime,
    settings: Settings,
    seed: int,
    after_epoch: Callable[[int], Any] = lambda epoch: None,
) -> dict[str, Any]:
    """Train for all epochs; the figures are those of the epoch with the lowest validation loss.

    Initial weights, shuffles and noise come from torch's global generator, seeded once, in this order: weights of
    encoder, units, head; then per epoch train, the regime's passes, validation, test. The author's runs draw in the
    same order, so that runs of one seed are pairs. The global generator is given back as it was.

    Args:
        values: [n_series, T] float32.
        protocol: windows, batches, epochs.
        regime: what controls the units.
        settings: everything else.
        seed: of windows, weights, shuffles and noise.
        after_epoch: called with the number of every finished epoch (from 1).

    Returns:
        best_epoch, val_* and test_* of `score`, steps, seconds.

    Raises:
        ValueError: series that are too short.
        FloatingPointError: no epoch has a finite validation loss.
    """
    started = time.perf_counter()
    loaders = make_loaders(values, protocol, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PaperNetwork(protocol.input_size, protocol.h, settings)
        control = PaperControl(regime, settings)
        optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=0.0)
        best: dict[str, Any] = {"val_loss": float("inf")}
        step = 0
        for epoch in range(1, protocol.epochs + 1):
            for x, y in loaders[0]:
                forecast, state = network(x)
                loss = control.training_loss((forecast - y).square().mean(), state, step)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
                optimizer.step()
                control.after_step(network, state, step)
                step += 1
            control.after_epoch(network, loaders[0], step)
            found = {f"val_{name}": value for name, value in score(network, control, loaders[1]).items()}
            # test is scored after every epoch only to draw its noise when the author's runs do; one epoch's is kept
            found |= {f"test_{name}": value for name, value in score(network, control, loaders[2]).items()}
            if found["val_loss"] < best["val_loss"]:
                best = {"best_epoch": epoch, **found}
            after_epoch(epoch)
    if "best_epoch" not in best:
        raise FloatingPointError(f"no epoch of {protocol.epochs} has a finite validation loss")
    return {**best, "steps": step, "seconds": time.perf_counter() - started}
