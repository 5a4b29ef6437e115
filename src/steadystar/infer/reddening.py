"""Generalized least squares for the reddening of many stars at once.

One star's magnitudes, less its intrinsic ones, are ``y = mu + A(E) + noise`` with the
covariance ``C = diag(s^2) + v v^T``. The inverse of such a matrix is known in closed form
(Sherman & Morrison 1950), so that products ``<a, b> = a^T C^-1 b`` are sums over bands,

    <a, b> = sum w a b - (sum w v a)(sum w v b) / (1 + sum w v^2),      w = 1/s^2,

and a million stars are a few array operations. A missing band has w = 0.
"""

__all__ = ["Solution", "solve"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_law

Array = NDArray[np.float64]

_STEPS = 4
_LEAST_TO_REJECT = 4
_DOUBTFUL = 1e-4
"""Probability of so large a chi2 by chance, below which bands are said to disagree."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Reddening of stars: arrays ``(star,)``, ``rejected`` ``(star, band)``."""

    ebv: Array
    ebv_err: Array
    n_colors: NDArray[np.intp]
    chi2: Array
    rejected: NDArray[np.bool_]

    @property
    def far_off(self) -> NDArray[np.bool_]:
        """Stars whose bands disagree by more than chance allows."""
        free = np.maximum(self.n_colors - 1, 0)
        chance = chi2_law.sf(self.chi2, np.maximum(free, 1))
        return (free > 0) & (chance < _DOUBTFUL)


def solve(
    excess: Array,
    scatter: Array,
    slope: Array,
    law: Callable[[Array], Array],
    reject: float = np.inf,
) -> Solution:
    """Fit brightness and E(B-V) to the magnitudes of stars.

    Arguments:
        excess: magnitudes less intrinsic ones, NaN where missing, ``(star, band)``.
        scatter: their independent errors, mag, ``(star, band)``.
        slope: what one common error does to each band, mag, ``(star, band)``.
        law: E(B-V) ``(star,)`` -> extinction ``(star, band)``, mag.
        reject: a band off by more than so many sigma is left out, the worst first, as
            long as four or more are there (of three, none is the odd one out) and the
            bands as a whole disagree.
    """
    there = np.isfinite(excess)
    y = np.where(there, excess, 0.0)
    weight = np.where(there, 1 / np.where(there, scatter, 1.0) ** 2, 0.0)
    fit = _fit(y, weight, slope, law)
    rejected = np.zeros_like(there)
    limit = _critical(reject)
    while np.isfinite(reject):
        count = (weight > 0).sum(axis=1)
        open_to = (count >= _LEAST_TO_REJECT) & (fit.chi2 > limit)
        worst = np.argmax(fit.off, axis=1)
        rows = np.flatnonzero(open_to & (fit.off.max(axis=1) > reject))
        if not len(rows):
            break
        weight[rows, worst[rows]] = 0.0
        rejected[rows, worst[rows]] = True
        again = _fit(y[rows], weight[rows], slope[rows], _Rows(law, rows, len(y)))
        fit = fit.replaced(rows, again)
    count = (weight > 0).sum(axis=1)
    enough = count >= 2
    nan = np.where(enough, 0.0, np.nan)
    return Solution(
        fit.ebv + nan,
        fit.error + nan,
        np.maximum(count - 1, 0),
        fit.chi2 + nan,
        rejected,
    )


def _critical(reject: float) -> float:
    """Return the chi2 that one band off by ``reject`` sigma makes alone."""
    return float(reject**2) if np.isfinite(reject) else np.inf


@dataclass(frozen=True, eq=False)
class _Fit:
    ebv: Array
    error: Array
    chi2: Array
    off: Array
    """By how many sigma each band would have to move to fit the others."""

    def replaced(self, rows, other: "_Fit") -> "_Fit":
        out = [part.copy() for part in (self.ebv, self.error, self.chi2, self.off)]
        for mine, new in zip(
            out, (other.ebv, other.error, other.chi2, other.off), strict=True
        ):
            mine[rows] = new
        return _Fit(*out)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The law of some of the stars."""

    law: Callable[[Array], Array]
    rows: NDArray[np.intp]
    size: int

    def __call__(self, ebv: Array) -> Array:
        whole = np.zeros(self.size)
        whole[self.rows] = ebv
        return self.law(whole)[self.rows]


def _fit(y: Array, weight: Array, slope: Array, law) -> _Fit:
    common = 1 + (weight * slope**2).sum(axis=1)
    tilt = weight * slope / np.sqrt(common)[:, None]

    def product(a: Array, b: Array) -> Array:
        both = (tilt * a).sum(axis=1) * (tilt * b).sum(axis=1)
        return (weight * a * b).sum(axis=1) - both

    one = np.ones_like(y)
    ebv, step = np.zeros(len(y)), 0.05
    for _ in range(_STEPS):
        dimming = law(ebv)
        lever = (law(ebv + step) - law(ebv - step)) / (2 * step)
        rest = y - dimming + lever * ebv[:, None]
        n11, n12, n22 = product(one, one), product(one, lever), product(lever, lever)
        b1, b2 = product(one, rest), product(lever, rest)
        det = n11 * n22 - n12**2
        solvable = det > 1e-12 * n11 * n22
        det = np.where(solvable, det, np.nan)
        ebv = np.nan_to_num((n11 * b2 - n12 * b1) / det)
    mu = (n22 * b1 - n12 * b2) / det
    ebv = np.where(solvable, (n11 * b2 - n12 * b1) / det, np.nan)
    residual = np.nan_to_num(rest - mu[:, None] - lever * ebv[:, None])
    chi2 = product(residual, residual)
    # z = C^-1 r, and the diagonal of the matrix that takes y to it.
    z = weight * residual - tilt * (tilt * residual).sum(axis=1)[:, None]
    c_one = weight - tilt * tilt.sum(axis=1)[:, None]
    c_lever = weight * lever - tilt * (tilt * lever).sum(axis=1)[:, None]
    used = n22[:, None] * c_one**2 - 2 * n12[:, None] * c_one * c_lever
    used = (used + n11[:, None] * c_lever**2) / det[:, None]
    left = weight - tilt**2 - used
    free = left > 1e-6 * weight
    off = np.where(free, np.abs(z) / np.sqrt(np.where(free, left, 1.0)), 0.0)
    return _Fit(ebv, np.sqrt(n11 / det), chi2, np.nan_to_num(off))
