"""The law ``a x^b + c`` fitted to squared deviations, or to their widths.

Inside, the law is ``s + t (u^b - 1)/b`` with ``u = x/x0`` and ``x0`` in the middle of the
data: ``s`` is its value there and ``t`` its slope in ln x. In this form it passes smoothly
through b = 0, a logarithm, from laws that fall by a > 0, b < 0 to those that fall by
a < 0, b > 0; in ``a`` and ``c`` it does not, since both are infinite there.

A prior of -1 +- 3 on ``b`` (-1: photons) decides where the data show no trend at all, and
is worth less than one deviation where they do.
"""

__all__ = ["LawFit", "fit_squares", "fit_widths"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.visitsums import Vector, sums

_BIN = 0.01
"""Width of the bins in ln x in which deviations are summed: the law moves by 1%."""

_PRIOR_B, _PRIOR_WIDTH = -1.0, 3.0
_ROUNDS, _PRECISION = 200, 1e-7
_LOGARITHM = 1e-4
"""Of b: below it ``(u^b - 1)/b`` is taken from its series, above it from itself."""


@dataclass(frozen=True)
class LawFit:
    """The law about ``x0``: ``parameters`` (s, t, b) and their covariance (3, 3)."""

    x0: float
    parameters: Vector
    covariance: NDArray[np.float64]

    def __call__(self, x: Vector) -> Vector:
        """Return the law at ``x``, ``(n,)``."""
        s, t, b = self.parameters
        return s + t * _power(np.log(x / self.x0), b)[0]

    def coefficients(self) -> tuple[Vector, NDArray[np.float64]]:
        """Return ``(a, b, c)`` and their covariance (3, 3)."""
        s, t, b = self.parameters
        b = b if abs(b) > _LOGARITHM else np.copysign(_LOGARITHM, b)
        scale = self.x0**-b
        a = t / b * scale
        da_db = -a * (1 / b + np.log(self.x0))
        jacobian = np.array(
            [[0, scale / b, da_db], [0, 0, 1], [1, -1 / b, t / b**2]], float
        )
        covariance = jacobian @ self.covariance @ jacobian.T
        return np.array([a, b, s - t / b]), covariance


def fit_squares(
    x: Vector, square: Vector, count: Vector, start: LawFit | None = None
) -> LawFit:
    """Maximize the likelihood of Gaussian deviations with the law as their width.

    Arguments:
        x: positive, ``(n,)``.
        square: squared deviations, with the expectation of the law's square.
        count: how far each counts, in degrees of freedom.
        start: where to begin.

    The covariance is the inverse of Fisher's information.
    """
    x0 = (
        float(np.exp(np.average(np.log(x), weights=count)))
        if start is None
        else start.x0
    )
    log, square, count = _binned(np.log(x / x0), square, count)
    if start is None:
        width = float(np.sqrt(np.average(square, weights=count)))
        theta = np.array([width, -0.5 * width, _PRIOR_B])
        while np.any(_law(theta, log)[0] <= 0):
            theta[1] /= 2
    else:
        theta = start.parameters.copy()

    def loss(theta: Vector) -> float:
        law = _law(theta, log)[0]
        if not np.all(law > 0):
            return np.inf
        prior = ((theta[2] - _PRIOR_B) / _PRIOR_WIDTH) ** 2
        return float(np.sum(count * (np.log(law) + square / (2 * law**2))) + prior / 2)

    def slope(theta: Vector) -> tuple[Vector, NDArray[np.float64]]:
        law, by = _law(theta, log)
        gradient = by @ (count * (1 / law - square / law**3))
        information = (by * (2 * count / law**2)) @ by.T
        gradient[2] += (theta[2] - _PRIOR_B) / _PRIOR_WIDTH**2
        information[2, 2] += _PRIOR_WIDTH**-2
        return gradient, information

    theta, information = _minimum(theta, loss, slope)
    return LawFit(x0, theta, np.asarray(np.linalg.inv(information), np.float64))


def fit_widths(x: Vector, width: Vector, covariance: NDArray[np.float64]) -> LawFit:
    """Fit the law to widths at points ``x`` by least squares, all points alike.

    ``covariance`` (n, n) of the widths gives that of the result.
    """
    x0 = float(np.exp(np.mean(np.log(x))))
    log = np.log(x / x0)
    unit = float(np.mean(np.diag(covariance)))
    theta = np.array([np.median(width), 0.0, _PRIOR_B])
    theta[1] = float(np.polyfit(log, width, 1)[0])
    while np.any(_law(theta, log)[0] <= 0):
        theta[1] /= 2

    def loss(theta: Vector) -> float:
        law = _law(theta, log)[0]
        if not np.all(law > 0):
            return np.inf
        prior = ((theta[2] - _PRIOR_B) / _PRIOR_WIDTH) ** 2
        return float(np.sum((width - law) ** 2) / unit + prior) / 2

    def slope(theta: Vector) -> tuple[Vector, NDArray[np.float64]]:
        law, by = _law(theta, log)
        gradient = by @ (law - width) / unit
        information = by @ by.T / unit
        gradient[2] += (theta[2] - _PRIOR_B) / _PRIOR_WIDTH**2
        information[2, 2] += _PRIOR_WIDTH**-2
        return gradient, information

    theta, information = _minimum(theta, loss, slope)
    by = _law(theta, log)[1]
    back = np.linalg.inv(information) / unit
    prior = np.diag([0, 0, unit**2 / _PRIOR_WIDTH**2])
    return LawFit(x0, theta, np.asarray(back @ (by @ covariance @ by.T + prior) @ back))


def _power(log: Vector, b: float) -> tuple[Vector, Vector]:
    """Return ``(exp(b log) - 1)/b`` and its derivative by b."""
    if abs(b) > _LOGARITHM:
        value = np.expm1(np.clip(b * log, -500, 500)) / b
        return value, (log * (b * value + 1) - value) / b
    return log + b * log**2 / 2, log**2 / 2 + b * log**3 / 3


def _law(theta: Vector, log: Vector) -> tuple[Vector, NDArray[np.float64]]:
    """Return the law ``(n,)`` and its derivatives by the parameters ``(3, n)``."""
    s, t, b = theta
    value, by_b = _power(log, b)
    return s + t * value, np.stack([np.ones_like(log), value, t * by_b])


def _binned(log: Vector, square: Vector, count: Vector) -> tuple[Vector, ...]:
    place = np.floor(log / _BIN).astype(np.int64)
    _, place = np.unique(place, return_inverse=True)
    size = int(place.max()) + 1
    total = sums(place, count, size)
    some = total > 0
    safe = np.where(some, total, 1.0)
    middle = sums(place, count * log, size) / safe
    mean = sums(place, count * square, size) / safe
    return middle[some], mean[some], total[some]


def _minimum(theta: Vector, loss, slope) -> tuple[Vector, NDArray[np.float64]]:
    """Descend by damped scoring; return the minimum and the information there."""
    value, damping = loss(theta), 1e-3
    gradient, information = slope(theta)
    for _ in range(_ROUNDS):
        scale = np.diag(np.maximum(np.diag(information), 1e-300))
        step = np.linalg.solve(information + damping * scale, gradient)
        step[2] = np.clip(step[2], -0.5, 0.5)
        better = loss(theta - step)
        if better <= value:
            theta, damping = theta - step, max(damping / 10, 1e-12)
            settled = value - better < _PRECISION and gradient @ step < _PRECISION
            value = better
            gradient, information = slope(theta)
            if settled:
                break
        else:
            damping *= 10
            if damping > 1e12:
                break
    return theta, information
