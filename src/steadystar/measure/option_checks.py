"""Options that cannot be meant, refused with a sentence that says what to give."""

__all__ = ["LONGER_WAVES", "SHARE", "SHORTEST_WAVE", "check_values", "check_windows"]

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

SHARE = "a share between 0 and 1"
SHORTEST_WAVE = 5.0
LONGER_WAVES = (
    f"at least {SHORTEST_WAVE:.0f} Angstrom: shorter waves would take up lines"
)


def check_values(options: Any, checks: Iterable[tuple[str, bool, str]]) -> None:
    """Refuse the first option that is not good.

    Arguments:
        options: a dataclass of options.
        checks: name of an option, whether its value is good, what to give instead.

    Raises:
        ValueError: one is not.
    """
    for name, good, remedy in checks:
        if not good:
            raise ValueError(f"{name} = {getattr(options, name)}: give {remedy}.")


def check_windows(windows: Mapping[str, tuple[float, float]]) -> None:
    """Refuse windows, Angstrom by arm, that end where they begin, or before.

    Raises:
        ValueError: one does.
    """
    for arm, (low, high) in windows.items():
        if not 0 < low < high < np.inf:
            raise ValueError(
                f"The window of {arm} is {low} to {high}: give its first and its last "
                "wavelength, in Angstrom."
            )
