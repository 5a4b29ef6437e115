"""How one catalog's values run with the other's: a straight line, and what is beyond it.

**The line** ``A = offset + slope B`` after clipping about the line itself. Where the
errors of B are known, they do not flatten it: with moments about the means,
``slope = S_ab / (S_bb - <e_b^2>)`` (Akritas & Bershady 1996, ApJ 470, 706, the BCES(Y|X)
estimator); without them it is the ordinary least squares of the published comparisons.

**The structure** of differences is a polynomial of the fourth order in
``t = (x - center) / scale`` (Zong et al. 2020, section 4.2). Whether there is any is
decided before any fit: the differences from their mean, clipped about it, are asked for
the four terms beyond the constant by a score test, whose covariance does not take the
scatter as equal everywhere (White 1980). Coefficients have errors of the same kind (HC3,
MacKinnon & White 1985).
"""

__all__ = ["Line", "Polynomial", "clipped", "fit_line", "fit_polynomial"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, erf

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

ORDER = 4
_ROUNDS, _HUBER = 50, 1.5
_FEWEST_LINE, _FEWEST_POLYNOMIAL = 5, 30
_FAR = 6.0
"""Robust widths from the median beyond which a star does not span the range."""
_ENDS = 0.005
"""Share of the stars at each end that do not shape the polynomial: few, far, heavy."""


@dataclass(frozen=True)
class Line:
    """``A = offset + slope B``; ``offset_at`` is the value of the line at ``pivot``.

    ``rms`` is the scatter about it; ``with_errors`` says whether errors were known, so
    that the line is not flattened by them.
    """

    slope: float
    slope_err: float
    offset: float
    offset_err: float
    pivot: float
    offset_at: float
    offset_at_err: float
    rms: float
    n: int
    with_errors: bool

    def at(self, x: Vector) -> Vector:
        """Return the line at ``x``."""
        return self.offset_at + self.slope * (np.asarray(x, float) - self.pivot)

    def inverted(self) -> "Line":
        """Return the same line with A and B exchanged."""
        slope = 1 / self.slope
        slope_err = self.slope_err * slope**2
        level_err = self.offset_at_err * abs(slope)
        return Line(
            slope,
            slope_err,
            -self.offset * slope,
            float(np.hypot(level_err, self.offset_at * slope_err)),
            self.offset_at,
            self.pivot,
            level_err,
            self.rms * abs(slope),
            self.n,
            self.with_errors,
        )


@dataclass(frozen=True)
class Polynomial:
    """``sum c_k t^k`` with ``t = (x - center) / scale``, for x from ``low`` to ``high``.

    ``p_value`` is that of a constant, ``p_beyond_line`` that of a straight line, if there
    is nothing but noise; ``bic`` is how much less the polynomial's information criterion
    is than the constant's (positive: better). ``rms`` is what the polynomial without its
    mean amounts to, over the stars. ``significant``: p_value below the level asked for.
    """

    center: float
    scale: float
    coefficients: tuple[float, ...]
    errors: tuple[float, ...]
    low: float
    high: float
    p_value: float
    p_beyond_line: float
    bic: float
    rms: float
    n: int
    significant: bool

    def at(self, x: Vector) -> Vector:
        """Return the polynomial at ``x``; beyond its range, its value at the end."""
        t = (np.clip(np.asarray(x, float), self.low, self.high) - self.center) / (
            self.scale
        )
        return np.vander(t.ravel(), len(self.coefficients), increasing=True) @ (
            np.array(self.coefficients)
        )


def clipped(
    rest: Callable[[Mask], Vector], keep: Mask, n_sigma: float
) -> tuple[Mask, float]:
    """Clip at ``n_sigma`` until nothing changes; return who stays, and the width.

    Arguments:
        rest: returns all residuals (n,) about what those who stay (mask) determine.
        keep: who stays at first.
        n_sigma: how many widths. The width is the standard deviation of those who
            stay, and what clipping takes of a Gaussian's (1.3% at 3 sigma) put back.
    """
    part = _kept_of_gaussian(n_sigma)
    width = float("nan")
    seen: set[bytes] = set()
    for _ in range(_ROUNDS):
        residual = rest(keep)
        inside = residual[keep]
        if len(inside) < 2:
            return keep, float("nan")
        width = float(np.sqrt(np.mean(inside**2)) / part)
        # A grain: values that are equal but for rounding stay.
        limit = n_sigma * width + 1e-12 * float(np.max(np.abs(inside), initial=0.0))
        new = np.isfinite(residual) & (np.abs(residual) <= limit)
        if np.array_equal(new, keep) or new.tobytes() in seen or new.sum() < 2:
            break
        seen.add(new.tobytes())
        keep = new
    return keep, width


def _kept_of_gaussian(n_sigma: float) -> float:
    """Return the standard deviation of a unit Gaussian within ``n_sigma``."""
    density = np.exp(-(n_sigma**2) / 2) * np.sqrt(2 / np.pi)
    return float(np.sqrt(1 - n_sigma * density / erf(n_sigma / np.sqrt(2))))


def fit_line(
    a: Vector,
    b: Vector,
    b_variance: Vector | None = None,
    keep: Mask | None = None,
    n_sigma: float = 3.0,
) -> Line | None:
    """Fit ``a`` against ``b`` (n,); None where there are too few values, or all equal.

    ``b_variance`` (n,): squared errors of ``b``, NaN where unknown: then they count as
    the median of the others. ``keep``: who counts before clipping.
    """
    if keep is None:
        keep = np.isfinite(a) & np.isfinite(b)
    if keep.sum() < _FEWEST_LINE or not np.ptp(b[keep]) > 0:
        return None
    pivot = float(np.median(b[keep]))
    x, y = b - pivot, a - pivot
    v = _known(b_variance, keep)
    if v[keep].mean() > 0.5 * x[keep].var():
        v = np.zeros_like(x)  # the spread of B is that of its errors: no line but this
    outside, lost = ~keep, 1 - _kept_of_gaussian(n_sigma) ** 2
    shrunk = v.copy()

    def rest(inside: Mask) -> Vector:
        slope, level = _moments(x, y, shrunk, inside)
        residual = y - level - slope * x
        part = slope**2 * v
        total = max(float(np.mean(residual[inside] ** 2)), 1e-300)
        own = max(total - float(part[inside].mean()), 0.05 * total)
        # Clipping takes of B's errors what they are of the residuals.
        shrunk[:] = v * (1 - lost * part / (own + part))
        scaled = residual * np.sqrt((own + part[inside].mean()) / (own + part))
        return np.where(outside, np.inf, scaled)

    keep, width = clipped(rest, keep, n_sigma)
    slope, level = _moments(x, y, shrunk, keep)
    n = int(keep.sum())
    xs, vs = x[keep] - x[keep].mean(), shrunk[keep]
    error = y[keep] - level - slope * x[keep]
    spread = float(np.mean(xs**2) - vs.mean())
    # Influence of each star on slope and on the mean level, and on the line at 0.
    on_slope = (xs * error + slope * vs) / spread
    on_level = error - x[keep].mean() * on_slope
    freedom = max(n - 2, 1)
    slope_err = float(np.sqrt(np.mean(on_slope**2) / freedom))
    level_err = float(np.sqrt(np.mean(on_level**2) / freedom))
    zero_err = float(np.sqrt(np.mean((on_level - pivot * on_slope) ** 2) / freedom))
    return Line(
        slope,
        slope_err,
        pivot + level - slope * pivot,
        zero_err,
        pivot,
        pivot + level,
        level_err,
        width,
        n,
        bool((vs > 0).any()),
    )


def _known(variance: Vector | None, keep: Mask) -> Vector:
    """Return variances; the median where one is unknown, zero where all are."""
    if variance is None or not np.isfinite(variance[keep]).any():
        return np.zeros(len(keep))
    return np.where(np.isfinite(variance), variance, np.nanmedian(variance[keep]))


def _moments(x: Vector, y: Vector, v: Vector, keep: Mask) -> tuple[float, float]:
    xs, ys = x[keep], y[keep]
    spread = np.mean((xs - xs.mean()) ** 2) - v[keep].mean()
    if not spread > 0:
        return 0.0, float(ys.mean())
    slope = float(np.mean((xs - xs.mean()) * (ys - ys.mean())) / spread)
    return slope, float(ys.mean() - slope * xs.mean())


def fit_polynomial(
    difference: Vector,
    x: Vector,
    keep: Mask | None = None,
    n_sigma: float = 3.0,
    level: float = 1e-3,
) -> Polynomial | None:
    """Fit ``difference`` (n,) over ``x`` (n,), clipping about the fit; None if too few.

    ``level``: of significance. The half percent of stars at each end of ``x`` is left
    out: few stars far away would shape everything.
    """
    good = np.isfinite(difference) & np.isfinite(x)
    good = good if keep is None else good & keep
    if good.sum() < _FEWEST_POLYNOMIAL:
        return None
    low, high = _domain(difference, x, good)
    good &= (x >= low) & (x <= high)
    center, scale = (low + high) / 2, (high - low) / 2
    if len(np.unique(x[good])) <= 2 * ORDER or good.sum() < _FEWEST_POLYNOMIAL:
        return None
    design = np.vander((x - center) / scale, ORDER + 1, increasing=True)
    outside = ~good

    def rest(inside: Mask) -> Vector:
        found = np.linalg.lstsq(design[inside], difference[inside], rcond=None)[0]
        return np.where(outside, np.inf, difference - design @ found)

    p_value = _structure(difference[good], design[good], 0, n_sigma)
    p_beyond = _structure(difference[good], design[good], 1, n_sigma)
    # Where there is no structure, outliers are those from the constant.
    simplest = design if p_value < level else design[:, :1]
    start = good & (np.abs(_huber_rest(difference, simplest, good)) <= n_sigma)
    keep, _ = clipped(rest, start, n_sigma)
    n = int(keep.sum())
    m, d = design[keep], difference[keep]
    found, *_ = np.linalg.lstsq(m, d, rcond=None)
    error = d - m @ found
    covariance = _robust_covariance(m, error)
    shape = m[:, 1:] @ found[1:]
    constant, full = float(np.var(d)), float(np.mean(error**2))
    bic = n * np.log(constant / full) - ORDER * np.log(n) if full > 0 < constant else 0
    return Polynomial(
        center,
        scale,
        tuple(float(c) for c in found),
        tuple(float(e) for e in np.sqrt(np.maximum(np.diag(covariance), 0))),
        low,
        high,
        p_value,
        p_beyond,
        float(bic),
        float(np.std(shape)),
        n,
        bool(p_value < level),
    )


def _domain(difference: Vector, x: Vector, good: Mask) -> tuple[float, float]:
    """Return the ends of the range of ``x`` in which there are stars enough.

    What is wrong in one catalog is far out in ``x``, too: it shall not span the range.
    """
    away = np.abs(difference - np.median(difference[good]))
    width = 1.4826 * float(np.median(away[good]))
    near = good & (away <= _FAR * width) if width > 0 else good
    low, high = np.quantile(x[near], [_ENDS, 1 - _ENDS])
    return float(low), float(high)


def _robust_covariance(m: NDArray, error: Vector) -> NDArray:
    """Return the HC3 covariance of least squares coefficients."""
    inverse = np.linalg.pinv(m.T @ m, hermitian=True)
    leverage = np.einsum("ij,jk,ik->i", m, inverse, m)
    weighted = m * (error / np.maximum(1 - leverage, 1e-6))[:, None]
    return inverse @ (weighted.T @ weighted) @ inverse


def _huber_rest(difference: Vector, design: NDArray, good: Mask) -> Vector:
    """Return residuals of a fit that outliers do not lead, in robust widths."""
    m, d = design[good], difference[good]
    found = np.zeros(m.shape[1])
    found[0] = np.median(d)
    width = 1.0
    for _ in range(_ROUNDS):
        rest = d - m @ found
        width = 1.4826 * float(np.median(np.abs(rest)))
        if not width > 0:
            break
        root = np.sqrt(np.minimum(1, _HUBER * width / np.maximum(np.abs(rest), 1e-300)))
        was, found = found, np.linalg.lstsq(m * root[:, None], d * root, rcond=None)[0]
        if np.abs(found - was).max() < 1e-4 * width:
            break
    return (difference - design @ found) / (width or 1.0)


def _structure(
    difference: Vector, design: NDArray, order: int, n_sigma: float
) -> float:
    """Return the probability of so much structure beyond ``order`` in mere noise.

    Outliers are clipped about the fit of ``order``: one in B is in ``x`` as well, so
    that even a limited weight would make them a trend.
    """
    null, extra = design[:, : order + 1], design[:, order + 1 :]
    every = np.ones(len(difference), bool)

    def rest(inside: Mask) -> Vector:
        found = np.linalg.lstsq(null[inside], difference[inside], rcond=None)[0]
        return difference - null @ found

    start = np.abs(_huber_rest(difference, null, every)) <= n_sigma
    keep, _ = clipped(rest, start if start.sum() > ORDER else every, n_sigma)
    residual, null, extra = rest(keep)[keep], null[keep], extra[keep]
    extra = extra - null @ np.linalg.lstsq(null, extra, rcond=None)[0]
    score = extra * residual[:, None]
    if not np.any(residual):
        return 1.0
    total = score.sum(axis=0)
    statistic = float(total @ np.linalg.pinv(score.T @ score, hermitian=True) @ total)
    return float(chdtrc(extra.shape[1], statistic))
