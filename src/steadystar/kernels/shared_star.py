"""What one spectrum says of a star that other spectra show as well.

Each spectrum has a continuum of its own; the star's lines are the same in all. With the
continuum marginalized, a spectrum's part of ``-2 ln L`` at a trial velocity is a quadratic
form in the coefficients ``z`` of the lines, ``constant - 2 b.z + z.A z``. The forms of all
spectra add up, whatever their arms, pixels and resolutions, and the star's prior is added
once: nothing is resampled, and no spectrum is added to another.
"""

__all__ = ["Looked", "Share", "look", "search_curves"]

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from steadystar.kernels import spline
from steadystar.kernels.matching import inlying_with_scale
from steadystar.kernels.velocity import (
    LINE_CHANGE,
    LinePrior,
    anchor_curves,
    at_shift,
)


class Share(NamedTuple):
    """``constant - 2 b.z + z.A z``: ``A`` is ``matrix``, ``b`` is ``vector``."""

    constant: Any
    matrix: Any
    vector: Any


class Looked(NamedTuple):
    """A spectrum seen with a star's lines at a shift.

    ``share``: at three trial shifts, the given one in the middle. ``chi2``, ``n_good``,
    ``scale``: of the residuals there; ``information``: on the shift, all else known.
    """

    share: Share
    chi2: Any
    n_good: Any
    scale: Any
    information: Any


def search_curves(
    pixels: spline.Pixels, anchors: spline.Transformed, *, slots: int, reach: int
) -> Float[Array, "anchor lag"]:
    """Return chi squared of every anchor at every whole shift, depth free twofold.

    ``anchors``: those of a prior, `kernels.velocity.transformed` once for all spectra.
    """
    placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
    equations = spline.normal_equations(placed)
    return anchor_curves(equations, anchors, reach)


def look(
    pixels: spline.Pixels,
    prior: LinePrior,
    tenths: Int[Array, ""],
    spacing: Int[Array, ""],
    star: Float[Array, " component"],
    clip: Float[Array, ""],
    *,
    slots: int,
) -> Looked:
    """Look at a spectrum with the lines that are known so far.

    Arguments:
        pixels: a normalized spectrum.
        prior: see `LinePrior`.
        tenths: the shift, in tenths of a grid step.
        spacing: of the three trials, tenths of a step.
        star: coefficients of the lines as far as they are known.
        clip: pixels further off than this many standard deviations are left out.
        slots: see `kernels.spline.place`.
    """
    phases = prior.lines.shape[0]
    placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
    rows = at_shift(prior, tenths)
    lines = rows[0] + star @ rows[1:]
    level = 1 + lines
    continuum = _continuum(spline.normal_equations(placed), prior, lines, level)
    residual = placed.value - spline.evaluate(lines + continuum, placed.u)[0]
    change = LINE_CHANGE * spline.evaluate(lines, placed.u)[0]
    kept, _ = inlying_with_scale(residual, placed.weight, clip, change)
    cleaned = spline.keep_only(placed, kept)
    _, scale = inlying_with_scale(residual, cleaned.weight, clip)
    equations = spline.normal_equations(cleaned)
    trials = tenths + jnp.arange(-1, 2, dtype=tenths.dtype) * spacing
    share = jax.lax.map(
        lambda at: _share(equations, prior, at_shift(prior, at), level), trials
    )
    before, after = at_shift(prior, tenths - 1), at_shift(prior, tenths + 1)
    moved = (after - before) * (phases / 2)
    slope = moved[0] + star @ moved[1:]
    return Looked(
        share,
        (cleaned.weight * residual**2).sum(dtype=jnp.float64),
        (cleaned.weight > 0).sum(dtype=jnp.float64),
        scale,
        (slope * spline.matvec(equations.bands, slope)).sum(dtype=jnp.float64),
    )


def _own(prior: LinePrior, level):
    """Columns of what is the spectrum's own, and their precision."""
    rank = prior.lines.shape[1] - 1
    columns = jnp.concatenate([prior.smooth * level[None], prior.still])
    return columns, prior.precision[rank:].astype(jnp.float64)


def _products(equations: spline.NormalEquations, columns):
    images = jax.vmap(lambda a: spline.matvec(equations.bands, a))(columns)
    return images, (columns @ images.T).astype(jnp.float64)


def _continuum(equations: spline.NormalEquations, prior: LinePrior, lines, level):
    """Return the continuum left over, and what stands still, beside known lines."""
    columns, precision = _own(prior, level)
    _, normal = _products(equations, columns)
    left = equations.rhs - spline.matvec(equations.bands, lines)
    towards = (columns @ left).astype(jnp.float64)
    found = jnp.linalg.solve(normal + jnp.diag(precision), towards)
    return found.astype(lines.dtype) @ columns


def _share(equations: spline.NormalEquations, prior: LinePrior, rows, level) -> Share:
    """Marginalize what is the spectrum's own, at one shift."""
    mean, parts = rows[0], rows[1:]
    own, precision = _own(prior, level)
    images, normal = _products(equations, own)
    image = spline.matvec(equations.bands, mean)
    left = equations.rhs - image
    of_own = (own @ left).astype(jnp.float64)
    _, of_parts = _products(equations, parts)
    cross = (images @ parts.T).astype(jnp.float64)
    factor = jnp.linalg.cholesky(normal + jnp.diag(precision))
    half = jax.scipy.linalg.solve_triangular(factor, of_own, lower=True)
    across = jax.scipy.linalg.solve_triangular(factor, cross, lower=True)
    of_mean = (mean * (image - 2 * equations.rhs)).sum(dtype=jnp.float64)
    return Share(
        of_mean - half @ half + 2 * jnp.log(jnp.diag(factor)).sum(),
        of_parts - across.T @ across,
        (parts @ left).astype(jnp.float64) - across.T @ half,
    )
