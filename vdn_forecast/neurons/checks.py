"""Argument checks that name the argument, its value and what is allowed."""

import math
from collections.abc import Iterable


def require_choice(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    choices = sorted(allowed)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}={value!r} is not allowed; choose one of {choices}")


def require_int(name: str, value: object, minimum: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f"{name}={value!r} is not allowed; it must be an integer >= {minimum}")


def require_range(
    name: str,
    value: float,
    low: float,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
) -> None:
    """Raise ValueError unless `value` is a number in [low, high] (ends excluded where `open_*`).

    An infinite `high` never admits an infinite value.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    inside = is_number and (value > low if open_low else value >= low)
    inside = inside and (value < high if open_high else value <= high)
    if not inside:
        left, right = ("(" if open_low else "["), (")" if open_high or math.isinf(high) else "]")
        raise ValueError(f"{name}={value!r} is not allowed; it must lie in {left}{low:g}, {high:g}{right}")


def require_ordered(low_name: str, low: float, high_name: str, high: float, *, strict: bool = False) -> None:
    """Raise ValueError unless `low` <= `high` (< where `strict`)."""
    if low > high or (strict and low == high):
        sign = "<" if strict else "<="
        rule = f"{low_name} must be {sign} {high_name}"
        raise ValueError(f"{low_name}={low!r} with {high_name}={high!r} is not allowed; {rule}")
