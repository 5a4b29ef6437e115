"""What is likely of an orbit before a velocity is known, drawn once and kept.

Period: every logarithm as likely. Eccentricity: a beta distribution. Angles: all as
likely. Semi-amplitude: normal, wider for short and for eccentric orbits so that masses
have one prior at all periods; mean velocity: normal about the star's own. Jitter: a normal
distribution of its logarithm, taken at the middles of shares that are as likely, one for
each chunk of samples: then the covariance of the visits is the same for a whole chunk.

The samples are those of no star: every star is fitted with the same ones, in the same
order.

Source:
    Price-Whelan et al. 2017, ApJ 837, 20, section 4; Kipping 2013, MNRAS 434, L51 for the
    eccentricities.
"""

__all__ = [
    "CHUNK",
    "JITTER_TAIL",
    "OrbitOptions",
    "PriorBatch",
    "forget_batches",
    "ln_prior",
    "prior_batch",
]

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, ndtri

from steadystar.measure.option_checks import check_values

Array = NDArray[np.float64]

CHUNK = 4096
"""Samples that share a jitter, and are worked on at once: they stay in the cache."""

JITTER_TAIL = 3.0
"""Widths of its logarithm within which a jitter lies: beyond, it is no jitter."""

_KEPT = 2**22
"""Samples that are kept, of 32 bytes: 134 MB."""

_NOT_DRAWN = {
    "v0_sigma",
    "v0_mean",
    "offset_by",
    "offset_sigma",
    "max_prior",
    "n_samples",
    "min_survivors",
    "min_visits",
}
"""Options that have no part in what is drawn."""

_YEAR = 365.25
_KIPPING = (0.867, 3.03)


