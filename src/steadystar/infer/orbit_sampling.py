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

from steadystar.infer.orbit_clouds import remarks_on
from steadystar.infer.orbit_likelihood import (
    Elements,
    StarVelocities,
    fitted,
    ln_likelihoods,
)
from steadystar.infer.orbit_modes import sample_modes, starts_of
from steadystar.infer.orbit_prior import (
    CHUNK,
    JITTER_TAIL,
    OrbitOptions,
    PriorBatch,
    prior_batch,
)

Array = NDArray[np.float64]

_BEST = 4000
_COVERED = 0.95
_FEW = (
    "Only {} of {} samples of the prior survived, in too many modes to sample each: more "
    "(max_prior) say more."
)


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
    tried = _Tried(star, options)
    tried.go_on(options.min_survivors)
    if tried.survivors < min(options.min_survivors, options.n_samples):
        starts, share = starts_of(star, tried.best(), options)
        if share > _COVERED:
            elements, worth, ln_evidence = sample_modes(star, starts, options, rng)
            if worth > 0:
                how = ("importance", ln_evidence, remarks_on(worth))
                return _posterior(tried, elements, how, rng)
        # No mode, or too many to sample each: samples of the prior, though few, are of all.
        tried.go_on(0)
    few = tried.survivors < options.min_survivors
    notes = [_FEW.format(tried.survivors, tried.number)] if few else []
    # Not the first: samples of a chunk have one jitter.
    taken = rng.permutation(tried.survivors)[: options.n_samples]
    how = ("rejection", tried.ln_evidence, notes)
    return _posterior(tried, tried.surviving().at(taken), how, rng)


def _posterior(tried: "_Tried", elements: Elements, how, rng) -> Posterior:
    method, ln_evidence, notes = how
    found = fitted(tried.star, elements, tried.options)
    return Posterior(
        elements,
        found.drawn(rng),
        found.ln_likelihood,
        found.chi2,
        method,
        tried.number,
        ln_evidence - _ln_evidence_without(tried.star, tried.options),
        notes,
    )


def _ln_evidence_without(star: StarVelocities, options: OrbitOptions) -> float:
    """Likelihood without an orbit, averaged over the prior of the jitter."""
    if options.jitter == 0:
        return float(star.inverted(np.zeros(1))[3][0])
    z = np.arange(-JITTER_TAIL, JITTER_TAIL, 0.02)
    plain = star.inverted(options.jitter * np.exp(options.jitter_width * z))[3]
    density = plain - z**2 / 2 + np.log(0.02 / np.sqrt(2 * np.pi))
    return float(np.logaddexp.reduce(density))


class _Tried:
    """Samples of the prior that were tried so far, those kept that still may survive."""

    def __init__(self, star: StarVelocities, options: OrbitOptions) -> None:
        self.star, self.options = star, options
        self.number = 0
        self.largest = -np.inf
        self._parts: list[tuple[Elements, Array, Array]] = []
        self._sums: list[float] = []

    def go_on(self, hoped: int) -> None:
        """Try batches while more can come to ``hoped`` survivors, or enough survive."""
        options = self.options
        for index in range(len(self._parts), options.batches):
            self._add(prior_batch(options, index))
            survivors = self.survivors
            in_all = survivors * options.batches / (index + 1)
            if survivors >= options.n_samples or in_all < hoped:
                break

    def _add(self, batch: PriorBatch) -> None:
        value = ln_likelihoods(self.star, batch).ravel()
        self.number += len(value)
        self.largest = max(self.largest, float(value.max()))
        ln_uniform = np.asarray(batch.ln_uniform, float).ravel()
        keep = value - ln_uniform > self.largest
        best = np.argpartition(value, -_BEST)[-_BEST:] if len(value) > _BEST else keep
        keep[best] = True
        rows = np.flatnonzero(keep)
        elements = _elements(batch, rows)
        self._parts.append((elements, value[rows], ln_uniform[rows]))
        self._sums.append(float(np.logaddexp.reduce(value) - np.log(len(value))))

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
    def ln_evidence(self) -> float:
        """Likelihood of an orbit, averaged over the prior."""
        return float(np.logaddexp.reduce(self._sums) - np.log(len(self._sums)))


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
