"""What one spectrum can say of its velocity: the Fisher information, and what is left.

A velocity moves a spectrum ``A`` along ``ln(wavelength)``, so with ``s = dA / d ln(wave)``
and independent pixels of inverse variance ``w`` the information on ``rv / c`` is

    sum w s^2                                   (Bouchy, Pepe and Queloz 2001, eq. 9)

if nothing else is unknown. What else is unknown (the continuum, the type of the star)
changes the spectrum in directions ``P``, and the part of ``s`` that looks like them says
nothing. What remains is the weighted square of ``s`` after the best fit of ``P``:

    min over q of  sum w (s - q.P)^2 + sum of q_j^2 over directions with a prior

which is the Schur complement of the Fisher matrix, and for directions with unit Gaussian
priors the same as ``s.T C^-1 s`` with their covariance in ``C``. An error of the fit
enters in second order only.
"""

__all__ = ["profiled_information", "quality_squared", "velocity_information"]

import jax.numpy as jnp
from jaxtyping import Array, Float


def velocity_information(
    slope: Float[Array, " pixel"], ivar: Float[Array, " pixel"]
) -> Float[Array, ""]:
    """Return the information on ``rv / c`` with all else known; ``slope`` is ``s``."""
    return (ivar * slope**2).sum()


def profiled_information(
    slope: Float[Array, " pixel"],
    ivar: Float[Array, " pixel"],
    free: Float[Array, "free pixel"],
    patterns: Float[Array, "pattern pixel"],
    diagonal: Float[Array, " pixel"],
) -> Float[Array, ""]:
    """Return the information on ``rv / c`` that is left when the rest is unknown.

    ``free``: directions of unknown strength. ``patterns``: directions whose strengths
    have the prior variance one. ``diagonal``: variance besides the noise, independent
    from pixel to pixel.
    """
    root = jnp.sqrt(ivar / (1 + ivar * diagonal))
    columns = jnp.concatenate([free, patterns]) * root[None, :]
    target = slope * root
    known = (jnp.arange(columns.shape[0]) >= free.shape[0]).astype(slope.dtype)
    matrix = columns @ columns.T + jnp.diag(known)
    # Scaled to a unit diagonal, then the least that keeps free doubles solvable.
    size = jnp.sqrt(jnp.diagonal(matrix))
    size = jnp.where(size > 0, size, 1)
    scaled = matrix / (size[:, None] * size[None, :])
    scaled = scaled + 1e-12 * jnp.eye(columns.shape[0], dtype=slope.dtype)
    q = jnp.linalg.solve(scaled, columns @ target / size) / size
    return ((target - q @ columns) ** 2).sum() + (known * q**2).sum()


def quality_squared(
    slope: Float[Array, " pixel"], flux: Float[Array, " pixel"]
) -> Float[Array, ""]:
    """Return ``Q^2 = sum(s^2 / A) / sum(A)`` over the pixels that have light.

    Source: Bouchy, Pepe and Queloz 2001, equation 10.
    """
    lit = flux > 0
    level = jnp.where(lit, flux, 1)
    total = jnp.where(lit, flux, 0).sum()
    squares = jnp.where(lit, slope**2 / level, 0).sum()
    return jnp.where(total > 0, squares / jnp.where(total > 0, total, 1), 0)
