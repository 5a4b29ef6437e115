"""The likelihood of a star's velocities if it scatters by tau beyond its errors.

Visits share the errors of their groups (`Shared`), so their covariance is
``V(tau) = D + tau^2 + sum_g r_g r_g^T``. The star's mean, or one for each velocity zero,
is integrated out (restricted likelihood, unbiased for few visits):

    -2 ln L = chi2(tau) + ln det V + ln det (Z^T V^-1 Z)

For every group the inverse is that of a diagonal matrix and one vector (Sherman and
Morrison 1950), so all is sums over groups, zeros and stars: no star has a turn of its
own. Where the covariance is a full matrix, the velocities are turned into independent
numbers first (`Contrasts`), as many as there are degrees of freedom.
"""

__all__ = [
    "Contrasts",
    "Likelihood",
    "Scatter",
    "SharedLikelihood",
    "contrasts_of",
    "most_likely",
]

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from steadystar.calibrate.visitsums import Groups, Vector, sums
from steadystar.infer.variability_covariance import Shared

_STEPS = np.array(
    [0, 0.02, 0.06, 0.12, 0.2, 0.3, 0.4, 0.55, 0.7, 0.85, 1, 1.2, 1.5, 2, 3]
)
"""Where the maximum is looked for first, in standard deviations of the velocities."""

_GOLDEN = (np.sqrt(5) - 1) / 2
_ROUNDS = 14
"""The maximum is found to 0.618^14 = 0.1% of a step, its limits to 2^-14 of theirs."""


