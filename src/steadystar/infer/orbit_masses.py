"""Masses and sizes that an orbit of velocities alone can tell.

One star's velocities give its mass function,

    f = m_2^3 sin^3 i / (m_1 + m_2)^2 = P K^3 (1 - e^2)^(3/2) / (2 pi G),

those of both stars the masses times ``sin^3 i``. The inclination stays unknown; seen edge
on, the companion has its least mass. All functions are vectorized; masses in solar masses,
lengths in solar radii, periods in days, velocities in km/s.

Source: Hilditch 2001, An Introduction to Close Binary Stars, section 2.8.
"""

__all__ = [
    "companion_mass",
    "double_lined_masses",
    "mass_function",
    "projected_axis",
]

from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.constants import DAY_S, GM_SUN, R_SUN_KM

Numbers = NDArray[np.float64]
Given = float | list[float] | NDArray[Any]


def mass_function(period: Given, k: Given, e: Given) -> Numbers:
    """Return the mass function of a star with semi-amplitude ``k``, solar masses."""
    period, k, shape = _orbit(period, k, e)
    return np.asarray(period * k**3 * shape**3 / (2 * np.pi * GM_SUN))


def projected_axis(period: Given, k: Given, e: Given) -> Numbers:
    """Return ``a sin i`` of a star with semi-amplitude ``k``, solar radii."""
    period, k, shape = _orbit(period, k, e)
    return np.asarray(period * k * shape / (2 * np.pi * R_SUN_KM))


def double_lined_masses(
    period: Given, k: Given, k_2: Given, e: Given
) -> tuple[Numbers, Numbers]:
    """Return the masses of both stars times ``sin^3 i``, the first star's first."""
    second = np.asarray(k_2, float)
    period, k, shape = _orbit(period, k, e)
    common = period * shape**3 * (k + second) ** 2 / (2 * np.pi * GM_SUN)
    return np.asarray(common * second), np.asarray(common * k)


def companion_mass(
    mass_function: Given, mass: Given, inclination: Given = np.pi / 2
) -> Numbers:
    """Return the companion's mass: the least possible one if seen edge on.

    Arguments:
        mass_function: of the star whose velocity is measured; not negative.
        mass: of that star, positive.
        inclination: radians, between 0 (NaN) and pi.

    With ``x`` the companion's mass over the star's and ``F = f / (m sin^3 i)``, the
    cubic ``x^3 = F (1 + x)^2`` has the discriminant ``-F^3 (4 + 27 / F)``: one real
    root for every F, which Cardano's formula gives as a sum of positive terms. No digit
    cancels.
    """
    mass = np.asarray(mass, float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        f = np.asarray(mass_function, float) / (mass * np.sin(inclination) ** 3)
        inner = f / 2 + f * f / 3 + f**3 / 27 + f * np.sqrt((4 * f + 27) / 108)
        root = np.cbrt(inner)
        ratio = root + (2 * f + f * f / 3) / (3 * root) + f / 3
    ratio = np.where(f == 0, 0.0, ratio)
    return np.where((f >= 0) & np.isfinite(f) & (mass > 0), mass * ratio, np.nan)


def _orbit(period, k, e) -> tuple[Numbers, Numbers, Numbers]:
    """Return period (s), semi-amplitude (km/s) and ``sqrt(1 - e^2)``."""
    seconds = np.asarray(period, float) * DAY_S
    shape = np.sqrt(1 - np.asarray(e, float) ** 2)
    return np.asarray(seconds), np.asarray(k, float), np.asarray(shape)
