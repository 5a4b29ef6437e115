"""The pseudo-continuum of one spectrum, by either of two published recipes.

``spline``: a smoothing spline, fitted again after pixels further than three standard
deviations from the median of their segment are dropped, three times (Xiong et al. 2021,
section 3.1). ``polynomial``: a third-order polynomial that climbs to the upper envelope,
because pixels more than one standard deviation below it are rejected, and those more
than three above (Zong et al. 2020, section 3; "above +1 and below -3 sigma" there, which
only makes a continuum if the residual is fit minus flux). Both return the level that flux
and error are divided by.
"""

__all__ = ["polynomial_continuum", "spline_continuum"]

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def spline_continuum(
    x: Float[Array, " pixel"],
    flux: Float[Array, " pixel"],
    usable: Float[Array, " pixel"],
    segments: int,
    knots_per_segment: int = 2,
    smoothness: float = 0.1,
) -> Float[Array, " pixel"]:
    """Return the smoothing-spline continuum.

    ``x`` runs from 0 to ``segments``: one unit is one segment of the clipping (100
    Angstrom in the paper). ``usable`` is 1 for pixels that count and 0 for the rest.
    ``smoothness`` weighs the squared second differences of the coefficients against the
    mean squared residual.
    """
    size = segments * knots_per_segment + 3
    knot = jnp.arange(-1, size - 1, dtype=x.dtype)
    basis = _bspline((x * knots_per_segment)[None, :] - knot[:, None])
    segment = jnp.clip(jnp.floor(x), 0, segments - 1).astype(jnp.int32)
    number = jnp.arange(segments, dtype=jnp.int32)
    member = (segment[None, :] == number[:, None]).astype(x.dtype)

    second = np.diff(np.eye(size), n=2, axis=0)
    penalty = jnp.asarray(smoothness * second.T @ second + 1e-6 * np.eye(size), x.dtype)

    def fit(weight):
        normal = jnp.einsum("ip,jp,p->ij", basis, basis, weight)
        strength = weight.sum() / size + 1e-30
        return (
            jnp.linalg.solve(normal + strength * penalty, basis @ (weight * flux))
            @ basis
        )

    def clip(_, weight):
        level = fit(weight)
        residual = flux - level
        held = member * (weight > 0).astype(x.dtype)[None, :]
        deviation = residual - _segment_median(residual, held) @ member
        count = jnp.maximum(member @ weight, 1)
        spread = jnp.sqrt(member @ (weight * deviation**2) / count)
        return jnp.where(jnp.abs(deviation) < 3 * (spread @ member), usable, 0)

    return fit(jax.lax.fori_loop(0, 3, clip, usable))


def _bspline(t):
    """Return the cubic B-spline centered at zero."""
    t = jnp.abs(t)
    near = 2 / 3 - t**2 + t**3 / 2
    return jnp.where(t < 1, near, jnp.maximum(2 - t, 0) ** 3 / 6)


def _segment_median(
    value: Float[Array, " pixel"],
    member: Float[Array, "segment pixel"],
    steps: int = 7,
) -> Float[Array, " segment"]:
    """Median of each segment by bisection on the count below: no sorting.

    ``member`` is 1 where a pixel belongs to a segment. A median is within one standard
    deviation of the mean: ``steps`` halvings leave ``2**-steps`` of the deviation to
    either side, and within it counts are taken to grow evenly.
    """
    count = jnp.maximum(member.sum(1), 1)
    mean = member @ value / count
    spread = jnp.sqrt(member @ (value - mean @ member) ** 2 / count)

    def halve(_, bounds):
        (low, few), (high, many) = bounds
        middle = (low + high) / 2
        found = member @ (value < middle @ member).astype(value.dtype)
        below = found < count / 2
        return (
            (jnp.where(below, middle, low), jnp.where(below, found, few)),
            (jnp.where(below, high, middle), jnp.where(below, many, found)),
        )

    start = (mean - spread, jnp.zeros_like(count)), (mean + spread, count)
    (low, few), (high, many) = jax.lax.fori_loop(0, steps, halve, start)
    part = (count / 2 - few) / jnp.maximum(many - few, 1)
    return low + (high - low) * jnp.clip(part, 0, 1)


def polynomial_continuum(
    x: Float[Array, " pixel"],
    flux: Float[Array, " pixel"],
    usable: Float[Array, " pixel"],
    degree: int = 3,
    rounds: int = 5,
) -> Float[Array, " pixel"]:
    """Return the polynomial continuum; ``x`` runs from -1 to 1 over the spectrum."""
    columns = [jnp.ones_like(x), x]
    for n in range(1, degree):
        columns.append(((2 * n + 1) * x * columns[n] - n * columns[n - 1]) / (n + 1))
    design = jnp.stack(columns[: degree + 1])

    def fit(weight):
        normal = jnp.einsum("ip,jp,p->ij", design, design, weight)
        total = weight.sum() + 1e-30
        ridge = 1e-9 * total * jnp.eye(degree + 1, dtype=x.dtype)
        return jnp.linalg.solve(normal + ridge, design @ (weight * flux)) @ design

    def clip(_, weight):
        residual = flux - fit(weight)
        count = jnp.maximum(weight.sum(), 1)
        spread = jnp.sqrt((weight * residual**2).sum() / count)
        keep = (residual > -spread) & (residual < 3 * spread)
        return jnp.where(keep, usable, 0)

    return fit(jax.lax.fori_loop(0, rounds, clip, usable))
