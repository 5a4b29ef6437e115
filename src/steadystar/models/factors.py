"""A mean and a few patterns behind noisy rows: principal components, noise taken off.

Row ``i`` is ``y_i = mu + V.T z_i + e_i`` with ``z_i`` of unit variance and ``e_i`` the
noise, whose inverse variances are known and differ from point to point (zero where
nothing was recorded), plus a variance ``d`` of each point that no pattern explains.
Expectation and maximization in turn (Rubin and Thayer 1982; the rotation after each round
is the parameter expansion of Liu, Rubin and Wu 1998) find ``mu``, ``V`` and ``d``.
Because the noise has its own place in the model, and what noise adds to patterns is
known (`_visible`), what comes out is the covariance of the data less that of the noise.
"""

__all__ = ["Factors", "fit_factors"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d

_ROUNDS = 20
_CLIP, _FAR = 6.0, 10.0
"""Typical deviations beyond which a value is an outlier, at the end and at once."""
_SPREAD = 3
_SIGNIFICANT = 4.0
_LEAST_ROWS = 3
_MARGIN = 1.5
"""Above what noise reaches: the limit holds for many rows, and these may be few."""


@dataclass(frozen=True)
class Factors:
    """``mean`` and ``variance``: ``(point,)``; ``patterns``: ``(rank, point)``.

    The strongest pattern is the first. ``known``: the points that enough rows
    had; elsewhere all is zero. ``clipped``: how many values were left out as outliers.
    """

    mean: NDArray[np.float64]
    patterns: NDArray[np.float64]
    variance: NDArray[np.float64]
    known: NDArray[np.bool_]
    clipped: int


def fit_factors(
    values: NDArray[np.float64],
    ivar: NDArray[np.float64],
    rank: int,
    width: float = 2.0,
) -> Factors:
    """Fit a mean, at most ``rank`` patterns and a variance to rows of noisy values.

    ``values`` and ``ivar`` (inverse variance of the noise): ``(row, point)``. ``width``:
    standard deviation of the narrowest feature, in points. What of the mean and the
    patterns may be noise, seen through a Gaussian of that width, is set to zero: noise
    that was learned would stand still in every spectrum. A pattern that may be noise as
    a whole is dropped; half as many as there are rows are looked for at most.

    Raises:
        ValueError: fewer than three rows.
    """
    if len(values) < _LEAST_ROWS:
        raise ValueError(
            f"Patterns cannot be learned from {len(values)} spectra: give at least "
            f"{_LEAST_ROWS}, better dozens."
        )
    rank = max(0, min(rank, (len(values) - 1) // 2))
    held = (ivar > 0).sum(axis=0)
    known = held >= max(_LEAST_ROWS, rank + 2, len(values) // 2)
    values, ivar = values[:, known], ivar[:, known].copy()
    good = ivar > 0
    left = np.zeros_like(values)
    # What is far off everything would make the first patterns.
    middle = np.nanmedian(np.where(good, values, np.nan), axis=0)
    far = np.abs(values - middle) > _FAR * np.sqrt(_typical(values - middle, good))
    # Interpolation spread it over some points.
    far = binary_dilation(far, np.ones((1, 2 * _SPREAD + 1)))
    ivar = np.where(far, 0, ivar)
    mean, patterns = _start(values, ivar, rank)
    variance = np.zeros(values.shape[1])
    for _ in range(_ROUNDS):
        weight = ivar / (1 + ivar * variance)
        mean, patterns, left = _round(values, weight, mean, patterns)
        noise = np.where(ivar > 0, 1 / np.where(ivar > 0, ivar, 1), 0)
        typical = _typical(left, good)
        variance = np.maximum(typical - _typical(np.sqrt(noise), good, 1.0), 0)
        # A median does not see the outliers themselves.
        outlying = good & (left**2 > _CLIP**2 * (noise + typical))
        ivar = np.where(outlying, 0, ivar)
    kept = ivar > 0
    excess = _excess(left, ivar, kept, len(patterns))
    patterns = _visible(patterns, ivar, excess)
    total = (ivar / (1 + ivar * excess)).sum(axis=0)
    seen = _significant(np.concatenate([mean[None], patterns]), total, width)
    mean, patterns = np.where(seen, mean, 0), np.where(seen, patterns, 0)
    full = np.zeros((2 + len(patterns), len(known)))
    full[:, known] = np.concatenate([[mean, excess], patterns])
    return Factors(full[0], full[2:], full[1], known, int((good & ~kept).sum()))


def _start(values, ivar, rank: int):
    """Weighted mean, and principal components of the rows, weighed by typical noise."""
    total = ivar.sum(axis=0)
    mean = (ivar * values).sum(axis=0) / np.where(total > 0, total, 1)
    width = np.sqrt(total / len(values))
    deviation = np.where(ivar > 0, values - mean, 0) * width
    _, sides = np.linalg.eigh(deviation @ deviation.T)
    chosen = sides[:, ::-1][:, :rank]
    parts = chosen.T @ deviation / np.sqrt(len(values))
    return mean, parts / np.where(width > 0, width, 1)


def _round(values, weight, mean, patterns):
    """Do one round of expectation and maximization; return what is left of the rows too."""
    rank, rows = len(patterns), len(values)
    moments = np.empty((rows, rank + 1, rank + 1))
    strengths = np.ones((rows, rank + 1))
    for i in range(rows):
        weighted = patterns * weight[i]
        covariance = np.linalg.inv(np.eye(rank) + weighted @ patterns.T)
        strengths[i, :rank] = covariance @ (weighted @ (values[i] - mean))
        moments[i] = np.outer(strengths[i], strengths[i])
        moments[i, :rank, :rank] += covariance
    size = (rank + 1) ** 2
    normal = (weight.T @ moments.reshape(rows, size)).reshape(-1, rank + 1, rank + 1)
    towards = (weight * values).T @ strengths
    scale = np.trace(normal, axis1=1, axis2=2)
    ridge = np.where(scale > 0, 1e-10 * scale, 1)
    normal = normal + ridge[:, None, None] * np.eye(rank + 1)
    solved = np.linalg.solve(normal, towards[:, :, None])[:, :, 0].T
    patterns, mean = solved[:rank], solved[rank]
    left = values - strengths[:, :rank] @ patterns - mean
    middle = strengths[:, :rank].mean(axis=0)
    spread = moments[:, :rank, :rank].mean(axis=0) - np.outer(middle, middle)
    mean = mean + middle @ patterns
    return mean, np.linalg.cholesky(spread).T @ patterns, left


def _typical(left, good, factor: float = 1.4826):
    """Square of the typical size of each column's values, by their median."""
    held = np.where(good, np.abs(left), np.nan)
    none = ~good.any(axis=0)
    held[:, none] = 0
    return (factor * np.nanmedian(held, axis=0)) ** 2


def _excess(left, ivar, kept, rank: int):
    """Variance of each column beyond its noise; zero where it may be chance."""
    count = np.maximum(kept.sum(axis=0), 1)
    noise = np.where(kept, 1 / np.where(kept, ivar, 1), 0).sum(axis=0) / count
    freedom = np.maximum(count - rank - 1, 1)
    seen = (np.where(kept, left, 0) ** 2).sum(axis=0) / freedom
    certain = seen - noise > 3 * np.sqrt(2 / freedom) * noise
    return np.where(certain, np.maximum(seen - noise, 0), 0)


def _visible(patterns, ivar, variance):
    """Make patterns orthogonal, drop those that may be noise, make the others smaller.

    With many more points than rows noise alone has patterns, of power up to
    ``(1 + sqrt(points / rows))^2`` in units of the noise, and adds to the power of true
    ones (Baik and Silverstein 2006): ``seen = 1 + true + ratio + ratio / true``.
    """
    if not len(patterns):
        return patterns
    typical = ivar.mean(axis=0)
    weight = typical / (1 + typical * variance)
    turn, strength, _ = np.linalg.svd(patterns * np.sqrt(weight), full_matrices=False)
    ratio = (weight > 0).sum() / len(ivar)
    seen = strength**2 - ratio
    visible = seen > 2 * np.sqrt(ratio) * _MARGIN
    seen = seen[visible]
    true = (seen + np.sqrt(seen**2 - 4 * ratio)) / 2
    factor = np.sqrt(true) / strength[visible]
    return factor[:, None] * (turn.T @ patterns)[visible]


def _significant(rows, total, width: float):
    """Return where any of ``rows`` stands out of its noise, whose weight is ``total``.

    Strengths of patterns have unit variance, so patterns and mean are known alike.
    """
    signal = gaussian_filter1d(rows * total, width, axis=1, mode="constant")
    # The square of a Gaussian is a narrower one.
    narrow = gaussian_filter1d(total, width / np.sqrt(2), mode="constant")
    noise = np.sqrt(narrow / (2 * np.sqrt(np.pi) * width))
    out = np.abs(signal) > _SIGNIFICANT * np.where(noise > 0, noise, np.inf)
    reach = int(np.ceil(2 * width))
    return binary_dilation(out.any(axis=0), np.ones(2 * reach + 1))
