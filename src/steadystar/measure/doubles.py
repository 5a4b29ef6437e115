"""Two copies of one template in one spectrum: both velocities of a double-lined star.

A star's own spectrum can serve as the template of both stars of a pair where the two
were seen on top of each other, in eclipse or near it (Xiong et al. 2021, section 5), or
where the second is faint. The model of a normalized spectrum is

    1 + y = (1 + p(x)) (1 + a T(x - s1) + b T(x - s2)),

solved by Gauss-Newton steps for both shifts, both strengths and the polynomial ``p``
together. A template that is double itself cannot explain spectra with another
separation: `explains` says so.
"""

__all__ = [
    "Double",
    "PairFit",
    "Stars",
    "brighter_first",
    "explains",
    "fit_pairs",
    "measure_double",
    "shows_companion",
    "single_templates",
]

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from steadystar.kernels import spline
from steadystar.kernels.matching import inlying, legendre_at
from steadystar.measure.normalize import PixelBatch

# What noise alone does not do: of 3000 exposures of single stars at S/N 5 to 300, half of
# them with cosmic rays, none gained more than 22.3 (its square root is 4.7).
GAIN = 36.0
STRENGTH = 0.05
# Exposures of 6500 and 7000 K against a template of 6000 K (red, S/N 100) reach 0.115 of
# the excess, twins that are apart in every exposure 0.12 to 0.25.
_SHARE = 0.12
_CANDIDATES = 5
_ORDERS = 4
_CLIP = 5.0
_ROUNDS = 12
_CONTINUUM_WIDTH = 0.1


class PairFit(NamedTuple):
    """Arrays over exposures, of NumPy or JAX; shifts and their errors in grid steps.

    The copies have ``strength_1`` and ``strength_2`` times the template's lines, the
    difference of the two known to ``sigma_strength``. ``chi2_one`` and the others of
    that name belong to the best fit with one copy on the same ``n_good`` pixels; the
    template's noise is in the weights of both.
    """

    shift_1: Any
    shift_2: Any
    sigma_1: Any
    sigma_2: Any
    strength_1: Any
    strength_2: Any
    sigma_strength: Any
    chi2: Any
    shift_one: Any
    sigma_one: Any
    chi2_one: Any
    n_good: Any


class Stars(NamedTuple):
    """What a pair fit says of its exposures, shifts in grid steps; arrays over exposures.

    Where ``double`` holds, ``shift`` is the brighter star's, else that of the lines as
    one, and the second star's numbers are NaN. ``alike`` says that the two cannot be
    told apart by their strengths.
    """

    shift: NDArray[np.float64]
    sigma: NDArray[np.float64]
    shift_2: NDArray[np.float64]
    sigma_2: NDArray[np.float64]
    light_ratio: NDArray[np.float64]
    double: NDArray[np.bool_]
    alike: NDArray[np.bool_]
    chi2: NDArray[np.float64]
    n_good: NDArray[np.float64]


class Double(NamedTuple):
    """A double-lined star. ``zero`` is the shift that counts as velocity zero: that of
    the exposure ``reference``, or the weighted mean where the template was made of all.
    """

    stars: Stars
    zero: float
    reference: int | None
    template: NDArray[np.float32]


def shows_companion(gain, strength, scale, excess) -> NDArray[np.bool_]:
    """Say where a second copy is what the spectrum asks for.

    Its ``gain`` must be beyond chance, residuals' ``scale`` given, its ``strength``
    noticeable, and it must explain a good part of the ``excess`` of chi squared over the
    number of pixels: a template of the wrong temperature leaves residuals everywhere.
    """
    beyond = np.maximum(GAIN * np.maximum(scale, 1) ** 2, _SHARE * excess)
    return (gain > beyond) & (strength > STRENGTH)


