"""Slopes within stars: do the visits deviate from the star's mean as something else does?"""

__all__ = [
    "Index",
    "Slope",
    "about_means",
    "shared_motion",
    "steadfast_slope",
    "within_star_slope",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.publish.numbers import MINUS, Array

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Slope:
    """A line through zero: its slope and error, unitless (km/s per km/s)."""

    value: float
    error: float

    @property
    def known(self) -> bool:
        """Whether there was something to fit."""
        return bool(np.isfinite(self.value) and np.isfinite(self.error))

    def __str__(self) -> str:
        places = 0 if self.error >= 0.01 else 1 if self.error >= 2e-4 else 2
        text = f"{1000 * self.value:.{places}f} ± {1000 * self.error:.{places}f}"
        return text.replace("-", MINUS)


def about_means(values: Array, weight: Array, group: Index) -> Array:
    """Return values about the weighted mean of their group, ``(visit,)``."""
    total = np.bincount(group, weight)
    return values - (np.bincount(group, weight * values) / total)[group]


def within_star_slope(
    x: Array, y: Array, error: Array, star: Index, *together: Index
) -> Slope:
    """How the visits of a star deviate from its mean as ``x`` does, all stars together.

    Arguments:
        x: what moves, km/s; y: velocities with their errors, km/s; all ``(visit,)``.
        star: number of each visit's star; both x and y are taken about its means, so
            that stars of different velocity say nothing by their difference.
        together: groupings (exposures, nights) whose visits may be off together. The
            error of the slope comes from the scatter itself, and is the largest of
            those with visits independent and with the groups of each independent.

    Returns:
        NaN where x does not change within any star.
    """
    weight = error**-2.0
    dx, dy = about_means(x, weight, star), about_means(y, weight, star)
    leverage = float(np.sum(weight * dx**2))
    freedom = len(x) - np.unique(star).size - 1
    if not leverage > 1e-12 * float(np.sum(weight)) or freedom < 1:
        return Slope(float("nan"), float("nan"))
    slope = float(np.sum(weight * dx * dy)) / leverage
    push = weight * dx * (dy - slope * dx)
    variances = [float(np.sum(push**2))]
    for group in together:
        number = max(np.unique(group).size, 2)
        sums = np.bincount(group, push)
        variances.append(float(np.sum(sums**2)) * number / (number - 1))
    variance = max(variances) * len(x) / freedom
    return Slope(slope, float(np.sqrt(variance)) / leverage)


def shared_motion(x: Array, weight: Array, star: Index, exposure: Index) -> float:
    """Return the share of the variance of ``x`` within stars that whole exposures have in common."""
    moved = about_means(x, weight, star)
    before = float(np.sum(weight * moved**2))
    for _ in range(20):
        moved = about_means(about_means(moved, weight, exposure), weight, star)
    after = float(np.sum(weight * moved**2))
    return 1 - after / before if before > 0 else float("nan")


def steadfast_slope(x: Array, y: Array, error: Array) -> float:
    """Return the slope through zero of least absolute deviations; zero if x is.

    The weighted median of ``y / x``: a few wild values do not move it.
    """
    moved = np.abs(x) > 1e-9
    if not moved.any():
        return 0.0
    ratio, weight = y[moved] / x[moved], np.abs(x[moved]) / error[moved]
    order = np.argsort(ratio, kind="stable")
    total = np.cumsum(weight[order])
    return float(ratio[order][np.searchsorted(total, total[-1] / 2)])
