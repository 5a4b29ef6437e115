"""Which peaks of a periodogram are echoes of a higher one.

A sine at frequency f has echoes at ``f + s`` and ``s - f`` wherever the sampling has power
at the shift s: a day, a sidereal day, a year. They are named where the shift is one of
these, or has much power in the star's own window; half and twice the period are named too,
for an eccentric orbit has them.
"""

__all__ = ["name_aliases"]

import numpy as np

from steadystar.infer.sines import Array, window_power

_SIDEREAL = 1.00273790935
"""Sidereal days in a day (Explanatory Supplement to the Astronomical Almanac 2013)."""
_SHIFTS = (
    ("1/d", 1.0),
    ("2/d", 2.0),
    ("3/d", 3.0),
    ("1/sidereal d", _SIDEREAL),
    ("2/sidereal d", 2 * _SIDEREAL),
    ("1/yr", 1 / 365.25),
    ("2/yr", 2 / 365.25),
    ("1/month", 1 / 29.530589),
)
# Noise has window power 1/n on average: of ten random visits 5% of all shifts have more
# than 0.3, and a shift that has a name needs less.
_NAMED, _NAMELESS = 0.1, 0.3


def name_aliases(
    t: Array, weight: Array, frequency: Array
) -> tuple[list[int | None], list[str | None]]:
    """Say of each peak of which higher one it is an alias, and how; None if of none.

    ``frequency`` is sorted, highest peak first; ranks count from 1.
    """
    near = 0.5 / np.ptp(t)
    ranks: list[int | None] = [None] * len(frequency)
    names: list[str | None] = [None] * len(frequency)
    for j in range(1, len(frequency)):
        for i in range(j):
            name = _relation(t, weight, frequency[i], frequency[j], near)
            if name is not None:
                ranks[j], names[j] = i + 1, name
                break
    return ranks, names


def _relation(
    t: Array, weight: Array, high: float, low: float, near: float
) -> str | None:
    signed = np.array([low - high, low + high])
    power = window_power(t, weight, signed)
    found = []
    for shift, strength, sign in (
        (signed[0], power[0], "f + " if signed[0] > 0 else "f - "),
        (signed[1], power[1], ""),
    ):
        reflected = "" if sign else " - f"
        for name, value in _SHIFTS:
            miss = abs(abs(shift) - value)
            if miss < near and strength > _NAMED:
                found.append((miss, f"{sign}{name}{reflected}"))
        if not found and strength > _NAMELESS:
            found.append((near, f"{sign}{abs(shift):.4g}/d{reflected}"))
    for name, value in (("half the period", 2 * high), ("twice the period", high / 2)):
        if abs(low - value) < near:
            found.append((abs(low - value), name))
    return min(found)[1] if found else None
