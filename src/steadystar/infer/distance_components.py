"""What parallax and magnitude say together of a star that may be single or a pair.

A prior that grows as exp(c mu) turns the Gaussian of a magnitude, N(mu_1, s), into
N(mu_1 + c s^2, s): what photometry alone says of each component is a Gaussian, normalized.
The parallax multiplies it, and the integral of the product is the parallax' likelihood for
a star of that kind. Probabilities of components are thus those among stars of the same
magnitudes, and where there is no parallax they stay what they are.
"""

__all__ = ["batches", "densities", "likelihoods", "single_density"]

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.distance_grid import log_parallax, room
from steadystar.infer.distance_inputs import Measured
from steadystar.infer.pair_mixture import BRIGHTEST, SHIFTS, SMEAR, VARIANCES, Mixture

Vector = NDArray[np.float64]
Grid = NDArray[np.float64]

_BATCH = 512
"""Rows at once: their grids stay in the cache of a processor, 0.7 MB each."""
_CORE, _BROAD = 128, 48
"""Points of the grid where a star or a pair may be, and beyond."""
_SEEN = 30.0
"""What is below exp(-30) of the highest is not told apart from nothing."""
_FEWEST, _ZOOMS = 24, 12


def batches(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield ``rows`` in parts that are done at once."""
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def likelihoods(data: Measured, slope: float) -> tuple[Grid, Vector]:
    """Return ``(row, 14)``: how likely the parallax is for a star of each component.

    All 1 where there is no parallax. Each row is in units of its own, whose logarithms
    ``(row,)`` come second. ``slope``: c of the prior exp(c mu).
    """
    _, integrals, unit = _components(_grid(data, slope), data, slope)
    return integrals, unit


def densities(
    data: Measured, mixture: Mixture, slope: float
) -> tuple[Grid, Grid, Grid]:
    """Return the grid in mu, ln of the posterior on it, and `likelihoods`."""
    mu = _grid(data, slope)

    def evaluate(mu: Grid, rows) -> tuple[Grid, Grid]:
        parts, integrals, _ = _components(mu, data[rows], slope, mixture.weights)
        with np.errstate(divide="ignore"):
            return np.log(parts), integrals

    log, integrals = evaluate(mu, slice(None))
    for _ in range(_ZOOMS):
        found = _zoomed(mu, log)
        if found is None:
            break
        rows, mu[rows] = found
        log[rows], integrals[rows] = evaluate(mu[rows], rows)
    return mu, log, integrals


def single_density(data: Measured, slope: float) -> tuple[Grid, Grid]:
    """Return the grid in mu, and ln of the posterior of stars taken for single."""
    center = data.modulus + slope * data.width**2
    parallax, error = _astrometry(data)
    ends = room(center, center, data.width, parallax, error)
    mu = np.linspace(*ends, _CORE + _BROAD, axis=1)

    def evaluate(mu: Grid, rows) -> Grid:
        far = (mu - center[rows, None]) / data.width[rows, None]
        return log_parallax(mu, parallax[rows], error[rows]) - far**2 / 2

    log = evaluate(mu, slice(None))
    for _ in range(_ZOOMS):
        found = _zoomed(mu, log)
        if found is None:
            break
        rows, mu[rows] = found
        log[rows] = evaluate(mu[rows], rows)
    return mu, log


def _astrometry(data: Measured) -> tuple[Vector, Vector]:
    """Parallax and error; an infinite error where there is no parallax."""
    known = data.has_parallax
    return np.where(known, data.parallax, 0.0), np.where(known, data.error, np.inf)


def _grid(data: Measured, slope: float) -> Grid:
    """Points where a single star or a pair may be, and fewer where neither is."""
    parallax, error = _astrometry(data)
    variance = data.width**2
    low = data.modulus + slope * variance
    high = data.modulus + BRIGHTEST + slope * (variance + SMEAR**2)
    core = room(low, high, np.hypot(data.width, SMEAR), parallax, error)
    broad = variance + VARIANCES[-1]
    center = data.modulus + slope * broad
    wide = room(center, center, np.sqrt(broad), parallax, error)
    both = [np.linspace(*core, _CORE, axis=1), np.linspace(*wide, _BROAD, axis=1)]
    return np.sort(np.concatenate(both, axis=1), axis=1)


def _components(
    mu: Grid, data: Measured, slope: float, weights: Vector | None = None
) -> tuple[Grid, Grid, Vector]:
    """Return the weighted sum of the components on ``mu``, and the integral of each.

    Both are in units of each row's own, such that nothing overflows, and what matters
    does not vanish; ln of these units comes third.
    """
    parallax = log_parallax(mu, *_astrometry(data))
    variance = data.width[:, None] ** 2 + VARIANCES
    center = data.modulus[:, None] + SHIFTS + slope * variance
    scale = -0.5 / variance
    norm = -0.5 * np.log(variance)
    highest = np.full(len(mu), -np.inf)
    for k in (0, 1, 6, 12, 13):
        one = parallax + scale[:, [k]] * (mu - center[:, [k]]) ** 2 + norm[:, [k]]
        highest = np.maximum(highest, one.max(axis=1))
    parallax -= highest[:, None]
    step = np.diff(mu, axis=1)
    weight = np.zeros_like(mu)
    weight[:, 1:] += step / 2
    weight[:, :-1] += step / 2
    total, integrals = np.zeros_like(mu), np.empty((len(mu), len(SHIFTS)))
    work = np.empty_like(mu)
    for k in range(len(SHIFTS)):
        np.subtract(mu, center[:, [k]], out=work)
        work *= work
        work *= scale[:, [k]]
        work += norm[:, [k]]
        work += parallax
        np.exp(work, out=work)
        integrals[:, k] = np.einsum("ij,ij->i", work, weight)
        if weights is not None:
            work *= weights[k]
            total += work
    return total, integrals, highest


def _zoomed(mu: Grid, log: Grid) -> tuple[NDArray[np.int64], Grid] | None:
    """Return the rows whose posterior is too narrow for their grid, and better grids.

    None if there are none.
    """
    seen = log > log.max(axis=1, keepdims=True) - _SEEN
    narrow = np.flatnonzero(seen.sum(axis=1) < _FEWEST)
    if not len(narrow):
        return None
    first = np.maximum(seen[narrow].argmax(axis=1) - 1, 0)
    last = mu.shape[1] - seen[narrow, ::-1].argmax(axis=1)
    last = np.minimum(last, mu.shape[1] - 1)
    ends = mu[narrow, first], mu[narrow, last]
    return narrow, np.linspace(*ends, mu.shape[1], axis=1)
