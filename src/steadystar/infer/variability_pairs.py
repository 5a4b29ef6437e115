"""The two visits of a star that differ most, and how often chance does as much.

Of all pairs of a star's n visits (of one velocity zero) the one counts whose difference
is largest in units of its own error. A constant star has ``n (n - 1) / 2`` chances, but
these depend on each other: with equal errors the answer is that of the studentized
range, with other errors there is no formula.

**Independent visits.** All pairs stay within ``t sigma_ij`` if thresholds ``a_i`` with
``a_i + a_j = t sigma_ij`` make all intervals ``x_i +- a_i`` overlap, and the chance of
that is one integral over the largest lower end,

    P = int sum_i phi_i(m + a_i) prod_(j != i) [Phi_j(m + a_j) - Phi_j(m - a_j)] dm.

Such thresholds exist for three visits, or equal errors; for others those of least squares
are near enough to say by how much the pairs overlap: the sum of the chances of all pairs,
which is known exactly, is multiplied by the ratio of -ln P to that sum, both for the
thresholds that were used.

**Visits that share errors, or whose errors differ a lot.** A pair is chosen, its difference drawn beyond the threshold
and all visits with it: the chance that any pair is beyond is the sum over pairs times the
mean of one over the number of pairs that are (Owen, Maximov & Chertkov 2019, Electronic
Journal of Statistics 13, 231). The same numbers are drawn for all stars of n visits.
"""

__all__ = [
    "Largest",
    "Pairs",
    "chance_of_largest",
    "chance_sampled",
    "largest_difference",
    "largest_of_stars",
]

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from steadystar.calibrate.visitsums import Groups, Vector

_CELLS = 4_000_000
"""Numbers that are held at once in one array (32 MB)."""

_NODES = 30
_REACH = 6.0
_SMALLEST = 0.25
"""Errors below this part of the median count as it, where overlaps are concerned."""

_UNEVEN = 0.35
"""Spread of ln(error) beyond which overlaps are sampled, not computed."""

_RARE = 1e-7
"""Below this sum over pairs, the sum is the answer: it is never too small."""

_LOOSE = 0.05
"""Visits are as good as independent if none are more correlated."""

_SAMPLES = 200


@dataclass(frozen=True)
class Largest:
    """Difference of two visits, its error, and their ratio, ``(group,)``."""

    difference: Vector
    error: Vector
    ratio: Vector


@dataclass(frozen=True)
class Pairs:
    """The largest difference of two visits of each star, ``(star,)``; NaN if none.

    ``difference`` (km/s), its ``error``, their ``ratio``, and the ``chance`` of as much.
    """

    difference: Vector
    error: Vector
    ratio: Vector
    chance: Vector


def largest_of_stars(
    rv: Vector,
    groups: Groups,
    covariances: Callable[[], Iterable[tuple[NDArray[np.intp], Vector]]],
) -> Pairs:
    """Return the largest difference of each star, in units of its error.

    Arguments:
        rv: of each visit.
        groups: which visits share a velocity zero; only those are compared.
        covariances: gives, as often as asked, rows (zero, n) of visits of one zero each,
            and their covariance (zero, n, n), or variances (zero, n) if independent.
    """
    out = np.full((4, groups.n_stars), np.nan)
    for rows, covariance in covariances():
        if not rows.size or rows.shape[1] < 2:
            continue
        found = largest_difference(rv[rows], covariance)
        star = groups.star[rows[:, 0]]
        # A star may have several zeros: the smaller one first, so that the larger stays.
        better = found.ratio > np.nan_to_num(out[2, star], nan=-1.0)
        order = np.flatnonzero(better)
        order = order[np.argsort(found.ratio[order], kind="stable")]
        for row, values in enumerate((found.difference, found.error, found.ratio)):
            out[row, star[order]] = values[order]
    log_none = np.zeros(groups.n_stars)
    for rows, covariance in covariances():
        if not rows.size or rows.shape[1] < 2:
            continue
        star = groups.star[rows[:, 0]]
        chance = _chance_of(out[2, star], covariance)
        np.add.at(log_none, star, np.log1p(-np.minimum(chance, 1 - 1e-16)))
    out[3] = np.where(np.isnan(out[2]), np.nan, -np.expm1(log_none))
    return Pairs(*out)


