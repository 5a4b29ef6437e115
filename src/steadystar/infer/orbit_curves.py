"""Velocities of one star or two as functions of an orbit's numbers, with derivatives.

Every velocity is ``v = v0 + (K (1 - b) - K_2 b) shape(t) + zero point``: ``b`` is 0 for
the first star, 1 for the second, and between them the second star's share of the light
where the lines of both are one blend (Halbwachs et al. 2012).

The numbers that are fitted behave where the usual elements do not:

- ``ln_period``, and ``longitude``: mean anomaly plus omega at the middle of the visits.
  Time and angle of periastron mean nothing for a circular orbit; this sum always does;
- ``ecc_cos, ecc_sin``: ``e cos(omega)`` and ``e sin(omega)`` over ``sqrt(1 - e^2)``, free
  to take any value. Around a circle the curve is linear in them. It is not in
  ``sqrt(e) cos(omega)``, whose derivatives all vanish there;
- ``k``, ``k_2``, ``v0`` and the zero points: the curve is linear in these.
"""

__all__ = ["Curves", "eccentric_anomaly", "elements_of", "numbers_of", "predicted"]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
SHAPE_NUMBERS = ("ln_period", "longitude", "ecc_cos", "ecc_sin")
# Angles of a circle are anybody's: where e / sqrt(1 - e^2) is less, derivatives are taken
# this far from it. Their change on the way is as small.
_ROUND = 1e-6
_STEPS = 30


@dataclass(frozen=True, eq=False)
class Curves:
    """The velocities of one star or pair.

    ``t`` (days), ``v`` and ``err`` (km/s), ``second`` (the second star's share ``b``)
    and ``family`` (number of the zero point, the first of which is zero): ``(value,)``.
    """

    t: Vector
    v: Vector
    err: Vector
    second: Vector
    family: NDArray[np.intp]

    @cached_property
    def middle(self) -> float:
        """The weighted middle of the times: there period and longitude part."""
        return float(np.average(self.t, weights=self.err**-2))

    @cached_property
    def families(self) -> int:
        """Number of families of zero points."""
        return int(self.family.max(initial=0)) + 1

    @cached_property
    def double(self) -> bool:
        """Whether a second star was seen."""
        return bool((self.second > 0).any())

    @property
    def names(self) -> tuple[str, ...]:
        """What is fitted, in order."""
        k = ("k", "k_2") if self.double else ("k",)
        offsets = (f"offset_{i}" for i in range(1, self.families))
        return (*SHAPE_NUMBERS, *k, "v0", *offsets)

    @cached_property
    def constants(self) -> NDArray[np.float64]:
        """Derivatives with respect to v0 and the zero points, ``(value, number)``."""
        zero = self.family[:, None] == np.arange(1, self.families)
        return np.column_stack([np.ones(len(self.t)), zero.astype(float)])

    def shape(self, numbers: Vector) -> tuple[Vector, NDArray[np.float64]]:
        """Return the shape of the curve at each time, and its four derivatives."""
        return _shape(self.t - self.middle, numbers)

    def linear(self, shape: Vector) -> NDArray[np.float64]:
        """Return what the velocities are linear in, ``(value, number)``."""
        stars = [(1 - self.second) * shape]
        if self.double:
            stars.append(-self.second * shape)
        return np.column_stack([*stars, self.constants])

    def model(self, numbers: Vector) -> tuple[Vector, NDArray[np.float64]]:
        """Return the velocities expected, and their derivatives ``(value, number)``."""
        shape, slopes = self.shape(numbers)
        linear = self.linear(shape)
        k = numbers[4] * (1 - self.second)
        if self.double:
            k = k - numbers[5] * self.second
        return linear @ numbers[4:], np.column_stack([k[:, None] * slopes, linear])

    def solved(self, four: Vector, jitter: float = 0.0) -> Vector:
        """Return all numbers, given those of the shape, the rest by least squares."""
        weight = 1 / np.hypot(self.err, jitter)
        columns = self.linear(self.shape(four)[0]) * weight[:, None]
        rest = np.linalg.lstsq(columns, self.v * weight, rcond=None)[0]
        return np.concatenate([four, np.asarray(rest, np.float64)])


