"""What a rescale leaves in the optimiser's memory."""

import pytest
import torch

from vdn_forecast.control import UnitController
from vdn_forecast.control.moments import forget_direction_
from vdn_forecast.neurons import VariationalLayer


def trained_layer(optimizer_class, steps=30, k=2, **options):
    torch.manual_seed(0)
    layer = VariationalLayer(5, 4, k)
    optimizer = optimizer_class(layer.parameters(), **options)
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(torch.randn(16, 5), None).activation - 1).square().mean().backward()
        optimizer.step()
    return layer, optimizer


@pytest.mark.parametrize("extra", [{}, {"amsgrad": True}, {"fused": True}])
def test_rescaled_rows_lose_their_first_moment_and_keep_the_second(extra):
    layer, optimizer = trained_layer(torch.optim.AdamW, lr=1e-2, weight_decay=0.0, **extra)
    controller = UnitController(4, 2, control="projection", band_target=1.0)
    inside = 1.0 * controller.band.targets
    outside = torch.tensor([1.0, 1e-3, 1.0, 50.0])  # units 1 and 3
    before = {p: {n: v.clone() for n, v in optimizer.state[p].items()} for p in layer.mu.parameters()}
    controller.run_projection(layer, torch.where(outside == 1.0, inside, outside), optimizer)
    rows = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1], dtype=torch.bool)
    for p in layer.mu.parameters():
        state = optimizer.state[p]
        assert state["exp_avg"][rows].abs().max() == 0
        assert torch.equal(state["exp_avg"][~rows], before[p]["exp_avg"][~rows])
        assert before[p]["exp_avg"][rows].abs().max() > 0
        for name in set(state) - {"exp_avg"}:
            assert torch.equal(state[name], before[p][name]), name


def test_the_next_step_is_small_where_a_zeroed_second_moment_would_make_it_large():
    sizes = {}
    for forget in ("first", "both"):
        layer, optimizer = trained_layer(torch.optim.AdamW, steps=50, lr=1e-4, weight_decay=0.0)
        for state in optimizer.state.values():
            state["step"].fill_(100_000)  # late: the bias correction has worn off
        rows = torch.ones(8, dtype=torch.bool)
        forget_direction_(optimizer, layer.mu.parameters(), rows)
        if forget == "both":
            optimizer.state[layer.mu.weight]["exp_avg_sq"].zero_()
        before = layer.mu.weight.clone()
        optimizer.zero_grad()
        layer(torch.randn(16, 5), None).activation.sum().backward()
        layer.mu.weight.grad.div_(layer.mu.weight.grad.abs().max() * 100)
        optimizer.step()
        sizes[forget] = (layer.mu.weight - before).abs().max().item() / 1e-4
    assert sizes["first"] < 1.0
    assert sizes["both"] > 2.5


def test_update_without_optimizer_and_with_one_that_has_not_stepped():
    for optimizer_class in (None, torch.optim.AdamW, torch.optim.SGD):
        torch.manual_seed(0)
        layer = VariationalLayer(5, 4, 2)
        optimizer = optimizer_class(layer.parameters(), lr=0.1) if optimizer_class else None
        controller = UnitController(4, 2, control_warmup=0, control_every=1)
        before = layer.mu.weight.clone()
        controller.observe(layer(torch.randn(8, 5), None))
        controller.update(layer, optimizer)
        assert not torch.equal(before, layer.mu.weight)


def test_momentum_of_sgd_is_forgotten():
    layer, optimizer = trained_layer(torch.optim.SGD, lr=1e-2, momentum=0.9)
    forget_direction_(optimizer, layer.mu.parameters(), torch.arange(8) < 2)
    for p in layer.mu.parameters():
        buffer = optimizer.state[p]["momentum_buffer"]
        assert buffer[:2].abs().max() == 0
        assert buffer[2:].abs().max() > 0
