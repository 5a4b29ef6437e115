"""The best orbit near a given one, and how well it is known.

Least squares by Levenberg and Marquardt with exact derivatives, in numbers that behave
for circular orbits (`orbit_curves`). It goes to the nearest minimum: which period to
start from is for a search to say.

**Jitter** is the scatter beyond the errors, the same for all velocities. Its likelihood
has the elements integrated out (restricted maximum likelihood), for with few visits an
orbit adapts itself to the noise, and the plain likelihood takes what is left for all.

**Errors.** The covariance is that of the linearized problem at the most likely jitter;
where visits are few or the orbit is nearly a circle, samples of the posterior (`orbit`,
`orbit_weighing`) say more. An eccentricity that noise alone would give is noted (Lucy and
Sweeney 1971).
"""

__all__ = ["Refined", "RefinementOptions", "curves_of", "refine"]

from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from steadystar.infer.orbit_curves import (
    Curves,
    Vector,
    elements_of,
    numbers_of,
    predicted,
)

# An eccentricity of less than 2.45 sigma is no evidence against a circle, at 5% (Lucy and
# Sweeney 1971, AJ 76, 544).
_CIRCULAR = 2.45
_GRID = 40
_LEAST = 1e-3


@dataclass(frozen=True)
class RefinementOptions:
    """How an orbit is refined."""

    jitter: Annotated[
        float, "Scatter beyond the errors, km/s; negative: estimated from the visits."
    ] = -1.0
    rounds: Annotated[int, "Most rounds of orbit and jitter in turn."] = 20
    tolerance: Annotated[float, "Least relative change of jitter that goes on."] = 1e-3
    steps: Annotated[int, "Most steps of least squares in a round."] = 400
    eccentricity_b: Annotated[
        float,
        "With b > 1, eccentricities have the prior (1 - e^2)^(b - 1): where few visits "
        "are near periastron, it keeps the orbit from running to e = 1.",
    ] = 1.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.jitter):
            raise ValueError(
                f"jitter = {self.jitter}: give km/s, or a negative number to fit it."
            )
        if self.rounds < 1 or self.steps < 1 or not self.tolerance > 0:
            raise ValueError(
                f"rounds = {self.rounds}, steps = {self.steps}, tolerance = "
                f"{self.tolerance}: all must be positive."
            )
        if not self.eccentricity_b >= 1:
            raise ValueError(
                f"eccentricity_b = {self.eccentricity_b}: give 1 (no prior) or more."
            )


@dataclass(frozen=True, eq=False)
class Refined:
    """The orbit of one star, or of two.

    Attributes:
        elements: ``period, e, omega, t_peri, k, v0, jitter`` (days, radians, km/s),
            ``k_2`` where both stars were measured, ``offset_1`` and so on: the zero
            points of the families after the first, whose is 0.
        errors: their errors, linearized; NaN for the jitter.
        covariance: of the numbers called ``names`` (`orbit_curves`), ``(n, n)``.
        numbers: these numbers, ``(n,)``.
        middle: the time that ``longitude`` belongs to, days.
        chi2: without jitter, i.e. with the errors as given; ``dof`` values less numbers.
        ln_likelihood: at this orbit, with this jitter.
        converged: whether the minimum was found.
    """

    elements: dict[str, float]
    errors: dict[str, float]
    covariance: NDArray[np.float64]
    names: tuple[str, ...]
    numbers: Vector
    middle: float
    chi2: float
    dof: int
    ln_likelihood: float
    converged: bool
    notes: tuple[str, ...]

    def predicted(self, t: Vector, second: float, family: NDArray[np.intp]) -> Vector:
        """Return velocities of the first (0) or second star (1) at times ``t``, km/s.

        ``family``: number of the zero point of each visit, ``(visit,)``.
        """
        return predicted(self.numbers, self.names, t - self.middle, second, family)


def curves_of(
    t, rv, err, *, rv_2=None, err_2=None, family=None, share_2=None
) -> Curves:
    """Put velocities together; those that are not finite, or have no error, are left out.

    Arguments:
        t, rv, err: days and km/s, ``(visit,)``.
        rv_2, err_2: the second star's, NaN where it was not seen.
        family: number of the zero point of each visit, for both stars; the first is 0.
        share_2: the second star's share of the light where ``rv`` is that of a blend,
            0 elsewhere.

    Raises:
        ValueError: lengths differ.
    """
    t, rv, err = (np.asarray(a, float) for a in (t, rv, err))
    n = len(t)
    family = np.zeros(n, np.intp) if family is None else np.asarray(family)
    share = np.zeros(n) if share_2 is None else np.asarray(share_2, float)
    nothing = np.full(n, np.nan)
    second = nothing if rv_2 is None else np.asarray(rv_2, float)
    second_err = nothing if err_2 is None else np.asarray(err_2, float)
    lengths = [len(a) for a in (t, rv, err, family, share, second, second_err)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"Times, velocities, errors and families have {lengths} entries: give one of "
            "each for every visit."
        )
    v = np.concatenate([rv, second])
    sigma = np.concatenate([err, second_err])
    times = np.concatenate([t, t])
    good = np.isfinite(v) & (sigma > 0) & np.isfinite(sigma) & np.isfinite(times)
    code = np.unique(np.concatenate([family, family])[good], return_inverse=True)[1]
    stars = np.concatenate([share, np.ones(n)])
    return Curves(times[good], v[good], sigma[good], stars[good], code)


