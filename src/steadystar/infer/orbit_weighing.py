"""Samples of a posterior that several refined orbits share.

Around each orbit a cloud adapts to the posterior in all numbers (`orbit_clouds`), for here
nothing is integrated out; draws of all clouds are weighted, and drawn again by weight.
"""

__all__ = ["Weighed", "weigh"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_clouds import Cloud, adapted, distinct, sampled
from steadystar.infer.orbit_curves import Vector
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_refinement import Refined

# The longitude is the fourth coordinate of a cloud.
_ORDER = [0, 2, 3, 1]
# Where visits say little the linearized problem is no guide: scales are at most these.
_WIDEST = (0.02, 0.3, 0.3, 0.5)
_JITTER_SCALE = 0.5
_FIRST, _DRAWS = (20, 1024), 1024


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


class _Space:
    """Numbers in the order of the clouds, ln jitter last if there is one; the posterior."""

    def __init__(self, density: PosteriorDensity):
        self.density = density
        self.order = [*_ORDER, *range(4, len(density.curves.names))]
        self.jitter = density.options.jitter

    def coordinates(self, orbit: Refined) -> Vector:
        jitter = self.density.allowed(orbit.elements["jitter"])
        ln_jitter = np.log([jitter] if self.jitter else [])
        return np.concatenate([orbit.numbers[self.order], ln_jitter])

    def numbers(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Vector]:
        size = len(self.order)
        out = np.empty((len(x), size))
        out[:, self.order] = x[:, :size]
        jitter = np.exp(np.clip(x[:, -1], -20, 20)) if self.jitter else np.zeros(len(x))
        return out, jitter

    def ln_posterior(self, x: NDArray[np.float64]) -> Vector:
        numbers, jitter = self.numbers(x)
        # A period beyond all limits is not worth an overflow.
        numbers[:, 0] = np.clip(numbers[:, 0], -10, 20)
        return self.density(numbers, jitter)

    def first_cloud(self, orbit: Refined) -> Cloud:
        size = len(self.order)
        sigma = np.sqrt(np.maximum(np.diag(orbit.covariance), 1e-24))[self.order]
        numbers = orbit.numbers[self.order]
        widths = np.full(size + bool(self.jitter), _JITTER_SCALE)
        widths[:4] = np.minimum(sigma[:4], _WIDEST)
        widths[4:size] = np.minimum(sigma[4:], 0.1 * np.abs(numbers[4:]) + 1)
        # Correlations belong to a cloud from the start; the diagonal has none.
        correlated = orbit.covariance[np.ix_(self.order, self.order)]
        outer = np.eye(len(widths))
        outer[:size, :size] = correlated / np.outer(sigma, sigma)
        matrix = outer * np.outer(widths, widths)
        matrix += 1e-9 * np.diag(widths**2)
        lower = np.asarray(np.linalg.cholesky(matrix), np.float64)
        return Cloud(self.coordinates(orbit), lower)


def weigh(
    density: PosteriorDensity, orbits: list[Refined], count: int, draws: int = 4096
) -> Weighed:
    """Return ``count`` samples of equal weight; none where the prior allows no orbit.

    Arguments:
        density: the posterior.
        orbits: refined from the same velocities; each mode should be among them.
        count: samples to return.
        draws: of each orbit.
    """
    rng = np.random.default_rng(density.options.seed)
    space = _Space(density)
    first = [
        adapted(space.first_cloud(orbit), space.ln_posterior, rng, *_FIRST)[0]
        for orbit in orbits
    ]
    clouds = distinct(first)
    found = sampled(clouds, space.ln_posterior, rng, _DRAWS, draws * len(clouds))
    numbers, jitter = space.numbers(found.resampled(rng, count))
    return Weighed(numbers, jitter, found.ln_evidence, found.worth)
