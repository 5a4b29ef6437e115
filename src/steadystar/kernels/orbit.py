"""Kepler's equation, the shape of a velocity curve, and how likely a shape is.

A velocity curve is ``v0 + K shape(t)`` with ``shape = cos(omega + nu) + e cos(omega)``,
so that for given period, eccentricity, angle and time of periastron the rest is linear:
semi-amplitude, mean velocity and zero points have normal priors, and are integrated out
(Price-Whelan et al. 2017, ApJ 837, 20). All of them but the semi-amplitude are the same
for every shape, so they belong to the covariance of the visits, which is inverted once; a
shape adds one rank to it.

In single precision the sine and cosine are polynomials, for the compiler calls a library
for each of its own: most of the time went there.
"""

__all__ = [
    "ln_likelihood_ratio",
    "orbit_shape",
    "shape_of_phase",
    "solve_kepler",
]

from math import factorial

import jax.numpy as jnp
from jaxtyping import Array, Float

_TWO_PI = 6.283185307179586
_PI = 3.141592653589793
# Taylor series of sin(y)/y and cos(y) in y^2: rounding is all that is left at pi/2.
_SINE = tuple((-1) ** k / factorial(2 * k + 1) for k in range(6))
_COSINE = tuple((-1) ** k / factorial(2 * k) for k in range(7))


def solve_kepler(
    mean_anomaly: Float[Array, "*n"], eccentricity: Float[Array, "*n"]
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Return sine and cosine of the eccentric anomaly.

    Arguments:
        mean_anomaly: radians, from -pi to pi.
        eccentricity: 0 <= e < 1, of a shape that broadcasts against it.

    One step without a branch: exact to rounding for double precision.

    Source:
        Markley 1995, Celest. Mech. Dyn. Astron. 63, 101.
    """
    e = eccentricity
    m = jnp.abs(mean_anomaly)
    alpha = (3 * _PI**2 + 1.6 * _PI * (_PI - m) / (1 + e)) / (_PI**2 - 6)
    d = 3 * (1 - e) + alpha * e
    r = (3 * alpha * d * (d - 1 + e) + m * m) * m
    q = 2 * alpha * d * (1 - e) - m * m
    root = _cube_root(r + jnp.sqrt(q * q * q + r * r))
    w = root * root
    start = (2 * r * w / (w * w + w * q + q * q) + m) / d
    sine, cosine = _sine_cosine(start)
    f_2, f_3 = e * sine, e * cosine
    f_0, f_1 = start - f_2 - m, 1 - f_3
    step = -f_0 / (f_1 - f_0 * f_2 / (2 * f_1))
    step = -f_0 / (f_1 + step * f_2 / 2 + step * step * f_3 / 6)
    fourth = step * step * (f_3 / 6 - step * f_2 / 24)
    step = -f_0 / (f_1 + step * f_2 / 2 + fourth)
    sine, cosine = _sine_cosine(start + step)
    return jnp.where(mean_anomaly < 0, -sine, sine), cosine


def _cube_root(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Cube root of a positive number."""
    if x.dtype != jnp.float32:
        return jnp.cbrt(x)
    return jnp.exp(jnp.log(jnp.maximum(x, 1e-30)) * jnp.float32(1 / 3))


def _sine_cosine(
    x: Float[Array, "*n"],
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Sine and cosine of an angle from 0 to pi."""
    if x.dtype != jnp.float32:
        return jnp.sin(x), jnp.cos(x)
    y = x - jnp.float32(_PI / 2)
    square = y * y
    return _power_series(_COSINE, square), -y * _power_series(_SINE, square)


def _power_series(coefficients, x):
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + jnp.float32(coefficient)
    return total


def orbit_shape(
    mean_anomaly: Float[Array, "*n"],
    eccentricity: Float[Array, "*n"],
    omega: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    """Return ``cos(omega + nu) + e cos(omega)``: the velocity of a star with K = 1.

    Arguments:
        mean_anomaly: radians, any.
        eccentricity: 0 <= e < 1.
        omega: argument of periastron of the star, radians.
    """
    turns = mean_anomaly / _TWO_PI
    return _shape(turns, eccentricity, jnp.cos(omega), jnp.sin(omega))


def shape_of_phase(
    phase: Float[Array, "*n"],
    eccentricity: Float[Array, "*n"],
    cos_omega: Float[Array, "*n"],
    sin_omega: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    """Return the shape in the precision of ``eccentricity``.

    ``phase`` counts orbits from periastron; times over periods need double precision,
    what is left after full orbits are taken off does not.
    """
    return _shape(phase, eccentricity, cos_omega, sin_omega)


def _shape(phase, eccentricity, cos_omega, sin_omega):
    part = (phase - jnp.round(phase)).astype(eccentricity.dtype)
    e = jnp.broadcast_to(eccentricity, part.shape)
    sine, cosine = solve_kepler(part * _TWO_PI, e)
    near = 1 / (1 - e * cosine)
    cos_nu = (cosine - e) * near
    sin_nu = jnp.sqrt(1 - e * e) * sine * near
    return cos_omega * (cos_nu + e) - sin_omega * sin_nu


def ln_likelihood_ratio(
    shape: Float[Array, "visit *sample"],
    weight: Float[Array, "visit"],
    known: Float[Array, "constant visit"],
    weighted: Float[Array, "visit"],
    k_variance: Float[Array, "*sample"],
) -> Float[Array, "*sample"]:
    """Return ln of how much likelier the visits are with an orbit than without.

    The covariance C of the visits is that of independent errors and of constants with
    normal priors, so that ``C^-1 = diag(weight) - known^T known``.

    Arguments:
        shape: of the orbit, at each visit.
        weight: one over the variance of each visit, (km/s)^-2; 0 leaves it out.
        known: what the constants take of every visit, (km/s)^-1.
        weighted: ``C^-1 (rv - prior mean)``.
        k_variance: variance of the normal prior of K, (km/s)^2.

    Source:
        Price-Whelan et al. 2017, equation 15, by the matrix determinant lemma.
    """
    explained = jnp.tensordot(weighted, shape, axes=1)
    size = jnp.tensordot(weight, shape**2, axes=1)
    size = size - jnp.sum(jnp.tensordot(known, shape, axes=1) ** 2, axis=0)
    gain = 1 + k_variance * size
    return (k_variance * explained**2 / gain - jnp.log(gain)) / 2
