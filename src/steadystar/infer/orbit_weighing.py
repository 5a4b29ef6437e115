"""Samples of a posterior that several refined orbits share.

Around each orbit a cloud adapts to the posterior (a multivariate t distribution, as in
`orbit_modes`, here in all numbers); draws of all clouds are weighted by the posterior over
the sum of their densities, and drawn again by weight. So modes get the shares that they
deserve, and a posterior that is not normal is sampled as it is, as long as the clouds cover
it: `worth` says how many independent samples the draws amount to.
"""

__all__ = ["Weighed", "weigh"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from steadystar.infer.orbit_curves import Vector
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_refinement import Refined

# The longitude is fourth, as in `orbit_modes`.
_ORDER = [0, 2, 3, 1]
# Where visits say little the linearized problem is no guide: scales are at most these.
_WIDEST = (0.02, 0.3, 0.3, 0.5)
_JITTER_SCALE = 0.5
_FREEDOM = 5.0
_ROUNDS, _DRAWS = 20, 1024
_LEFT = 0.06  # share of equally weighted draws that a flattened posterior leaves
_ENOUGH = 0.25  # share of equally weighted draws at which a cloud fits


@dataclass(frozen=True)
class Weighed:
    """``numbers (sample, number)`` and ``jitter (sample,)``, all of equal weight.

    ``ln_evidence`` is that of all clouds together, ``worth`` the number of independent
    samples that know as much.
    """

    numbers: NDArray[np.float64]
    jitter: Vector
    ln_evidence: float
    worth: float


@dataclass(frozen=True)
class _Cloud:
    """A multivariate t distribution; ``lower (dimension, dimension)`` its scale."""

    center: Vector
    lower: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.float64]:
        noise = rng.standard_normal((count, len(self.center)))
        wide = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (count, 1)))
        return self.center + wide * (noise @ self.lower.T)

    def away(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        out = x - self.center
        out[:, 3] -= 2 * np.pi * np.round(out[:, 3] / (2 * np.pi))
        return out

    def ln_density(self, x: NDArray[np.float64]) -> Vector:
        size = len(self.center)
        white = solve_triangular(self.lower, self.away(x).T, lower=True)
        scale = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2)
        scale -= size / 2 * np.log(_FREEDOM * np.pi)
        scale -= np.log(np.diag(self.lower)).sum()
        return scale - (_FREEDOM + size) / 2 * np.log1p((white**2).sum(0) / _FREEDOM)

    def moved(self, x: NDArray[np.float64], weight: Vector) -> "_Cloud":
        away = self.away(x)
        shift = weight @ away
        spread = away - shift
        matrix = (spread * weight[:, None]).T @ spread
        # A cloud never becomes flat: draws of a few would not span it.
        matrix += np.diag(1e-6 * np.diag(matrix) + 1e-24)
        lower = np.asarray(np.linalg.cholesky(matrix), np.float64)
        return _Cloud(self.center + shift, lower)


def _flattened(ln_ratio: Vector) -> tuple[float, Vector]:
    """Return the largest power of the ratio that leaves enough draws, and the weights."""

    def weights(power: float) -> Vector:
        value = np.where(np.isfinite(ln_ratio), power * ln_ratio, -np.inf)
        return np.exp(value - np.logaddexp.reduce(value))

    def worth(power: float) -> float:
        return float(1 / np.sum(weights(power) ** 2))

    least = _LEFT * len(ln_ratio)
    if worth(1.0) >= least:
        return 1.0, weights(1.0)
    low, high = 1e-12, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if worth(middle) >= least else (low, middle)
    return low, weights(low)


class _Space:
    """Numbers in the order of the clouds, ln jitter last, and the posterior there."""

    def __init__(self, density: PosteriorDensity):
        self.density = density
        self.order = [*_ORDER, *range(4, len(density.curves.names))]

    def coordinates(self, orbit: Refined) -> Vector:
        jitter = max(orbit.elements["jitter"], 0.3 * float(self.density.options.jitter))
        return np.append(orbit.numbers[self.order], np.log(max(jitter, 1e-3)))

    def numbers(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Vector]:
        out = np.empty((len(x), len(self.order)))
        out[:, self.order] = x[:, :-1]
        return out, np.exp(np.clip(x[:, -1], -20, 20))

    def ln_posterior(self, x: NDArray[np.float64]) -> Vector:
        numbers, jitter = self.numbers(x)
        # A period beyond all limits is not worth an overflow.
        numbers[:, 0] = np.clip(numbers[:, 0], -10, 20)
        return self.density(numbers, jitter)

    def adapted(self, orbit: Refined, rng: np.random.Generator) -> _Cloud:
        sigma = np.sqrt(np.maximum(np.diag(orbit.covariance), 1e-24))
        widths = np.append(sigma[self.order], _JITTER_SCALE)
        scale = np.abs(np.append(orbit.numbers[self.order], 1.0))
        widths[:4] = np.minimum(widths[:4], _WIDEST)
        widths[4:-1] = np.minimum(widths[4:-1], 0.1 * scale[4:-1] + 1)
        # Correlations belong to a cloud from the start; the diagonal has none.
        correlated = orbit.covariance[np.ix_(self.order, self.order)]
        outer = np.zeros((len(widths), len(widths)))
        outer[:-1, :-1] = correlated / np.outer(sigma[self.order], sigma[self.order])
        outer[-1, -1] = 1
        matrix = outer * np.outer(widths, widths)
        matrix += 1e-9 * np.diag(widths**2)
        lower = np.asarray(np.linalg.cholesky(matrix), np.float64)
        cloud = _Cloud(self.coordinates(orbit), lower)
        for _ in range(_ROUNDS):
            draws = cloud.draw(rng, _DRAWS)
            target = self.ln_posterior(draws)
            if not np.isfinite(target).any():
                break
            power, weight = _flattened(target - cloud.ln_density(draws))
            if power == 1 and 1 / np.sum(weight**2) > _ENOUGH * _DRAWS:
                break
            cloud = cloud.moved(draws, weight)
        return cloud


def weigh(
    density: PosteriorDensity, orbits: list[Refined], count: int, draws: int = 4096
) -> Weighed:
    """Return ``count`` samples of equal weight.

    Arguments:
        density: the posterior.
        orbits: refined from the same velocities; each mode should be among them.
        count: samples to return.
        draws: of each cloud.
    """
    rng = np.random.default_rng(density.options.seed)
    space = _Space(density)
    clouds = [space.adapted(orbit, rng) for orbit in orbits]
    x = np.concatenate([cloud.draw(rng, draws) for cloud in clouds])
    x[:, 3] %= 2 * np.pi
    ln_q = np.logaddexp.reduce([cloud.ln_density(x) for cloud in clouds])
    ln_p = space.ln_posterior(x)
    ln_weight = np.where(np.isfinite(ln_p), ln_p - ln_q, -np.inf)
    total = np.logaddexp.reduce(ln_weight)
    if not np.isfinite(total):
        # Nothing that was drawn is allowed before: no share.
        return Weighed(np.zeros((0, len(space.order))), np.zeros(0), -np.inf, 0.0)
    weight = np.exp(ln_weight - total)
    worth = float(1 / np.sum(weight**2))
    points = (np.arange(count) + rng.random()) / count
    rows = np.minimum(np.searchsorted(np.cumsum(weight), points), len(weight) - 1)
    numbers, jitter = space.numbers(x[rng.permutation(rows)])
    return Weighed(numbers, jitter, float(total - np.log(draws)), worth)
