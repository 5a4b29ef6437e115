"""Cosmic rays in a single spectrum: features sharper than the line spread function.

A real line has the width of the line spread function at least. Against the mean of the
two pixels ``reach`` to either side (0.8 standard deviations of a line), an unresolved
line of height A stands out by ``(1 - exp(-0.8**2 / 2)) A = 0.27 A``, a cosmic ray by all
of its height. What stands out by more than 0.4 of its height above the continuum, and by
more than the noise and the shoulders between deep lines allow, is a cosmic ray.
"""

__all__ = ["cosmic_rays"]

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def cosmic_rays(
    value: Float[Array, " pixel"],
    weight: Float[Array, " pixel"],
    reach: int,
    threshold: float = 6.0,
) -> Bool[Array, " pixel"]:
    """Return which pixels are hit, neighbors out to ``reach`` included.

    ``value`` is the normalized flux less one and ``weight`` its inverse variance.
    ``threshold`` counts standard deviations.
    """
    known = weight > 0
    variance = 1.0 / jnp.where(known, weight, 1)
    blue, red = jnp.roll(known, reach), jnp.roll(known, -reach)

    def neighbors(values):
        # What stands in a pixel without weight is no number: the other side serves.
        left, right = jnp.roll(values, reach), jnp.roll(values, -reach)
        return jnp.where(blue, left, right), jnp.where(red, right, left)

    left, right = neighbors(value)
    sharp = value - (left + right) / 2
    noise = jnp.sqrt(variance + sum(neighbors(variance)) / 4)
    # Shoulders between two lines of depth 0.8 stand out by 0.27 * 0.8, say 0.3.
    hit = known & (blue | red) & (sharp > jnp.maximum(threshold * noise, 0.3))
    hit = hit & (sharp > 0.4 * value)
    hit = hit.at[:reach].set(False).at[-reach:].set(False)
    grown = hit
    for by in range(1, reach + 1):
        grown = grown | jnp.roll(hit, by) | jnp.roll(hit, -by)
    return grown
