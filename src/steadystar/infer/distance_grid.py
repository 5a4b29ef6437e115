"""A posterior on a grid that is fine where the posterior is.

Everything is in distance moduli, mu = 5 log10(d / 10 pc), in which a magnitude is a
Gaussian; a parallax multiplies it by exp(-((parallax - 1000 pc/d) / error)^2 / 2). Both
leave little room: outside of where neither of them is further off than K sigma, with
K^2 = 2 k^2 + 64 and k the sigma at which the two begin to overlap, the posterior is below
exp(-32) of its highest value. The grid spans that room.
"""

__all__ = ["Peak", "log_parallax", "modulus_of", "parallax_only", "room", "summary"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Grid = NDArray[np.float64]

_BEYOND = 64.0
_STEPS = 60
"""Of a bisection in log k: 60 halve a range of e^40 to nothing."""


@dataclass(frozen=True)
class Peak:
    """What is told of each posterior; arrays ``(row,)``, pc and dex.

    ``mode``: where the density in distance is highest; ``low, high``: 16th and 84th
    percentile; ``mean, deviation``: of log10(distance).
    """

    mode: Vector
    low: Vector
    high: Vector
    mean: Vector
    deviation: Vector


def modulus_of(parallax: Vector) -> Vector:
    """Return the distance modulus of a parallax in mas; infinite at and below zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mu = 10 - 5 * np.log10(parallax)
    return np.where(parallax > 0, mu, np.inf)


def distance_of(modulus: Vector) -> Vector:
    """Return the distance in pc."""
    return 10 ** (modulus / 5 + 1)


def log_parallax(mu: Grid, parallax: Vector, error: Vector) -> Grid:
    """Return ln of the parallax's likelihood on ``mu`` ``(row, grid)``, without constant."""
    return -0.5 * ((parallax[:, None] - 10 ** (2 - mu / 5)) / error[:, None]) ** 2


def room(
    low: Vector, high: Vector, width: Vector, parallax: Vector, error: Vector
) -> tuple[Vector, Vector]:
    """Return the ends of the grid in mu; see the module's docstring.

    The magnitude allows ``low`` to ``high`` (mag), each with a Gaussian tail of
    ``width``. An ``error`` of infinity is no parallax. All ``(row,)``.
    """

    def ends(k: Vector, at: NDArray | slice) -> tuple[Vector, Vector]:
        near = modulus_of(parallax[at] + k * error[at])
        far = modulus_of(parallax[at] - k * error[at])
        # Nothing is as near as a parallax that is negative at its upper end.
        near = np.where(np.isinf(error[at]), -np.inf, near)
        below, above = low[at] - k * width[at], high[at] + k * width[at]
        return np.maximum(below, near), np.minimum(above, far)

    touch = np.zeros(len(low))
    first, last = ends(touch + 1e-3, slice(None))
    apart = np.flatnonzero(first >= last)
    lo, hi = np.full(len(apart), np.log(1e-3)), np.full(len(apart), np.log(1e14))
    for _ in range(_STEPS):
        middle = (lo + hi) / 2
        first, last = ends(np.exp(middle), apart)
        reached = first < last
        lo, hi = np.where(reached, lo, middle), np.where(reached, middle, hi)
    touch[apart] = np.exp(hi)
    return ends(np.sqrt(2 * touch**2 + _BEYOND), slice(None))


def parallax_only(
    parallax: Vector, error: Vector, farthest: float
) -> tuple[Vector, Vector]:
    """Return the ends of the grid in mu where there is no magnitude.

    The likelihood is highest at 1/parallax, or at ``farthest`` (pc) if that is nearer;
    it is below exp(-32) of that outside of the ends.
    """
    least = 1000 / farthest
    beyond = np.sqrt(np.maximum(least - parallax, 0) ** 2 + _BEYOND * error**2)
    end = modulus_of(np.full(len(parallax), least))
    far = np.minimum(modulus_of(parallax - beyond), end)
    near = modulus_of(np.maximum(parallax + beyond, least * (1 + 1e-9)))
    return near, far


def summary(mu: Grid, log_density: Grid) -> Peak:
    """Return mode, percentiles and moments of posteriors.

    ``mu`` ``(row, grid)`` rises along the grid; ``log_density``: ln of the density in mu,
    without constant.
    """
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    step = np.diff(mu, axis=1)
    cell = step * (density[:, 1:] + density[:, :-1]) / 2
    total = cell.sum(axis=1)
    # Means about the middle: squares of moduli would lose digits.
    origin = mu[np.arange(len(mu)), density.argmax(axis=1)]
    offset = mu - origin[:, None]
    mean = _integral(step, density * offset) / total
    square = _integral(step, density * (offset - mean[:, None]) ** 2) / total
    return Peak(
        distance_of(_mode(mu, log_density)),
        distance_of(_percentile(mu, density, cell, 0.16)),
        distance_of(_percentile(mu, density, cell, 0.84)),
        (origin + mean) / 5 + 1,
        np.sqrt(square) / 5,
    )


def _integral(step: Grid, values: Grid) -> Vector:
    return (step * (values[:, 1:] + values[:, :-1])).sum(axis=1) / 2


def _percentile(mu: Grid, density: Grid, cell: Grid, share: float) -> Vector:
    """Where the integral of a density, linear between grid points, reaches ``share``."""
    row = np.arange(len(mu))
    integral = np.cumsum(cell, axis=1)
    target = share * integral[:, -1]
    place = np.minimum((integral < target[:, None]).sum(axis=1), cell.shape[1] - 1)
    rest = target - (integral[row, place] - cell[row, place])
    width = mu[row, place + 1] - mu[row, place]
    first, last = density[row, place], density[row, place + 1]
    slope = np.divide(last - first, width, out=np.zeros(len(mu)), where=width > 0)
    root = first + np.sqrt(np.maximum(first**2 + 2 * slope * rest, 0))
    inside = np.divide(2 * rest, root, out=np.zeros(len(mu)), where=root > 0)
    return mu[row, place] + np.clip(inside, 0, width)


def _mode(mu: Grid, log_density: Grid) -> Vector:
    """Where the density in distance is highest: p(d) = p(mu) 5 / (ln(10) d).

    The vertex of the parabola through the highest point and its neighbors; a mode at an
    end of the grid is that end.
    """
    height = log_density - np.log(10) / 5 * (mu - mu[:, :1])
    row = np.arange(len(mu))
    best = height.argmax(axis=1)
    middle = np.clip(best, 1, mu.shape[1] - 2)
    left, x, right = mu[row, middle - 1], mu[row, middle], mu[row, middle + 1]
    down, y, up = (height[row, middle + step] for step in (-1, 0, 1))
    rise, fall = (up - y) / (right - x), (y - down) / (x - left)
    curvature = (rise - fall) / (right - left)
    slope = (rise * (x - left) + fall * (right - x)) / (right - left)
    bent = np.isfinite(curvature) & (curvature < 0) & (best == middle)
    shift = np.divide(-slope, 2 * curvature, out=np.zeros(len(mu)), where=bent)
    vertex = np.clip(x + shift, left, right)
    return np.where(bent, vertex, mu[row, best])