def measure_double(
    batch: PixelBatch,
    number: int,
    template: NDArray[np.float32],
    gain: NDArray[np.float64],
    precision: Float[Array, "4 knot"],
    *,
    slots: int,
    reach: int,
) -> Double | None:
    """Measure a double-lined star, if one of its templates allows it.

    Arguments:
        batch: the star's exposures, the first ``number`` of them; the rest is padding.
        template: that of all exposures together, which may do where the second star is
            faint. Otherwise an exposure may in which both stand at one velocity.
        gain: of a second copy of ``template``, ``(number,)``: eclipses have the least.
        precision, slots, reach: as in `measure.joint.fit_stars`.

    Returns:
        None if no template explains all exposures, as when each one is double.
    """
    lines, variance = single_templates(batch, precision, slots=slots)
    eclipses = np.argsort(gain, kind="stable")[:_CANDIDATES].tolist()
    best: tuple[float, PairFit, int | None, NDArray] | None = None
    for row in (None, *eclipses):
        tried = template if row is None else np.asarray(lines[row])
        pair = fit_pairs(
            batch,
            jnp.broadcast_to(jnp.asarray(tried), (len(batch.index), len(tried))),
            jnp.full(
                len(batch.index), 0 if row is None else variance[row], jnp.float32
            ),
            slots=slots,
            reach=reach,
        )
        pair = PairFit(*(np.asarray(a, np.float64)[:number] for a in pair))
        others = np.arange(number) != (-1 if row is None else row)
        seen = PairFit(*(a[others] for a in pair))
        left = float(seen.chi2.sum() / max(seen.n_good.sum(), 1))
        if explains(seen) and (best is None or left < best[0]):
            best = left, pair, row, tried
            if left < 1 + 3 * np.sqrt(2 / max(seen.n_good.sum(), 1)):
                break
    if best is None:
        return None
    _, pair, reference, tried = best
    found = brighter_first(pair)
    # Where no exposure shows both stars for certain, it is no double star's solution.
    if (np.abs(found.shift) >= reach).any() or not found.double.any():
        return None
    zero = np.average(found.shift, weights=found.sigma**-2)
    if reference is not None:
        zero = found.shift[reference]
    return Double(found, float(zero), reference, np.asarray(tried, np.float32))


def brighter_first(pair: PairFit) -> Stars:
    """Name the brighter star first, where there are two beyond doubt."""
    scale = np.maximum(pair.chi2 / np.maximum(pair.n_good, 1), 1)
    weaker = np.minimum(pair.strength_1, pair.strength_2)
    stronger = np.maximum(pair.strength_1, pair.strength_2)
    double = (pair.chi2_one - pair.chi2 > GAIN * scale) & (weaker > STRENGTH)
    first = pair.strength_1 >= pair.strength_2

    def of_two(a, b, otherwise):
        return np.where(double, np.where(first, a, b), otherwise)

    return Stars(
        shift=of_two(pair.shift_1, pair.shift_2, pair.shift_one),
        sigma=of_two(pair.sigma_1, pair.sigma_2, pair.sigma_one),
        shift_2=of_two(pair.shift_2, pair.shift_1, np.nan),
        sigma_2=of_two(pair.sigma_2, pair.sigma_1, np.nan),
        light_ratio=np.where(double, weaker / np.maximum(stronger, STRENGTH), np.nan),
        double=double,
        alike=double & (stronger - weaker < 2 * pair.sigma_strength),
        chi2=np.where(double, pair.chi2, pair.chi2_one),
        n_good=pair.n_good,
    )


def explains(fit: PairFit) -> bool:
    """Say whether two copies of their template are what these exposures look like.

    Of the excess of chi squared that one copy leaves, at most a quarter may be left, or
    what chance leaves in one of a thousand stars.
    """
    pixels = float(np.sum(fit.n_good))
    left, begun = (float(np.sum(c)) - pixels for c in (fit.chi2, fit.chi2_one))
    return bool(left < max(begun / 4, 3 * np.sqrt(2 * pixels)))


