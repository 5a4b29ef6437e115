"""How one quantity of two catalogs differs: bias, scatter, line, structure, errors.

Statistics as in Zong et al. (2020, section 4), with errors, and such that a fifth of
outliers does no harm: clipping starts from the median and the robust width. Beside them
what the errors of both catalogs predict: ``sigma^2 = sigma_A^2 + sigma_B^2`` (equation 5)
is solved by likelihood for the one catalog's error where the other's are known.

**Against what.** Noise of B in the differences A - B and in B itself makes a trend of
the one against the other that is none. A mean of both, each weighted by the inverse of
its variance, has no correlation with the difference: structure is looked for there.
"""

__all__ = [
    "Residuals",
    "Sample",
    "common_value",
    "correlation",
    "describe_differences",
]

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import rankdata

from steadystar.infer.core import Core, fit_core
from steadystar.infer.trends import (
    Line,
    Mask,
    Polynomial,
    Vector,
    clipped,
    fit_line,
    fit_polynomial,
)

_QUARTILES = 1.3489795003921634  # of a unit Gaussian, from quartile to quartile
_MEDIAN_ERROR = 1.2533141373155001  # sqrt(pi/2): median over mean, of a Gaussian
_WIDTH_ERROR = 1.1664  # of the interquartile width, times width over root of n
_FEWEST = 4


@dataclass(frozen=True)
class Residuals:
    """Statistics of A - B of one quantity, over the ``n`` stars used.

    ``bias, scatter``: mean and standard deviation after clipping (``n_kept`` stay; what
    clipping takes of a Gaussian is put back, ``clipped_std`` is without that);
    ``median, width``: robust, the interquartile range over 1.349. ``core``: Gaussian
    fit with wings. ``line``: A against B; ``polynomial``: A - B over both, None where
    there are too few. ``error_a, error_b, error_both``: medians of the errors;
    ``pull_width``: of the differences from the bias over the errors of both.
    ``sigma_b_if_a``: what B errs if A's errors are right, ``sigma_a_if_b`` the reverse,
    ``beyond_both``: what neither explains. ``color_rank``: rank correlation with the
    third quantity and ``color_p`` its probability by chance. NaN where unknown.
    """

    quantity: str
    unit: str
    n: int
    n_set_aside: int
    n_kept: int
    bias: float
    bias_err: float
    scatter: float
    scatter_err: float
    clipped_std: float
    median: float
    median_err: float
    width: float
    width_err: float
    core: Core
    line: Line | None
    polynomial: Polynomial | None
    error_a: float
    error_b: float
    error_both: float
    pull_width: float
    pull_width_err: float
    sigma_b_if_a: tuple[float, float]
    sigma_a_if_b: tuple[float, float]
    beyond_both: tuple[float, float]
    n_outliers: int
    color_rank: float = float("nan")
    color_p: float = float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """Both values of the stars that are compared, and their errors, ``(n,)``.

    ``within``: which of them shape line and polynomial.
    """

    a: Vector
    b: Vector
    a_err: Vector
    b_err: Vector
    within: Mask | None = None

    @property
    def difference(self) -> Vector:
        """A - B."""
        return self.a - self.b


def describe_differences(
    quantity: str,
    unit: str,
    sample: Sample,
    x: Vector,
    *,
    n_sigma: float = 3.0,
    outlier: float = 5.0,
    level: float = 1e-3,
    n_set_aside: int = 0,
) -> tuple[Residuals, NDArray[np.bool_]]:
    """Return the statistics of one quantity, and which stars are outliers ``(n,)``.

    Arguments:
        quantity, unit: what it is called.
        sample: values and errors of the stars used.
        x: over which structure is looked for (`common_value`).
        n_sigma: where clipping is.
        outlier: how many robust widths from the median make an outlier.
        level: of significance of structure.
        n_set_aside: stars that have both values but are not used.
    """
    d = sample.difference
    n = len(d)
    median, width = _robust(d)
    # The robust width of few stars may be much too small by chance.
    start = np.abs(d - median) <= n_sigma * width * (1 + 5 / np.sqrt(max(n, 1)))
    keep, scatter = clipped(lambda inside: d - d[inside].mean(), start, n_sigma)
    kept = int(keep.sum())
    bias = float(d[keep].mean()) if kept else float("nan")
    far = np.abs(d - median) > outlier * width + 1e-12 * abs(median)
    both = np.hypot(sample.a_err, sample.b_err)
    known = np.isfinite(both) & (both > 0)
    pull_width = _width((d - median)[known] / both[known])
    residuals = Residuals(
        quantity=quantity,
        unit=unit,
        n=n,
        n_set_aside=n_set_aside,
        n_kept=kept,
        bias=bias,
        bias_err=scatter / np.sqrt(kept) if kept > 1 else float("nan"),
        scatter=scatter,
        scatter_err=scatter / np.sqrt(2 * kept) if kept > 1 else float("nan"),
        clipped_std=float(np.std(d[keep], ddof=1)) if kept > 1 else float("nan"),
        median=median,
        median_err=_MEDIAN_ERROR * _width(d) / np.sqrt(max(n, 1)),
        width=_width(d),
        width_err=_WIDTH_ERROR * _width(d) / np.sqrt(max(n, 1)),
        core=fit_core(d),
        line=_line(sample, n_sigma),
        polynomial=fit_polynomial(d, x, sample.within, n_sigma, level),
        error_a=_median(sample.a_err),
        error_b=_median(sample.b_err),
        error_both=_median(both),
        pull_width=pull_width,
        pull_width_err=_WIDTH_ERROR * pull_width / np.sqrt(max(known.sum(), 1)),
        sigma_b_if_a=_other(d, sample.a_err),
        sigma_a_if_b=_other(d, sample.b_err),
        beyond_both=_other(d, both),
        n_outliers=int(far.sum()),
    )
    return residuals, far