def refine(
    t,
    rv,
    err,
    start: dict[str, float],
    *,
    rv_2=None,
    err_2=None,
    family=None,
    share_2=None,
    options: RefinementOptions = RefinementOptions(),
) -> Refined:
    """Return the orbit at the least-squares minimum next to ``start``.

    Arguments:
        t, rv, err, rv_2, err_2, family, share_2: see `curves_of`.
        start: ``period`` (days), and ``e``, ``omega`` (radians), ``t_peri`` where known;
            without a time of periastron, the best phase of a circular orbit. Amplitudes
            and constants come from the velocities.
        options: jitter.

    Raises:
        ValueError: fewer velocities than numbers to fit, or no period to start from.
    """
    curves = curves_of(
        t, rv, err, rv_2=rv_2, err_2=err_2, family=family, share_2=share_2
    )
    return refine_curves(curves, start, options)


def refine_curves(
    curves: Curves, start: dict[str, float], options: RefinementOptions
) -> Refined:
    """Do the same for velocities that are put together already.

    Raises:
        ValueError: as `refine`.
    """
    names, n = curves.names, len(curves.v)
    if n < len(names):
        raise ValueError(
            f"{n} velocities cannot give {len(names)} numbers ({', '.join(names)}): "
            "sample the orbits that are possible, or give more visits."
        )
    if not start.get("period", 0) > 0:
        raise ValueError("An orbit to refine needs a period to start from, in days.")
    four = numbers_of(start, curves.middle)
    if "t_peri" not in start:
        four = _best_phase(curves, four)
    fixed, dof = options.jitter >= 0, n - len(names)
    jitter = options.jitter if fixed else 0.0
    numbers = curves.solved(four, jitter)
    converged = False
    for _ in range(options.rounds):
        numbers, converged = _minimum(curves, numbers, jitter, options)
        if fixed or dof < 1:
            break
        before, jitter = jitter, _likeliest_jitter(curves, numbers)
        if abs(jitter - before) <= options.tolerance * max(before, _LEAST):
            break
    return _result(curves, numbers, jitter, converged)


def _best_phase(curves: Curves, four: Vector) -> Vector:
    """Return the numbers at the best of 24 phases."""
    trials = [four + np.array([0, a, 0, 0]) for a in np.arange(24) * np.pi / 12]

    def left(trial):
        numbers = curves.solved(trial)
        return np.sum(((curves.v - curves.model(numbers)[0]) / curves.err) ** 2)

    return min(trials, key=left)


def _minimum(
    curves: Curves, numbers: Vector, jitter: float, options: RefinementOptions
) -> tuple[Vector, bool]:
    weight = 1 / np.hypot(curves.err, jitter)
    last: list = [None, None]

    def at(p):
        if last[0] is None or not (p == last[0]).all():
            expected, slopes = curves.model(p)
            prior, prior_slopes = _prior(p, options.eccentricity_b)
            left = np.concatenate([(expected - curves.v) * weight, prior])
            last[:] = (
                p.copy(),
                (left, np.concatenate([slopes * weight[:, None], prior_slopes])),
            )
        return last[1]

    found: Any = least_squares(
        lambda p: at(p)[0],
        numbers,
        cast(Any, lambda p: at(p)[1]),
        method="lm",
        x_scale="jac",
        max_nfev=options.steps,
    )
    return found.x, found.status > 0


def _prior(numbers: Vector, b: float) -> tuple[Vector, NDArray[np.float64]]:
    """Return two residuals whose squares are ``-2 ln prior``, and their derivatives."""
    plane = numbers[2:4]
    square = max(float(plane @ plane), 1e-12)
    # 1 - e^2 is 1 / (1 + square): e / sqrt(1 - e^2) is the length of ``plane``.
    factor = np.sqrt(2 * (b - 1) * np.log1p(square) / square)
    change = (b - 1) * (1 / (1 + square) - np.log1p(square) / square) / square
    slopes = np.zeros((2, len(numbers)))
    slopes[:, 2:4] = factor * np.eye(2)
    if factor > 0:
        slopes[:, 2:4] += 2 * change / factor * np.outer(plane, plane)
    return factor * plane, slopes


