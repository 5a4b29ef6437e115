"""Periods of a pair whose two velocities were measured: where to begin.

The difference of the velocities knows nothing of the center of mass: ``D = (K + K_2)
shape(t)`` is, for a given period, eccentricity and phase of periastron, linear in cosine
and sine of omega. So all periods are tried, with eccentric orbits on a grid of
eccentricities and phases: those in which the stars do not come closer to each other than
on a circular orbit of one day (tides would have made them round), and the high ones on
a finer grid of periods.

Where it is not known which star is which, only the size of ``D`` counts, and the sign is
that of the orbit that is tried; omega is then on a grid as well.

Errors are widened for the search: a sharp minimum would slip through the grid. What it
gives are starts of a refinement, not orbits.
"""

__all__ = ["Start", "search"]

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from steadystar.infer.orbit_curves import eccentric_anomaly
from steadystar.kernels.orbit import solve_kepler

Vector = NDArray[np.float64]

# Eccentricities, and phases of periastron that are tried at each.
_LAYERS = ((0.0, 1), (0.3, 8), (0.55, 12), (0.75, 20), (0.9, 32), (0.96, 64))
_OVERSAMPLING = 6
_CIRCULAR_BELOW = 1.0  # days
_ANGLES = 8
_WIDENED = 0.05
_AT_ONCE = 8192


@dataclass(frozen=True)
class Start:
    """An orbit to refine: days and radians; ``chi2`` with widened errors.

    ``high (visit,)``: whether the first star recedes faster than the second there.
    """

    elements: dict[str, float]
    chi2: float
    high: NDArray[np.bool_]


def search(
    t: Vector,
    difference: Vector,
    err: Vector,
    periods: tuple[float, float],
    *,
    signed: bool = True,
    number: int = 40,
) -> list[Start]:
    """Return the most promising orbits of a pair, the best first.

    Arguments:
        t: days, ``(visit,)``.
        difference, err: velocity of the first star less that of the second, km/s.
        periods: shortest and longest, days.
        signed: whether the sign of the difference is known.
        number: most orbits that are returned.
    """
    middle = float(t.mean())
    baseline = max(float(np.ptp(t)), 1e-3)
    wide = np.hypot(err, _WIDENED * np.sqrt(np.mean(difference**2)))
    starts: list[Start] = []
    for e, phases in _LAYERS:
        fastest = min(1 / periods[0], (1 - e) ** 1.5 / _CIRCULAR_BELOW)
        if e == 0:
            fastest = 1 / periods[0]
        step = (1 - e) / (_OVERSAMPLING * baseline)
        first = 1 / periods[1]
        if fastest <= first:
            continue
        frequency = np.arange(first, fastest + step, step)
        trial = (t - middle, difference, wide)
        chi2, which, a, b = _layer(frequency, trial, e, phases, signed)
        for i in _minima(chi2, number):
            phase = 2 * np.pi * (which[i] % phases) / phases
            starts.append(
                _start(frequency[i], e, phase, (a[i], b[i]), chi2[i], t, middle)
            )
    return sorted(starts, key=lambda one: one.chi2)[:number]


def _minima(chi2: Vector, number: int) -> list[int]:
    """Local minima, the lowest first; the ends count."""
    walls = np.concatenate([[np.inf], chi2, [np.inf]])
    low = (walls[1:-1] <= walls[:-2]) & (walls[1:-1] < walls[2:])
    places = np.flatnonzero(low)
    return places[np.argsort(chi2[places], kind="stable")][:number].tolist()


def _start(frequency, e, phase, linear, chi2, t, middle) -> Start:
    a, b = linear
    omega = float(np.arctan2(b, a))
    mean = 2 * np.pi * (t - middle) * frequency + phase
    sine, cosine = eccentric_anomaly(mean, e)
    near = 1 / (1 - e * cosine)
    shape = np.cos(omega) * ((cosine - e) * near + e)
    shape = shape - np.sin(omega) * np.sqrt(1 - e * e) * sine * near
    return Start(
        {
            "period": float(1 / frequency),
            "e": e,
            "omega": omega,
            "t_peri": float(middle - phase / (2 * np.pi) / frequency),
        },
        float(chi2),
        shape > 0,
    )


def _basis(mean, e):
    """What the shape is linear in: it is cos(omega) times the first, plus sin the second."""
    sine, cosine = solve_kepler(mean, e)
    near = 1 / (1 - e * cosine)
    return (cosine - e) * near + e, -jnp.sqrt(1 - e * e) * sine * near


def _layer(frequency: Vector, trial, e: float, phases: int, signed: bool):
    """Chi squared at the best phase for each frequency, that phase, both coefficients."""
    t, d, sigma = trial
    room = max(8, 1 << (len(t) - 1).bit_length()) - len(t)
    columns = (np.pad(t, (0, room)), np.pad(d, (0, room)), np.pad(sigma**-2, (0, room)))
    every = np.repeat(frequency, phases)
    phase = np.tile(np.arange(phases) / phases, len(frequency))
    found = []
    with jax.enable_x64(True):
        data = [jnp.asarray(column) for column in columns]
        flat = jnp.asarray(e, jnp.float32)
        # Always as many at once, so that all layers share a compilation.
        for begin in range(0, len(every), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            count = len(every[part])
            f, p = (
                jnp.asarray(np.pad(values[part], (0, _AT_ONCE - count), mode="edge"))
                for values in (every, phase)
            )
            out = _trials(f, p, *data, flat, signed=signed)
            found.append([np.asarray(o, float)[:count] for o in out])
    chi2, a, b = (
        np.concatenate(parts).reshape(-1, phases) for parts in zip(*found, strict=True)
    )
    which = chi2.argmin(axis=1)
    row = np.arange(len(chi2))
    return chi2[row, which], which, a[row, which], b[row, which]


@partial(jax.jit, static_argnames="signed")
def _trials(frequency, phase, t, d, weight, e, *, signed: bool):
    turns = frequency[:, None] * t[None, :] + phase[:, None]
    # Times need double precision; what is left of a turn does not.
    turns = (turns - jnp.round(turns)).astype(jnp.float32)
    c, s = _basis(2 * np.pi * turns, jnp.broadcast_to(e, turns.shape))
    d, weight = d.astype(jnp.float32)[None, :], weight.astype(jnp.float32)[None, :]
    total = jnp.sum(weight * d * d)

    def over(x):
        return jnp.sum(weight * x, axis=1)

    if signed:
        cc, cs, ss, dc, ds = (over(x) for x in (c * c, c * s, s * s, d * c, d * s))
        # Where all visits are at one phase, the normal matrix has no inverse.
        det = cc * ss - cs * cs + 1e-6 * (cc + ss) ** 2
        a, b = (ss * dc - cs * ds) / det, (cc * ds - cs * dc) / det
        left = d - a[:, None] * c - b[:, None] * s
        return over(left * left), a, b
    best = (
        jnp.full(frequency.shape, jnp.inf, jnp.float32),
        *[jnp.zeros_like(c[:, 0])] * 2,
    )
    for angle in np.pi * np.arange(_ANGLES) / _ANGLES:
        x, y = jnp.float32(np.cos(angle)), jnp.float32(np.sin(angle))
        shape, size = jnp.abs(x * c + y * s), jnp.abs(d)
        k = over(size * shape) / jnp.maximum(over(shape * shape), 1e-20)
        chi2 = total - k * over(size * shape)
        better = chi2 < best[0]
        new = (chi2, k * x, k * y)
        best = tuple(jnp.where(better, n, o) for n, o in zip(new, best, strict=True))
    return best
