"""Samples of a posterior that several refined orbits share.

Around each orbit a multivariate t distribution is drawn, as wide as the linearized problem
says for each jitter; all draws are weighted by the posterior over the sum of all these
densities (Veach and Guibas 1995), and drawn again by weight. So modes get the shares that
they deserve, though none was found by its volume, and a posterior that is not normal is
sampled as it is, as long as the clouds cover it: `worth` says how many independent samples
the draws amount to (Kish).
"""

__all__ = ["Weighed", "weigh"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from steadystar.infer.orbit_curves import Vector
from steadystar.infer.orbit_posterior import PosteriorDensity
from steadystar.infer.orbit_refinement import Refined, linearized

_FREEDOM = 5.0
_LOW, _CELLS = 1e-3, 24  # km/s: a smaller jitter counts as this


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
    """``edges`` of cells in ln jitter and their ``share``; centers and roots in each."""

    edges: Vector
    share: Vector
    center: NDArray[np.float64]
    root: NDArray[np.float64]

    def draw(self, rng: np.random.Generator, count: int):
        cell = rng.choice(len(self.share), count, p=self.share)
        ln_jitter = rng.uniform(self.edges[cell], self.edges[cell + 1])
        size = self.center.shape[1]
        wide = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, (count, 1)))
        noise = rng.standard_normal((count, size)) * wide
        moved = np.einsum("sij,sj->si", self.root[cell], noise)
        return self.center[cell] + moved, ln_jitter

    def ln_density(self, numbers, ln_jitter) -> Vector:
        cell = np.searchsorted(self.edges, ln_jitter, side="right") - 1
        outside = (cell < 0) | (cell >= len(self.share))
        cell = np.clip(cell, 0, len(self.share) - 1)
        away = numbers - self.center[cell]
        away[:, 1] -= 2 * np.pi * np.round(away[:, 1] / (2 * np.pi))
        inverse = np.linalg.inv(self.root)
        distance = np.sum(np.einsum("sij,sj->si", inverse[cell], away) ** 2, axis=1)
        size = away.shape[1]
        determinant = np.linalg.slogdet(self.root)[1]
        scale = gammaln((_FREEDOM + size) / 2) - gammaln(_FREEDOM / 2)
        scale -= 0.5 * size * np.log(_FREEDOM * np.pi)
        value = scale - determinant[cell]
        value -= (_FREEDOM + size) / 2 * np.log1p(distance / _FREEDOM)
        with np.errstate(divide="ignore"):
            value += np.log(self.share[cell] / np.diff(self.edges)[cell])
        return np.where(outside, -np.inf, value)


def weigh(
    density: PosteriorDensity, orbits: list[Refined], count: int, draws: int = 2048
) -> Weighed:
    """Return ``count`` samples of equal weight.

    Arguments:
        density: the posterior.
        orbits: refined from the same velocities; each mode should be among them.
        count: samples to return.
        draws: of each cloud.
    """
    rng = np.random.default_rng(density.options.seed)
    clouds = [_cloud(density, orbit) for orbit in orbits]
    parts = [cloud.draw(rng, draws) for cloud in clouds]
    numbers = np.concatenate([part[0] for part in parts])
    numbers[:, 1] %= 2 * np.pi
    ln_jitter = np.concatenate([part[1] for part in parts])
    ln_q = np.logaddexp.reduce([c.ln_density(numbers, ln_jitter) for c in clouds])
    ln_p = density(numbers, np.exp(ln_jitter))
    ln_weight = np.where(np.isfinite(ln_p), ln_p - ln_q, -np.inf)
    total = np.logaddexp.reduce(ln_weight)
    weight = np.exp(ln_weight - total)
    worth = float(1 / np.sum(weight**2))
    points = (np.arange(count) + rng.random()) / count
    rows = np.minimum(np.searchsorted(np.cumsum(weight), points), len(weight) - 1)
    rows = rng.permutation(rows)
    evidence = float(total - np.log(draws))
    return Weighed(numbers[rows], np.exp(ln_jitter[rows]), evidence, worth)


def _cloud(density: PosteriorDensity, orbit: Refined) -> _Cloud:
    curves, options = density.curves, density.options
    model = curves.model(orbit.numbers)
    scatter = float(np.std(curves.v - model[0])) + float(np.median(curves.err))
    edges = np.log(np.geomspace(_LOW, max(10 * scatter, 10 * _LOW), _CELLS + 1))
    middle = (edges[1:] + edges[:-1]) / 2
    parts = [linearized(curves, model, np.exp(x)) for x in middle]
    prior = np.log(max(options.jitter, _LOW))
    ln = np.array([part[0] for part in parts])
    ln = ln - 0.5 * ((middle - prior) / options.jitter_width) ** 2
    share = np.exp(ln - np.logaddexp.reduce(ln))
    # What the nearest orbit has no use for, the posterior may.
    share = 0.95 * share / share.sum() + 0.05 / len(share)
    root = np.stack([part[2] for part in parts])
    shift = np.stack([part[1] for part in parts])
    limit = 3 * np.sqrt(np.sum(root**2, axis=2))
    return _Cloud(edges, share, orbit.numbers + np.clip(shift, -limit, limit), root)
