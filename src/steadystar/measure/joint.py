"""A star's template and the velocities of its exposures, estimated together.

All exposures of a star are one picture of it, each at its own shift. Given the shifts,
the template is a linear fit with a prior that knows the line spread function (nothing is
sharper); given the template, each shift is a Gauss-Newton step. The two alternate, with
cosmic rays losing their weight on the way. No exposure is the reference: all share in
the template, and the covariance says so. It is the Schur complement that remains when
the template is eliminated,

    F[t, s] = I[t] delta[t, s] - c[t] . N^-1 c[s],

with ``I`` the information of one exposure about its shift, ``N`` the template's normal
matrix, ``c`` the coupling of the two. ``F`` has one direction without information, the
common shift of template and all exposures; it is fixed by a weighted mean of zero.

Information that is noise. The template's slope contains noise of its own, which looks
like information: at S/N 5 and three exposures, errors taken from ``I`` alone would be a
tenth too small. What the data really respond with to a shift is ``H = sum w T' dy/dx``,
in which the noise of template and data cancels but for what an exposure itself put into
the template; that is taken off by passing noise of known sign through the same fit. The
variance is that of the gradient over the response squared, ``I / H^2``.
"""

__all__ = ["JointFit", "fit_stars", "line_variance", "match_stars", "solve_gauge"]

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.typing import NDArray

from steadystar.kernels import spline
from steadystar.kernels.matching import inliers, match_template, without_continuum
from steadystar.kernels.minimum import lowest_minimum, parabolic_minimum
from steadystar.measure.normalize import PixelBatch

_ORDERS = 4
_CLIP = 5.0
_SEARCHES = 2


class JointFit(NamedTuple):
    """Arrays over exposures, shifts in grid steps; ``template`` over stars.

    ``step`` is the Gauss-Newton step that is left for each exposure when the template is
    held: `solve_gauge` makes the step of all together of it. ``rival`` is how much worse
    the second best minimum of the search is in chi squared; ``response`` is ``H / I`` of the exposure's star, at most 1. ``gain`` is the fall of
    chi squared that a second copy of the template would bring, with ``strength`` times
    the lines of the first (`kernels.spline.companion_at_lags`).
    """

    shift: Float[Array, " exposure"]
    step: Float[Array, " exposure"]
    information: Float[Array, " exposure"]
    fisher: Float[Array, "exposure exposure"]
    chi2: Float[Array, " exposure"]
    n_good: Float[Array, " exposure"]
    scale: Float[Array, " exposure"]
    flags: Int[Array, " exposure"]
    rival: Float[Array, " exposure"]
    response: Float[Array, " exposure"]
    gain: Float[Array, " exposure"]
    strength: Float[Array, " exposure"]
    template: Float[Array, "star knot"]


def _coarse(spectrum, template, reach: int):
    """The best whole shift, refined by a parabola, and how good the next minimum is."""
    curve = spline.chi2_at_lags(spectrum, template, reach)
    best = parabolic_minimum(curve)
    lowest, rival = lowest_minimum(curve)
    found = jnp.where(
        jnp.isnan(best.position), lowest.astype(curve.dtype), best.position
    )
    shift = (found - reach).astype(template.dtype)
    return shift, best.status, rival


def line_variance(pixels, star, stars: int):
    """Return the mean square of the lines of each star, the noise taken out."""
    w, y = pixels.weight, pixels.value
    w = jnp.where(jnp.abs(y) < 1.5, w, 0)
    excess = jax.ops.segment_sum((w * (w * y**2 - 1)).sum(1), star, stars)
    total = jax.ops.segment_sum((w**2).sum(1), star, stars)
    # A star without lines still gets a template: 1% of the continuum.
    return jnp.maximum(excess / jnp.where(total > 0, total, 1), 1e-4)


@partial(jax.jit, static_argnames=("stars", "slots", "reach"))
def fit_stars(
    batch: PixelBatch,
    star: Int[Array, " exposure"],
    order: Int[Array, " exposure"],
    reference: Int[Array, " star"],
    precision: Float[Array, "4 knot"],
    *,
    stars: int,
    slots: int,
    reach: int,
    iterations: Int[Array, ""],
) -> JointFit:
    """Fit a batch of stars.

    Arguments:
        batch: normalized exposures; those with all weights zero are padding.
        star: the star of each exposure, 0 to ``stars - 1``, shape ``(exposure,)``.
        order: which of its star's exposures each one is, from 0: the seed of the noise
            that measures the response, so that a star's numbers do not depend on its
            company.
        reference: for each star, the exposure that the first alignment starts from.
        precision: the prior of a spectrum of unit variance
            (`kernels.spline.line_forest_precision`).
        stars: number of stars.
        slots: see `kernels.spline.place`.
        reach: the search covers ``-reach`` to ``reach`` grid steps.
        iterations: rounds of template and shifts.
    """
    pixels = jax.vmap(spline.Pixels)(*batch)
    prior = precision[None] / line_variance(pixels, star, stars)[:, None, None]
    company = _Company(pixels, star, prior, slots)
    shift, flags, rival = _aligned(company, reference, reach)
    shift, continuum, template, bands = _refined(company, shift, iterations)
    # The last round once more, for all that belongs to it.
    placed = company.placed(shift)
    found = _match(template[star], placed, continuum)
    lines = _lines_of(placed, continuum, found.kept)
    gain, strength = jax.vmap(lambda q, t: _companion(q, t, reach))(
        _accumulate(lines), template[star]
    )
    coupling = _coupling(placed, found, continuum)
    through = jax.vmap(spline.solve)(bands[star], coupling)
    same = star[:, None] == star[None, :]
    shared = jnp.where(same, coupling @ through.T, 0)
    return JointFit(
        shift=shift,
        step=found.step,
        information=found.information,
        fisher=jnp.diag(found.information) - (shared + shared.T) / 2,
        chi2=found.chi2,
        n_good=found.n_good,
        scale=found.scale,
        flags=flags,
        rival=rival,
        response=_response(lines, template, bands, star, order)[star],
        gain=gain,
        strength=strength,
        template=template,
    )


