"""How far the probability of a star's velocity spreads, where its minimum is not all.

A spectrum that says little, of a hot star or a faint one, has a likelihood of many narrow
minima, where noise looks like lines: the width of the deepest is not the error. So the
probability itself is integrated, over trials like those of `kernels.velocity`.
"""

__all__ = ["Spread", "spread"]

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from steadystar.kernels import spline
from steadystar.kernels.matching import inlying_with_scale
from steadystar.kernels.velocity import (
    CLIP,
    LINE_CHANGE,
    LinePrior,
    Standing,
    at_shift,
    marginalize,
    standing,
)

_TRIAL = 5
"""Tenths of a step between the trials of `spread`: a line is seven times as wide, so that
a polynomial through eight of them is good to 0.02 of the width of the narrowest minimum."""
_NEAR = 60.0
"""Where the search is worse than its best by more than this in chi squared, `spread` takes
its word: the probability there is nothing, whatever is marginalized."""
_STENCIL = 8
"""Trials that a polynomial goes through."""
_TOGETHER = 4


def _tried(
    equations: spline.NormalEquations,
    prior: LinePrior,
    still: Standing,
    tenths: Int[Array, " trial"],
    search: Float[Array, " lag"],
) -> Float[Array, " trial"]:
    """Return the objective of every trial, infinite where the search is hopeless."""
    phases, reach = prior.lines.shape[0], search.size // 2
    lag = tenths // phases + reach
    inside = (lag >= 0) & (lag + 1 < search.size)
    lag = jnp.clip(lag, 0, search.size - 2)
    coarse = jnp.minimum(search[lag], search[lag + 1])
    hopeless = inside & (coarse > search.min() + _NEAR)
    # A few more, so that all that is between two hopeful ones can be interpolated.
    likely = (~hopeless).astype(search.dtype).at[tenths.size // 2].set(1)
    around = jnp.ones(_STENCIL + 1, search.dtype)
    wanted = jnp.convolve(likely, around, mode="same") > 0.5
    # At the ends all that they need lies on one side.
    half, size = _STENCIL // 2, tenths.size
    at_first, at_last = likely[:half].max() > 0.5, likely[size - half :].max() > 0.5
    place = jnp.arange(size)
    wanted |= at_first & (place < _STENCIL) | at_last & (place >= size - _STENCIL)
    fill = -tenths.size % _TOGETHER
    groups = [
        jnp.pad(a, (0, fill), mode="edge").reshape(-1, _TOGETHER)
        for a in (tenths, wanted)
    ]

    def some(group):
        def one(tenth):
            rows = at_shift(prior, tenth)
            return marginalize(equations, prior, rows, still).objective

        return jax.lax.cond(
            group[1].any(),
            jax.vmap(one),
            lambda a: jnp.full(a.shape, jnp.inf, jnp.float64),
            group[0],
        )

    return jax.lax.map(some, tuple(groups)).ravel()[: tenths.size]


def _in_between(trials: int) -> Float[np.ndarray, "tenth trial"]:
    """Return the matrix that takes trials to polynomials at every tenth.

    Each goes through the trials around: unlike a spline, it does not carry what is
    wrong in one place to others.
    """
    matrix = np.zeros((_TRIAL * (trials - 1) + 1, trials))
    for tenth, row in enumerate(matrix):
        first = tenth // _TRIAL - (_STENCIL // 2 - 1)
        nodes = np.arange(_STENCIL) + min(max(first, 0), trials - _STENCIL)
        for node in nodes:
            others = nodes[nodes != node]
            row[node] = np.prod((tenth / _TRIAL - others) / (node - others))
    return matrix


class Spread(NamedTuple):
    """Mean and standard deviation of a shift's probability, grid steps.

    ``beyond`` is the share of the probability at the ends of what was looked at.
    """

    shift: Any
    sigma: Any
    beyond: Any


def spread(
    pixels: spline.Pixels,
    prior: LinePrior,
    shift: Float[Array, ""],
    star: Float[Array, " knot"],
    model: Float[Array, " knot"],
    search: Float[Array, " lag"],
    *,
    slots: int,
    steps: int,
) -> Spread:
    """Integrate the probability of the shift over ``steps`` to either side.

    ``star``, ``model`` and ``search`` are those that `velocity.measure` found with
    ``shift``.
    """
    phases = prior.lines.shape[0]
    placed = spline.place(pixels, jnp.zeros((), pixels.value.dtype), slots)
    residual = placed.value - spline.evaluate(model, placed.u)[0]
    change = LINE_CHANGE * spline.evaluate(star, placed.u)[0]
    kept, _ = inlying_with_scale(residual, placed.weight, CLIP, change)
    equations = spline.normal_equations(spline.keep_only(placed, kept))
    middle = jnp.round(phases * shift).astype(jnp.int32)
    offset = jnp.arange(-steps * phases, steps * phases + 1, _TRIAL, dtype=jnp.int32)
    still = standing(equations, prior, 1 + star)
    trials = _tried(equations, prior, still, middle + offset, search)
    # The tenths between the trials, where all that they need was tried.
    between = _in_between(offset.size)
    tried = trials < jnp.inf
    missing = np.abs(np.sign(between)) @ (~tried).astype(trials.dtype)
    objective = jnp.asarray(between) @ jnp.where(tried, trials, 0)
    objective = jnp.where(missing < 0.5, objective, jnp.inf)
    offset = jnp.arange(-steps * phases, steps * phases + 1, dtype=jnp.int32)
    p = jnp.exp((objective.min() - objective) / 2)
    p = p / p.sum()
    at = (middle + offset).astype(p.dtype) / phases
    mean = (p * at).sum()
    ends = jnp.abs(offset) > (steps - 2) * phases
    return Spread(
        mean, jnp.sqrt((p * (at - mean) ** 2).sum()), (p * ends.astype(p.dtype)).sum()
    )
