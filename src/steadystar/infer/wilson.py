"""The mass ratio of two stars, without an orbit.

Whatever the orbit, the velocities of a pair's stars lie on a line (Wilson 1941, ApJ 93,
29): ``v_1 = gamma (1 + q) - q v_2``, with the mass ratio ``q = m_2 / m_1`` and the velocity
of the center of mass ``gamma``. Both velocities have errors, so the line is fitted to both:
chi squared is ``sum (v_1 + q v_2 - gamma (1 + q))^2 / (err_1^2 + q^2 err_2^2)``. Arms or
instruments may have zeros of their own, which move both velocities of a visit alike: each
such family of visits has its own ``gamma``, and what is known before of their differences
is a term of chi squared.

Where a spectrum does not tell which star is which, the two velocities may be exchanged.
Exchanged visits lie on the line mirrored about ``v_1 = v_2``: if the masses differ enough,
the visits themselves say which these are.
"""

__all__ = ["MassRatio", "mass_ratio"]

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Vector = NDArray[np.float64]
_RANGE = 5.0  # of ln q, either way: 1/150 to 150


@dataclass(frozen=True)
class MassRatio:
    """Mass of the second star over the first's, and the center of mass (km/s).

    ``exchanged (visit,)``: where the velocities were taken the other way round;
    ``offsets (family,)``: zero points, km/s, that of the first is 0.
    """

    q: float
    q_err: float
    gamma: float
    gamma_err: float
    chi2: float
    dof: int
    exchanged: NDArray[np.bool_]
    offsets: Vector


@dataclass(frozen=True)
class _Visits:
    """Velocities, and what is known of the zero points of their families."""

    rv: Vector
    err: Vector
    rv_2: Vector
    err_2: Vector
    zeros: Vector
    precision: Vector

    def turned(self, exchanged: NDArray[np.bool_]) -> "_Visits":
        return replace(
            self,
            rv=np.where(exchanged, self.rv_2, self.rv),
            err=np.where(exchanged, self.err_2, self.err),
            rv_2=np.where(exchanged, self.rv, self.rv_2),
            err_2=np.where(exchanged, self.err, self.err_2),
        )

    def off(self, q: float, gammas: Vector) -> Vector:
        """Return what each visit adds to chi squared."""
        left = (self.rv + q * self.rv_2) - (self.zeros @ gammas) * (1 + q)
        return left**2 / (self.err**2 + (q * self.err_2) ** 2)


def mass_ratio(
    rv: Vector,
    err: Vector,
    rv_2: Vector,
    err_2: Vector,
    *,
    exchange: bool = False,
    family: NDArray[np.intp] | None = None,
    sigma: Vector | None = None,
) -> MassRatio:
    """Fit the line through the velocities of two stars.

    Arguments:
        rv, err, rv_2, err_2: km/s, ``(visit,)``, finite.
        exchange: whether velocities of a visit may be exchanged.
        family: number of the zero point of each visit, ``(visit,)``; one for all if None.
        sigma: how well the zero points after the first are known to agree with that,
            km/s, ``(family - 1,)``.

    Raises:
        ValueError: fewer than two visits.
    """
    if len(rv) < 2:
        raise ValueError(
            f"{len(rv)} visits with both velocities give no mass ratio: two at least."
        )
    family = np.zeros(len(rv), np.intp) if family is None else family
    known = np.zeros(0) if sigma is None else sigma
    number = np.arange(1, len(known) + 1)
    zeros = np.column_stack([np.ones(len(rv)), family[:, None] == number])
    visits = _Visits(rv, err, rv_2, err_2, zeros, np.concatenate([[0.0], known**-2.0]))
    as_given = np.zeros(len(rv), bool)
    starts = [as_given]
    if exchange:
        # By which of the two is the larger, about any velocity of the center of mass: one
        # split of the visits in time order of velocity is close to the truth.
        high = rv > rv_2
        starts += [high, ~high]
        mean = (rv + rv_2) / 2
        starts += [high ^ (mean > np.quantile(mean, c)) for c in (0.25, 0.5, 0.75)]
    found = [_settled(visits, start, exchange) for start in starts]
    best = min(found, key=lambda one: one.chi2)
    # The first star is the one that ``rv`` is most often.
    return _turned(best) if exchange and best.exchanged.mean() > 0.5 else best


def _settled(
    visits: _Visits, exchanged: NDArray[np.bool_], exchange: bool
) -> MassRatio:
    fit = _line(visits, exchanged)
    other = visits.turned(np.ones(len(exchanged), bool))
    for _ in range(30 if exchange else 0):
        gammas = np.concatenate([[fit.gamma], fit.offsets[1:]])
        better = other.off(fit.q, gammas) < visits.off(fit.q, gammas)
        if (better == fit.exchanged).all():
            break
        fit = _line(visits, better)
    return fit


def _gammas(visits: _Visits, q: Vector) -> tuple[Vector, Vector, Vector]:
    """For each ``q``: chi squared, velocities of the center of mass and zeros, variance.

    ``(q,)``, ``(q, family)`` and, of the first of these, ``(q,)``.
    """
    q = q[:, None]
    weight = (1 + q) ** 2 / (visits.err**2 + (q * visits.err_2) ** 2)
    center = (visits.rv + q * visits.rv_2) / (1 + q)
    weighted = visits.zeros.T * weight[:, None, :]
    normal = weighted @ visits.zeros + np.diag(visits.precision)
    inverse = np.asarray(np.linalg.inv(normal), np.float64)
    gammas = (inverse @ (weighted @ center[..., None]))[..., 0]
    left = center - gammas @ visits.zeros.T
    chi2 = (weight * left**2).sum(axis=1) + gammas**2 @ visits.precision
    return chi2, gammas, inverse[:, 0, 0]


def _line(visits: _Visits, exchanged: NDArray[np.bool_]) -> MassRatio:
    turned = visits.turned(exchanged)

    def chi2_of(ln_q) -> float:
        return float(_gammas(turned, np.exp([ln_q]))[0][0])

    grid = np.linspace(-_RANGE, _RANGE, 201)
    best = grid[np.argmin(_gammas(turned, np.exp(grid))[0])]
    found = minimize_scalar(
        chi2_of,
        bounds=(best - 0.05, best + 0.05),
        method="bounded",
        options={"xatol": 1e-10},
    )
    ln_q = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
    # The curvature of chi squared, gamma at its best for each q.
    step = 1e-3
    q = np.exp(ln_q + step * np.array([-1, 0, 1]))
    chi2, gammas, variance = _gammas(turned, q)
    bend = (chi2[0] - 2 * chi2[1] + chi2[2]) / step**2
    ln_q_err = np.sqrt(2 / bend) if bend > 0 else np.inf
    slope = (gammas[2, 0] - gammas[0, 0]) / (2 * step)
    return MassRatio(
        float(q[1]),
        float(q[1] * ln_q_err),
        float(gammas[1, 0]),
        float(np.hypot(np.sqrt(variance[1]), slope * ln_q_err)),
        float(chi2[1]),
        len(exchanged) - 1 - len(gammas[1]),
        np.array(exchanged),
        np.concatenate([[0.0], gammas[1, 1:]]),
    )


def _turned(fit: MassRatio) -> MassRatio:
    """Call the first star the second."""
    return replace(
        fit, q=1 / fit.q, q_err=fit.q_err / fit.q**2, exchanged=~fit.exchanged
    )
