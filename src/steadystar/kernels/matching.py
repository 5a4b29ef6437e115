"""One exposure against a template: how far is it shifted, and how well is that known.

The model of a normalized spectrum is ``1 + y = (1 + p(x)) (1 + T(x - shift))`` with ``T``
the template's lines as a spline and ``p`` a low polynomial that takes up what the
normalization left over. A Gauss-Newton step solves for the shift and ``p`` together; the
information on the shift is what remains after ``p`` is projected out, so the continuum's
uncertainty is in the error. Pixels far from the model (cosmic rays, bad pixels) get no
weight.
"""

__all__ = [
    "Match",
    "inliers",
    "inlying",
    "inlying_with_scale",
    "legendre",
    "legendre_at",
    "match_template",
    "without_continuum",
]

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from steadystar.kernels import spline

# A line whose depth changed with temperature by this share is not a blemish.
_LINE_CHANGE = 0.15


class Match(eqx.Module):
    """What one Gauss-Newton step found.

    ``step`` is the change of the shift in grid steps and ``information`` its inverse
    variance; ``continuum`` the new polynomial coefficients. ``chi2`` (of ``n_good``
    pixels) and ``scale``, the residuals' scatter over the expected one, are those before
    the step. ``slope`` is the model's derivative by the shift, continuum projected out,
    and ``kept`` says which places took part.
    """

    step: Float[Array, ""]
    information: Float[Array, ""]
    continuum: Float[Array, " order"]
    chi2: Float[Array, ""]
    n_good: Float[Array, ""]
    scale: Float[Array, ""]
    slope: Float[Array, "slot knot"]
    kept: Bool[Array, "slot knot"]


def legendre(
    u: Float[Array, "slot knot"], orders: int
) -> Float[Array, "order slot knot"]:
    """Return Legendre polynomials over the whole grid, at ``u`` of every interval."""
    size = u.shape[1]
    knot = jnp.arange(size, dtype=u.dtype)
    return legendre_at((knot[None, :] + u) * (2.0 / size) - 1, orders)


def legendre_at(x: Float[Array, "..."], orders: int) -> Float[Array, "order ..."]:
    """Return Legendre polynomials at ``x``, from -1 to 1."""
    columns = [jnp.ones_like(x), x]
    for n in range(1, orders - 1):
        columns.append(((2 * n + 1) * x * columns[n] - n * columns[n - 1]) / (n + 1))
    return jnp.stack(columns[:orders])


def without_continuum(
    placed: spline.Placed, continuum: Float[Array, " order"]
) -> spline.Placed:
    """Divide ``1 + y`` by ``1 + p``: what the star's lines alone would look like."""
    level = 1 + jnp.einsum(
        "k,ksp->sp", continuum, legendre(placed.u, continuum.shape[0])
    )
    return spline.Placed(
        u=placed.u,
        value=(1 + placed.value) / level - 1,
        weight=placed.weight * level**2,
    )


def match_template(
    template: Float[Array, " knot"],
    placed: spline.Placed,
    continuum: Float[Array, " order"],
    clip: float,
    continuum_width: float = 0.1,
) -> Match:
    """Compare one exposure, placed at its current shift, with ``template``.

    Residuals beyond ``clip`` standard deviations (of the larger of the stated and the
    actual scatter) do not count. ``continuum_width`` is the prior standard deviation of
    each coefficient of ``p``: it keeps the polynomial from following a spectrum that has
    next to no data.
    """
    orders = continuum.shape[0]
    polynomials = legendre(placed.u, orders)
    level = 1 + jnp.einsum("k,ksp->sp", continuum, polynomials)
    lines, line_slope = spline.evaluate(template, placed.u)
    residual = 1 + placed.value - level * (1 + lines)

    kept, scale = inlying_with_scale(
        residual, placed.weight, clip, _LINE_CHANGE * lines
    )
    weight = jnp.where(kept, placed.weight, 0)

    by_shift = -level * line_slope
    by_continuum = polynomials * (1 + lines)[None]
    cross = jnp.einsum("ksp,sp->k", by_continuum, weight * by_shift)
    normal = jnp.einsum("ksp,lsp,sp->kl", by_continuum, by_continuum, weight)
    normal = normal + jnp.eye(orders, dtype=normal.dtype) / continuum_width**2
    coupling = jnp.linalg.solve(normal, cross)
    slope = by_shift - jnp.einsum("k,ksp->sp", coupling, by_continuum)
    prior_pull = continuum / continuum_width**2
    gradient = (weight * slope * residual).sum() + coupling @ prior_pull
    information = (weight * slope * by_shift).sum()
    step = gradient / jnp.where(information > 0, information, 1)
    towards = jnp.einsum("ksp,sp->k", by_continuum, weight * residual) - prior_pull
    return Match(
        step=jnp.where(information > 0, step, 0),
        information=information,
        continuum=continuum + jnp.linalg.solve(normal, towards - cross * step),
        chi2=(weight * residual**2).sum(dtype=jnp.float64),
        n_good=kept.astype(weight.dtype).sum(),
        scale=scale,
        slope=slope,
        kept=kept,
    )


def inliers(
    template: Float[Array, " knot"],
    placed: spline.Placed,
    continuum: Float[Array, " order"],
    clip: float,
) -> Bool[Array, "slot knot"]:
    """Return which pixels `match_template` would keep."""
    polynomials = legendre(placed.u, continuum.shape[0])
    level = 1 + jnp.einsum("k,ksp->sp", continuum, polynomials)
    lines = spline.evaluate(template, placed.u)[0]
    residual = 1 + placed.value - level * (1 + lines)
    return inlying_with_scale(residual, placed.weight, clip, _LINE_CHANGE * lines)[0]


def inlying(
    residual: Float[Array, "..."],
    weight: Float[Array, "..."],
    clip: float | Float[Array, ""],
) -> Bool[Array, "..."]:
    """Return which pixels lie within ``clip`` of their own scatter."""
    return inlying_with_scale(residual, weight, clip)[0]


def inlying_with_scale(
    residual: Float[Array, "..."],
    weight: Float[Array, "..."],
    clip: float | Float[Array, ""],
    change: Float[Array, "..."] | None = None,
) -> tuple[Bool[Array, "..."], Float[Array, ""]]:
    """Return which pixels lie within ``clip`` of their scatter, and that scatter.

    It is in units of what ``weight`` says, and taken for 1 in the clipping if smaller.
    ``change`` counts as scatter as well: what lines may differ from the model's by.
    """
    pull = jnp.abs(residual) * jnp.sqrt(weight)
    scale = _scale(pull, weight > 0)
    limit = jnp.maximum(1, scale)
    if change is not None:
        limit = jnp.hypot(limit, change * jnp.sqrt(weight))
    return (weight > 0) & (pull < clip * limit), scale


def _scale(pull: Float[Array, "..."], member: Bool[Array, "..."]):
    """Scatter of the residuals over the expected one, not led by outliers.

    The mean absolute value of a Gaussian is ``sqrt(2/pi)`` sigma; clipped at three times
    the current estimate, twice, it is 0.986 of that.
    """
    scale = jnp.asarray(jnp.inf, pull.dtype)
    for _ in range(3):
        near = (member & (pull < 3 * scale)).astype(pull.dtype)
        mean = (near * pull).sum() / jnp.maximum(near.sum(), 1)
        scale = mean * jnp.sqrt(jnp.pi / 2).astype(pull.dtype)
    return scale
