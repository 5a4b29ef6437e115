"""The minimum of a chi-squared curve sampled on a uniform grid.

The three points around the lowest one define a parabola. Its vertex is the estimate and
its curvature the uncertainty, from ``chi2(x) = chi2_min + ((x - x_min) / sigma)**2``.
"""

__all__ = [
    "RIVAL_CHI2",
    "Minimum",
    "gaussian_peak",
    "lowest_minimum",
    "parabolic_minimum",
    "vertex",
]

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from steadystar.data.status import Status


class Minimum(eqx.Module):
    """Where a chi-squared curve bottoms out, in units of the grid step."""

    position: Float[Array, ""]
    sigma: Float[Array, ""]
    chi2: Float[Array, ""]
    status: Int[Array, ""]


RIVAL_CHI2 = 9.0
"""Two minima that differ by less than this in chi squared cannot be told apart."""
_APART = 3
"""Trials: minima that are nearer to each other are one."""


class Vertex(NamedTuple):
    """Of a parabola through three neighbors; ``offset`` from the middle one, in steps.

    Where ``flat`` holds there is no minimum, and the rest means nothing.
    """

    offset: Float[Array, ""]
    sigma: Float[Array, ""]
    flat: Bool[Array, ""]


def vertex(chi2: Float[Array, "3"]) -> Vertex:
    """Return the vertex of the parabola through three equally spaced trials."""
    left, center, right = chi2
    curvature = left - 2 * center + right
    flat = ~(curvature > 0)
    safe = jnp.where(flat, 1.0, curvature)
    return Vertex((left - right) / (2 * safe), jnp.sqrt(2 / safe), flat)


def lowest_minimum(
    chi2: Float[Array, " trial"],
) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """Return the lowest trial, and how much worse the next minimum is; infinite if none.

    The ends of the curve count as neighbors of each other.
    """
    lowest = jnp.argmin(chi2)
    dip = (chi2 <= jnp.roll(chi2, 1)) & (chi2 <= jnp.roll(chi2, -1))
    apart = jnp.abs(jnp.arange(chi2.size) - lowest) > _APART
    second = jnp.where(dip & apart, chi2, jnp.inf).min()
    return lowest, second - chi2[lowest]


def parabolic_minimum(chi2: Float[Array, " trial"]) -> Minimum:
    """Locate the minimum of ``chi2`` between grid points.

    ``position`` counts steps from the first trial. A minimum on the edge of the grid, or
    a curve without curvature, gives NaN and a status that says which.
    """
    lowest = jnp.argmin(chi2)
    on_edge = (lowest == 0) | (lowest == chi2.size - 1)

    # Clamp so that the three neighbors exist; the edge is reported below.
    middle = jnp.clip(lowest, 1, chi2.size - 2)
    near = jnp.stack([chi2[middle - 1], chi2[middle], chi2[middle + 1]])
    found = vertex(near)
    bad = on_edge | found.flat
    gained = found.offset * (near[2] - near[0]) / 4
    return Minimum(
        position=jnp.where(bad, jnp.nan, middle.astype(chi2.dtype) + found.offset),
        sigma=jnp.where(bad, jnp.nan, found.sigma),
        chi2=jnp.where(bad, near[1], near[1] + gained),
        status=_status(on_edge, found.flat),
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
