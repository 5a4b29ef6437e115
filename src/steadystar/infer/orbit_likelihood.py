"""The likelihood of orbits for one star: its visits, and all that is linear in them.

The visits of a star are velocities with independent errors and unknown constants with
normal priors: the mean velocity, one for each arm or reference with a zero of its own, one
for each zero point that several visits share, or whose group is in doubt. For a given
period, eccentricity, angle and jitter all of them, and the semi-amplitude, are linear: they
are integrated out, and drawn from what the visits leave of them afterwards.
"""

__all__ = ["Elements", "Fitted", "StarVelocities", "fitted", "ln_likelihoods"]

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_prior import OrbitOptions, PriorBatch
from steadystar.kernels.orbit import ln_likelihood_ratio, shape_of_phase

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StarVelocities:
    """One star's visits, ready to be fitted.

    ``time`` d, from ``epoch`` (BJD); ``rv``, ``err`` km/s, rv from ``center``:
    ``(visit,)``; ``design`` ``(visit, constant)``, and the variances of the priors of the
    ``constants`` named, ``(constant,)``: the first is the mean velocity.
    """

    time: Array
    rv: Array
    err: Array
    design: Array
    variance: Array
    constants: tuple[str, ...]
    epoch: float
    center: float

    def __len__(self) -> int:
        return len(self.time)

    @property
    def baseline(self) -> float:
        """Days from the first visit to the last."""
        return float(np.ptp(self.time))

    def inverted(self, jitter: Array) -> tuple[Array, Array, Array, Array]:
        """Return, for each jitter, what the covariance C of the visits comes to.

        ``weight (jitter, visit)`` and ``known (jitter, constant, visit)``, with
        ``C^-1 = diag(weight) - known^T known``; ``C^-1 rv (jitter, visit)``; and the ln
        likelihood without an orbit, ``(jitter,)``. By Woodbury's identity: constants are
        few, visits may be many.
        """
        weight = 1 / (self.err**2 + jitter[:, None] ** 2)
        turned = self.design.T * weight[:, None, :]
        inner = turned @ self.design
        diagonal = np.arange(len(self.variance))
        inner[:, diagonal, diagonal] += 1 / self.variance
        lower = np.asarray(np.linalg.cholesky(inner), float)
        known = np.asarray(np.linalg.solve(lower, turned), float)
        part = known @ self.rv
        weighted = (
            weight * self.rv - (known.transpose(0, 2, 1) @ part[..., None])[..., 0]
        )
        log_size = (
            2 * np.log(lower[:, diagonal, diagonal]).sum(axis=1)
            + np.log(self.variance).sum()
            - np.log(weight / (2 * np.pi)).sum(axis=1)
        )
        plain = -(weighted @ self.rv + log_size) / 2
        return weight, known, weighted, plain


def ln_likelihoods(star: StarVelocities, batch: PriorBatch) -> Array:
    """Return the marginal ln likelihood of every sample of the prior, ``(chunk, sample)``.

    Phases, eccentricities and shapes are worked on in single precision: their rounding
    changes ln L by some 1e-6 K / error. Sums are double.
    """
    import jax

    jitter, place = np.unique(batch.jitter, return_inverse=True)
    *parts, plain = star.inverted(jitter)
    more = _padded(len(star)) - len(star)
    parts = [np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, more)]) for x in parts]
    time = np.pad(star.time, (0, more))
    with jax.enable_x64(True):
        ratio = _compiled()(time, *parts, place, *batch[:6])
        return np.asarray(ratio) + plain[place][:, None]