_accumulate = jax.vmap(spline.normal_equations)
_match = jax.vmap(lambda t, p, q: match_template(t, p, q, _CLIP))
_keep = jax.vmap(lambda t, p, q: inliers(t, p, q, _CLIP))


class _Company(NamedTuple):
    """The exposures of a batch, the star of each, and the stars' priors as bands."""

    pixels: spline.Pixels
    star: Int[Array, " exposure"]
    prior: Float[Array, "star 4 knot"]
    slots: int

    def placed(self, shift) -> spline.Placed:
        return jax.vmap(lambda p, d: spline.place(p, d, self.slots))(self.pixels, shift)

    def sums(self, values) -> Array:
        return jax.ops.segment_sum(values, self.star, len(self.prior))

    def template(self, equations: spline.NormalEquations):
        """Return each star's template, and the matrix that it solves, as bands."""
        bands = self.sums(equations.bands) + self.prior
        return jax.vmap(spline.solve)(bands, self.sums(equations.rhs)), bands


def _lines_of(placed: spline.Placed, continuum, kept) -> spline.Placed:
    lines = jax.vmap(without_continuum)(placed, continuum)
    return jax.vmap(spline.keep_only)(lines, kept)


def _aligned(company: _Company, reference, reach: int):
    """Find every exposure's place: shift, status, and how much worse the next one is."""
    star = company.star
    search = jax.vmap(lambda e, t: _coarse(e, t, reach))
    at_rest = _accumulate(company.placed(jnp.zeros_like(company.pixels.value[:, 0])))
    first = jax.vmap(spline.solve)(
        at_rest.bands[reference] + company.prior, at_rest.rhs[reference]
    )

    def again(_, state):
        # An exposure's own noise in the template would confirm the place where it is:
        # it is compared with the template that the others make.
        moved = _accumulate(company.placed(state[0]))
        _, bands = company.template(moved)
        others = jax.vmap(spline.solve)(
            bands[star] - moved.bands, company.sums(moved.rhs)[star] - moved.rhs
        )
        return search(at_rest, others)

    return jax.lax.fori_loop(0, _SEARCHES, again, search(at_rest, first[star]))


def _refined(company: _Company, shift, iterations):
    """Alternate between template and Gauss-Newton steps of the shifts."""
    star = company.star
    share = company.pixels.weight.sum(1)
    total = company.sums(share)
    share = share / jnp.where(total > 0, total, 1)[star]

    def update(_, state):
        following, _, continuum, _, template, _ = state
        # The frame is that of the mean, whichever exposure the alignment began with:
        # a spline depends a little on where its grid lies.
        shift = following - company.sums(share * following)[star]
        placed = company.placed(shift)
        kept = _keep(template[star], placed, continuum)
        template, bands = company.template(
            _accumulate(_lines_of(placed, continuum, kept))
        )
        found = _match(template[star], placed, continuum)
        following = shift + jnp.clip(found.step, -0.5, 0.5)
        return following, shift, found.continuum, continuum, template, bands

    template, _ = company.template(_accumulate(company.placed(shift)))
    flat = jnp.zeros((shift.size, _ORDERS), shift.dtype)
    start = shift, shift, flat, flat, template, company.prior
    _, shift, _, continuum, template, bands = jax.lax.fori_loop(
        0, iterations, update, start
    )
    return shift, continuum, template, bands


def _companion(equations, template, reach: int):
    """The best second copy of the template: fall of chi squared, and strength."""
    gain, strength = spline.companion_at_lags(equations, template, reach, spline.APART)
    best = jnp.argmax(gain)
    return gain[best], strength[best]


