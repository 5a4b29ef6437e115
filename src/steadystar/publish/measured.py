"""How what was measured is written: with its error, with its limits, chances as powers."""

__all__ = ["chance", "is_known", "whole", "with_error", "with_limits"]

from typing import TypeGuard

import numpy as np

from steadystar.publish.numbers import DASH, MINUS, significant


def is_known(value: float | None) -> TypeGuard[float]:
    """Whether there is a finite number."""
    return value is not None and bool(np.isfinite(value))


def whole(value: int | None) -> str:
    """Write a count; a dash if there is none."""
    return DASH if value is None else f"{value:,}"


def chance(value: float | None) -> str:
    """Write a small probability as a power of ten: thresholds are below a thousandth."""
    if not is_known(value):
        return DASH
    if value < 1e-10:
        return "< 1e-10"
    return (
        f"{value:.0e}".replace("e-0", "e-") if value < 0.001 else significant(value, 2)
    )


def with_error(value: float | None, error: float | None) -> str:
    """Write a number with its error, both to two digits of the error."""
    if not is_known(value):
        return DASH
    if not is_known(error) or error <= 0:
        return significant(value, 5)
    places = _places(error)
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", MINUS)


def with_limits(value: float | None, low: float | None, high: float | None) -> str:
    """Write a median with the distances to both limits: 2.31, less 0.02, plus 0.03."""
    if not is_known(value):
        return DASH
    if not (is_known(low) and is_known(high)) or high <= low:
        return significant(value, 5)
    down, up = max(value - low, 0.0), max(high - value, 0.0)
    places = _places((high - low) / 2)
    if round(down, places) == round(up, places):
        text = f"{value:.{places}f} ± {up:.{places}f}"
    else:
        text = f"{value:.{places}f} (-{down:.{places}f} +{up:.{places}f})"
    return text.replace("-", MINUS)


def _places(error: float) -> int:
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 7))
