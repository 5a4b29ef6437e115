"""The velocity of one star of unknown type: chi squared with all else marginalized.

A normalized spectrum is ``1 + y = (1 + p(x)) (1 + L(x - s))``: the star's lines ``L``
with a Gaussian prior across types (`models.lowrank.StarLines`), what the continuum left
over as a sum of cosines ``p``, and whatever stands still in the observer's frame (sky,
telluric lines). At a trial shift ``s`` all of it is linear, and the integral over all
coefficients is one small Cholesky factor (Saydjari et al. 2023, equations 2 to 4, in the
space of the coefficients; Bouchy et al. 2001 for the information that is left).

Everything that a spectrum says about any model of it is in its normal equations on the
grid (`kernels.spline.NormalEquations`): they are made once, and trials at tenths of a
step cost no more pixels. Where one minimum does not say it all, `kernels.spread` goes on.
"""

__all__ = [
    "BROAD",
    "CLIP",
    "LINE_CHANGE",
    "LinePrior",
    "Measured",
    "Standing",
    "anchor_curves",
    "at_shift",
    "cosines",
    "marginalize",
    "measure",
    "standing",
    "transformed",
]

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from steadystar.data.status import Status
from steadystar.kernels import spline
from steadystar.kernels.matching import inlying_with_scale
from steadystar.kernels.minimum import lowest_minimum, vertex

BROAD = 0.2
"""Grid steps: where the likelihood is wider, its minimum does not say it all. Narrower
ones, integrated, have errors within 9% of the parabola's and velocities within 0.09 of an
error (979 spectra of 0.06 to 0.2); hot stars' pulls change by 0.03 at most."""
CLIP = 5.0
"""Pixels further than this many standard deviations from the model are left out,"""
LINE_CHANGE = 0.03
"""unless they are off by less than this share of the star's line there."""
_SLOW = 8
"""Steps after which a `BROAD` likelihood is left as it is: they go on for long there, by
less than its width."""
_UNMOVED = 2
"""Steps end where so many in a row change neither shift nor pixels: the first of them
still has the star of another place."""


class LinePrior(eqx.Module):
    """What `measure` needs to know of stars, sky and continuum, on one grid.

    ``lines``: mean and components at every phase, padded by ``reach`` grid steps at
    either end, ``(phase, 1 + rank, padded)``. ``anchors``: templates for the search.
    ``smooth``: columns of the continuum. ``still``: columns that do not move with the
    star. ``precision``: inverse prior variances of components, continuum and still ones.
    """

    lines: Float[Array, "phase row padded"]
    anchors: Float[Array, "anchor knot"]
    smooth: Float[Array, "order knot"]
    still: Float[Array, "column knot"]
    precision: Float[Array, " coefficient"]


class Measured(NamedTuple):
    """One spectrum's velocity, in grid steps, and what belongs to it; arrays of any kind.

    ``shift`` and its standard deviation ``sigma`` are marginalized over all else;
    ``limit`` is what ``sigma`` would be if all else were known. ``chi2`` is that of the
    best model at ``n_good`` pixels; ``scale`` the scatter of residuals over the expected
    one. ``contrast`` is how much better the best lag of the search is than the median
    one, and than no lines at all; ``rival`` how much worse the second best minimum;
    both in chi squared.
    ``gain`` and ``strength`` are those of a second star (`spline.companion_at_lags`).
    ``star`` holds the lines at rest in the grid's frame, ``model`` all of ``y``.
    """

    shift: Any
    sigma: Any
    limit: Any
    chi2: Any
    n_good: Any
    scale: Any
    contrast: Any
    rival: Any
    gain: Any
    strength: Any
    flags: Any
    search: Any
    trials: Any
    star: Any
    model: Any


class Posterior(NamedTuple):
    """The linear problem at one trial shift.

    ``objective`` is ``-2 ln L`` up to a constant; ``star`` and ``rest`` are the fitted
    lines and everything else; ``step`` the further shift that the data want, if it was
    asked for, and ``sigma`` its standard deviation.
    """

    objective: Float[Array, ""]
    star: Float[Array, " knot"]
    rest: Float[Array, " knot"]
    step: Float[Array, ""]
    sigma: Float[Array, ""]
    coefficients: Float[Array, " component"]


