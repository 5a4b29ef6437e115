"""The labels of one star from its spectra in one or several arms, continua marginalized.

The model of a normalized spectrum is ``1 + y = p(x) F(x; labels, rotation, line spread,
velocity)``: ``F`` is that of `kernels.emulation`, ``p`` a sum of smooth columns. Labels
and rotation are one star's; every arm has a velocity of its own (their wavelengths have
zero points of their own), a line spread that may differ from the expected one, and a
continuum. For any star the continuum is linear: it is solved for exactly, and taken out
of the normal equations of the others (variable projection, Golub and Pereyra 1973), which
Levenberg and Marquardt's method then follows within the box of the labels.

Spectra enter by their normal equations on the grid (`kernels.spline`): a trial costs no
pixels.
"""

__all__ = ["Arm", "Found", "Recorded", "Start", "clip_arm", "fit", "record", "see"]

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from steadystar.kernels import spline
from steadystar.kernels.emulation import Emulator, Parameters, emulate, lines_of
from steadystar.kernels.matching import inlying_with_scale

LINE_CHANGE = 0.05
"""Pixels off by less than this share of the line there are no blemishes."""
_DAMPING, _EASE, _BRAKE, _STUCK = 1e-4, 0.1, 8.0, 1e8
_LABEL_STEP, _VELOCITY_STEP, _EXCESS_STEP = 0.25, 20.0, 0.1


class Arm(eqx.Module):
    """What is known of an arm before: models, continuum, how well the line spread is known.

    ``smooth``: columns of the continuum on the grid, the constant first; ``precision``:
    inverse prior variances of their strengths, whose means are one and zeros.
    ``excess_precision``: of the relative change of the line spread's variance.
    """

    emulator: Emulator
    smooth: Float[Array, "order knot"]
    precision: Float[Array, " order"]
    excess_precision: Float[Array, ""]


class Recorded(NamedTuple):
    """One spectrum: normal equations of ``y``, sum of ``weight y^2``, expected spread.

    ``bands``: ``(4, knot)``; ``rhs``: ``(knot,)``. Arrays of any kind.
    """

    bands: Any
    rhs: Any
    square: Any
    spread: Any


class Start(NamedTuple):
    """Parameters: scaled labels and rotation, then excess and velocity of each arm."""

    star: Float[Array, " label_and_rotation"]
    arms: Float[Array, "arm 2"]


class Found(NamedTuple):
    """Where a fit ended.

    ``values``: scaled labels, rotation, then excess and velocity (km/s) of each arm.
    ``normal``: half the second derivatives of chi squared, continua marginalized;
    ``pull``: half the gradient downhill, which is not zero at a limit of the box.
    ``gain``: by how much the next step would still lower chi squared.
    """

    values: Float[Array, " parameter"]
    normal: Float[Array, "parameter parameter"]
    pull: Float[Array, " parameter"]
    chi2: Float[Array, ""]
    gain: Float[Array, ""]
    rounds: Float[Array, ""]


class _Look(NamedTuple):
    """One arm at one star: ``normal`` and ``pull`` of labels, rotation, excess, velocity."""

    chi2: Float[Array, ""]
    normal: Float[Array, "parameter parameter"]
    pull: Float[Array, " parameter"]


def record(placed: spline.Placed, spread: Float[Array, ""]) -> Recorded:
    """Return what a fit needs of a spectrum whose pixels are placed at shift zero."""
    equations = spline.normal_equations(placed)
    square = (placed.weight * placed.value**2).sum(dtype=jnp.float64)
    return Recorded(equations.bands, equations.rhs, square, spread)


class _Level(NamedTuple):
    """The continuum that one star asks for, and what is needed to take it out."""

    strengths: Float[Array, " order"]
    change: Float[Array, " order"]
    columns: Float[Array, "order knot"]
    factor: Float[Array, "order order"]


