"""Two bodies: Kepler's equation, velocities along the line of sight, eclipses.

Velocities follow ``v = K (cos(nu + omega) + e cos(omega))`` with the true anomaly ``nu``
from Kepler's equation ``M = E - e sin E``. Positive is away from us.
"""

__all__ = ["covered", "kepler", "orbital_velocity", "true_anomaly"]

import numpy as np
from numpy.typing import NDArray

from steadystar.data.numbers import Numbers


def kepler(mean_anomaly: Numbers, eccentricity: Numbers) -> NDArray[np.float64]:
    """Solve Kepler's equation ``M = E - e sin(E)`` for the eccentric anomaly E.

    Newton's iteration from ``E = M + 0.85 e sign(sin M)`` (Danby 1987) converges for
    every ``0 <= e < 1``; M in radians, any revolution.
    """
    mean, e = np.broadcast_arrays(
        np.asarray(mean_anomaly, float), np.asarray(eccentricity, float)
    )
    turns = np.floor(mean / (2 * np.pi) + 0.5) * 2 * np.pi
    mean = mean - turns
    anomaly = mean + 0.85 * e * np.sign(np.sin(mean))
    for _ in range(50):
        step = (anomaly - e * np.sin(anomaly) - mean) / (1 - e * np.cos(anomaly))
        anomaly = anomaly - step
        if np.max(np.abs(step), initial=0.0) < 1e-13:
            break
    return np.asarray(anomaly + turns)


def orbital_velocity(
    time: Numbers,
    *,
    period: float,
    semi_amplitude: float,
    eccentricity: float = 0.0,
    omega: float = 0.0,
    periastron: float = 0.0,
) -> NDArray[np.float64]:
    """Return the velocity about the center of mass, in the unit of the amplitude.

    ``time``, ``period`` and ``periastron`` (a time of periastron) share a unit;
    ``omega`` is the argument of periastron in radians.
    """
    nu, _ = true_anomaly(time, period, eccentricity, periastron)
    return np.asarray(
        semi_amplitude * (np.cos(nu + omega) + eccentricity * np.cos(omega))
    )


def true_anomaly(time: Numbers, period: float, eccentricity: float, periastron: float):
    """Return the true anomaly (radians) and the distance over the semi-major axis."""
    mean = 2 * np.pi * (np.asarray(time, float) - periastron) / period
    eccentric = kepler(mean, eccentricity)
    nu = 2 * np.arctan2(
        np.sqrt(1 + eccentricity) * np.sin(eccentric / 2),
        np.sqrt(1 - eccentricity) * np.cos(eccentric / 2),
    )
    return nu, 1 - eccentricity * np.cos(eccentric)


def covered(
    separation: Numbers, radius: float, radius_in_front: float
) -> NDArray[np.float64]:
    """Return the part of a disk's area that another disk hides, 0 to 1.

    ``separation`` of the centers and both radii share a unit. The lens of two circles:
    the sum of two circular segments.
    """
    d = np.asarray(separation, float)
    low, high = abs(radius - radius_in_front), radius + radius_in_front
    apart = np.clip(d, max(low, 1e-300), high)
    # Distances of the common chord from both centers.
    chord = (apart**2 + radius**2 - radius_in_front**2) / (2 * apart)
    angle = np.arccos(np.clip(chord / radius, -1, 1))
    angle_in_front = np.arccos(np.clip((apart - chord) / radius_in_front, -1, 1))
    lens = radius**2 * (angle - np.sin(2 * angle) / 2) + radius_in_front**2 * (
        angle_in_front - np.sin(2 * angle_in_front) / 2
    )
    inside = min(radius, radius_in_front) ** 2 / radius**2
    return np.where(
        d >= high, 0.0, np.where(d <= low, inside, lens / np.pi / radius**2)
    )
