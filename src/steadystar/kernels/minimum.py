"""The minimum of a chi-squared curve sampled on a uniform grid.

The three points around the lowest one define a parabola. Its vertex is the estimate and
its curvature the uncertainty, from ``chi2(x) = chi2_min + ((x - x_min) / sigma)**2``.
"""

__all__ = ["Minimum", "gaussian_peak", "parabolic_minimum"]

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from steadystar.data.status import Status


class Minimum(eqx.Module):
    """Where a chi-squared curve bottoms out, in units of the grid step."""

    position: Float[Array, ""]
    sigma: Float[Array, ""]
    chi2: Float[Array, ""]
    status: Int[Array, ""]


def parabolic_minimum(chi2: Float[Array, " trial"]) -> Minimum:
    """Locate the minimum of ``chi2`` between grid points.

    ``position`` counts steps from the first trial. A minimum on the edge of the grid, or
    a curve without curvature, gives NaN and a status that says which.
    """
    lowest = jnp.argmin(chi2)
    on_edge = (lowest == 0) | (lowest == chi2.size - 1)

    # Clamp so that the three neighbors exist; the edge is reported below.
    middle = jnp.clip(lowest, 1, chi2.size - 2)
    left, center, right = chi2[middle - 1], chi2[middle], chi2[middle + 1]
    slope = (right - left) / 2
    curvature = left - 2 * center + right
    flat = ~(curvature > 0)

    step = -slope / jnp.where(flat, 1.0, curvature)
    bad = on_edge | flat
    return Minimum(
        position=jnp.where(bad, jnp.nan, middle.astype(chi2.dtype) + step),
        sigma=jnp.where(bad, jnp.nan, jnp.sqrt(2 / jnp.where(flat, 1.0, curvature))),
        chi2=jnp.where(bad, center, center + slope * step / 2),
        status=_status(on_edge, flat),
    )


def gaussian_peak(log_p: Float[Array, " trial"]) -> Minimum:
    """Fit a Gaussian to the likelihood ``p`` whose logarithm is sampled.

    The published estimator (Xiong et al. 2021, section 3.1) takes the velocity at the
    peak of ``p(v)`` and the standard deviation of the Gaussian that fits it best. A
    Gaussian in ``p`` is a parabola in ``ln p``; points count by ``p`` squared, which is
    what a least-squares fit of ``p`` itself does near its solution.
    """
    best = jnp.argmax(log_p)
    on_edge = (best == 0) | (best == log_p.size - 1)
    x = jnp.arange(log_p.size).astype(log_p.dtype) - best.astype(log_p.dtype)
    y = log_p - log_p[best]
    # Three points at least, however sharp the peak is.
    weight = jnp.where(
        jnp.abs(x) <= 1, jnp.maximum(jnp.exp(2 * y), 1e-3), jnp.exp(2 * y)
    )
    design = jnp.stack([jnp.ones_like(x), x, x**2])
    normal = jnp.einsum("ip,jp,p->ij", design, design, weight)
    constant, linear, quadratic = jnp.linalg.solve(normal, design @ (weight * y))
    flat = ~(quadratic < 0)
    bad = on_edge | flat
    safe = jnp.where(flat, -1.0, quadratic)
    offset = -linear / (2 * safe)
    return Minimum(
        position=jnp.where(bad, jnp.nan, best.astype(log_p.dtype) + offset),
        sigma=jnp.where(bad, jnp.nan, jnp.sqrt(-1 / (2 * safe))),
        chi2=-2 * (log_p[best] + jnp.where(bad, 0, constant + linear * offset / 2)),
        status=_status(on_edge, flat),
    )


def _status(on_edge, flat) -> Int[Array, ""]:
    return jnp.where(on_edge, Status.GRID_EDGE.value, 0) | jnp.where(
        flat, Status.FLAT_CHI2.value, 0
    )