@partial(jax.jit, static_argnames=("slots",))
def single_templates(
    batch: PixelBatch, precision: Float[Array, "4 knot"], *, slots: int
) -> tuple[Float[Array, "exposure knot"], Float[Array, " exposure"]]:
    """Return the template that each exposure makes alone, and its noise's variance."""

    def one(pixels):
        equations = spline.normal_equations(
            spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
        )
        weight = pixels.weight
        n_good = jnp.maximum((weight > 0).sum(dtype=weight.dtype), 1)
        power = (weight * (weight * pixels.value**2 - 1)).sum() / (weight**2).sum()
        prior = precision / jnp.maximum(power, 1e-4)
        knots = (equations.bands[0] > 0).sum(dtype=weight.dtype)
        noise = knots / n_good / (weight.sum() / n_good)
        return spline.solve(equations.bands + prior, equations.rhs), noise

    return jax.vmap(one)(jax.vmap(spline.Pixels)(*batch))


def fit_pairs(
    batch: PixelBatch,
    template: Float[Array, "exposure knot"],
    template_variance: Float[Array, " exposure"],
    *,
    slots: int,
    reach: int,
) -> PairFit:
    """Fit two copies of ``template``, one template a row.

    Arguments:
        batch: normalized exposures.
        template: coefficients of the lines, one row an exposure.
        template_variance: variance of the template's own noise.
        slots, reach: see `measure.joint.match_stars`.
    """
    start = _search(batch, template, slots=slots, reach=reach)
    pair = _fit(batch, template, template_variance, start, True, batch.weight > 0)
    first = jnp.broadcast_to(start[:, :1], start.shape)
    alone = _fit(batch, template, template_variance, first, False, pair.kept)
    return PairFit(
        shift_1=pair.shift[:, 0],
        shift_2=pair.shift[:, 1],
        sigma_1=pair.sigma[:, 0],
        sigma_2=pair.sigma[:, 1],
        strength_1=pair.strength[:, 0],
        strength_2=pair.strength[:, 1],
        sigma_strength=pair.sigma_strength,
        chi2=pair.chi2,
        shift_one=alone.shift[:, 0],
        sigma_one=alone.sigma[:, 0],
        chi2_one=alone.chi2,
        n_good=pair.n_good,
    )


@partial(jax.jit, static_argnames=("slots", "reach"))
def _search(batch, template, *, slots: int, reach: int):
    """Whole shifts of the best copy, and of the best second one beside it."""

    def one(pixels, template):
        zero = jnp.zeros((), pixels.value.dtype)
        at_rest = spline.normal_equations(spline.place(pixels, zero, slots))
        curve = spline.chi2_at_lags(at_rest, template, reach)
        first = (jnp.argmin(curve) - reach).astype(zero.dtype)
        placed = spline.normal_equations(spline.place(pixels, first, slots))
        gain, _ = spline.companion_at_lags(placed, template, reach)
        second = first + (jnp.argmax(gain) - reach).astype(zero.dtype)
        return jnp.stack([first, second])

    return jax.vmap(one)(jax.vmap(spline.Pixels)(*batch), template)


class _Fitted(NamedTuple):
    shift: Float[Array, "exposure 2"]
    sigma: Float[Array, "exposure 2"]
    strength: Float[Array, "exposure 2"]
    sigma_strength: Float[Array, " exposure"]
    chi2: Float[Array, " exposure"]
    n_good: Float[Array, " exposure"]
    kept: Bool[Array, "exposure pixel"]


@jax.jit
def _fit(batch, template, variance, start, pair, kept) -> _Fitted:
    """Fit the copies from ``start``; only the first one unless ``pair``."""

    def one(pixels, template, variance, start, kept):
        known = pixels.weight > 0
        noise = 1 / jnp.where(known, pixels.weight, 1) + variance
        problem = _Problem(pixels, template, jnp.where(known, 1 / noise, 0))
        state = problem.fit(start, pair, kept)
        covariance = problem.covariance(state)
        each = jnp.diag(covariance)
        return _Fitted(
            state.shift,
            jnp.sqrt(each[:2]),
            state.strength,
            jnp.sqrt(each[2] + each[3] - 2 * covariance[2, 3]),
            state.chi2,
            state.kept.astype(template.dtype).sum(),
            state.kept,
        )

    pixels = jax.vmap(spline.Pixels)(*batch)
    return jax.vmap(one)(pixels, template, variance, start, kept)


