"""Options of simulations that cannot be meant, refused with the reason."""

__all__ = ["FRACTION", "check_limits", "check_ranges"]

from collections.abc import Iterable
from typing import Any

FRACTION = "it is a fraction"


def check_limits(
    options: Any, limits: Iterable[tuple[str, int | float, int | float, str]]
) -> None:
    """Refuse the first option that is not within its limits.

    ``limits``: name of an option, lowest and highest value, why there are limits.

    Raises:
        ValueError: one is not.
    """
    for name, low, high, why in limits:
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(
                f"Option {name} is {value}, but must lie within {low} to {high}: {why}."
            )


def check_ranges(
    options: Any, limits: Iterable[tuple[str, int | float, int | float]]
) -> None:
    """Refuse the first range that does not rise, or is not within its limits.

    Raises:
        ValueError: one does not.
    """
    for name, low, high in limits:
        first, last = getattr(options, name)
        if not low <= first < last <= high:
            raise ValueError(
                f"Option {name} is {(first, last)}: give the lower limit, then the upper "
                f"one, both within {low:g} to {high:g}."
            )
