"""When a controller acts, without asking the device for the step count."""

from torch import Tensor


def ramp(step: int, warmup: int, length: int) -> float:
    """clip((step - warmup) / length, 0, 1); a step function where `length` is 0."""
    if length == 0:
        return float(step >= warmup)
    return min(max((step - warmup) / length, 0.0), 1.0)


def due(step: int, warmup: int, every: int) -> bool:
    """Whether `step` completed steps are `warmup` plus a multiple of `every`."""
    return step >= warmup and (step - warmup) % every == 0


class HostStep:
    """A host copy of a step buffer: reading the buffer itself would synchronise with the device every step.

    The buffer stays the truth: the copy is renewed when another tensor stands in its place (moved to a
    device) or when anyone else wrote to it (a state dict was loaded).
    """

    def __init__(self) -> None:
        self._value = 0
        self._buffer: Tensor | None = None
        self._version = -1

    def read(self, buffer: Tensor) -> int:
        """The buffer's value."""
        if buffer is not self._buffer or buffer._version != self._version:
            self._remember(buffer, int(buffer))
        return self._value

    def advance(self, buffer: Tensor) -> int:
        """Add one to the buffer, return the new value."""
        value = self.read(buffer) + 1
        buffer.fill_(value)
        self._remember(buffer, value)
        return value

    def _remember(self, buffer: Tensor, value: int) -> None:
        self._value, self._buffer, self._version = value, buffer, buffer._version