class _State(NamedTuple):
    shift: Float[Array, "2"]
    strength: Float[Array, "2"]
    continuum: Float[Array, " order"]
    chi2: Float[Array, ""]
    kept: Array


class _Problem:
    """One exposure and its template; pixels stay in their own order here."""

    def __init__(self, pixels, template, weight) -> None:
        self.pixels, self.template, self.weight = pixels, template, weight
        position = pixels.index.astype(template.dtype) + pixels.fraction
        self.polynomials = legendre_at(position * (2.0 / template.size) - 1, _ORDERS)

    def fit(self, start, pair, kept) -> _State:
        """Iterate; the shifts begin to move when the strengths have settled.

        Outliers among the pixels ``kept`` are left out of a pair only: the fit with one
        copy is to be compared with it.
        """
        dtype = self.template.dtype
        both = jnp.stack([True, pair])
        free = jnp.concatenate([both, both, jnp.ones(_ORDERS, bool)])
        strength = jnp.where(pair, jnp.array([0.6, 0.4]), jnp.array([1.0, 0.0]))
        begin = _State(
            start.astype(dtype),
            strength.astype(dtype),
            jnp.zeros(_ORDERS, dtype),
            jnp.zeros((), jnp.float64),
            kept,
        )

        def update(number, state):
            residual, design = self._linearize(state)
            near = inlying(residual, self.weight, _CLIP)
            members = kept & (near | ~jnp.asarray(pair))
            weight = jnp.where(members, self.weight, 0)
            moving = free & (jnp.arange(free.size) >= jnp.where(number < 3, 2, 0))
            step = self._solve(residual, design, weight, moving, state.continuum)
            return _State(
                state.shift + jnp.clip(step[:2], -0.5, 0.5),
                jnp.clip(state.strength + step[2:4], 0.0, 2.0),
                state.continuum + step[4:],
                (weight * residual**2).sum(dtype=jnp.float64),
                members,
            )

        return jax.lax.fori_loop(0, _ROUNDS, update, begin)

    def covariance(self, state: _State):
        """Covariance of shifts, strengths and continuum, the template's noise included.

        That noise is a noise of the spectrum's second copy as seen by the first. What is
        common to all shifts cancels in their differences, so errors err on the safe side.
        """
        _, design = self._linearize(state)
        normal = self._normal(design, jnp.where(state.kept, self.weight, 0))
        return jnp.linalg.inv(normal.astype(jnp.float64))

    def _linearize(self, state: _State):
        lines, slope = jax.vmap(self._evaluate)(state.shift)
        level = 1 + state.continuum @ self.polynomials
        seen = 1 + state.strength @ lines
        residual = 1 + self.pixels.value - level * seen
        design = jnp.concatenate(
            [
                -state.strength[:, None] * level[None] * slope,
                level[None] * lines,
                self.polynomials * seen[None],
            ]
        )
        return residual, design

    def _normal(self, design, weight):
        prior = jnp.zeros(design.shape[0]).at[4:].set(_CONTINUUM_WIDTH**-2)
        normal = (design * weight[None]) @ design.T + jnp.diag(prior).astype(
            design.dtype
        )
        # A copy without strength, or without lines, has a shift that nothing holds.
        floor = 1e-6 * jnp.trace(normal) / design.shape[0]
        return normal + floor * jnp.eye(design.shape[0], dtype=design.dtype)

    def _solve(self, residual, design, weight, moving, continuum):
        design = jnp.where(moving[:, None], design, 0)
        pull = jnp.zeros(design.shape[0], design.dtype)
        pull = pull.at[4:].set(continuum / _CONTINUUM_WIDTH**2)
        step = jnp.linalg.solve(
            self._normal(design, weight), (design * weight[None]) @ residual - pull
        )
        return jnp.where(moving, step, 0)

    def _evaluate(self, shift):
        """The template's lines and slope at the pixels, moved by ``-shift``."""
        whole = jnp.floor(shift)
        inside = self.pixels.fraction - (shift - whole)
        knot = jnp.floor(inside)
        at = self.pixels.index - whole.astype(jnp.int32) + knot.astype(jnp.int32)
        return spline.evaluate_at(self.template, at, inside - knot)
