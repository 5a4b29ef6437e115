"""How likely an orbit is after the visits, and samples of it.

The same velocity curves as in `orbit_curves`, here with all priors and in JAX, so that
many orbits are judged at once (`PosteriorDensity`) and the No-U-Turn sampler of NumPyro
has its gradients (`sample_posterior`). Visits are padded to a power of two with
weights of zero: stars of one size share a compilation.

Priors are those of `OrbitOptions`. NUTS moves in ``sqrt(e)`` times cosine and sine of
omega, where a prior flat in e and omega is flat and nothing is singular at the circle.
"""

__all__ = ["Posterior", "PosteriorDensity", "sample_posterior"]

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from steadystar.infer.orbit_curves import Curves, elements_of
from steadystar.infer.orbit_prior import OrbitOptions
from steadystar.infer.orbit_refinement import Refined
from steadystar.kernels.orbit import solve_kepler

Array = NDArray[np.float64]
_TURN = 2 * np.pi
_DEFAULT = OrbitOptions()
_FREE = 1e4  # km/s: a zero point of which nothing is known


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


@jax.custom_jvp
def _anomaly(mean, e):
    return solve_kepler(mean, e)


@_anomaly.defjvp
def _anomaly_slope(primals, tangents):
    mean, e = primals
    sine, cosine = _anomaly(mean, e)
    turn = (tangents[0] + sine * tangents[1]) / (1 - e * cosine)
    return (sine, cosine), (cosine * turn, -sine * turn)


def _velocities(data: _Data, shape, linear):
    """Velocities for ln P, longitude, e, cos and sin of omega, and linear numbers."""
    ln_period, longitude, e, cos_w, sin_w = shape
    mean = _TURN * data.since * jnp.exp(-ln_period) + longitude
    mean = mean - jnp.arctan2(sin_w, cos_w)
    mean = jnp.mod(mean + np.pi, _TURN) - np.pi
    every = jnp.full_like(mean, e)
    sine, cosine = _anomaly(mean, every)
    near = 1 / (1 - every * cosine)
    curve = cos_w * ((cosine - every) * near + every)
    curve = curve - sin_w * jnp.sqrt(1 - e * e) * sine * near
    stars = linear.shape[0] - data.constants.shape[1]
    k = linear[0] * (1 - data.second)
    if stars == 2:
        k = k - linear[1] * data.second
    return k * curve + data.constants @ linear[stars:]


def _ln_posterior(data: _Data, shape, linear, ln_jitter):
    """Likelihood times prior: in ln P, longitude, e, omega, linear numbers, ln jitter."""
    jitter = jnp.exp(ln_jitter)
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
    value = value - 0.5 * ((ln_jitter - middle) / width) ** 2
    inside = (ln_period > data.limits[0]) & (ln_period < data.limits[1])
    if stars == 2:
        # The stars move against each other.
        inside &= linear[0] * linear[1] > 0
    return jnp.where(inside, value, -jnp.inf)


@jax.jit
def _of_numbers(data: _Data, numbers, ln_jitter):
    """``_ln_posterior`` in the numbers of `orbit_curves`, ``(sample, number)``."""

    def one(u, ln_s):
        r = jnp.sqrt(u[2] ** 2 + u[3] ** 2 + 1e-24)
        e = r / jnp.sqrt(1 + r * r)
        shape = (u[0], u[1], e, u[2] / r, u[3] / r)
        # From the plane of ecc_cos and ecc_sin to e and omega.
        area = 1.5 * jnp.log1p(-e * e) - jnp.log(_TURN * r)
        return _ln_posterior(data, shape, u[4:], ln_s) + area

    return jax.vmap(one)(numbers, ln_jitter)


@dataclass(frozen=True, eq=False)
class PosteriorDensity:
    """The posterior of a star's orbit, up to a constant.

    ``offset_sigma``: prior widths of the zero points after the first, km/s; None: free.
    """

    curves: Curves
    options: OrbitOptions
    offset_sigma: Array | None = None

    def __call__(self, numbers: Array, jitter: Array) -> Array:
        """Return its logarithm: in ``numbers (sample, number)`` and in ln jitter.

        A jitter below 1 m/s counts as one of 1 m/s.
        """
        with jax.enable_x64(True):
            ln = jnp.asarray(np.log(np.maximum(jitter, 1e-3)))
            found = _of_numbers(self.data(), jnp.asarray(numbers), ln)
        return np.asarray(found)

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
            jnp.asarray([np.log(max(o.jitter, 1e-3)), o.jitter_width]),
        )


@dataclass(frozen=True)
class Posterior:
    """Samples ``{element: (sample,)}`` (days, radians, km/s), and whether to trust them.

    ``r_hat`` by sampled number: below 1.01 where chains agree. ``divergences`` counts
    steps in which the sampler lost its way.
    """

    samples: dict[str, Array]
    r_hat: dict[str, float]
    divergences: int
    notes: tuple[str, ...]


