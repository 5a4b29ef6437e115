"""Modes of the period, and samples of each: where few samples of the prior survive.

Two orbits are of one mode if they stay in step over all visits: their frequencies differ
by less than one over the baseline. Where the visits know the orbit well, few or none of the
samples of the prior hit it. The best of them say where to look: around each a cloud (a
multivariate t distribution) is drawn, weighted by the posterior, and drawn again around its
weighted mean with its weighted covariance, first for a flattened posterior, so that no
cloud collapses, and then for itself. Draws of all clouds, weighted by the posterior over the
sum of their densities, are one sample of the posterior: modes get the shares that they
deserve, and clouds that overlap count nothing twice.

Source:
    Cappe et al. 2008, Stat. Comput. 18, 447 (adaptive importance sampling); Veach & Guibas
    1995 (the sum of densities).
"""

__all__ = ["modes_of", "sample_modes", "starts_of"]

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from steadystar.infer.orbit_likelihood import Elements, StarVelocities, fitted
from steadystar.infer.orbit_polish import polished
from steadystar.infer.orbit_prior import OrbitOptions, ln_prior

Array = NDArray[np.float64]

_FREEDOM = 5.0
_FIRST_ROUNDS, _FIRST_DRAWS = 8, 256
_ROUNDS, _DRAWS = 15, 512
_FINAL = 16384
"""Draws of all modes together, at least; a mode has at least _DRAWS."""
_SMALL = 1e-3
_WORTH = 200
_ENOUGH = 0.25
"""Share of equally weighted draws at which a cloud fits."""
_KEPT = 0.06
"""Share of equally weighted draws that a flattened posterior must leave."""
_POLISHED = 1000
"""Of so many samples of the prior the next best orbit is looked for."""
_MOST = 64
"""So many modes are sampled."""
_FAR = 12.0
"""Modes whose best orbit is less likely by so much, in ln, are left."""
_TURN = 2 * np.pi


def modes_of(period: Array, baseline: float) -> NDArray[np.intp]:
    """Number the modes of the period, the one with most samples first, ``(sample,)``."""
    if not len(period):
        return np.zeros(0, np.intp)
    frequency = 1 / period
    order = np.argsort(frequency, kind="stable")
    apart = np.diff(frequency[order]) * baseline > 1
    group = np.empty(len(period), np.intp)
    group[order] = np.concatenate([[0], np.cumsum(apart)])
    count = np.bincount(group)
    rank = np.empty(len(count), np.intp)
    rank[np.argsort(-count, kind="stable")] = np.arange(len(count))
    return rank[group]


def starts_of(
    star: StarVelocities, best: Elements, options: OrbitOptions
) -> tuple[Elements, float]:
    """Return an orbit near each mode, and the share of all modes that these have.

    ``best``: the best samples of the prior, the best first. Each is moved to the best
    orbit next to it, for a mode may be far narrower than the samples are apart. The share
    is by the likelihood of these orbits.
    """
    space = _Space(star, options)
    x = space.coordinates(best)
    x = x[_apart(x, star.baseline, _POLISHED)]
    x = polished(star, x, space.jitters, options)
    value = space.ln_posterior(x)
    order = np.argsort(-value, kind="stable")
    order = order[value[order] > value.max() - _FAR]
    taken = order[_apart(x[order], star.baseline, len(order))]
    share = np.exp(value[taken] - value.max())
    return space.elements(x[taken[:_MOST]]), float(share[:_MOST].sum() / share.sum())


def _apart(x: Array, baseline: float, most: int) -> NDArray[np.intp]:
    """Return the first of every set of orbits that are nearly the same."""
    turns = np.exp(-x[:, 0]) * baseline
    kept: list[int] = []
    for one in range(len(x)):
        others = np.array(kept, np.intp)
        away = np.abs(x[others] - x[one])
        away[:, 3] = np.abs((away[:, 3] + np.pi) % _TURN - np.pi)
        same = (np.abs(turns[others] - turns[one]) < 0.3) & (
            away[:, 1:4].max(axis=1, initial=0.0) < 0.3
        )
        if not same.any():
            kept.append(one)
            if len(kept) == most:
                break
    return np.array(kept, np.intp)


