"""The mass ratio of two stars, without an orbit.

Whatever the orbit, the velocities of a pair's stars lie on a line (Wilson 1941, ApJ 93,
29): ``v_1 = gamma (1 + q) - q v_2``, with the mass ratio ``q = m_2 / m_1`` and the velocity
of the center of mass ``gamma``. Both velocities have errors, so the line is fitted to both:
chi squared is ``sum (v_1 + q v_2 - gamma (1 + q))^2 / (err_1^2 + q^2 err_2^2)``.

Where a spectrum does not tell which star is which, the two velocities may be exchanged.
Exchanged visits lie on the line mirrored about ``v_1 = v_2``: if the masses differ enough,
the visits themselves say which these are.
"""

__all__ = ["MassRatio", "mass_ratio"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Vector = NDArray[np.float64]
_RANGE = 5.0  # of ln q, either way: 1/150 to 150


@dataclass(frozen=True)
class MassRatio:
    """Mass of the second star over the first's, and the center of mass (km/s).

    ``exchanged (visit,)``: where the velocities were taken the other way round.
    """

    q: float
    q_err: float
    gamma: float
    gamma_err: float
    chi2: float
    dof: int
    exchanged: NDArray[np.bool_]


def mass_ratio(
    rv: Vector, err: Vector, rv_2: Vector, err_2: Vector, *, exchange: bool = False
) -> MassRatio:
    """Fit the line through the velocities of two stars.

    Arguments:
        rv, err, rv_2, err_2: km/s, ``(visit,)``, finite.
        exchange: whether velocities of a visit may be exchanged.

    Raises:
        ValueError: fewer than two visits.
    """
    if len(rv) < 2:
        raise ValueError(
            f"{len(rv)} visits with both velocities give no mass ratio: two at least."
        )
    as_given = np.zeros(len(rv), bool)
    starts = [as_given]
    if exchange:
        # By which of the two is the larger, about any velocity of the center of mass: one
        # split of the visits in time order of velocity is close to the truth.
        high = rv > rv_2
        starts += [high, ~high]
        mean = (rv + rv_2) / 2
        starts += [high ^ (mean > np.quantile(mean, c)) for c in (0.25, 0.5, 0.75)]
    found = [_settled(rv, err, rv_2, err_2, start, exchange) for start in starts]
    best = min(found, key=lambda one: one.chi2)
    # The first star is the one that ``rv`` is most often.
    return _turned(best) if exchange and best.exchanged.mean() > 0.5 else best


def _settled(rv, err, rv_2, err_2, exchanged, exchange: bool) -> MassRatio:
    fit = _line(rv, err, rv_2, err_2, exchanged)
    for _ in range(30 if exchange else 0):
        q, gamma = fit.q, fit.gamma

        def off(a, s, b, s_b, q=q, gamma=gamma):
            return (a + q * b - gamma * (1 + q)) ** 2 / (s**2 + (q * s_b) ** 2)

        better = off(rv_2, err_2, rv, err) < off(rv, err, rv_2, err_2)
        if (better == fit.exchanged).all():
            break
        fit = _line(rv, err, rv_2, err_2, better)
    return fit


def _line(rv, err, rv_2, err_2, exchanged) -> MassRatio:
    a, b = np.where(exchanged, rv_2, rv), np.where(exchanged, rv, rv_2)
    s, s_2 = np.where(exchanged, err_2, err), np.where(exchanged, err, err_2)

    def parts(ln_q):
        q = np.exp(ln_q)
        weight = 1 / (s**2 + (q * s_2) ** 2)
        both = a + q * b
        gamma = np.sum(weight * both) / np.sum(weight) / (1 + q)
        return float(np.sum(weight * (both - gamma * (1 + q)) ** 2)), gamma

    grid = np.linspace(-_RANGE, _RANGE, 201)
    best = grid[np.argmin([parts(x)[0] for x in grid])]
    found = minimize_scalar(
        lambda x: parts(x)[0],
        bounds=(best - 0.05, best + 0.05),
        method="bounded",
        options={"xatol": 1e-10},
    )
    ln_q = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
    chi2, gamma = parts(ln_q)
    q = float(np.exp(ln_q))
    # The curvature of chi squared, gamma at its best for each q.
    step = 1e-3
    bend = (parts(ln_q + step)[0] - 2 * chi2 + parts(ln_q - step)[0]) / step**2
    ln_q_err = np.sqrt(2 / bend) if bend > 0 else np.inf
    slope = (parts(ln_q + step)[1] - parts(ln_q - step)[1]) / (2 * step)
    total = np.sum(1 / (s**2 + (q * s_2) ** 2))
    gamma_err = np.hypot(1 / np.sqrt(total) / (1 + q), slope * ln_q_err)
    return MassRatio(
        q,
        float(q * ln_q_err),
        float(gamma),
        float(gamma_err),
        chi2,
        len(rv) - 2,
        np.array(exchanged),
    )


def _turned(fit: MassRatio) -> MassRatio:
    """Call the first star the second."""
    return MassRatio(
        1 / fit.q,
        fit.q_err / fit.q**2,
        fit.gamma,
        fit.gamma_err,
        fit.chi2,
        fit.dof,
        ~fit.exchanged,
    )
