"""Options of simulations that cannot be meant, refused with the reason."""

__all__ = ["FRACTION", "Limits", "check_limits", "check_ranges", "check_shares"]

from collections.abc import Iterable, Sequence
from typing import Any

FRACTION = "it is a fraction"

Limits = tuple[tuple[str, int | float, int | float, str], ...]
"""Name of an option, its lowest and highest value, why there are limits."""


def check_limits(options: Any, limits: Limits) -> None:
    """Refuse the first option that is not within its limits.

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


def check_shares(options: Any, names: Sequence[str]) -> None:
    """Refuse fractions of the same stars that are more than all of them together.

    Raises:
        ValueError: they are.
    """
    total = sum(getattr(options, name) for name in names)
    if total > 1:
        raise ValueError(
            f"Options {', '.join(names)} sum to {total:.3g}, but are fractions of the same "
            "stars: make their sum at most 1."
        )
