"""NeuralForecast's Auto with its hooks under public names, so that a search of our own can take their place."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from neuralforecast.common._base_auto import BaseAuto, OptunaOptions, RayOptions

__all__ = ["AutoHost", "OptunaOptions", "RayOptions", "read_metadata", "with_metadata"]


class AutoHost(BaseAuto, ABC):
    """What `NeuralForecast` takes for one of its Autos.

    A subclass overrides `fit`; it may call `tune_with_ray`.
    """

    @abstractmethod
    def fit_config(
        self, config: Mapping[str, Any], dataset: Any, val_size: int, test_size: int, distributed_config: Any = None
    ) -> Any:
        """A fitted model of one configuration."""

    def _fit_model(
        self,
        cls_model: type,
        config: Mapping[str, Any],
        dataset: Any,
        val_size: int,
        test_size: int,
        distributed_config: Any = None,
    ) -> Any:
        return self.fit_config(config, dataset, val_size, test_size, distributed_config)

    def tune_with_ray(self, dataset: Any, val_size: int, test_size: int, search_alg: Any) -> Any:
        """NeuralForecast's own Ray Tune search over `self.config`: Ray's `ResultGrid`."""
        return self._tune_model(
            cls_model=self.cls_model,
            dataset=dataset,
            val_size=val_size,
            test_size=test_size,
            cpus=self.cpus,
            gpus=self.gpus,
            verbose=self.verbose,
            num_samples=self.num_samples,
            search_alg=search_alg,
            config=self.config,
            time_budget=self.time_budget,
        )

    @property
    def keeps_results(self) -> bool:
        """Whether NeuralForecast asks this fit to take over the configuration that an earlier one found.

        It does after a conformal calibration, which has run the search already.
        """
        return bool(getattr(self, "_reuse_search", False)) and getattr(self, "results", None) is not None


def with_metadata(artifact: bytes, name: str, value: Any) -> bytes:
    """A model's file with one more entry in its safetensors header, which NeuralForecast ignores when it loads.

    Args:
        artifact: what `serialize` returned.
        name: of the entry.
        value: anything that JSON has a form for.
    """
    header, begin = _header(artifact)
    header["__metadata__"] = {**header.get("__metadata__", {}), name: json.dumps(value)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return len(text).to_bytes(8, "little") + text + artifact[begin:]


def read_metadata(artifact: bytes, name: str) -> Any:
    """What `with_metadata` put there; None where nothing is.

    Raises:
        ValueError: no safetensors file.
    """
    found = _header(artifact)[0].get("__metadata__", {}).get(name)
    return None if found is None else json.loads(found)


def _header(artifact: bytes) -> tuple[dict[str, Any], int]:
    """The safetensors header and where it ends."""
    end = 8 + int.from_bytes(artifact[:8], "little")
    try:
        found = json.loads(artifact[8:end])
    except ValueError as error:
        raise ValueError(f"the file is no safetensors file: {error}") from error
    if len(artifact) < end or not isinstance(found, dict):
        raise ValueError("the file is no safetensors file: its header is cut off")
    return found, end
