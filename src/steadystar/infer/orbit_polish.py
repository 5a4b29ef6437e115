"""The best orbit next to each of many: least squares for all of them at once.

Gauss and Newton's steps, damped as by Levenberg and Marquardt: for every orbit by itself
a step that makes it worse is taken back and tried again shorter. Semi-amplitude and
constants, which are linear, are solved for at every step (variable projection, Golub &
Pereyra 1973), with their priors.
"""

__all__ = ["polished"]

import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_likelihood import Elements, StarVelocities, fitted
from steadystar.infer.orbit_prior import OrbitOptions

Array = NDArray[np.float64]

_ROUNDS = 15
_STEP = 1e-6
_SETTLED = 1e-3
_EDGE = 0.98


def polished(
    star: StarVelocities, x: Array, jitters: Array, options: OrbitOptions
) -> Array:
    """Return orbits ``(orbit, coordinate)`` moved to the best next to them.

    ``x``: ln P, sqrt(e) cos(omega), sqrt(e) sin(omega), mean longitude, and ln jitter
    where there is one, which becomes the likeliest of ``jitters``.
    """
    x = x.copy()
    weight = np.sqrt(1 / (star.err**2 + np.median(jitters) ** 2))
    damping = np.full(len(x), 1e-2)
    residual, cost = _misfit(star, x, weight, options)
    active = np.arange(len(x))
    for _ in range(_ROUNDS):
        here, before = x[active], residual[active]
        derivative = _derivative(star, here, before, weight, options)
        normal = derivative.transpose(0, 2, 1) @ derivative
        right = -(derivative.transpose(0, 2, 1) @ before[..., None])
        diagonal = np.arange(4)
        size = normal[:, diagonal, diagonal]
        normal[:, diagonal, diagonal] += damping[active, None] * size + 1e-9
        step = np.linalg.solve(normal, right)[..., 0]
        # No step leaves the peak of the period.
        longest = 0.5 * np.exp(here[:, 0]) / max(star.baseline, 1e-3)
        step[:, 0] = np.clip(step[:, 0], -longest, longest)
        trial = here.copy()
        trial[:, :4] += step
        trial[:, 1:3] *= np.minimum(1, _EDGE / _root(trial))[:, None]
        new, value = _misfit(star, trial, weight, options)
        better = value < cost[active]
        gained = np.where(better, cost[active] - value, np.inf)
        rows = active[better]
        x[rows], residual[rows], cost[rows] = trial[better], new[better], value[better]
        damping[active] *= np.where(better, 0.2, 8.0)
        active = active[(gained > _SETTLED) & (damping[active] < 1e8)]
        if not len(active):
            break
    return _with_jitter(star, x, jitters, options)


def _root(x: Array) -> Array:
    return np.maximum(np.hypot(x[:, 1], x[:, 2]), 1e-12)


def _elements(x: Array, jitter: float) -> Elements:
    omega = np.arctan2(x[:, 2], x[:, 1])
    phase = (omega - x[:, 3]) / (2 * np.pi)
    e = np.minimum(_root(x) ** 2, _EDGE**2)
    return Elements(np.exp(x[:, 0]), e, omega, phase, np.full(len(x), jitter))


def _misfit(star, x, weight, options) -> tuple[Array, Array]:
    """Weighted residuals of the best linear part, ``(orbit, visit)``, and their squares."""
    elements = _elements(x, 0.0)
    shape = elements.shape_at(star.time)
    constants = np.broadcast_to(star.design, (len(x), *star.design.shape))
    design = np.concatenate([shape[..., None], constants], 2) * weight[:, None]
    turned = design.transpose(0, 2, 1)
    normal = turned @ design
    prior = np.empty(normal.shape[:2])
    prior[:, 0] = 1 / options.k_variance(elements.period, elements.e)
    prior[:, 1:] = 1 / star.variance
    diagonal = np.arange(normal.shape[1])
    normal[:, diagonal, diagonal] += prior
    target = weight * star.rv
    linear = np.linalg.solve(normal, (turned @ target)[..., None])
    residual = (design @ linear)[..., 0] - target
    cost = (residual**2).sum(axis=1) + (prior * linear[..., 0] ** 2).sum(axis=1)
    return residual, cost


def _derivative(star, x, residual, weight, options) -> Array:
    columns = []
    for number in range(4):
        moved = x.copy()
        scale = np.exp(x[:, 0]) / max(star.baseline, 1e-3) if number == 0 else 1.0
        step = _STEP * np.minimum(scale, 1.0) * np.ones(len(x))
        moved[:, number] += step
        columns.append(
            (_misfit(star, moved, weight, options)[0] - residual) / step[:, None]
        )
    return np.stack(columns, axis=2)


def _with_jitter(star, x, jitters, options) -> Array:
    if x.shape[1] == 4:
        return x
    value = np.stack(
        [fitted(star, _elements(x, j), options).ln_likelihood for j in jitters]
    )
    x[:, 4] = np.log(jitters[np.argmax(value, axis=0)])
    return x