def _level(arm: Arm, data: Recorded, lines) -> _Level:
    """Solve for the continuum: its columns are the star times something smooth."""
    flux = 1 + lines
    columns = arm.smooth * flux[None]
    images = _image(data, columns)
    precision = arm.precision.astype(jnp.float64)
    normal = (columns @ images.T).astype(jnp.float64) + jnp.diag(precision)
    factor = jnp.linalg.cholesky(normal)
    # About a level of one, for float32 holds small differences only.
    towards = columns @ data.rhs - lines @ images.T
    change = jax.scipy.linalg.cho_solve((factor, True), towards.astype(jnp.float64))
    return _Level(change.at[0].add(1), change, columns, factor)


def _image(data: Recorded, rows):
    return jax.vmap(lambda a: spline.matvec(data.bands, a))(rows)


def _look(arm: Arm, data: Recorded, star, own) -> _Look:
    seen = emulate(
        arm.emulator, Parameters(star[:-1], star[-1], data.spread, own[0], own[1])
    )
    level = _level(arm, data, seen.lines)
    precision = arm.precision.astype(jnp.float64)
    smooth = level.strengths.astype(seen.lines.dtype) @ arm.smooth
    model = smooth * (1 + seen.lines) - 1
    slopes = smooth[None] * seen.slopes
    seen_as = spline.matvec(data.bands, model)
    left = data.rhs - seen_as
    images = _image(data, slopes)
    chi2 = data.square + (model * (seen_as - 2 * data.rhs)).sum(dtype=jnp.float64)
    chi2 = chi2 + (precision * level.change**2).sum()
    cross = (level.columns @ images.T).astype(jnp.float64)
    half = jax.scipy.linalg.solve_triangular(level.factor, cross, lower=True)
    normal = (slopes @ images.T).astype(jnp.float64) - half.T @ half
    # What is left is orthogonal to the continuum but for its prior.
    stay = (level.columns @ left).astype(jnp.float64) - precision * level.change
    of_stay = jax.scipy.linalg.solve_triangular(level.factor, stay, lower=True)
    pull = (slopes @ left).astype(jnp.float64) - half.T @ of_stay
    # The prior of the line spread.
    at, held = star.size, arm.excess_precision.astype(jnp.float64)
    normal = normal.at[at, at].add(held)
    pull = pull.at[at].add(-held * own[0])
    return _Look(chi2 + held * own[0] ** 2, normal, pull)


def _all(arms, data, values):
    """Chi squared, half its second derivatives and half its gradient, of all arms."""
    own = len(arms)
    shared = values.size - 2 * own
    star = values[:shared]
    chi2 = jnp.zeros((), jnp.float64)
    normal = jnp.zeros((values.size, values.size), jnp.float64)
    pull = jnp.zeros(values.size, jnp.float64)
    for i, (arm, one) in enumerate(zip(arms, data, strict=True)):
        at = jnp.r_[0:shared, shared + 2 * i : shared + 2 * i + 2]
        look = _look(arm, one, star, values[shared + 2 * i : shared + 2 * i + 2])
        chi2 = chi2 + look.chi2
        normal = normal.at[at[:, None], at[None, :]].add(look.normal)
        pull = pull.at[at].add(look.pull)
    return chi2, normal, pull


class _State(NamedTuple):
    values: Float[Array, " parameter"]
    normal: Float[Array, "parameter parameter"]
    pull: Float[Array, " parameter"]
    chi2: Float[Array, ""]
    trial: Float[Array, " parameter"]
    damping: Float[Array, ""]
    gain: Float[Array, ""]
    done: Array
    rounds: Array


class _Room(NamedTuple):
    """Where parameters may go: limits, and how far in one step; which one is rotation."""

    low: Float[Array, " parameter"]
    high: Float[Array, " parameter"]
    longest: Float[Array, " parameter"]
    rotation: int