@dataclass(frozen=True)
class OrbitOptions:
    """How orbits are fitted: the prior, and how much of it is tried."""

    min_period: Annotated[float, "Shortest period, d."] = 0.5
    max_period: Annotated[float, "Longest period, d."] = 3000.0
    eccentricity_a: Annotated[
        float, "First parameter of the beta distribution of eccentricities (Kipping)."
    ] = _KIPPING[0]
    eccentricity_b: Annotated[float, "Second parameter of it."] = _KIPPING[1]
    k_sigma: Annotated[
        float,
        "Width of the prior of the semi-amplitude at a period of a year and e = 0, km/s; "
        "it goes with P^(-1/3) / sqrt(1 - e^2).",
    ] = 30.0
    v0_sigma: Annotated[float, "Width of the prior of the mean velocity, km/s."] = 100.0
    v0_mean: Annotated[
        float | None, "Its center, km/s; None: the weighted mean of the visits."
    ] = None
    jitter: Annotated[
        float, "Median of the prior of a scatter beyond the errors, km/s; 0: none."
    ] = 0.05
    jitter_width: Annotated[float, "Width of its natural logarithm."] = 1.5
    offset_by: Annotated[
        tuple[str, ...],
        "Columns whose groups of visits may have zero points of their own.",
    ] = ()
    offset_sigma: Annotated[float, "Width of the prior of these, km/s."] = 1.0
    n_prior: Annotated[
        int, "Samples of the prior that are tried at a time, in multiples of 4096."
    ] = 2**20
    max_prior: Annotated[
        int, "Most samples of the prior that are tried, in multiples of n_prior."
    ] = 2**22
    n_samples: Annotated[int, "Samples of the posterior that are kept."] = 512
    min_survivors: Annotated[
        int,
        "If fewer samples of the prior survive, the modes they are in are sampled by "
        "themselves.",
    ] = 128
    min_visits: Annotated[int, "Stars with fewer visits get no orbit."] = 3
    seed: Annotated[int, "The same seed draws the same samples."] = 0

    def __post_init__(self) -> None:
        positive = "a positive number"
        widths = ("k_sigma", "v0_sigma", "jitter_width", "offset_sigma")
        shapes = ("eccentricity_a", "eccentricity_b")
        counts = ("n_prior", "max_prior", "n_samples", "min_survivors")
        check_values(
            self,
            [
                ("min_period", 0 < self.min_period < np.inf, positive),
                (
                    "max_period",
                    self.min_period < self.max_period < np.inf,
                    "a longer one than min_period",
                ),
                *(
                    (name, 0 < getattr(self, name) < np.inf, positive)
                    for name in (*widths, *shapes)
                ),
                ("jitter", 0 <= self.jitter < np.inf, "a width in km/s, 0 for none"),
                (
                    "v0_mean",
                    self.v0_mean is None or abs(self.v0_mean) < np.inf,
                    "a velocity in km/s, or None",
                ),
                *((name, getattr(self, name) >= 1, "at least 1") for name in counts),
                ("min_visits", self.min_visits >= 2, "at least 2"),
                ("seed", self.seed >= 0, "0 or more"),
            ],
        )

    @property
    def chunks(self) -> int:
        """How many chunks a batch of prior samples has: ``n_prior``, rounded up."""
        return -(-self.n_prior // CHUNK)

    @property
    def batches(self) -> int:
        """How many batches there are at most: ``max_prior``, rounded up."""
        return -(-self.max_prior // (self.chunks * CHUNK))

    def k_variance(self, period: Array, e: Array) -> Array:
        """Variance of the prior of the semi-amplitude, (km/s)^2."""
        return self.k_sigma**2 * (period / _YEAR) ** (-2 / 3) / (1 - e**2)


class PriorBatch(NamedTuple):
    """Samples of the prior, ``(chunk, sample)``, and what they are needed as.

    ``frequency`` 1/d; ``phase``: of the time zero, in orbits from periastron, taken off;
    ``jitter`` km/s ``(chunk,)``; ``ln_uniform``: what a likelihood ratio must exceed.
    """

    frequency: Any
    phase: Any
    e: Any
    cos_omega: Any
    sin_omega: Any
    k_variance: Any
    jitter: NDArray[np.float64]
    ln_uniform: NDArray[np.float32]


def prior_batch(options: OrbitOptions, index: int) -> PriorBatch:
    """Return the batch number ``index``; the first ones are kept for the next star.

    Every star begins with the first batch: of more than can be kept, the last used would be
    those that are needed last. All options that draw the same samples share them.
    """
    drawn_from = {n: v for n, v in vars(options).items() if n not in _NOT_DRAWN}
    kept = _kept(tuple(drawn_from.items()))
    if index in kept:
        return kept[index]
    batch = _drawn(options, index)
    if (index + 1) * options.chunks * CHUNK <= _KEPT:
        kept[index] = batch
    return batch


@lru_cache(maxsize=1)
def _kept(prior: tuple[tuple[str, Any], ...]) -> dict[int, PriorBatch]:
    """Return the batches of one prior by number, to be added to."""
    return {}


def forget_batches() -> None:
    """Drop the batches that are kept: they live on the device that they were drawn for."""
    _kept.cache_clear()


def _drawn(options: OrbitOptions, index: int) -> PriorBatch:
    import jax

    rng = np.random.default_rng([options.seed, index])
    shape = (options.chunks, CHUNK)
    period = _periods(rng, options, shape)
    e = np.minimum(
        rng.beta(options.eccentricity_a, options.eccentricity_b, shape), 0.999
    )
    omega = rng.uniform(0, 2 * np.pi, shape)
    single = np.float32
    on_device = (
        1 / period,
        rng.uniform(0, 1, shape).astype(single),
        e.astype(single),
        np.cos(omega).astype(single),
        np.sin(omega).astype(single),
        options.k_variance(period, e).astype(single),
    )
    with jax.enable_x64(True):
        found = [jax.device_put(values) for values in on_device]
    ln_uniform = np.log1p(-rng.random(shape, dtype=single))
    return PriorBatch._make([*found, _jitters(rng, options), ln_uniform])


def _periods(rng, options: OrbitOptions, shape) -> Array:
    low, high = np.log(options.min_period), np.log(options.max_period)
    return np.exp(rng.uniform(low, high, shape))


def _jitters(rng: np.random.Generator, options: OrbitOptions) -> Array:
    """One of each share, in an order that has nothing to do with its size."""
    if options.jitter == 0:
        return np.zeros(options.chunks)
    middles = ndtri((np.arange(options.chunks) + 0.5) / options.chunks)
    middles = np.clip(middles, -JITTER_TAIL, JITTER_TAIL)
    return options.jitter * np.exp(options.jitter_width * rng.permutation(middles))


def ln_prior(options: OrbitOptions, ln_period: Array, e: Array, ln_jitter: Array):
    """Logarithm of the prior's density in the coordinates of `orbit_modes`.

    ln P, sqrt(e) cos(omega), sqrt(e) sin(omega), mean longitude (radians), and ln jitter
    where there is one; outside of the ranges -inf. An element of the plane of the second
    and third is ``de d(omega) / 2``.
    """
    a, b = options.eccentricity_a, options.eccentricity_b
    inside = (ln_period > np.log(options.min_period)) & (
        ln_period < np.log(options.max_period)
    )
    inside &= e < 0.999
    safe = np.clip(e, 1e-12, 0.999)
    value = (a - 1) * np.log(safe) + (b - 1) * np.log1p(-safe) - betaln(a, b)
    # Densities of ln P, of omega (with the 2 of the plane) and of the longitude.
    value -= np.log(np.log(options.max_period / options.min_period))
    value -= np.log(np.pi) + np.log(2 * np.pi)
    if options.jitter > 0:
        distance = (ln_jitter - np.log(options.jitter)) / options.jitter_width
        value -= distance**2 / 2 + np.log(options.jitter_width * np.sqrt(2 * np.pi))
        inside &= np.abs(distance) < JITTER_TAIL
    return np.where(inside, value, -np.inf)