def _response(lines, template, bands, star, order):
    """Return ``H / I`` of every star, from 0.2 to 1 (see the module's docstring)."""
    stars = template.shape[0]

    def known_noise(number, lines):
        sign = jax.random.rademacher(
            jax.random.fold_in(jax.random.key(0), number), lines.u.shape, lines.u.dtype
        )
        deviation = jnp.sqrt(1 / jnp.where(lines.weight > 0, lines.weight, 1))
        return spline.Placed(lines.u, sign * deviation, lines.weight)

    noise = jax.vmap(known_noise)(order, lines)
    rhs = jax.vmap(spline.normal_equations)(noise).rhs
    followed = jax.vmap(spline.solve)(bands, jax.ops.segment_sum(rhs, star, stars))

    def both(lines, noise, template, followed):
        # By parts: sum w T' dy/dx = -sum w T'' y, which needs no slope of the data.
        data = -(lines.weight * spline.curvature(template, lines.u) * lines.value).sum()
        own = -(lines.weight * spline.curvature(followed, lines.u) * noise.value).sum()
        slope = spline.evaluate(template, lines.u)[1]
        return data - own, (lines.weight * slope**2).sum()

    response, information = jax.vmap(both)(lines, noise, template[star], followed[star])
    response = jax.ops.segment_sum(response, star, stars)
    information = jax.ops.segment_sum(information, star, stars)
    ratio = response / jnp.where(information > 0, information, 1)
    return jnp.clip(ratio, 0.2, 1.0)


def _coupling(placed, found, continuum):
    """Derivative of the log likelihood by shift and template coefficients: ``c``."""

    def one(placed, slope, kept, continuum):
        lines = without_continuum(placed, continuum)
        weight = jnp.where(kept, lines.weight, 0)
        # weight is w level^2: the slope of the model by the shift is divided by level.
        level = jnp.sqrt(lines.weight / jnp.where(placed.weight > 0, placed.weight, 1))
        by_shift = slope / jnp.where(level > 0, level, 1)
        return spline.normal_equations(spline.Placed(placed.u, by_shift, weight)).rhs

    return jax.vmap(one)(placed, found.slope, found.kept, continuum)


@partial(jax.jit, static_argnames=("slots", "reach"))
def match_stars(
    batch: PixelBatch,
    template: Float[Array, "exposure knot"],
    *,
    slots: int,
    reach: int,
) -> JointFit:
    """Measure exposures against fixed templates, one a row: shift and what belongs to it.

    Returns a `JointFit` whose Fisher matrix is diagonal.
    """
    pixels = jax.vmap(spline.Pixels)(*batch)
    place = jax.vmap(lambda p, d: spline.place(p, d, slots))
    at_rest = jax.vmap(spline.normal_equations)(
        place(pixels, jnp.zeros_like(pixels.value[:, 0]))
    )
    shift, flags, rival = jax.vmap(lambda e, t: _coarse(e, t, reach))(at_rest, template)
    match = jax.vmap(lambda t, p, q: match_template(t, p, q, _CLIP))

    def update(_, state):
        shift, continuum = state
        found = match(template, place(pixels, shift), continuum)
        return shift + jnp.clip(found.step, -0.5, 0.5), found.continuum

    start = (shift, jnp.zeros((shift.size, _ORDERS), shift.dtype))
    shift, continuum = jax.lax.fori_loop(0, 3, update, start)
    placed = place(pixels, shift)
    found = match(template, placed, continuum)
    lines = jax.vmap(spline.keep_only)(
        jax.vmap(without_continuum)(placed, continuum), found.kept
    )
    gain, strength = jax.vmap(lambda q, t: _companion(q, t, reach))(
        jax.vmap(spline.normal_equations)(lines), template
    )
    return JointFit(
        shift=shift,
        step=found.step,
        information=found.information,
        fisher=jnp.diag(found.information),
        chi2=found.chi2,
        n_good=found.n_good,
        scale=found.scale,
        flags=flags,
        rival=rival,
        response=jnp.ones_like(shift),
        gain=gain,
        strength=strength,
        template=template,
    )


def solve_gauge(
    fisher: NDArray[np.float64],
    information: NDArray[np.float64],
    step: NDArray[np.float64],
    response: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Finish one star: the joint step, the covariance, and the error of each exposure.

    The joint step solves ``F step = gradient``, template and all shifts moving together:
    what is left after it is of second order in the steps that the rounds of `fit_stars`
    left. It and the covariance are under the gauge ``sum_t I[t] shift[t] = 0``.

    An exposure's quoted variance is ``C[t, t] + 1 / sum(I)``: errors are then
    independent, and the difference of two exposures has the sum of their variances, as
    it should. In the simplest case, exposures alike, this is ``1 / I[t]`` exactly.
    ``response`` (at most 1) widens all of it, see the module's docstring.
    """
    n = len(information)
    project = np.eye(n) - np.outer(np.ones(n), information / information.sum())
    # Any multiple of ones may be added to F: the projection takes it out again.
    filled = fisher + np.full((n, n), information.mean() / n)
    covariance = np.asarray(project @ np.linalg.solve(filled, project.T), np.float64)
    covariance = (covariance + covariance.T) / 2
    joint_step = covariance @ (information * step)
    variance = (np.diag(covariance) + 1 / information.sum()) / response**2
    return joint_step, covariance / response**2, np.sqrt(np.maximum(variance, 0))
