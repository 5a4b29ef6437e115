"""Generalized least squares for the reddening of many stars at once.

One star's magnitudes, less its intrinsic ones, are ``y = mu + A(E) + noise`` with the
covariance ``C = diag(s^2) + v v^T + u u^T + ...``: independent errors and a few common
ones (of the temperature, of the dust's law), each with what one deviation of it does to
every band. Their inverse grows by one term at a time (Sherman & Morrison 1950),

    C^-1 <- C^-1 - t t^T,      t = C^-1 v / sqrt(1 + v^T C^-1 v),

so that a million stars are a few array operations. A missing band has weight 0.
"""

__all__ = ["Law", "Solution", "solve"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_law

Array = NDArray[np.float64]

_STEPS, _STEPS_NEAR = 4, 2
_STEP = 0.02
_LEAST_TO_REJECT = 4
_FREE = 1e-6
_DOUBTFUL = 1e-4
"""Probability of so large a chi2 by chance, below which bands are said to disagree."""


Law = Callable[[Array, NDArray[np.intp]], Array]
"""E(B-V) ``(star,)`` of the stars of some rows -> extinction ``(star, band)``, mag."""


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
    common: Sequence[Array],
    law: Law,
    reject: float = np.inf,
    near: Array | None = None,
) -> Solution:
    """Fit brightness and E(B-V) to the magnitudes of stars.

    Arguments:
        excess: magnitudes less intrinsic ones, NaN where missing, ``(star, band)``.
        scatter: their independent errors, mag, ``(star, band)``.
        common: what one deviation of each common error does, mag, ``(star, band)`` each.
        law: E(B-V) ``(star,)`` and the rows of these stars -> extinction, mag,
            ``(star, band)``.
        reject: a band off by more than so many sigma is left out, the worst first, as
            long as four or more are there: of three, none is the odd one out.
        near: E(B-V) to begin with, ``(star,)``, if it is nearly known.
    """
    there = np.isfinite(excess)
    y = np.where(there, excess, 0.0)
    weight = np.where(there, 1 / np.where(there, scatter, 1.0) ** 2, 0.0)
    every = np.arange(len(y))
    begin, steps = (np.zeros(len(y)), _STEPS) if near is None else (near, _STEPS_NEAR)
    fit = _fit(y, weight, common, _Problem(law, every, begin, steps))
    rejected = np.zeros_like(there)
    while True:
        enough = (weight > 0).sum(axis=1) >= _LEAST_TO_REJECT
        rows = every[enough & (fit.off.max(axis=1, initial=0) > reject)]
        if not len(rows):
            break
        worst = np.argmax(fit.off[rows], axis=1)
        weight[rows, worst] = 0.0
        rejected[rows, worst] = True
        again = _fit(
            y[rows],
            weight[rows],
            [c[rows] for c in common],
            _Problem(law, rows, np.nan_to_num(fit.ebv[rows]), _STEPS_NEAR),
        )
        for name in _Fit.__dataclass_fields__:
            getattr(fit, name)[rows] = getattr(again, name)
    count = (weight > 0).sum(axis=1)
    nan = np.where(count >= 2, 0.0, np.nan)
    return Solution(
        fit.ebv + nan,
        fit.error + nan,
        np.maximum(count - 1, 0),
        fit.chi2 + nan,
        rejected,
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    """One solution; ``off``: by how many sigma each band lies off what others say."""

    ebv: Array
    error: Array
    chi2: Array
    off: Array


@dataclass(frozen=True, eq=False)
class _Metric:
    """The inverse of the covariance, ``diag(weight) - sum t t^T`` over ``tilts``."""

    weight: Array
    tilts: tuple[Array, ...] = ()

    @classmethod
    def of(cls, weight: Array, common: Sequence[Array]) -> "_Metric":
        metric = cls(weight)
        for slope in common:
            size = np.sqrt(1 + metric.product(slope, slope))
            metric = cls(weight, (*metric.tilts, metric.times(slope) / size[:, None]))
        return metric

    def times(self, a: Array) -> Array:
        out = self.weight * a
        for tilt in self.tilts:
            out = out - tilt * (tilt * a).sum(axis=1, keepdims=True)
        return out

    def product(self, a: Array, b: Array) -> Array:
        return (self.times(a) * b).sum(axis=1)

    @property
    def diagonal(self) -> Array:
        return self.weight - sum(tilt**2 for tilt in self.tilts)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The law for these rows, and from where and in how many steps to solve it."""

    law: Law
    rows: NDArray[np.intp]
    begin: Array
    steps: int


def _fit(y: Array, weight: Array, common: Sequence[Array], problem: _Problem) -> _Fit:
    metric = _Metric.of(weight, common)
    lines = _Lines.at(y, problem.begin, problem, metric)
    for _ in range(problem.steps - 1):
        lines = _Lines.at(y, np.nan_to_num(lines.ebv), problem, metric)
    off = np.zeros_like(y)
    left = lines.left(metric)
    free = left > _FREE * weight
    pull = metric.times(lines.residual)
    off[free] = np.abs(pull[free]) / np.sqrt(left[free])
    chi2 = (pull * lines.residual).sum(axis=1)
    return _Fit(lines.ebv, np.sqrt(lines.n11 / lines.det), chi2, off)


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
    def at(cls, y: Array, near: Array, problem: _Problem, metric: _Metric) -> "_Lines":
        here = problem.law(near, problem.rows)
        lever = (problem.law(near + _STEP, problem.rows) - here) / _STEP
        rest = y - here + lever * near[:, None]
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
        return metric.diagonal - used
