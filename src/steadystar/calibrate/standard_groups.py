"""The statistics of differences from standards: medians, robust widths, means."""

__all__ = ["Location", "group_table", "location", "mark_outliers"]

from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.calibrate.visitsums import Vector

_ENOUGH = 5
"""Standards whose own quartiles say how they scatter."""

_MEDIAN = float(np.sqrt(np.pi / 2))
"""Error of a Gaussian's median over that of its mean."""

_WIDTH = 1.349  # interquartile range of a Gaussian in sigma
_WIDTH_ERROR = 1.1664
"""Error of the quartiles' width, in sigma over the root of n: from the covariance of
sample quartiles, [2 (3/16 - 1/16)]^(1/2) / (f 1.349), f = 0.3178 the density there."""

_FAR = 5.0


@dataclass(frozen=True)
class Location:
    """Where differences lie, and how they scatter; NaN where there are none."""

    n: int
    median: float
    error: float
    scatter: float
    scatter_err: float


def location(value: Vector, formal: Vector, assumed: float = 0.0) -> Location:
    """Return the median of ``value`` with its error, and the robust scatter.

    ``formal`` are the errors of the values. With fewer than five of them the error of the
    median follows from the largest of their formal errors (rms), their own standard
    deviation and the scatter ``assumed``; the scatter is then not given.
    """
    n = len(value)
    nan = float("nan")
    if n == 0:
        return Location(0, nan, nan, nan, nan)
    median = float(np.median(value))
    if n >= _ENOUGH:
        scatter = _robust(value)
        root = np.sqrt(n)
        return Location(
            n, median, _MEDIAN * scatter / root, scatter, _WIDTH_ERROR * scatter / root
        )
    own = float(np.std(value, ddof=1)) if n > 1 else 0.0
    spread = max(own, float(np.sqrt(np.mean(formal**2))), assumed)
    factor = 1.0 if n < 3 else _MEDIAN
    return Location(n, median, factor * spread / np.sqrt(n), nan, nan)


def _robust(value: Vector) -> float:
    low, high = np.quantile(value, [0.25, 0.75], method="median_unbiased")
    return float(high - low) / _WIDTH


def group_table(matches: pl.DataFrame, size: int) -> pl.DataFrame:
    """Return the statistics of every group, ``size`` rows, from those matches used."""
    used = matches.filter("used")
    group = used["_group"].to_numpy()
    value, formal = (used[n].to_numpy() for n in ("difference", "difference_err"))
    assumed = _pooled(group, value)
    error_known = np.isfinite(used["rv_standard_err"].to_numpy())
    rows = []
    for i in range(size):
        here = group == i
        found = location(value[here], formal[here], assumed)
        mean = _weighted(value[here & error_known], formal[here & error_known])
        rows.append(
            {
                "n_standards": found.n,
                "n_visits": int(used.filter(pl.Series(here))["n_visits"].sum()),
                "offset": found.median,
                "offset_err": found.error,
                "scatter": found.scatter,
                "scatter_err": found.scatter_err,
                **mean,
            }
        )
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "n_standards": pl.Int64,
    "n_visits": pl.Int64,
    **dict.fromkeys(("offset", "offset_err", "scatter", "scatter_err"), pl.Float64),
    **dict.fromkeys(("mean", "mean_err", "chi2"), pl.Float64),
    "dof": pl.Int64,
}


def _pooled(group, value: Vector) -> float:
    """Return the scatter about the medians of the groups, of all groups together."""
    rest = []
    for i in np.unique(group):
        here = value[group == i]
        if len(here) >= 3:
            rest.append((here - np.median(here)) * np.sqrt(len(here) / (len(here) - 1)))
    pooled = np.concatenate([*rest, np.zeros(0)])
    return _robust(pooled) if len(pooled) >= _ENOUGH else 0.0


def _weighted(value: Vector, error: Vector) -> dict[str, float | int]:
    """Return the weighted mean, with an error as large as chi squared asks for."""
    n = len(value)
    if n == 0:
        nan = float("nan")
        return {"mean": nan, "mean_err": nan, "chi2": nan, "dof": 0}
    weight = error**-2
    mean = float(np.sum(weight * value) / np.sum(weight))
    chi2 = float(np.sum(weight * (value - mean) ** 2))
    widened = max(1.0, np.sqrt(chi2 / max(n - 1, 1)))
    return {
        "mean": mean,
        "mean_err": float(widened / np.sqrt(np.sum(weight))),
        "chi2": chi2,
        "dof": n - 1,
    }


def mark_outliers(matches: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """Add ``residual`` from the offset, and ``outlier``: used, but beyond five widths.

    The width is the group's scatter, or the error of the difference if that is larger.
    """
    row = matches["_group"].to_numpy()
    offset, scatter = (groups[n].to_numpy()[row] for n in ("offset", "scatter"))
    residual = matches["difference"].to_numpy() - offset
    width = np.fmax(scatter, matches["difference_err"].to_numpy())
    far = matches["used"].to_numpy() & np.isfinite(residual) & np.isfinite(scatter)
    far &= np.abs(residual) > _FAR * width
    return matches.with_columns(residual=pl.Series(residual), outlier=pl.Series(far))