def _chance_of(t: Vector, covariance: Vector) -> Vector:
    """Return the chances, by integration where the visits are as good as independent."""
    if covariance.ndim == 2:
        return chance_of_largest(t, covariance)
    n = covariance.shape[1]
    own = np.diagonal(covariance, axis1=1, axis2=2)
    # What all visits have in common is in no difference.
    common = (covariance.sum(axis=(1, 2)) - own.sum(axis=1)) / (n * (n - 1))
    common = np.minimum(common, 0.9 * own.min(axis=1))
    covariance = covariance - common[:, None, None]
    own = own - common[:, None]
    scale = np.sqrt(own[:, :, None] * own[:, None, :])
    beside = (np.abs(covariance) / scale)[:, ~np.eye(n, dtype=bool)].max(axis=1)
    out = np.empty(len(t))
    loose = beside < _LOOSE
    out[loose] = chance_of_largest(t[loose], own[loose])
    total = n * (n - 1) * ndtr(-t)
    rare = ~loose & (total <= _RARE)
    out[rare] = total[rare]
    tight = ~loose & ~rare
    out[tight] = chance_sampled(t[tight], covariance[tight])
    return out


def largest_difference(rv: Vector, covariance: Vector) -> Largest:
    """Return the pair that differs most in units of its error.

    Arguments:
        rv: ``(group, n)`` velocities.
        covariance: ``(group, n, n)``, or ``(group, n)`` if visits are independent.
    """
    n = rv.shape[1]
    i, j = np.triu_indices(n, 1)
    out = np.empty((3, len(rv)))
    for part in _parts(len(rv), len(i)):
        difference = np.abs(rv[part][:, i] - rv[part][:, j])
        error = _errors(covariance[part], i, j)
        ratio = difference / error
        best = np.argmax(ratio, axis=1)[:, None]
        for row, values in enumerate((difference, error, ratio)):
            out[row, part] = np.take_along_axis(values, best, axis=1)[:, 0]
    return Largest(*out)


def _errors(covariance: Vector, i: NDArray, j: NDArray) -> Vector:
    if covariance.ndim == 2:
        return np.sqrt(covariance[:, i] + covariance[:, j])
    own = np.diagonal(covariance, axis1=1, axis2=2)
    square = own[:, i] + own[:, j] - 2 * covariance[:, i, j]
    # Two visits of one fiber and no noise would differ by nothing, exactly.
    return np.sqrt(np.maximum(square, 1e-12 * (own[:, i] + own[:, j])))


def chance_of_largest(t: Vector, variance: Vector) -> Vector:
    """Return the chance that any pair of independent visits differs by t or more.

    ``t`` (group,) in units of the error of each pair; ``variance`` (group, n).
    """
    out = np.empty(len(t))
    n = variance.shape[1]
    for part in _parts(len(t), n * max(_NODES, n)):
        out[part] = _chance(t[part], np.sqrt(variance[part]))
    total = n * (n - 1) * ndtr(-t)
    uneven = np.std(np.log(variance), axis=1) / 2 > _UNEVEN
    sampled = np.flatnonzero(uneven & (total > _RARE) & (total < 1) & (n > 3))
    if len(sampled):
        out[sampled] = chance_sampled(t[sampled], variance[sampled])
    return out


def _chance(t: Vector, sigma: Vector) -> Vector:
    n = sigma.shape[1]
    if n < 2:
        return np.zeros(len(t))
    single = 2 * ndtr(-t)
    if n == 2:
        return single
    total = n * (n - 1) / 2 * single
    out = np.minimum(total, 1.0)
    open_ = np.flatnonzero(total > _RARE)
    if not len(open_):
        return out
    t, sigma = t[open_, None], sigma[open_]
    sigma = np.maximum(sigma, _SMALLEST * np.median(sigma, axis=1, keepdims=True))
    i, j = np.triu_indices(n, 1)
    pair = np.sqrt(sigma[:, i] ** 2 + sigma[:, j] ** 2)
    a = t * _thresholds(sigma)
    summed = 2 * ndtr(-(a[:, i] + a[:, j]) / pair).sum(axis=1)
    inside = np.clip(_all_overlap(sigma, a), 1e-300, 1.0)
    overlapping = np.minimum(-np.log(inside) / summed, 1.0)
    out[open_] = -np.expm1(-total[open_] * overlapping)
    return out


def _thresholds(sigma: Vector) -> Vector:
    """Return ``a`` (group, n) with ``a_i + a_j`` nearest to the errors of all pairs."""
    n = sigma.shape[1]
    pair = np.sqrt(sigma[:, :, None] ** 2 + sigma[:, None, :] ** 2)
    own = np.arange(n)
    weight = pair**-4.0
    weight[:, own, own] = 0.0
    right = (weight * pair).sum(axis=2)
    weight[:, own, own] = weight.sum(axis=2)
    return np.maximum(np.linalg.solve(weight, right[:, :, None])[:, :, 0], 0.0)


