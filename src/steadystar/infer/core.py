"""The width of a distribution of differences, whatever its wings hold.

Most differences of two catalogs belong to a core: a Gaussian of mean ``mu`` whose
variance is what both catalogs err. Binaries caught at other phases, blends and wrong
matches form wings. The likelihood of a difference d with known variance v is

    (1 - w) N(d; mu, v + sigma^2) + w N(d; m, v + s^2),    s at least twice as wide,

maximized by expectation and maximization (Dempster et al. 1977), so that the wings do
not widen the core. ``v`` is zero for the width of the differences themselves; with one
catalog's squared errors in it, ``sigma`` is what the other catalog errs.
Without need for wings (Bayesian information criterion) there are none.
"""

__all__ = ["Core", "fit_core"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

_ROUNDS, _PRECISION = 400, 1e-5
_WIDER = 4.0
"""The variance of the wings is at least this times that of the core."""
_FEWEST = 8
_GRAIN = 1e-8
"""Of the variance of the middle half: less is rounding."""
_TO_PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Core:
    """Mean and width of the core with errors, the share of the wings, and their width.

    NaN where there are too few differences; ``wing_sigma`` is NaN without wings.
    """

    mu: float
    mu_err: float
    sigma: float
    sigma_err: float
    wing_share: float
    wing_mu: float
    wing_sigma: float
    n: int

    def density(self, x: Vector) -> Vector:
        """Return the probability density of the whole model (known variances 0)."""
        out = np.zeros_like(np.asarray(x, float))
        for share, mean, width in (
            (1 - self.wing_share, self.mu, self.sigma),
            (self.wing_share, self.wing_mu, self.wing_sigma),
        ):
            if share > 0 and width > 0:
                pull = (np.asarray(x, float) - mean) / width
                out += share * np.exp(-0.5 * (pull**2 + _TO_PI)) / width
        return out


_NONE = Core(*[float("nan")] * 7, n=0)


@dataclass
class _Mixture:
    """Parameters on the way; variances are beyond the known ones."""

    mu: float
    variance: float
    share: float
    wing_mu: float
    wing_variance: float


def fit_core(difference: Vector, known_variance: Vector | float = 0.0) -> Core:
    """Fit core and wings to ``difference`` (n,), in its unit.

    ``known_variance``: (n,) or one number, what is known to be in each difference.
    Differences that are not finite, or whose variance is not, are left out.
    """
    known = np.broadcast_to(np.asarray(known_variance, float), np.shape(difference))
    good = np.isfinite(difference) & np.isfinite(known)
    d, v = np.asarray(difference, float)[good], known[good]
    if len(d) < _FEWEST:
        return _NONE
    center = float(np.median(d))
    scale = 1.4826 * float(np.median(np.abs(d - center)))
    if not scale > 0:
        return _mostly_equal(d, center)
    d, v = (d - center) / scale, v / scale**2
    alone = _alone(d, v)
    with_wings, gain = _with_wings(d, v, alone)
    # Three more parameters have to be worth it.
    fit = with_wings if 2 * gain > 3 * np.log(len(d)) else alone
    mu_err, variance_err = _errors(d, v, fit)
    sigma = np.sqrt(fit.variance)
    # Where the width is zero within its error, the error is that of one standard
    # deviation of the variance.
    sigma_err = variance_err / (2 * max(sigma, np.sqrt(variance_err) / 2, 1e-300))
    return Core(
        center + scale * fit.mu,
        scale * mu_err,
        float(scale * sigma),
        float(scale * sigma_err),
        fit.share,
        center + scale * fit.wing_mu,
        float(scale * np.sqrt(fit.wing_variance)),
        len(d),
    )


def _mostly_equal(d: Vector, center: float) -> Core:
    """More than half of the differences are the same: a core without width."""
    others = d[d != center]
    mean, width = (
        (float(others.mean()), float(others.std()))
        if len(others)
        else (float("nan"), float("nan"))
    )
    return Core(center, 0.0, 0.0, 0.0, len(others) / len(d), mean, width, len(d))


def _alone(d: Vector, v: Vector) -> _Mixture:
    """One Gaussian: Fisher's scoring in mean and variance."""
    mu, variance = float(np.mean(d)), float(np.var(d))
    every = np.ones_like(d)
    for _ in range(_ROUNDS):
        was = variance
        mu, variance = _improved(d, v, every, mu, variance)
        if abs(variance - was) < _PRECISION * (variance + 1e-3):
            break
    return _Mixture(mu, variance, 0.0, float("nan"), float("nan"))


def _with_wings(d: Vector, v: Vector, alone: _Mixture) -> tuple[_Mixture, float]:
    """Return core and wings, and how much larger ln L is than without wings."""
    typical = float(np.median(v))
    # The middle half is as wide as a Gaussian of width one, by the scale of ``d``.
    start = max(1.0 - typical, 0.05)
    wide = float(np.var(d))
    now = _Mixture(0.0, start, 0.1, 0.0, max(wide, 9.0 * (start + typical)))
    core = np.zeros_like(d)
    for _ in range(_ROUNDS):
        was = (now.mu, now.variance, now.share)
        core = _belongs(d, v, now)
        share = float(np.mean(1 - core))
        mu, variance = _improved(d, v, core, now.mu, now.variance)
        wing = _improved(d, v, 1 - core, now.wing_mu, now.wing_variance)
        least = _WIDER * (variance + typical) - typical
        now = _Mixture(mu, variance, share, wing[0], max(wing[1], least))
        moved = np.abs(np.subtract((mu, variance, share), was)).max()
        if moved < _PRECISION or share < 1e-6:
            break
    one = _log_normal(d, alone.mu, v + alone.variance).sum()
    return now, float(_log_likelihood(d, v, now).sum() - one)


def _improved(d: Vector, v: Vector, part: Vector, mu: float, variance: float):
    """One step of mean and variance of the component that ``part`` (n,) belong to.

    With equal known variances it is the maximum at once.
    """
    weight = part / np.maximum(v + variance, _GRAIN)
    total = weight.sum()
    if total <= 0:
        return mu, variance
    mu = float((weight * d).sum() / total)
    square = weight / np.maximum(v + variance, _GRAIN)
    score = (square * ((d - mu) ** 2 - v - variance)).sum()
    return mu, float(max(variance + score / square.sum(), 0.0))


def _log_normal(d: Vector, mu: float, variance: Vector | float) -> Vector:
    variance = np.maximum(variance, _GRAIN)
    return -0.5 * ((np.asarray(d) - mu) ** 2 / variance + np.log(variance) + _TO_PI)


def _parts(d: Vector, v: Vector, fit: _Mixture) -> tuple[Vector, Vector]:
    with np.errstate(divide="ignore"):
        shares = np.log([1 - fit.share, fit.share])
    core = shares[0] + _log_normal(d, fit.mu, v + fit.variance)
    if fit.share <= 0:
        return core, np.full_like(core, -np.inf)
    return core, shares[1] + _log_normal(d, fit.wing_mu, v + fit.wing_variance)


def _log_likelihood(d: Vector, v: Vector, fit: _Mixture) -> Vector:
    return np.logaddexp(*_parts(d, v, fit))


def _belongs(d: Vector, v: Vector, fit: _Mixture) -> Vector:
    """Return the probability of each difference to be of the core."""
    core, wing = _parts(d, v, fit)
    return 1 / (1 + np.exp(np.minimum(wing - core, 700.0)))


def _errors(d: Vector, v: Vector, fit: _Mixture) -> tuple[float, float]:
    """Errors of mean and variance of the core, from the squares of the scores."""
    core = _belongs(d, v, fit)
    columns = _scores(d, v, core, fit.mu, fit.variance)
    if fit.share > 0:
        columns += _scores(d, v, 1 - core, fit.wing_mu, fit.wing_variance)
        columns.append((1 - core) / fit.share - core / (1 - fit.share))
    scores = np.stack(columns)
    covariance = np.linalg.pinv(scores @ scores.T, hermitian=True)
    return float(np.sqrt(covariance[0, 0])), float(np.sqrt(covariance[1, 1]))


def _scores(d: Vector, v: Vector, part: Vector, mu: float, variance: float):
    weight = 1 / np.maximum(v + variance, _GRAIN)
    rest = d - mu
    return [part * weight * rest, part / 2 * (weight**2 * rest**2 - weight)]