@dataclass(frozen=True)
class SharedLikelihood:
    """Velocities with errors of their own and of their groups. All ``(visit,)``.

    ``freedom`` (star,): degrees of freedom.
    """

    rv: Vector
    shared: Shared
    groups: Groups
    freedom: NDArray[np.intp]

    @classmethod
    def about_zeros(
        cls, rv: Vector, shared: Shared, groups: Groups
    ) -> "SharedLikelihood":
        """Make one of velocities, which are centered so that sums keep their digits."""
        size = np.maximum(groups.n_of_zero, 1)
        rv = rv - (groups.zeros(rv) / size)[groups.zero]
        used = np.bincount(groups.star_of_zero, groups.n_of_zero > 0, groups.n_stars)
        count = np.bincount(groups.star, minlength=groups.n_stars)
        return cls(rv, shared, groups, count - used.astype(np.intp))

    def at(self, tau: Vector) -> tuple[Vector, Vector]:
        """Return chi2 and ln L of every star, ``(star,)``, for its scatter tau."""
        groups, stars = self.groups, self.groups.n_stars
        w = 1 / (self.shared.variance + tau[groups.star] ** 2)
        y = w * self.rv
        s0, s1, s2 = (groups.zeros(x) for x in (w, y, y * self.rv))
        log_det = -sums(groups.star, np.log(w), stars)
        tied, block, zero = self._tied
        if len(tied):
            r = self.shared.amplitude[tied]
            q = 1 + sums(block, w[tied] * r * r, len(zero))
            b0, b1 = (sums(block, r * x[tied], len(zero)) for x in (w, y))
            for total, taken in ((s0, b0 * b0), (s1, b0 * b1), (s2, b1 * b1)):
                total -= sums(zero, taken / q, groups.n_zeros)
            log_det += sums(groups.star_of_zero[zero], np.log(q), stars)
        some = groups.n_of_zero > 0
        s0 = np.where(some, s0, 1.0)
        chi2 = groups.stars(s2 - s1**2 / s0)
        return chi2, -0.5 * (chi2 + log_det + groups.stars(np.log(s0)))

    @cached_property
    def _tied(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return visits that share an error, the group of each, and its zero."""
        tied = np.flatnonzero(self.shared.block >= 0)
        _, first, block = np.unique(
            self.shared.block[tied], return_index=True, return_inverse=True
        )
        return tied, block, self.groups.zero[tied[first]]

    def width(self) -> Vector:
        """Return the standard deviation of each star's velocities, ``(star,)``."""
        total = sums(self.groups.star, self.rv**2, self.groups.n_stars)
        return np.sqrt(total / np.maximum(self.freedom, 1))

    def of(self, chosen: NDArray[np.bool_]) -> "SharedLikelihood":
        """Return the same for the ``chosen`` stars (mask), renumbered."""
        groups = self.groups
        rows = chosen[groups.star]
        zeros = chosen[groups.star_of_zero]
        renumbered = np.cumsum(zeros) - 1
        star = np.cumsum(chosen) - 1
        part = Groups(
            renumbered[groups.zero[rows]],
            star[groups.star_of_zero[zeros]],
            int(chosen.sum()),
        )
        shared = self.shared
        shared = Shared(
            shared.variance[rows], shared.amplitude[rows], shared.block[rows]
        )
        return SharedLikelihood(self.rv[rows], shared, part, self.freedom[chosen])


@dataclass(frozen=True)
class Contrasts:
    """Independent numbers of mean zero: ``value`` and ``variance``, ``(number,)``.

    ``star``: whose each is; ``n_stars``: how many stars there are.
    """

    value: Vector
    variance: Vector
    star: NDArray[np.intp]
    n_stars: int

    def at(self, tau: Vector) -> tuple[Vector, Vector]:
        """Return chi2 and ln L of every star, ``(star,)``, for its scatter tau."""
        variance = self.variance + tau[self.star] ** 2
        chi2 = sums(self.star, self.value**2 / variance, self.n_stars)
        return chi2, -0.5 * (chi2 + sums(self.star, np.log(variance), self.n_stars))

    @property
    def freedom(self) -> NDArray[np.intp]:
        """Degrees of freedom, ``(star,)``."""
        return np.bincount(self.star, minlength=self.n_stars)

    def width(self) -> Vector:
        """Return the standard deviation of each star's velocities, ``(star,)``."""
        total = sums(self.star, self.value**2, self.n_stars)
        return np.sqrt(total / np.maximum(self.freedom, 1))

    def of(self, chosen: NDArray[np.bool_]) -> "Contrasts":
        """Return the same for the ``chosen`` stars (mask), renumbered."""
        rows, star = chosen[self.star], np.cumsum(chosen) - 1
        return Contrasts(
            self.value[rows],
            self.variance[rows],
            star[self.star[rows]],
            int(chosen.sum()),
        )


Likelihood = SharedLikelihood | Contrasts
"""What `most_likely` takes: both give chi2 and ln L of all stars at a scatter."""


def contrasts_of(
    rv: Vector, covariance: Vector, zero: NDArray[np.intp]
) -> tuple[Vector, Vector, NDArray[np.bool_]]:
    """Turn velocities of stars, (star, n), into contrasts: values, variances, mask.

    ``covariance`` (star, n, n); ``zero`` (star, n) tells the velocity zeros of a star
    apart. The contrasts are those combinations of velocities that know nothing of the
    zeros and are independent, and stay so if every visit scatters by tau besides. The
    mask (star, n) says which there are.
    """
    n = rv.shape[1]
    same = zero[:, :, None] == zero[:, None, :]
    mean = same / same.sum(axis=2, keepdims=True)
    rest = np.eye(n) - mean
    # The zeros get a variance beyond all others: they are the last eigenvectors.
    beyond = 10 * np.trace(covariance, axis1=1, axis2=2)[:, None, None]
    variance, vector = np.linalg.eigh(rest @ covariance @ rest + beyond * mean)
    deviation = rv - np.einsum("sij,sj->si", mean, rv)
    zeros = np.round(np.trace(mean, axis1=1, axis2=2)).astype(int)
    value = np.einsum("snk,sn->sk", vector, deviation)
    return value, variance, np.arange(n) < n - zeros[:, None]


@dataclass(frozen=True)
class Scatter:
    """The most likely scatter beyond the errors, km/s, and its 68% limits, (star,)."""

    value: Vector
    low: Vector
    high: Vector


def most_likely(likelihood: Likelihood, several: NDArray[np.bool_]) -> Scatter:
    """Return the most likely scatter and where ln L is 1/2 less than there.

    The lower limit is 0 where no scatter at all is nearly as likely. NaN for stars
    that are not among ``several`` (mask): those with no degree of freedom.
    """
    part = likelihood.of(several)
    width = part.width()
    best, peak = np.zeros(len(width)), np.full(len(width), -np.inf)
    step = np.zeros(len(width), int)
    for k, one in enumerate(_STEPS):
        log = part.at(one * width)[1]
        better = log > peak
        peak, step = np.where(better, log, peak), np.where(better, k, step)
    best = _STEPS[step] * width
    inside = step > 0
    if inside.any():
        low = _STEPS[step[inside] - 1] * width[inside]
        high = _STEPS[np.minimum(step[inside] + 1, len(_STEPS) - 1)] * width[inside]
        best[inside], peak[inside] = _maximum(part.of(inside), low, high)
    none = np.zeros(len(width))
    lower = none.copy()
    at_zero = part.at(none)[1]
    far = at_zero < peak - 0.5
    if far.any():
        lower[far] = _crossing(part.of(far), best[far], none[far], peak[far] - 0.5)
    high = np.maximum(2 * best, 0.5 * width)
    inner = best.copy()
    while True:
        short = part.at(high)[1] > peak - 0.5
        if not short.any():
            break
        inner, high = np.where(short, high, inner), np.where(short, 2 * high, high)
        # Velocities that agree to the last digit leave nothing to double.
        high = np.where(short & (high == 0), 1e-6, high)
    upper = _crossing(part, inner, high, peak - 0.5)
    out = []
    for values in (best, lower, upper):
        full = np.full(len(several), np.nan)
        full[several] = values
        out.append(full)
    return Scatter(*out)


def _maximum(likelihood: Likelihood, low: Vector, high: Vector):
    """Return where between two points ln L is largest, by golden section, and ln L."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = likelihood.at(left)[1], likelihood.at(right)[1]
    for _ in range(_ROUNDS):
        lower = at_left > at_right
        low, high = np.where(lower, low, left), np.where(lower, right, high)
        new = np.where(lower, high - _GOLDEN * (high - low), 0)
        new = np.where(lower, new, low + _GOLDEN * (high - low))
        value = likelihood.at(new)[1]
        left, right = np.where(lower, new, right), np.where(lower, left, new)
        at_left, at_right = (
            np.where(lower, value, at_right),
            np.where(lower, at_left, value),
        )
    better = at_left > at_right
    return np.where(better, left, right), np.where(better, at_left, at_right)


def _crossing(likelihood: Likelihood, above: Vector, below: Vector, level: Vector):
    """Return where ln L falls through ``level``, by halving from above and below."""
    for _ in range(_ROUNDS):
        middle = (above + below) / 2
        high = likelihood.at(middle)[1] > level
        above, below = np.where(high, middle, above), np.where(high, below, middle)
    return (above + below) / 2