def _linearized(
    curves: Curves, linear: tuple[Vector, NDArray], jitters: Vector
) -> tuple[Vector, NDArray[np.float64]]:
    """Return the restricted ln likelihood of each jitter, and roots of the covariances.

    ``linear`` is the model at the present numbers, with its derivatives; ``(jitter,)`` and
    ``(jitter, number, number)``.
    """
    weight = 1 / np.hypot(curves.err, jitters[:, None])
    expected, slopes = linear[0], linear[1] * weight[..., None]
    left = (curves.v - expected) * weight
    scale = np.linalg.norm(slopes, axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    u, s, vt = np.linalg.svd(slopes / scale[:, None], full_matrices=False)
    s = np.maximum(s, 1e-12 * s[:, :1])
    along = (u.transpose(0, 2, 1) @ left[..., None])[..., 0]
    rest = np.sum(left**2, axis=1) - np.sum(along**2, axis=1)
    size = slopes.shape[1] - slopes.shape[2]
    ln = np.log(weight).sum(axis=1) - 0.5 * size * np.log(2 * np.pi)
    ln += -0.5 * rest - np.log(s).sum(axis=1) - np.log(scale).sum(axis=1)
    return ln, vt.transpose(0, 2, 1) / s[:, None] / scale[..., None]


def _jitters(curves: Curves, numbers: Vector) -> Vector:
    """Return a grid of jitters, zero and far more than the residuals included."""
    left = curves.v - curves.model(numbers)[0]
    freedom = max(len(left) - len(numbers), 1)
    top = np.sqrt(np.sum(left**2) / freedom)
    low = 0.03 * np.median(curves.err)
    high = max(5 * top, 3 * np.median(curves.err))
    return np.concatenate([[0.0], np.geomspace(low, high, _GRID)])


def _likeliest_jitter(curves: Curves, numbers: Vector) -> float:
    """Return the jitter of the highest restricted likelihood."""
    grid, linear = _jitters(curves, numbers), curves.model(numbers)
    ln = _linearized(curves, linear, grid)[0]
    best = int(ln.argmax())
    if best == 0:
        return 0.0
    if best == len(grid) - 1:
        return float(grid[-1])
    # The vertex of a parabola in ln(jitter), except next to zero, where there is no ln.
    if best == 1:
        return float(grid[1])
    x, y = np.log(grid[best - 1 : best + 2]), ln[best - 1 : best + 2]
    bend = y[0] - 2 * y[1] + y[2]
    move = 0.5 * (y[0] - y[2]) / bend if bend < 0 else 0.0
    return float(np.exp(x[1] + move * (x[1] - x[0])))


def _result(curves: Curves, numbers: Vector, jitter: float, converged: bool) -> Refined:
    names = curves.names
    root = _linearized(curves, curves.model(numbers), np.array([jitter]))[1][0]
    covariance = root @ root.T
    elements = {
        name: float(value)
        for name, value in elements_of(numbers, names, curves.middle).items()
    }
    left = curves.v - curves.model(numbers)[0]
    sigma = np.hypot(curves.err, jitter)
    each = (left / sigma) ** 2 + np.log(2 * np.pi * sigma**2)
    ln_likelihood = -0.5 * float(each.sum())
    errors = _errors(numbers, covariance, names, elements)
    dof = len(curves.v) - len(names)
    return Refined(
        {**elements, "jitter": jitter},
        {**errors, "jitter": float("nan")},
        covariance,
        names,
        numbers,
        curves.middle,
        float(np.sum((left / curves.err) ** 2)),
        dof,
        ln_likelihood,
        converged,
        _notes(elements, errors, converged, dof),
    )


def _errors(numbers, covariance, names, elements) -> dict[str, float]:
    """Errors of the elements by the derivatives of what they follow from."""
    period, e = elements["period"], elements["e"]
    x, y = numbers[2:4]
    r = max(np.hypot(x, y), 1e-12)
    along, across = np.array([x, y]) / r, np.array([-y, x]) / r
    size = len(names)
    slope = {name: np.zeros(size) for name in ("period", "e", "omega", "t_peri")}
    slope["period"][0] = period
    slope["e"][2:4] = along * (1 - e * e) ** 1.5
    slope["omega"][2:4] = across / r
    turn = period / (2 * np.pi)
    mean = np.mod(numbers[1] - np.arctan2(y, x) + np.pi, 2 * np.pi) - np.pi
    slope["t_peri"][0] = -mean * turn
    slope["t_peri"][1] = -turn
    slope["t_peri"] += turn * slope["omega"]
    for i, name in enumerate(names[4:], start=4):
        slope[name] = np.eye(size)[i]
    return {n: float(np.sqrt(max(d @ covariance @ d, 0.0))) for n, d in slope.items()}


def _notes(elements, errors, converged: bool, dof: int) -> tuple[str, ...]:
    notes = []
    if not converged:
        notes.append(
            "The orbit did not settle: its numbers are those of the last step."
        )
    if elements["e"] < _CIRCULAR * errors["e"]:
        notes.append(
            f"The eccentricity {elements['e']:.3f} +- {errors['e']:.3f} is not "
            "distinguished from a circle (Lucy and Sweeney 1971)."
        )
    if dof < 3:
        notes.append(
            f"{dof} velocities more than numbers: scatter beyond the errors would hardly "
            "show, and the errors rest on those given."
        )
    return tuple(notes)
