"""The scatter of a constant star's visits: a scale and a floor.

    variance = (scale * error)^2 + floor^2

``scale`` and ``floor`` may differ between groups of visits (telescopes, arms). They are
fitted by weighted least squares of squared residuals on ``error^2`` and 1, with weights
``1/variance^2``: one step of Fisher's scoring towards the maximum of the likelihood.
"""

__all__ = ["Noise", "largest_floor"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.visitsums import Vector, sums

_SCALE_PRIOR = 1.0
"""Standard deviation of the prior on scale^2 about 1: it decides where all errors are
equal, so that scale and floor cannot be told apart, and is worth two visits."""

_SMALLEST_SCALE2 = 0.01
_SMALLEST_FLOOR = 1e-6  # km/s: 1 mm/s, so that a floor can grow again
_LARGEST_SCALE = 10.0
_LARGEST_FLOOR, _PLAUSIBLE_FLOOR = 10.0, 1.0  # of the typical error; km/s


def largest_floor(typical: float) -> float:
    """Return the largest floor, km/s, beside errors that are typically ``typical``.

    Without a limit, stars that all vary would be constant stars with a floor as wide as
    their orbits. A floor up to 1 km/s is an instrument's; one beyond must be within ten
    times the errors that are given.
    """
    return max(_LARGEST_FLOOR * typical, _PLAUSIBLE_FLOOR)


@dataclass(frozen=True)
class Noise:
    """Scale and floor (km/s) of every group of visits, both (group,)."""

    scale: Vector
    floor: Vector

    @classmethod
    def starting(cls, groups: int, floor: float) -> "Noise":
        """Return scale 1 and the same floor for all groups."""
        return cls(np.ones(groups), np.full(groups, floor))

    def variance(self, error: Vector, group: NDArray[np.intp]) -> Vector:
        """Return the variance of visits, km^2/s^2, ``(visit,)``."""
        return (self.scale[group] * error) ** 2 + self.floor[group] ** 2

    def improved(
        self,
        error: Vector,
        group: NDArray[np.intp],
        square: Vector,
        weight: Vector,
        most: float,
    ) -> tuple["Noise", NDArray[np.float64]]:
        """Return a better model and the inverse information of scale^2 and floor^2.

        Arguments:
            error, group: as in `variance`.
            square: squared residual of each visit, corrected for what the mean of its
                star and its offset have taken out of it.
            weight: how far each visit counts, 0 to 1.
            most: the largest floor, see `largest_floor`.
        """
        n, x = len(self.scale), error**2
        w = weight / np.maximum(self.variance(error, group), 1e-300) ** 2
        xx, x1, one = (sums(group, w * f, n) for f in (x * x, x, np.ones(1)))
        xy = sums(group, w * x * square, n)
        y1 = sums(group, w * square, n)
        # Information is half of the sums: the likelihood is -1/2 (ln v + square / v).
        prior = 2 / _SCALE_PRIOR**2
        xx, xy = xx + prior, xy + prior
        a, b = _non_negative(xx, x1, one, xy, y1)
        a = np.clip(a, self.scale**2 / 4, self.scale**2 * 4)
        a = np.minimum(a, _LARGEST_SCALE**2)
        b = np.clip(b, (self.floor / 2) ** 2, 4 * self.floor**2)
        seen = sums(group, weight, n) > 0
        b = np.where(seen, np.clip(b, _SMALLEST_FLOOR**2, most**2), self.floor**2)
        determinant = np.maximum(xx * one - x1**2, 1e-300)
        covariance = 2 * np.stack([one, xx], axis=1) / determinant[:, None]
        return Noise(np.sqrt(a), np.sqrt(b)), covariance


def _non_negative(xx, x1, one, xy, y1) -> tuple[Vector, Vector]:
    """Solve ``[xx x1; x1 one] (a, b) = (xy, y1)`` with a and b not negative."""
    one = np.maximum(one, 1e-300)
    determinant = np.maximum(xx * one - x1**2, 1e-12 * xx * one)
    a = (xy * one - y1 * x1) / determinant
    b = (y1 * xx - xy * x1) / determinant
    alone = b < 0
    a, b = np.where(alone, xy / xx, a), np.where(alone, 0.0, b)
    small = a < _SMALLEST_SCALE2
    b = np.where(small, (y1 - x1 * _SMALLEST_SCALE2) / one, b)
    return np.where(small, _SMALLEST_SCALE2, a), np.maximum(b, 0.0)