def _shape(since: Vector, numbers: Vector) -> tuple[Vector, NDArray[np.float64]]:
    """Return the shape at times from the middle, and its four derivatives."""
    x, y = numbers[2:4]
    r = max(np.hypot(x, y), _ROUND)
    omega = np.arctan2(y, x)
    root = 1 / np.sqrt(1 + r * r)
    e = r * root
    turns = since * np.exp(-numbers[0])
    mean = 2 * np.pi * turns + numbers[1] - omega
    sine, cosine = eccentric_anomaly(mean, e)
    near = 1 / (1 - e * cosine)
    nu_cos, nu_sin = (cosine - e) * near, root * sine * near
    cos_w, sin_w = np.cos(omega), np.sin(omega)
    along = cos_w * nu_cos - sin_w * nu_sin
    across = sin_w * nu_cos + cos_w * nu_sin
    speed = (1 + e * nu_cos) ** 2 / root**3  # of nu, against the mean anomaly
    by_longitude = -across * speed
    # At constant longitude, omega turns the mean anomaly back.
    by_omega = across * (speed - 1) - e * sin_w
    by_e = cos_w - across * nu_sin * (2 + e * nu_cos) / root**2
    by_r = by_e * root**3
    columns = (
        -2 * np.pi * turns * by_longitude,
        by_longitude,
        by_r * cos_w - by_omega * sin_w / r,
        by_r * sin_w + by_omega * cos_w / r,
    )
    return along + e * cos_w, np.column_stack(columns)


def predicted(
    numbers: Vector,
    names: tuple[str, ...],
    since: Vector,
    second: Vector | float,
    family: NDArray[np.intp],
) -> Vector:
    """Return the velocities that an orbit has at any times, km/s.

    Arguments:
        numbers, names: those that were fitted, and what they are called (`Curves.names`).
        since: days from the middle that the longitude belongs to, ``(value,)``.
        second: the second star's share: 0 for the first star, 1 for the second.
        family: number of the zero point of each, ``(value,)``.
    """
    value = dict(zip(names, numbers, strict=True))
    zero = np.array([0.0, *(value[n] for n in names if n.startswith("offset_"))])
    k = value["k"] * (1 - second) - value.get("k_2", 0.0) * second
    return value["v0"] + zero[family] + k * _shape(since, numbers)[0]


def eccentric_anomaly(mean: Vector, e: float) -> tuple[Vector, Vector]:
    """Return sine and cosine of the eccentric anomaly, for one orbit at a few times.

    A compiled kernel takes longer to be called than these few steps of Halley's method
    (start: Danby 1987, Celest. Mech. 40, 303); `kernels.orbit` is for many orbits.
    """
    mean = np.mod(mean + np.pi, 2 * np.pi) - np.pi
    angle = mean + 0.85 * e * np.sign(mean)
    for _ in range(_STEPS):
        sine, cosine = np.sin(angle), np.cos(angle)
        off, slope = angle - e * sine - mean, 1 - e * cosine
        step = off * slope / (slope * slope - 0.5 * off * e * sine)
        angle = angle - step
        if not (np.abs(step) > 1e-14).any():
            break
    return np.sin(angle), np.cos(angle)


def elements_of(
    numbers: NDArray[np.float64], names: tuple[str, ...], middle: float
) -> dict[str, NDArray[np.float64]]:
    """Return the elements for numbers ``(..., number)``, angles in radians.

    The semi-amplitude of the first star is positive (else it is omega + pi), omega from
    0 to 2 pi, and the time of periastron the one next to the middle.
    """
    x, y = numbers[..., 2], numbers[..., 3]
    r = np.hypot(x, y)
    period = np.exp(numbers[..., 0])
    omega = np.arctan2(y, x)
    mean = np.mod(numbers[..., 1] - omega + np.pi, 2 * np.pi) - np.pi
    rest = {n: numbers[..., i] for i, n in enumerate(names) if i >= len(SHAPE_NUMBERS)}
    flip = rest["k"] < 0
    out = {
        "period": period,
        "e": r / np.sqrt(1 + r * r),
        "omega": np.mod(omega + np.pi * flip, 2 * np.pi),
        "t_peri": middle - mean / (2 * np.pi) * period,
    }
    for name, values in rest.items():
        out[name] = np.where(flip, -values, values) if name[0] == "k" else values
    return {name: np.asarray(values) for name, values in out.items()}


def numbers_of(elements: dict[str, float], middle: float) -> Vector:
    """Return the four numbers of the shape for elements, angles in radians."""
    e = min(max(elements.get("e", 0.0), 0.0), 1 - 1e-6)
    omega = elements.get("omega", 0.0)
    r = e / np.sqrt(1 - e * e)
    period = elements["period"]
    since = (middle - elements.get("t_peri", middle)) / period
    longitude = 2 * np.pi * (since - np.round(since)) + omega
    return np.array([np.log(period), longitude, r * np.cos(omega), r * np.sin(omega)])
