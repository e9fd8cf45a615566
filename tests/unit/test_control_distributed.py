"""Two processes with half a batch each hold the state of one process with the whole batch."""

import os
import sys
from pathlib import Path
from types import ModuleType

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

_STEPS, _BATCH = 8, 12


def _scenario(control: str, rank: int, world: int):
    """State after some steps on this rank's share of every batch, and the gradient summed over ranks."""
    from vdn_forecast.control import UnitController
    from vdn_forecast.neurons import VariationalLayer

    torch.manual_seed(0)
    layer = VariationalLayer(5, 4, 2)
    controller = UnitController(4, 2, control=control, thermostat=True, control_warmup=2, control_every=2)
    controller.attach(layer)
    generator = torch.Generator().manual_seed(1)
    for _ in range(_STEPS):
        context = torch.randn(_BATCH, 5, generator=generator)
        weights = (torch.rand(_BATCH, generator=generator) < 0.7).float()
        # ranks hold different numbers of windows
        share = slice(0, 4) if rank == 0 and world == 2 else slice(4 if world == 2 else 0, _BATCH)
        state = layer(context[share], None, weights[share])
        controller.observe(state, weights[share])
        controller.update(layer)
    layer.zero_grad()
    (layer(context[share], None, weights[share]).mu.sin().sum()).backward()
    gradient = layer.mu.weight.grad
    if world == 2:
        dist.all_reduce(gradient)
    layer.mu_transform and layer.mu_transform.begin_estimation()
    with torch.no_grad():
        layer(context[share], None, weights[share])
    layer.mu_transform and layer.mu_transform.end_estimation()
    return {**controller.state_dict(), **layer.state_dict(), "gradient": gradient}


def _worker(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    # skip what the package itself imports (NeuralForecast, seconds): neurons and control are plain torch
    package = ModuleType("vdn_forecast")
    package.__path__ = [str(Path(__file__).parents[2] / "vdn_forecast")]
    sys.modules["vdn_forecast"] = package
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    try:
        torch.save({c: _scenario(c, rank, world) for c in ("homeo", "batchnorm")}, f"{folder}/{rank}.pt")
        assert not {"neuralforecast", "pytorch_lightning"} & set(sys.modules)
        dist.barrier()
    finally:
        dist.destroy_process_group()
    os._exit(0)  # gloo's threads may still drop tensors while Python shuts down, which aborts (pytorch pull 179291)


def test_two_processes_equal_one(tmp_path):
    mp.spawn(_worker, args=(2, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for control in ("homeo", "batchnorm"):
        alone = _scenario(control, 0, 1)
        assert alone["step"] == _STEPS
        assert (alone["log_kl_weight"].exp() - 0.1).abs().max() > 1e-4  # the thermostat moved
        for name, value in alone.items():
            assert torch.equal(ranks[0][control][name], ranks[1][control][name]), name
            torch.testing.assert_close(ranks[0][control][name], value, rtol=1e-4, atol=1e-5, msg=name)