class _Space(NamedTuple):
    """From elements to coordinates without edges, and back; the posterior there.

    ln P, sqrt(e) cos(omega), sqrt(e) sin(omega), mean longitude at the epoch (radians),
    and ln jitter if there is one.
    """

    star: StarVelocities
    options: OrbitOptions

    def coordinates(self, elements: Elements) -> Array:
        root = np.sqrt(elements.e)
        columns = [
            np.log(elements.period),
            root * np.cos(elements.omega),
            root * np.sin(elements.omega),
            (elements.omega - _TURN * elements.phase) % _TURN,
        ]
        if self.options.jitter > 0:
            columns.append(np.log(elements.jitter))
        return np.stack(columns, axis=1)

    def elements(self, x: Array) -> Elements:
        e = np.minimum(x[:, 1] ** 2 + x[:, 2] ** 2, 0.999)
        omega = np.arctan2(x[:, 2], x[:, 1])
        phase = ((omega - x[:, 3]) / _TURN) % 1
        jitter = np.exp(x[:, 4]) if self.options.jitter > 0 else np.zeros(len(x))
        period = np.exp(np.clip(x[:, 0], -20, 20))
        return Elements(period, e, omega, phase, jitter)

    @property
    def jitters(self) -> Array:
        """Jitters of which one is near the best."""
        if self.options.jitter == 0:
            return np.zeros(1)
        spread = np.exp(self.options.jitter_width * np.linspace(-2, 2.9, 6))
        return self.options.jitter * spread

    def ln_posterior(self, x: Array) -> Array:
        elements = self.elements(x)
        ln_jitter = x[:, 4] if self.options.jitter > 0 else x[:, 0]
        e = x[:, 1] ** 2 + x[:, 2] ** 2
        value = ln_prior(self.options, x[:, 0], e, ln_jitter)
        found = fitted(self.star, elements, self.options)
        return np.where(np.isfinite(value), value + found.ln_likelihood, -np.inf)

    def first_cloud(self, x: Array) -> "_Cloud":
        width = [
            0.15 * float(np.exp(x[0])) / max(self.star.baseline, 1e-3),
            0.2,
            0.2,
            0.4,
        ]
        if self.options.jitter > 0:
            width.append(0.7)
        return _Cloud(x, np.diag(np.array(width)))


@dataclass(frozen=True)
class _Cloud:
    """A multivariate t distribution; ``lower (dimension, dimension)`` its scale."""

    center: Array
    lower: Array

    def draw(self, rng: np.random.Generator, count: int) -> Array:
        normal = rng.normal(size=(count, len(self.center))) @ self.lower.T
        return self.center + normal * np.sqrt(
            _FREEDOM / rng.chisquare(_FREEDOM, (count, 1))
        )

    def ln_density(self, x: Array) -> Array:
        away = x - self.center
        away[:, 3] -= _TURN * np.round(away[:, 3] / _TURN)
        size = len(self.center)
        distance = (np.linalg.solve(self.lower, away.T) ** 2).sum(axis=0)
        scale = (
            gammaln((_FREEDOM + size) / 2)
            - gammaln(_FREEDOM / 2)
            - size / 2 * np.log(_FREEDOM * np.pi)
            - np.log(np.diag(self.lower)).sum()
        )
        return scale - (_FREEDOM + size) / 2 * np.log1p(distance / _FREEDOM)

    def moved(self, x: Array, weight: Array) -> "_Cloud":
        away = x - self.center
        away[:, 3] -= _TURN * np.round(away[:, 3] / _TURN)
        shift = weight @ away
        spread = away - shift
        matrix = (spread * weight[:, None]).T @ spread
        # A cloud never becomes flat: draws of a few would not span it.
        matrix += np.diag(1e-6 * np.diag(matrix) + 1e-24)
        return _Cloud(
            self.center + shift, np.asarray(np.linalg.cholesky(matrix), float)
        )