def _padded(visits: int) -> int:
    """Return a number of visits that many stars share: each is compiled once."""
    for size in (4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64):
        if visits <= size:
            return size
    return -(-visits // 32) * 32


@cache
def _compiled():
    import jax
    import jax.numpy as jnp

    def run(time, weight, known, weighted, place, *prior):
        def chunk(one):
            place, frequency, phase, e, cos_omega, sin_omega, k_variance = one
            orbits = time[:, None] * frequency[None] - phase.astype(time.dtype)[None]
            curve = (
                jnp.broadcast_to(v, orbits.shape) for v in (e, cos_omega, sin_omega)
            )
            shape = shape_of_phase(orbits, *curve)
            return ln_likelihood_ratio(
                shape.astype(time.dtype),
                weight[place],
                known[place],
                weighted[place],
                k_variance.astype(time.dtype),
            )

        return jax.lax.map(chunk, (place, *prior))

    return jax.jit(run)


class Elements(NamedTuple):
    """What is not linear in a velocity curve, each ``(sample,)``.

    ``period`` d, ``e``, ``omega`` radians, ``phase`` (orbits from periastron that are
    taken off: periastron is at ``phase * period`` after the epoch), ``jitter`` km/s.
    """

    period: Array
    e: Array
    omega: Array
    phase: Array
    jitter: Array

    def at(self, rows: NDArray) -> "Elements":
        """Return the samples ``rows``."""
        return Elements(*(values[rows] for values in self))

    def shape_at(self, time: Array) -> Array:
        """Velocity for K = 1 at each ``time`` from the epoch, ``(sample, time)``."""
        orbits = time / self.period[:, None] - self.phase[:, None]
        columns = (self.e, np.cos(self.omega), np.sin(self.omega))
        wide = [np.broadcast_to(c[:, None], orbits.shape).ravel() for c in columns]
        return _shapes(orbits.ravel(), *wide).reshape(orbits.shape)


_BLOCKS = (2048, 16384)


def _shapes(*columns: Array) -> Array:
    """Shapes in blocks of two sizes, so that they are compiled but twice."""
    import jax

    count = len(columns[0])
    size = _BLOCKS[count > 4 * _BLOCKS[0]]
    blocks = max(1, -(-count // size))
    padded = [np.pad(c, (0, blocks * size - count)) for c in columns]
    with jax.enable_x64(True):
        parts = [
            np.asarray(_compiled_shapes()(*(c[i : i + size] for c in padded)))
            for i in range(0, blocks * size, size)
        ]
    return np.concatenate(parts)[:count]


@cache
def _compiled_shapes():
    import jax

    return jax.jit(shape_of_phase)


class Fitted(NamedTuple):
    """The linear part for given elements: ``mean (sample, 1 + constant)``, K first.

    ``factor``: upper triangular R with covariance ``(R^T R)^-1``; ``ln_likelihood``
    marginal, ``chi2`` at the mean, without jitter: ``(sample,)``.
    """

    mean: Array
    factor: Array
    ln_likelihood: Array
    chi2: Array

    def drawn(self, rng: np.random.Generator) -> Array:
        """One draw of each, ``(sample, 1 + constant)``."""
        noise = rng.normal(size=self.mean.shape)
        return self.mean + np.linalg.solve(self.factor, noise[..., None])[..., 0]


def fitted(star: StarVelocities, elements: Elements, options: OrbitOptions) -> Fitted:
    """Solve for semi-amplitude and constants, and integrate over them, in double."""
    shape = elements.shape_at(star.time)
    count = len(shape)
    design = np.concatenate(
        [shape[..., None], np.broadcast_to(star.design, (count, *star.design.shape))], 2
    )
    variance = np.empty((count, design.shape[2]))
    variance[:, 0] = options.k_variance(elements.period, elements.e)
    variance[:, 1:] = star.variance
    weight = 1 / (star.err**2 + elements.jitter[:, None] ** 2)
    weighted = design * weight[..., None]
    turned = weighted.transpose(0, 2, 1)
    normal, right = turned @ design, turned @ star.rv
    diagonal = np.arange(design.shape[2])
    normal[:, diagonal, diagonal] += 1 / variance
    factor = np.asarray(np.linalg.cholesky(normal), float).transpose(0, 2, 1)
    mean = np.asarray(np.linalg.solve(normal, right[..., None])[..., 0], float)
    total = weight @ star.rv**2 - np.einsum("si,si->s", right, mean)
    log_size = (
        2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        + np.log(variance).sum(axis=1)
        - np.log(weight / (2 * np.pi)).sum(axis=1)
    )
    residual = star.rv - (design @ mean[..., None])[..., 0]
    chi2 = (residual**2 / star.err**2).sum(axis=1)
    return Fitted(mean, factor, -(total + log_size) / 2, chi2)
