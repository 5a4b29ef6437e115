"""Modes of the period, and samples of each: where few samples of the prior survive.

Two orbits are of one mode if they stay in step over all visits: their frequencies differ
by less than one over the baseline. Where the visits know the orbit well, few or none of the
samples of the prior hit it. The best of them say where to look: each is moved to the best
orbit next to it, and those that remain different are the modes, around which clouds of
samples adapt to the posterior (`orbit_clouds`).
"""

__all__ = ["modes_of", "sample_modes", "starts_of"]

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_clouds import Cloud, adapted, distinct, sampled
from steadystar.infer.orbit_likelihood import Elements, StarVelocities, fitted
from steadystar.infer.orbit_polish import polished
from steadystar.infer.orbit_prior import OrbitOptions, ln_prior

Array = NDArray[np.float64]

_FIRST = (8, 256)
"""Rounds in which the clouds look for the modes, and draws in each; then so many draws."""
_DRAWS = 512
_FINAL = 16384
"""Draws of all modes together, at least; a mode has at least _DRAWS."""
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
    is by the likelihood of these orbits; it is 0 where the prior allows none of them.
    """
    space = _Space(star, options)
    x = space.coordinates(best)
    x = x[_apart(x, star.baseline, _POLISHED)]
    x = polished(star, x, space.jitters, options)
    value = space.ln_posterior(x)
    if not np.isfinite(value).any():
        return space.elements(x[:0]), 0.0
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

    @property
    def size(self) -> int:
        """Number of the coordinates."""
        return 5 if self.options.jitter > 0 else 4

    def first_cloud(self, x: Array) -> Cloud:
        width = [
            0.15 * float(np.exp(x[0])) / max(self.star.baseline, 1e-3),
            0.2,
            0.2,
            0.4,
        ]
        if self.options.jitter > 0:
            width.append(0.7)
        return Cloud(x, np.diag(np.array(width)))


def sample_modes(
    star: StarVelocities,
    starts: Elements,
    options: OrbitOptions,
    rng: np.random.Generator,
) -> tuple[Elements, float, float]:
    """Return equally weighted samples of the posterior, their worth, and ln evidence.

    ``starts``: an orbit near each mode. The worth is the number of independent samples
    with the same information; where the posterior is zero all around the starts, it is 0
    and there are no samples. The evidence is the likelihood, averaged over the prior.
    """
    space = _Space(star, options)
    first = [
        adapted(space.first_cloud(x), space.ln_posterior, rng, *_FIRST)
        for x in space.coordinates(starts)
    ]
    best = max((value for _, value in first), default=-np.inf)
    clouds = distinct([cloud for cloud, value in first if value > best - _FAR])
    if not clouds:
        return space.elements(np.empty((0, space.size))), 0.0, -np.inf
    found = sampled(clouds, space.ln_posterior, rng, _DRAWS, _FINAL)
    samples = found.resampled(rng, options.n_samples)
    return space.elements(samples), found.worth, found.ln_evidence