def sample_posterior(
    curves: Curves,
    start: Refined,
    options: OrbitOptions = _DEFAULT,
    *,
    offset_sigma: Array | None = None,
    chains: int = 2,
    warmup: int = 500,
    samples: int = 500,
) -> Posterior:
    """Sample the orbit around ``start`` by the No-U-Turn sampler.

    For stars whose visits leave one period: chains do not cross to another mode.

    Arguments:
        curves: the velocities (`curves_of`).
        start: their refined orbit; sets where chains begin and the first scales.
        options: the prior; its seed.
        offset_sigma: prior widths of the zero points after the first; None: free.
        chains, warmup, samples: of the sampler; samples of each chain.
    """
    density = PosteriorDensity(curves, options, offset_sigma)
    scale = np.sqrt(np.maximum(np.diag(start.covariance), 1e-24))
    e = start.elements["e"]
    root, root_err = np.sqrt(e), start.errors["e"] / (2 * np.sqrt(max(e, 1e-3)))
    omega = np.arctan2(start.numbers[3], start.numbers[2])
    center = start.numbers.copy()
    plane = root / np.sqrt(max(1 - e, 1e-9))  # sqrt(e), stretched to the whole plane
    center[2:4] = plane * np.cos(omega), plane * np.sin(omega)
    stretch = (1 - e) ** -1.5
    scale[2:4] = min(root_err, 0.3) * stretch + 1e-4
    center = np.append(center, np.log(max(start.elements["jitter"], 1e-2)))
    scale = np.append(scale, 0.5)
    sampler = _sampler(chains, warmup, samples)
    rng = np.random.default_rng(options.seed)
    first = 0.3 * rng.standard_normal((chains, len(center)))
    with jax.enable_x64(True):
        sampler.run(
            jax.random.key(options.seed),
            density.data(),
            jnp.asarray(center),
            jnp.asarray(scale),
            init_params={"z": jnp.asarray(first)},
            extra_fields=("diverging",),
        )
        z = np.asarray(sampler.get_samples(group_by_chain=True)["z"])
        lost = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    return _collected(center + scale * z, curves, start, lost)


@lru_cache(maxsize=8)
def _sampler(chains: int, warmup: int, samples: int):
    # NumPyro takes half a second to import; most runs never need it.
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    def model(data, center, scale):
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), center.shape)
        z: Any = numpyro.sample("z", flat)
        p = center + scale * z
        square = p[2] ** 2 + p[3] ** 2
        e = square / (1 + square)
        rho = jnp.sqrt(square + 1e-24)
        shape = (p[0], p[1], e, p[2] / rho, p[3] / rho)
        # A flat density on the disk of sqrt(e), as one of the plane.
        area = -2 * jnp.log1p(square)
        numpyro.factor("orbit", _ln_posterior(data, shape, p[4:-1], p[-1]) + area)

    return MCMC(
        NUTS(model, dense_mass=True, target_accept_prob=0.9),
        num_warmup=warmup,
        num_samples=samples,
        num_chains=chains,
        chain_method="vectorized",
        progress_bar=False,
        jit_model_args=True,
    )


def _collected(p: Array, curves: Curves, start: Refined, lost: int) -> Posterior:
    """Turn chains ``(chain, sample, number)`` into elements, and judge them."""
    from numpyro.diagnostics import split_gelman_rubin

    names = (*curves.names, "ln_jitter")
    r_hat = {n: float(split_gelman_rubin(p[..., i])) for i, n in enumerate(names)}
    flat = p.reshape(-1, p.shape[-1])
    square = flat[:, 2] ** 2 + flat[:, 3] ** 2
    e = square / (1 + square)
    turned = flat[:, :-1].copy()
    along = e / np.sqrt(1 - e * e) / np.sqrt(np.maximum(square, 1e-24))
    turned[:, 2:4] *= along[:, None]
    out = elements_of(turned, curves.names, curves.middle)
    since = out["t_peri"] - start.elements["t_peri"]
    out["t_peri"] -= out["period"] * np.round(since / out["period"])
    out["jitter"] = np.exp(flat[:, -1])
    notes = []
    worst = max(r_hat, key=lambda n: r_hat[n])
    if not r_hat[worst] < 1.05:
        notes.append(
            f"The chains do not agree (r_hat {r_hat[worst]:.2f} in {worst}): there may "
            "be several modes; sample by rejection, or draw more."
        )
    if lost > 0.01 * len(flat):
        notes.append(f"{lost} of {len(flat)} steps diverged: widths may be too small.")
    return Posterior(out, r_hat, lost, tuple(notes))