def _all_overlap(sigma: Vector, a: Vector) -> Vector:
    """Return the chance that all intervals ``x +- a`` of Gaussian x overlap, (group,)."""
    reach = np.min(a + _REACH * sigma, axis=1)
    step = reach / (_NODES - 0.5)
    total = np.zeros(len(sigma))
    for node in range(_NODES):
        # The integrand at -m is that at m with the ends exchanged: half the nodes do.
        m = ((node + 0.5) * step)[:, None]
        upper, lower = (a + m) / sigma, (m - a) / sigma
        within = np.maximum(ndtr(upper) - ndtr(lower), 1e-300)
        density = np.exp(-(upper**2) / 2) + np.exp(-(lower**2) / 2)
        each = (density / (sigma * within)).sum(axis=1)
        total += each * np.exp(np.log(within).sum(axis=1))
    return total * step / np.sqrt(2 * np.pi)


def chance_sampled(t: Vector, covariance: Vector) -> Vector:
    """Return the same for visits of any covariance, by sampling.

    ``covariance``: ``(group, n, n)``, or ``(group, n)`` for independent visits. Where
    the sum of the chances of all pairs exceeds 1, samples are plain. The standard error
    is 0.04 at most; that of chances below 0.05 is less than a tenth of them.
    """
    n = covariance.shape[1]
    pairs = np.triu_indices(n, 1)
    rng = np.random.default_rng(n)
    level = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    drawn = _Drawn(
        rng.standard_normal((_SAMPLES, n)),
        rng.permutation(np.arange(_SAMPLES) % len(pairs[0])),
        rng.permutation(level) * rng.choice([-1.0, 1.0], _SAMPLES),
    )
    out = np.empty(len(t))
    for part in _parts(len(t), _SAMPLES * n * n // 8):
        out[part] = _sampled(t[part], covariance[part], drawn, pairs)
    return out


@dataclass(frozen=True)
class _Drawn:
    """Unit Gaussians (sample, n), and the pair, and the chance beyond, of each sample."""

    unit: Vector
    pair: NDArray[np.intp]
    beyond: Vector


def _sampled(t: Vector, covariance: Vector, drawn: _Drawn, pairs) -> Vector:
    i, j = pairs
    n = covariance.shape[1]
    error = _errors(covariance, i, j)
    total = len(i) * 2 * ndtr(-t)
    x = _correlated(drawn.unit, covariance)
    first, second = i[drawn.pair], j[drawn.pair]
    sample = np.arange(_SAMPLES)
    now = x[:, sample, first] - x[:, sample, second]
    far = -ndtri(np.abs(drawn.beyond) * ndtr(-t)[:, None]) * np.sign(drawn.beyond)
    move = far * error[:, drawn.pair] - now
    move = np.where(total[:, None] <= 1, move, 0.0) / error[:, drawn.pair] ** 2
    if covariance.ndim == 2:
        x[:, sample, first] += covariance[:, first] * move
        x[:, sample, second] -= covariance[:, second] * move
    else:
        x += (covariance[:, first] - covariance[:, second]) * move[:, :, None]
    # Single precision, and a pair after the other in memory: this is where time goes.
    x = np.ascontiguousarray(np.swapaxes(x, 1, 2), np.float32)
    # The chosen pair is beyond, whatever the last digit says.
    level = ((1 - 1e-5) * t[:, None] * error).astype(np.float32)
    many = np.zeros((len(t), _SAMPLES), np.float32)
    for k in range(n - 1):
        own = np.flatnonzero(i == k)
        difference = np.abs(x[:, k : k + 1] - x[:, k + 1 :])
        many += (difference > level[:, own, None]).sum(axis=1, dtype=np.float32)
    rare = total * np.mean(1 / np.maximum(many, 1), axis=1)
    return np.where(total <= 1, rare, np.mean(many > 0, axis=1))


def _correlated(unit: Vector, covariance: Vector) -> Vector:
    """Return samples (group, sample, n) of this covariance."""
    if covariance.ndim == 2:
        return unit * np.sqrt(covariance)[:, None, :]
    value, vector = np.linalg.eigh(covariance)
    root = vector * np.sqrt(np.maximum(value, 0.0))[:, None, :]
    return unit @ np.swapaxes(root, 1, 2)


def _parts(groups: int, cells: int):
    step = max(1, _CELLS // max(cells, 1))
    for start in range(0, groups, step):
        yield slice(start, start + step)