def sample_modes(
    star: StarVelocities,
    starts: Elements,
    options: OrbitOptions,
    rng: np.random.Generator,
) -> tuple[Elements, float, float]:
    """Return equally weighted samples of the posterior, their worth, and ln evidence.

    ``starts``: an orbit near each mode. The worth is the number of independent samples
    with the same information (Kish's effective sample size). The evidence is the
    likelihood, averaged over the prior.
    """
    space = _Space(star, options)
    first = [
        _adapted(space, space.first_cloud(x), rng, _FIRST_ROUNDS, _FIRST_DRAWS)
        for x in space.coordinates(starts)
    ]
    best = max(value for _, value in first)
    clouds = _distinct([cloud for cloud, value in first if value > best - _FAR])
    draws, weight, ln_evidence = np.empty((0, 0)), np.empty(0), -np.inf
    for draws_each in (_DRAWS, 4 * _DRAWS):
        # A second time only where it is needed, and for the modes that matter.
        clouds = [_adapted(space, c, rng, _ROUNDS, draws_each)[0] for c in clouds]
        draws, weight, ln_evidence = _weighted(space, clouds, rng)
        share = weight.reshape(len(clouds), -1).sum(axis=1)
        if 1 / (weight**2).sum() > _WORTH:
            break
        clouds = [c for c, s in zip(clouds, share, strict=True) if s > _SMALL]
    worth = float(1 / (weight**2).sum())
    edges = np.cumsum(weight)
    points = (np.arange(options.n_samples) + rng.random()) / options.n_samples
    rows = np.minimum(np.searchsorted(edges, points), len(draws) - 1)
    return space.elements(draws).at(rng.permutation(rows)), worth, ln_evidence


def _weighted(
    space: _Space, clouds: list[_Cloud], rng: np.random.Generator
) -> tuple[Array, Array, float]:
    """Draws of all clouds, as many of each, their weights, and ln of the evidence."""
    count = max(_DRAWS, _FINAL // len(clouds))
    draws = np.concatenate([cloud.draw(rng, count) for cloud in clouds])
    draws[:, 3] %= _TURN
    density = np.logaddexp.reduce([cloud.ln_density(draws) for cloud in clouds])
    value = space.ln_posterior(draws) - density
    weight = np.exp(value - value.max())
    total = float(weight.sum())
    # The density of a draw is the mean of the clouds', of which the sum was taken.
    ln_evidence = float(value.max() + np.log(total / count))
    return draws, weight / total, ln_evidence


def _adapted(
    space: _Space, cloud: _Cloud, rng: np.random.Generator, rounds: int, count: int
) -> tuple[_Cloud, float]:
    """Move a cloud to where the posterior is, and tell the best ln posterior met."""
    best = -np.inf
    for _ in range(rounds):
        draws = cloud.draw(rng, count)
        target = space.ln_posterior(draws)
        best = max(best, float(target.max()))
        if not np.isfinite(best):
            break
        ratio = target - cloud.ln_density(draws)
        power, weight = _flattened(ratio)
        if power == 1 and 1 / (weight**2).sum() > _ENOUGH * count:
            break
        cloud = cloud.moved(draws, weight)
    return cloud, best


def _distinct(clouds: list[_Cloud]) -> list[_Cloud]:
    """Leave out clouds that lie in one that comes before."""
    out: list[_Cloud] = []
    for cloud in clouds:
        peak = np.exp(cloud.ln_density(cloud.center[None]))
        inside = (np.exp(o.ln_density(cloud.center[None])) > 0.3 * peak for o in out)
        if not any(found.item() for found in inside):
            out.append(cloud)
    return out


def _flattened(ln_ratio: Array) -> tuple[float, Array]:
    """Return the largest power of the ratio that leaves enough draws, and the weights."""

    known = np.isfinite(ln_ratio)
    value = np.where(known, ln_ratio - ln_ratio[known].max(), -np.inf)

    def weights(power: float) -> Array:
        weight = np.exp(power * value)
        return weight / weight.sum()

    def enough(weight: Array) -> bool:
        return bool((weight @ weight) * _KEPT * len(value) <= 1)

    low, high = 1e-12, 1.0
    if enough(weights(high)):
        return high, weights(high)
    for _ in range(20):
        # By the geometric mean, for the power can be tiny.
        middle = (low * high) ** 0.5
        low, high = (middle, high) if enough(weights(middle)) else (low, middle)
    return low, weights(low)
