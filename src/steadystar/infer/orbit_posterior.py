"""How likely an orbit is after the visits.

The same velocity curves as in `orbit_curves`, here with all priors and in JAX, so that
many orbits are judged at once. Visits are padded to a power of two with weights of zero:
stars of one size share a compilation. Priors are those of `OrbitOptions`.
"""

__all__ = ["PosteriorDensity"]

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from steadystar.infer.orbit_curves import Curves
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.kernels.orbit import solve_kepler

Array = NDArray[np.float64]
_TURN = 2 * np.pi
_FREE = 1e4  # km/s: a zero point of which nothing is known
_LITTLE = 0.3  # of the prior's median: a fitted jitter may be zero
_LEAST = 1e-12  # km/s: there is no logarithm of zero
_NONE = (0.0, np.inf)  # middle and width of a prior that says nothing


class _Data(NamedTuple):
    """A star's velocities, padded, with what is known before: arrays of JAX."""

    since: Any
    v: Any
    err: Any
    good: Any
    second: Any
    constants: Any
    offset_sigma: Any
    limits: Any
    e_shape: Any
    k_scale: Any
    jitter: Any


def _velocities(data: _Data, shape, linear):
    """Velocities for ln P, longitude, e, cos and sin of omega, and linear numbers."""
    ln_period, longitude, e, cos_w, sin_w = shape
    mean = _TURN * data.since * jnp.exp(-ln_period) + longitude
    mean = mean - jnp.arctan2(sin_w, cos_w)
    mean = jnp.mod(mean + np.pi, _TURN) - np.pi
    every = jnp.full_like(mean, e)
    sine, cosine = solve_kepler(mean, every)
    near = 1 / (1 - every * cosine)
    curve = cos_w * ((cosine - every) * near + every)
    curve = curve - sin_w * jnp.sqrt(1 - e * e) * sine * near
    stars = linear.shape[0] - data.constants.shape[1]
    k = linear[0] * (1 - data.second)
    if stars == 2:
        k = k - linear[1] * data.second
    return k * curve + data.constants @ linear[stars:]


def _ln_posterior(data: _Data, shape, linear, jitter):
    """Likelihood times prior: in ln P, longitude, e, omega, linear numbers, ln jitter."""
    variance = data.err**2 + jitter**2
    left = data.v - _velocities(data, shape, linear)
    each = left**2 / variance + jnp.log(_TURN * variance)
    value = -0.5 * jnp.sum(data.good * each)
    ln_period, e = shape[0], shape[2]
    a, b, norm = data.e_shape
    value = value + (a - 1) * jnp.log(jnp.maximum(e, 1e-12))
    value = value + (b - 1) * jnp.log1p(-e) - norm
    stars = linear.shape[0] - data.constants.shape[1]
    spread = data.k_scale - 2 / 3 * ln_period - jnp.log1p(-e * e)
    for i in range(stars):
        value = value - 0.5 * (linear[i] ** 2 / jnp.exp(spread) + spread)
    offsets = linear[stars + 1 :]
    value = value - 0.5 * jnp.sum((offsets / data.offset_sigma) ** 2)
    middle, width = data.jitter
    value = value - 0.5 * ((jnp.log(jnp.maximum(jitter, _LEAST)) - middle) / width) ** 2
    inside = (ln_period > data.limits[0]) & (ln_period < data.limits[1])
    if stars == 2:
        # The stars move against each other.
        inside &= linear[0] * linear[1] > 0
    return jnp.where(inside, value, -jnp.inf)


@jax.jit
def _of_numbers(data: _Data, numbers, jitter):
    """``_ln_posterior`` in the numbers of `orbit_curves`, ``(sample, number)``."""

    def one(u, s):
        r = jnp.sqrt(u[2] ** 2 + u[3] ** 2 + 1e-24)
        e = r / jnp.sqrt(1 + r * r)
        shape = (u[0], u[1], e, u[2] / r, u[3] / r)
        # From the plane of ecc_cos and ecc_sin to e and omega.
        area = 1.5 * jnp.log1p(-e * e) - jnp.log(_TURN * r)
        return _ln_posterior(data, shape, u[4:], s) + area

    return jax.vmap(one)(numbers, jitter)


@dataclass(frozen=True, eq=False)
class PosteriorDensity:
    """The posterior of a star's orbit, up to a constant.

    ``offset_sigma``: prior widths of the zero points after the first, km/s; None: free.
    """

    curves: Curves
    options: OrbitOptions
    offset_sigma: Array | None = None

    def __call__(self, numbers: Array, jitter: Array) -> Array:
        """Return its logarithm, at ``numbers (sample, number)`` and ``jitter (sample,)``.

        It is the density in the numbers and in ln jitter, or in the numbers alone where the
        prior has no jitter. Jitters have no bounds here.
        """
        with jax.enable_x64(True):
            columns = jnp.asarray(numbers, float), jnp.asarray(jitter, float)
            return np.asarray(_of_numbers(self.data(), *columns))

    def allowed(self, jitter: float) -> float:
        """Return the jitter that the prior allows next to one that was fitted, km/s."""
        least = _LITTLE * self.options.jitter
        return max(jitter, least) if least > 0 else 0.0

    def data(self) -> _Data:
        """Return velocities and priors, padded; within `jax.enable_x64`."""
        c, o = self.curves, self.options
        n = len(c.v)
        size = max(8, 1 << (n - 1).bit_length())

        def padded(values, fill=0.0):
            out = np.full((size, *values.shape[1:]), fill)
            out[:n] = values
            return jnp.asarray(out)

        sigma = self.offset_sigma
        sigma = np.full(c.families - 1, _FREE) if sigma is None else sigma
        a, b = o.eccentricity_a, o.eccentricity_b
        unit = o.k_variance(np.ones(1), np.zeros(1))[0]
        return _Data(
            padded(c.t - c.middle),
            padded(c.v),
            padded(c.err, 1.0),
            padded(np.ones(n)),
            padded(c.second),
            padded(c.constants),
            jnp.asarray(sigma, jnp.float64),
            jnp.asarray(np.log([o.min_period, o.max_period])),
            jnp.asarray([a, b, betaln(a, b)]),
            jnp.asarray(np.log(unit)),
            jnp.asarray([np.log(o.jitter), o.jitter_width] if o.jitter else _NONE),
        )