def fit(
    arms: tuple[Arm, ...],
    data: tuple[Recorded, ...],
    start: Start,
    limits: Float[Array, "2 parameter"],
    *,
    rounds: int | Int[Array, ""],
    enough: float = 0.01,
) -> Found:
    """Follow chi squared downhill from ``start``.

    ``limits``: lowest and highest values. It ends when the next step would gain less
    than ``enough`` in chi squared, or after ``rounds`` looks.
    """
    own = jnp.tile(jnp.array([_EXCESS_STEP, _VELOCITY_STEP]), len(arms))
    labels = jnp.full(start.star.size - 1, _LABEL_STEP)
    longest = jnp.concatenate([labels, jnp.ones(1), own])
    room = _Room(limits[0], limits[1], longest, start.star.size - 1)
    begin = jnp.concatenate([start.star, start.arms.reshape(-1)]).astype(jnp.float64)
    begin = jnp.clip(begin, room.low, room.high)

    def body(state: _State) -> _State:
        new = _advanced(state, _all(arms, data, state.trial), room, enough)
        # Under vmap all go on until the last one has settled.
        return jax.tree.map(
            lambda old, one: jnp.where(state.done, old, one), state, new
        )

    first = _State(
        begin,
        jnp.eye(begin.size),
        jnp.zeros(begin.size),
        jnp.asarray(jnp.inf),
        begin,
        jnp.asarray(_DAMPING / _EASE),
        jnp.asarray(jnp.inf),
        jnp.asarray(False),
        jnp.asarray(0),
    )
    last = jax.lax.while_loop(
        lambda state: ~state.done & (state.rounds < rounds), body, first
    )
    return Found(last.values, last.normal, last.pull, last.chi2, last.gain, last.rounds)


def _advanced(state: _State, looked, room: _Room, enough: float) -> _State:
    """Take the trial if it is better, else brake; and find where to look next."""
    chi2, normal, pull = looked
    better = chi2 < state.chi2
    values = jnp.where(better, state.trial, state.values)
    normal = jnp.where(better, normal, state.normal)
    pull = jnp.where(better, pull, state.pull)
    damping = state.damping * jnp.where(better, _EASE, _BRAKE)
    move, gain = _step(values, normal, pull, damping, room)
    return _State(
        values,
        normal,
        pull,
        jnp.where(better, chi2, state.chi2),
        values + move,
        damping,
        gain,
        (better & (gain < enough)) | (damping > _STUCK),
        state.rounds + 1,
    )


def _step(values, normal, pull, damping, room: _Room):
    """Return the damped step within the limits, and what it would gain."""
    free = ~(
        ((values <= room.low) & (pull <= 0)) | ((values >= room.high) & (pull >= 0))
    )
    keep = free.astype(normal.dtype)
    scale = jnp.maximum(jnp.diag(normal), 1e-8)
    damped = normal + damping * jnp.diag(scale) + 1e-10 * jnp.eye(values.size)
    damped = damped * keep[:, None] * keep[None, :] + jnp.diag(1 - keep)
    move = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(damped), True), pull * keep)
    # A step of the rotation may be as long as the rotation is fast.
    reach = room.longest.at[room.rotation].set(1 + 0.5 * values[room.rotation])
    move = move * jnp.minimum(1, 1 / jnp.max(jnp.abs(move) / reach))
    move = jnp.clip(values + move, room.low, room.high) - values
    return move, 2 * move @ pull - move @ normal @ move


def see(
    arm: Arm, data: Recorded, star: Float[Array, " one"], own: Float[Array, "2"]
) -> tuple[Float[Array, " knot"], Float[Array, " knot"]]:
    """Return the fitted model of ``y``, and the star's lines in it, as coefficients."""
    lines = lines_of(
        arm.emulator, Parameters(star[:-1], star[-1], data.spread, own[0], own[1])
    )
    level = _level(arm, data, lines)
    smooth = level.strengths.astype(lines.dtype) @ arm.smooth
    return smooth * (1 + lines) - 1, smooth * lines


def clip_arm(
    placed: spline.Placed,
    model: Float[Array, " knot"],
    lines: Float[Array, " knot"],
    clip: float,
) -> tuple[spline.Placed, Float[Array, ""], Float[Array, ""], Int[Array, ""]]:
    """Take the weight of pixels that no star explains.

    Returns the rest, the scatter of residuals over the expected one, chi squared of the
    rest and their number.
    """
    value = spline.evaluate(model, placed.u)[0]
    depth = spline.evaluate(lines, placed.u)[0]
    residual = placed.value - value
    kept, scale = inlying_with_scale(residual, placed.weight, clip, LINE_CHANGE * depth)
    rest = spline.keep_only(placed, kept)
    chi2 = (rest.weight * residual**2).sum(dtype=jnp.float64)
    return rest, scale, chi2, kept.sum()
