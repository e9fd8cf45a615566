"""What imports, the command's help and whole fits cost: seconds and highest memory, each in a process of its own.

    python -m benchmarks.speed.footprint --parts import help "many series" "wide panel" --out FILE

`import`: of vdn_forecast once neuralforecast is loaded, in turn with neuralforecast's own. `help`: the command with
--help, process and all. `many series`: EVE on 50,000 series of 100 rows, h = 24, look-back 48, 200 steps, with
validation, from a DataFrame through NeuralForecast. `wide panel`: EVE on 862 series of 17,544 rows, h = 720, look-back
336, 500 steps, with validation. `start` is the time from the call of fit to the first step, `check` that of the longest
validation check; data is synthetic. Figures are medians over rounds, memory the highest.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..rows import put_shown

FITS: dict[str, dict[str, int]] = {
    "many series": {"series": 50_000, "rows": 100, "h": 24, "input_size": 48, "val_size": 24, "steps": 200},
    "wide panel": {"series": 862, "rows": 17_544, "h": 720, "input_size": 336, "val_size": 1_755, "steps": 500},
}
PARTS = ("import", "help", *FITS)


IMPORTS = """
import json, time
start = time.perf_counter()
import neuralforecast
middle = time.perf_counter()
import vdn_forecast
print(json.dumps({"seconds": time.perf_counter() - middle, "neuralforecast": middle - start}))
"""


def helped() -> dict[str, float]:
    """Seconds of `vdn-forecast --help`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vdn_forecast_cli", "--help"], stdout=subprocess.DEVNULL, check=True)
    return {"seconds": time.perf_counter() - start}


def fitted(size: dict[str, int]) -> dict[str, float]:
    """Seconds and highest memory of one fit in this process."""
    import pytorch_lightning as pl
    from neuralforecast import NeuralForecast

    from vdn_forecast import EVE
    from vdn_forecast.evaluation.allocator import keep_memory
    from vdn_forecast.evaluation.evaluator import peak_memory_mb
    from vdn_forecast.evaluation.quiet import QUIET_TRAINER, quiet_lightning
    from vdn_forecast.evaluation.sources import synthetic_panel

    marks = {"first": 0.0, "began": 0.0, "check": 0.0}

    class Clock(pl.Callback):
        """Its marks lie outside: NeuralForecast fits a copy of the model and of its callbacks."""

        def on_train_batch_start(self, *_: Any) -> None:
            marks["first"] = marks["first"] or time.perf_counter()

        def on_validation_start(self, *_: Any) -> None:
            marks["began"] = time.perf_counter()

        def on_validation_end(self, *_: Any) -> None:
            marks["check"] = max(marks["check"], time.perf_counter() - marks["began"])

    keep_memory()
    panel = synthetic_panel(size["series"], size["rows"])
    frame = panel.frame(len(panel.values))
    del panel
    arguments: dict[str, Any] = {"max_steps": size["steps"], "patience_checks": 0, "callbacks": [Clock()]}
    forecaster = NeuralForecast(
        models=[EVE(h=size["h"], input_size=size["input_size"], **arguments, **QUIET_TRAINER)], freq="h"
    )
    before = peak_memory_mb()
    start = time.perf_counter()
    with quiet_lightning():
        forecaster.fit(frame, val_size=size["val_size"])
    return {
        "seconds": time.perf_counter() - start,
        "start": marks["first"] - start,
        "check": marks["check"],
        "before_mb": before,
        "peak_mb": peak_memory_mb(),
    }


def measure(part: str, size: dict[str, int], threads: int) -> dict[str, float]:
    """One measurement, in a process of its own."""
    if part == "help":
        return helped()
    words = ["-m", "benchmarks.speed.footprint", "--threads", str(threads), "--child", json.dumps(size)]
    if part == "import":
        words = ["-c", IMPORTS]
    done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure the wanted parts; rows of the others that a file holds stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["import", "help"])
    parser.add_argument("--rounds", type=int, default=5, help="of imports and help; a fit is measured once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--series", type=int, help="of a fit, in place of the part's")
    parser.add_argument("--steps", type=int, help="of a fit, in place of the part's")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child is not None:
        import torch

        torch.set_num_threads(chosen.threads)
        print(json.dumps(fitted(chosen.child)))
        return
    own = {name: value for name in ("series", "steps") if (value := getattr(chosen, name)) is not None}
    command = f"python -m benchmarks.speed.footprint --rounds {chosen.rounds} --threads {chosen.threads}"
    command += "".join(f" --{name} {value}" for name, value in own.items())
    for part in tqdm(chosen.parts, file=sys.stderr):
        size = {**FITS[part], **own} if part in FITS else {}
        runs = [measure(part, size, chosen.threads) for _ in range(1 if part in FITS else chosen.rounds)]
        figures = {
            name: (max if name == "peak_mb" else statistics.median)(run[name] for run in runs) for name in runs[0]
        }
        row = {"part": part, **size, "threads": chosen.threads, "rounds": len(runs), **figures}
        put_shown([row], ("part",), f"{command} --parts '{part}'", chosen.out)


if __name__ == "__main__":
    main()