def cosines(size: int, orders: int) -> Float[np.ndarray, "order knot"]:
    """Return ``orders`` half waves over the grid, the constant first."""
    x = (np.arange(size) + 0.5) / size
    return np.cos(np.pi * np.arange(orders)[:, None] * x[None, :])


def at_shift(prior: LinePrior, tenths: Int[Array, ""]) -> Float[Array, "row knot"]:
    """Return mean and components moved to the red by ``tenths`` of a grid step."""
    phases, rows, padded = prior.lines.shape
    size = prior.smooth.shape[1]
    whole, phase = tenths // phases, tenths % phases
    begin = ((padded - size) // 2 - whole).astype(jnp.int32)
    start = (phase.astype(jnp.int32), jnp.zeros((), jnp.int32), begin)
    return jax.lax.dynamic_slice(prior.lines, start, (1, rows, size))[0]


class Standing(NamedTuple):
    """What does not move with the star: columns, their images, and what they share.

    ``columns`` are the continuum's, times ``1 + L`` as far as it is known, because it
    multiplies the star, and those of what stands still; ``images`` are these after the
    normal equations, and ``normal`` and ``towards`` their share of the linear problem.
    """

    columns: Float[Array, "column knot"]
    images: Float[Array, "column knot"]
    normal: Float[Array, "column column"]
    towards: Float[Array, " column"]


def standing(
    equations: spline.NormalEquations, prior: LinePrior, level: Float[Array, " knot"]
) -> Standing:
    """Prepare what trials of any shift have in common; ``level`` is ``1 + L``."""
    columns = jnp.concatenate([prior.smooth * level[None], prior.still])
    images = _images(equations, columns)
    return Standing(columns, images, columns @ images.T, columns @ equations.rhs)


def _images(equations: spline.NormalEquations, columns):
    return jax.vmap(lambda a: spline.matvec(equations.bands, a))(columns)


def marginalize(
    equations: spline.NormalEquations,
    prior: LinePrior,
    rows: Float[Array, "row knot"],
    still: Standing,
    slope: Float[Array, " knot"] | None = None,
) -> Posterior:
    """Solve for everything at one shift.

    ``rows``: mean and components there (`at_shift`). ``slope``: derivative of the model
    by the shift, if a step of the shift is wanted as well.
    """
    mean, rank = rows[0], rows.shape[0] - 1
    moving, precision = rows[1:], prior.precision.astype(jnp.float64)
    if slope is not None:
        # The step is the last of all: its own variance is that with all else marginalized.
        moving = jnp.concatenate([moving, slope[None]])
        precision = jnp.append(precision, 1e-6)
    image = spline.matvec(equations.bands, mean)
    # In one product: it is what this costs.
    others = [_images(equations, moving), still.images, (equations.rhs - image)[None]]
    products = moving @ jnp.concatenate(others).T
    stop = moving.shape[0]
    own, shared, toward = products[:, :stop], products[:, stop:-1], products[:, -1]
    toward_still = still.towards - still.columns @ image
    normal = jnp.block(
        [
            [own[:rank, :rank], shared[:rank], own[:rank, rank:]],
            [shared[:rank].T, still.normal, shared[rank:].T],
            [own[rank:, :rank], shared[rank:], own[rank:, rank:]],
        ]
    ).astype(jnp.float64) + jnp.diag(precision)
    towards = jnp.concatenate([toward[:rank], toward_still, toward[rank:]])
    factor = jnp.linalg.cholesky(normal)
    half = jax.scipy.linalg.solve_triangular(
        factor, towards.astype(jnp.float64), lower=True
    )
    found = jax.scipy.linalg.solve_triangular(factor, half, lower=True, trans=1)
    of_mean = (mean * (image - 2 * equations.rhs)).sum(dtype=jnp.float64)
    step, last = (found[-1], factor[-1, -1]) if slope is not None else (0.0, 1.0)
    plain = found.astype(mean.dtype)
    stop = rank + still.columns.shape[0]
    return Posterior(
        objective=of_mean - half @ half + 2 * jnp.log(jnp.diag(factor)).sum(),
        star=mean + plain[:rank] @ rows[1:],
        rest=plain[rank:stop] @ still.columns,
        step=jnp.asarray(step),
        sigma=1 / jnp.asarray(last),
        coefficients=plain[:rank],
    )


def transformed(prior: LinePrior, reach: int) -> spline.Transformed:
    """Return what a search over ``reach`` steps needs of the anchors of all spectra."""
    return spline.Lags(prior.anchors.shape[1], reach).transformed(prior.anchors)


def anchor_curves(
    equations: spline.NormalEquations, anchors: spline.Transformed, reach: int
) -> Float[Array, "anchor lag"]:
    """Return chi squared of every anchor at every whole shift, less that of no lines.

    The depth of the lines is free within a factor of two; ``anchors`` are `transformed`.
    """
    lags = spline.Lags(equations.rhs.size, reach)
    data = lags.transform(equations.rhs)

    def curve(anchor):
        linear = lags.back(data * anchor.lines)
        norm = lags.back(lags.squares(equations.bands, anchor))
        depth = jnp.clip(linear / jnp.where(norm > 0, norm, 1), 0.5, 2.0)
        return depth * (depth * norm - 2 * linear)

    return jax.vmap(curve)(anchors)


class _State(NamedTuple):
    """Where the steps have got to; ``tenths`` of a grid step.

    ``moved``: the last of ``rounds`` that changed the shift or the pixels that count.
    """

    tenths: Int[Array, ""]
    placed: spline.Placed
    equations: spline.NormalEquations
    star: Float[Array, " knot"]
    sigma: Float[Array, ""]
    rounds: Int[Array, ""]
    moved: Int[Array, ""]


def _slope(prior: LinePrior, tenths, coefficients) -> Float[Array, " knot"]:
    """Return the change of a star's lines with the shift, per grid step."""
    phases = prior.lines.shape[0]
    before, after = at_shift(prior, tenths - 1), at_shift(prior, tenths + 1)
    change = (after - before) * (phases / 2)
    return change[0] + coefficients @ change[1:]


def _rough_slope(star: Float[Array, " knot"]) -> Float[Array, " knot"]:
    """Return the same from the lines alone, good to 5% (rms): enough for a step."""
    size, padded = star.size, jnp.pad(star, 2)
    near, far = (
        padded[2 - k : 2 - k + size] - padded[2 + k : 2 + k + size] for k in (1, 2)
    )
    return (8 * near - far) / 12


def _settle(
    placed: spline.Placed,
    prior: LinePrior,
    begin: Int[Array, ""],
    star: Float[Array, " knot"],
    rounds: Int[Array, ""],
    reach: int,
) -> _State:
    """Go to the nearest tenth of a step; pixels that no model has are let go.

    ``begin`` (tenths) and ``star``, the lines there, are those of the search.
    """
    phases = prior.lines.shape[0]

    def goes_on(state: _State) -> Bool[Array, ""]:
        slow = (state.rounds >= _SLOW) & (state.sigma > BROAD * phases)
        still_moves = state.rounds < state.moved + _UNMOVED
        return (state.rounds < rounds) & still_moves & ~slow

    def update(state: _State) -> _State:
        rows = at_shift(prior, state.tenths)
        still = standing(state.equations, prior, 1 + state.star)
        slope = _rough_slope(state.star)
        found = marginalize(state.equations, prior, rows, still, slope)
        model = found.star + found.rest
        residual = placed.value - spline.evaluate(model, placed.u)[0]
        # Small misfits of lines stay, however significant; what no model has right, as
        # the core of H alpha in some giants, is left out.
        change = LINE_CHANGE * spline.evaluate(found.star, placed.u)[0]
        kept, _ = inlying_with_scale(residual, placed.weight, CLIP, change)
        cleaned = spline.keep_only(placed, kept)
        step = jnp.round(jnp.clip(phases * found.step, -phases, phases))
        tenths = state.tenths + step.astype(state.tenths.dtype)
        tenths = jnp.clip(tenths, -phases * reach, phases * reach)
        other_pixels = (cleaned.weight != state.placed.weight).any()
        return _State(
            tenths,
            cleaned,
            spline.normal_equations(cleaned),
            found.star,
            phases * found.sigma,
            state.rounds + 1,
            jnp.where(
                (tenths != state.tenths) | other_pixels, state.rounds + 1, state.moved
            ),
        )

    start = _State(
        begin,
        placed,
        spline.normal_equations(placed),
        star,
        jnp.zeros((), jnp.float64),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(goes_on, update, start)


def _searched(
    curves: Float[Array, "anchor lag"], lowest: Int[Array, ""], prior: LinePrior
) -> tuple[Int[Array, ""], Float[Array, " knot"]]:
    """Return the shift in tenths around the lowest lag, and the best anchor there."""
    search, phases = curves.min(0), prior.lines.shape[0]
    reach = search.size // 2
    near = vertex(jax.lax.dynamic_slice(search, (lowest - 1,), (3,)))
    inner = (lowest > 0) & (lowest < search.size - 1) & ~near.flat
    offset = jnp.where(inner, jnp.clip(near.offset, -0.5, 0.5), 0.0)
    size = prior.anchors.shape[1]
    padded = jnp.pad(prior.anchors[jnp.argmin(curves[:, lowest])], reach)
    star = jax.lax.dynamic_slice(padded, (2 * reach - lowest,), (size,))
    at = (lowest - reach).astype(offset.dtype) + offset
    return jnp.round(phases * at).astype(jnp.int32), star


def measure(
    pixels: spline.Pixels,
    prior: LinePrior,
    anchors: spline.Transformed,
    *,
    rounds: Int[Array, ""],
    slots: int,
    reach: int,
) -> Measured:
    """Measure one spectrum.

    The search finds the whole step, Gauss-Newton steps the tenth; the velocity is then
    the vertex of the parabola through three trials around it, each with everything else
    marginalized, and its error the parabola's width.

    Arguments:
        pixels: a normalized spectrum.
        prior: see `LinePrior`.
        anchors: those of ``prior``, `transformed` once for all spectra.
        rounds: number of Gauss-Newton steps, at most; two do for nearly all.
        slots: see `kernels.spline.place`.
        reach: shifts from ``-reach`` to ``reach`` grid steps are searched.
    """
    dtype, phases = pixels.value.dtype, prior.lines.shape[0]
    placed = spline.place(pixels, jnp.zeros((), dtype), slots)
    curves = anchor_curves(spline.normal_equations(placed), anchors, reach)
    search = curves.min(0)
    lowest, rival = lowest_minimum(search)
    begin, star = _searched(curves, lowest, prior)
    state = _settle(placed, prior, begin, star, rounds, reach)
    placed, equations = state.placed, state.equations

    # Trials as far apart as the curve is wide: chi squared changes by about one.
    spacing = jnp.clip(jnp.round(state.sigma), 1, phases).astype(jnp.int32)
    trials = state.tenths + jnp.arange(-1, 2, dtype=jnp.int32) * spacing
    still = standing(equations, prior, 1 + state.star)
    tried = jax.lax.map(
        lambda tenths: marginalize(equations, prior, at_shift(prior, tenths), still),
        trials,
    )
    best = vertex(tried.objective)
    apart = spacing.astype(best.offset.dtype)
    settled = ~best.flat & (jnp.abs(best.offset) <= 1)
    edge = (lowest == 0) | (lowest == search.size - 1)
    flags = jnp.where(edge, Status.GRID_EDGE.value, 0)
    flags = flags | jnp.where(settled, 0, Status.NOT_CONVERGED.value)

    star, model = tried.star[1], tried.star[1] + tried.rest[1]
    slope = _slope(prior, state.tenths, tried.coefficients[1])
    known = (slope * spline.matvec(equations.bands, slope)).sum(dtype=jnp.float64)
    residual = placed.value - spline.evaluate(model, placed.u)[0]
    _, scale = inlying_with_scale(residual, placed.weight, CLIP)
    n_good = (placed.weight > 0).sum(dtype=jnp.float64)
    freedom = jnp.maximum(n_good - prior.precision.size - 1, 1)
    gain, strength = spline.companion_at_lags(equations, star, reach, model=model)
    companion = jnp.argmax(gain)
    return Measured(
        shift=(state.tenths.astype(apart.dtype) + best.offset * apart) / phases,
        sigma=best.sigma * apart / phases,
        limit=1 / jnp.sqrt(known),
        chi2=(placed.weight * residual**2).sum(dtype=jnp.float64),
        n_good=n_good,
        scale=scale * jnp.sqrt(n_good / freedom).astype(dtype),
        contrast=jnp.minimum(jnp.median(search), 0) - search[lowest],
        rival=rival,
        gain=gain[companion],
        strength=strength[companion],
        flags=flags,
        search=search,
        trials=jnp.stack([trials.astype(apart.dtype) / phases, tried.objective], 1),
        star=star,
        model=model,
    )