def _line(sample: Sample, n_sigma: float) -> Line | None:
    """A against B. Where only A's errors are known, B is fitted against A instead."""
    only_a = np.isfinite(sample.a_err).any() and not np.isfinite(sample.b_err).any()
    if not only_a:
        return fit_line(sample.a, sample.b, sample.b_err**2, sample.within, n_sigma)
    line = fit_line(sample.b, sample.a, sample.a_err**2, sample.within, n_sigma)
    if line is None or not line.slope > 3 * line.slope_err:
        return fit_line(sample.a, sample.b, None, sample.within, n_sigma)
    return line.inverted()


def common_value(sample: Sample, against: str = "mean") -> Vector:
    """Return what differences are looked at against, ``(n,)``: A, B, or both.

    The mean of both is weighted so that it does not correlate with the difference: by
    the errors where they are known, and what they leave unexplained of the scatter is
    given to both in equal parts. Where only one catalog has errors, the other has what
    is left; where none has, both weigh the same.
    """
    if against == "a":
        return sample.a
    if against == "b":
        return sample.b
    d = sample.difference
    a, b = sample.a_err**2, sample.b_err**2
    has_a, has_b = np.isfinite(a).any(), np.isfinite(b).any()
    if not (has_a or has_b):
        return (sample.a + sample.b) / 2
    a = np.where(np.isfinite(a), a, np.nanmedian(a)) if has_a else np.zeros_like(d)
    b = np.where(np.isfinite(b), b, np.nanmedian(b)) if has_b else np.zeros_like(d)
    rest = fit_core(d, a + b).sigma
    rest = rest**2 if np.isfinite(rest) else 0.0
    if has_a and has_b:
        a, b = a + rest / 2, b + rest / 2
    elif has_a:
        b = b + rest
    else:
        a = a + rest
    total = a + b
    share = np.where(total > 0, b / np.where(total > 0, total, 1.0), 0.5)
    return share * sample.a + (1 - share) * sample.b


def correlation(x: Vector, d: Vector) -> tuple[float, float]:
    """Return the rank correlation (Spearman) and its probability by chance."""
    good = np.isfinite(x) & np.isfinite(d)
    n = int(good.sum())
    if n < 10 or not (np.ptp(x[good]) > 0 and np.ptp(d[good]) > 0):
        return float("nan"), float("nan")
    rank = float(np.corrcoef(rankdata(x[good]), rankdata(d[good]))[0, 1])
    return rank, float(2 * ndtr(-abs(rank) * np.sqrt(n - 1)))


def _robust(d: Vector) -> tuple[float, float]:
    """Return the median and a width that a fifth of outliers hardly moves.

    Where more than half of the differences are equal, the mean distance from the median
    stands in.
    """
    if not len(d):
        return float("nan"), float("nan")
    median = float(np.median(d))
    away = np.abs(d - median)
    return median, 1.4826 * float(np.median(away)) or float(away.mean())


def _width(values: Vector) -> float:
    if len(values) < _FEWEST:
        return float("nan")
    low, high = np.percentile(values, [25, 75])
    return float(high - low) / _QUARTILES


def _median(values: Vector) -> float:
    good = values[np.isfinite(values)]
    return float(np.median(good)) if len(good) else float("nan")


def _other(d: Vector, error: Vector) -> tuple[float, float]:
    """Return what is in the differences beyond ``error``, and its error."""
    if not np.isfinite(error).any():
        return float("nan"), float("nan")
    core = fit_core(d, error**2)
    return core.sigma, core.sigma_err
