"""Generalized least squares for the reddening of many stars at once.

One star's magnitudes, less its intrinsic ones, are ``y = mu + A(E) + noise`` with the
covariance ``C = diag(s^2) + v v^T``. The inverse of such a matrix is known in closed form
(Sherman & Morrison 1950), so that products ``<a, b> = a^T C^-1 b`` are sums over bands,

    <a, b> = sum w a b - (sum w v a)(sum w v b) / (1 + sum w v^2),      w = 1/s^2,

and a million stars are a few array operations. A missing band has w = 0.
"""

__all__ = ["Law", "Solution", "solve"]

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_law

Array = NDArray[np.float64]

_STEPS = 4
_STEP = 0.05
_LEAST_TO_REJECT = 4
_FREE = 1e-6
_DOUBTFUL = 1e-4
"""Probability of so large a chi2 by chance, below which bands are said to disagree."""


class Law(Protocol):
    """The extinction of some of the stars in all bands."""

    def __call__(self, ebv: Array, rows: NDArray[np.intp]) -> Array:
        """Return ``(star, band)``, mag, for E(B-V) ``(star,)`` of the stars ``rows``."""
        ...


@dataclass(frozen=True, eq=False)
class Solution:
    """Reddening of stars: arrays ``(star,)``, ``rejected`` ``(star, band)``.

    ``shift``: the likeliest common error of each star, in units of its deviation.
    """

    ebv: Array
    ebv_err: Array
    n_colors: NDArray[np.intp]
    chi2: Array
    shift: Array
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
    law: Law,
    reject: float = np.inf,
) -> Solution:
    """Fit brightness and E(B-V) to the magnitudes of stars.

    Arguments:
        excess: magnitudes less intrinsic ones, NaN where missing, ``(star, band)``.
        scatter: their independent errors, mag, ``(star, band)``.
        slope: what one common error does to each band, mag, ``(star, band)``.
        law: E(B-V) ``(star,)`` and the rows of these stars -> extinction, mag,
            ``(star, band)``.
        reject: a band off by more than so many sigma is left out, the worst first, as
            long as four or more are there: of three, none is the odd one out.
    """
    there = np.isfinite(excess)
    y = np.where(there, excess, 0.0)
    weight = np.where(there, 1 / np.where(there, scatter, 1.0) ** 2, 0.0)
    every = np.arange(len(y))
    fit = _fit(y, weight, slope, law, every)
    rejected = np.zeros_like(there)
    while True:
        enough = (weight > 0).sum(axis=1) >= _LEAST_TO_REJECT
        rows = every[enough & (fit.off.max(axis=1, initial=0) > reject)]
        if not len(rows):
            break
        worst = np.argmax(fit.off[rows], axis=1)
        weight[rows, worst] = 0.0
        rejected[rows, worst] = True
        again = _fit(y[rows], weight[rows], slope[rows], law, rows)
        for name in _Fit.__dataclass_fields__:
            getattr(fit, name)[rows] = getattr(again, name)
    count = (weight > 0).sum(axis=1)
    nan = np.where(count >= 2, 0.0, np.nan)
    return Solution(
        fit.ebv + nan,
        fit.error + nan,
        np.maximum(count - 1, 0),
        fit.chi2 + nan,
        np.where(count >= 2, fit.shift, 0.0),
        rejected,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """One solution; ``off``: by how many sigma each band lies off what others say."""

    ebv: Array
    error: Array
    chi2: Array
    shift: Array
    off: Array


@dataclass(frozen=True, eq=False)
class _Metric:
    """The inverse of the covariance, ``C^-1 = diag(weight) - tilt tilt^T``."""

    weight: Array
    tilt: Array

    @classmethod
    def of(cls, weight: Array, slope: Array) -> "_Metric":
        common = 1 + (weight * slope**2).sum(axis=1, keepdims=True)
        return cls(weight, weight * slope / np.sqrt(common))

    def times(self, a: Array) -> Array:
        return self.weight * a - self.tilt * (self.tilt * a).sum(axis=1, keepdims=True)

    def product(self, a: Array, b: Array) -> Array:
        return (self.times(a) * b).sum(axis=1)


def _fit(y: Array, weight: Array, slope: Array, law: Law, rows) -> _Fit:
    metric = _Metric.of(weight, slope)
    ebv = np.zeros(len(y))
    lines = _Lines.at(y, ebv, law, rows, metric)
    for _ in range(_STEPS - 1):
        lines = _Lines.at(y, np.nan_to_num(lines.ebv), law, rows, metric)
    residual = lines.residual
    off = np.zeros_like(y)
    left = lines.left(metric)
    free = left > _FREE * weight
    off[free] = np.abs(metric.times(residual))[free] / np.sqrt(left[free])
    shift = (weight * slope * residual).sum(axis=1)
    shift = shift / (1 + (weight * slope**2).sum(axis=1))
    chi2 = metric.product(residual, residual)
    return _Fit(lines.ebv, np.sqrt(lines.n11 / lines.det), chi2, shift, off)


@dataclass(frozen=True, eq=False)
class _Lines:
    """The fit of ``mu + lever E`` where the law is a straight line near some E."""

    lever: Array
    n11: Array
    n12: Array
    n22: Array
    det: Array
    ebv: Array
    residual: Array

    @classmethod
    def at(cls, y: Array, near: Array, law: Law, rows, metric: _Metric) -> "_Lines":
        up, down = law(near + _STEP, rows), law(near - _STEP, rows)
        lever = (up - down) / (2 * _STEP)
        rest = y - law(near, rows) + lever * near[:, None]
        one = np.ones_like(y)
        n11, n12 = metric.product(one, one), metric.product(one, lever)
        n22 = metric.product(lever, lever)
        b1, b2 = metric.product(one, rest), metric.product(lever, rest)
        det = n11 * n22 - n12**2
        det = np.where(det > 1e-12 * n11 * n22, det, np.nan)
        ebv, mu = (n11 * b2 - n12 * b1) / det, (n22 * b1 - n12 * b2) / det
        residual = np.nan_to_num(rest - mu[:, None] - lever * ebv[:, None])
        return cls(lever, n11, n12, n22, det, ebv, residual)

    def left(self, metric: _Metric) -> Array:
        """Return how well each band is checked by the others: 1/variance, mag^-2.

        It is the diagonal of C^-1 - C^-1 X (X^T C^-1 X)^-1 X^T C^-1, with which
        (C^-1 r)_b over its root is unit normal if all is well.
        """
        one, lever = metric.times(np.ones_like(self.lever)), metric.times(self.lever)
        n11, n12, n22 = (n[:, None] for n in (self.n11, self.n12, self.n22))
        used = n22 * one**2 - 2 * n12 * one * lever + n11 * lever**2
        used = np.where(
            np.isfinite(self.det)[:, None], used / self.det[:, None], np.inf
        )
        return metric.weight - metric.tilt**2 - used
