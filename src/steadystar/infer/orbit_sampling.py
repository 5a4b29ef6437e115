"""Samples of the posterior of one star's orbit, by rejection of samples of the prior.

Every sample of the prior has a likelihood, in which all that is linear is integrated out;
it survives with a chance of that over the largest. What survives is the posterior, with all
its modes, whatever the visits look like (Price-Whelan et al. 2017, ApJ 837, 20: The Joker).
Batches are tried until enough survive. Where the visits know the orbit too well for that,
the modes are sampled by themselves (`steadystar.infer.orbit_modes`), with the same prior.
"""

__all__ = ["Posterior", "sample_orbit"]

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_likelihood import (
    Elements,
    StarVelocities,
    fitted,
    ln_likelihoods,
)
from steadystar.infer.orbit_modes import sample_modes, starts_of
from steadystar.infer.orbit_prior import CHUNK, OrbitOptions, PriorBatch, prior_batch

Array = NDArray[np.float64]

_BEST = 4000
_COVERED = 0.99
_WORTH = 100


class Posterior(NamedTuple):
    """Samples of one star's orbit, ``(sample,)``, and how they came about.

    ``linear (sample, 1 + constant)``: K first; ``chi2`` at the best linear part, without
    jitter; ``ln_evidence_ratio``: of an orbit over none, both with jitter.
    """

    elements: Elements
    linear: Array
    ln_likelihood: Array
    chi2: Array
    method: str
    n_prior: int
    ln_evidence_ratio: float
    notes: list[str]


def sample_orbit(
    star: StarVelocities, options: OrbitOptions, seed: int = 0
) -> Posterior:
    """Sample the posterior of the orbit of ``star``.

    ``seed`` is the star's own; samples of the prior are the same for all stars.
    """
    rng = np.random.default_rng([options.seed, seed])
    tried = _Tried()
    for index in range(max(1, -(-options.max_prior // options.n_prior))):
        batch = prior_batch(options, index)
        tried.add(star, batch, ln_likelihoods(star, batch))
        hoped = tried.survivors * options.max_prior / tried.number
        if tried.survivors >= options.n_samples or hoped < options.min_survivors:
            break
    notes: list[str] = []
    method = "rejection"
    elements = tried.surviving().at(np.arange(min(tried.survivors, options.n_samples)))
    if tried.survivors < min(options.min_survivors, options.n_samples):
        method = "importance"
        starts, share = starts_of(star, tried.best(), options)
        elements, worth = sample_modes(star, starts, options, rng)
        if share < _COVERED:
            notes.append(
                f"Only {tried.survivors} of {tried.number} samples of the prior survived; "
                f"of their many modes the {len(starts.e)} best were sampled."
            )
        if worth < _WORTH:
            notes.append(
                f"The samples are worth {worth:.0f} independent ones: limits are uncertain."
            )
    found = fitted(star, elements, options)
    return Posterior(
        elements,
        found.drawn(rng),
        found.ln_likelihood,
        found.chi2,
        method,
        tried.number,
        tried.ln_evidence_ratio,
        notes,
    )


class _Tried:
    """Samples of the prior that were tried so far, those kept that still may survive."""

    def __init__(self) -> None:
        self.number = 0
        self.largest = -np.inf
        self._parts: list[tuple[Elements, Array, Array]] = []
        self._sums: list[tuple[float, float]] = []

    def add(self, star: StarVelocities, batch: PriorBatch, value: Array) -> None:
        value = value.ravel()
        self.number += len(value)
        self.largest = max(self.largest, float(value.max()))
        ln_uniform = _ln(batch.ln_uniform).ravel()
        keep = value - ln_uniform > self.largest
        best = np.argpartition(value, -_BEST)[-_BEST:] if len(value) > _BEST else keep
        keep[best] = True
        rows = np.flatnonzero(keep)
        elements = _elements(batch, rows)
        self._parts.append((elements, value[rows], ln_uniform[rows]))
        plain = star.inverted(np.unique(batch.jitter))[3]
        count = np.log(len(value)), np.log(len(plain))
        self._sums.append(
            (
                float(np.logaddexp.reduce(value) - count[0]),
                float(np.logaddexp.reduce(plain) - count[1]),
            )
        )

    def _all(self) -> tuple[Elements, Array, Array]:
        columns = zip(*(part[0] for part in self._parts), strict=True)
        elements = Elements(*map(np.concatenate, columns))
        return (
            elements,
            np.concatenate([p[1] for p in self._parts]),
            np.concatenate([p[2] for p in self._parts]),
        )

    @property
    def survivors(self) -> int:
        return int(self._alive().sum())

    def _alive(self) -> NDArray[np.bool_]:
        _, value, ln_uniform = self._all()
        return value - ln_uniform > self.largest

    def surviving(self) -> Elements:
        return self._all()[0].at(np.flatnonzero(self._alive()))

    def best(self) -> Elements:
        elements, value, _ = self._all()
        return elements.at(np.argsort(-value, kind="stable")[:_BEST])

    @property
    def ln_evidence_ratio(self) -> float:
        orbit, none = np.array(self._sums).T
        return float(np.logaddexp.reduce(orbit) - np.logaddexp.reduce(none))


def _ln(values) -> Array:
    return np.asarray(values, float)


def _elements(batch: PriorBatch, rows: NDArray[np.intp]) -> Elements:
    def taken(values) -> Array:
        return np.asarray(values).ravel()[rows].astype(float)

    return Elements(
        1 / taken(batch.frequency),
        taken(batch.e),
        np.arctan2(taken(batch.sin_omega), taken(batch.cos_omega)),
        taken(batch.phase),
        batch.jitter[rows // CHUNK],
    )
