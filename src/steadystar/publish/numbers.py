"""Small statistics and the way numbers are written, shared by figures and pages."""

__all__ = [
    "DASH",
    "MINUS",
    "binned_medians",
    "calendar_date",
    "counted",
    "counts_axis",
    "finite",
    "kms",
    "log_edges",
    "median",
    "ms",
    "outline",
    "percent",
    "positive",
    "probability",
    "robust_width",
    "scatter_or_density",
    "significant",
    "uniform_edges",
]

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.publish.plot import Axis, Color, Density, Points, Real

Array = NDArray[np.float64]

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"

_MJD_0 = date(1858, 11, 17)
# Values nearer than this, in any unit, are one: a width made of them would underflow.
_NO_SPREAD = 1e-200


def finite(values: Any) -> Array:
    """Return the finite ones of ``values`` (a series or an array) as float64."""
    if isinstance(values, pl.Series):
        values = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def positive(column: str) -> pl.Expr:
    """Whether a column holds a positive number; to polars NaN is larger than any."""
    return (pl.col(column) > 0) & pl.col(column).is_finite()


def median(values: Any) -> float:
    """Return the median of the finite values, NaN if there are none."""
    usable = finite(values)
    return float(np.median(usable)) if usable.size else float("nan")


def robust_width(values: Any) -> float:
    """Return the interquartile range over 1.349: sigma, for a Gaussian; NaN below 4."""
    usable = finite(values)
    if usable.size < 4:
        return float("nan")
    low, high = np.percentile(usable, [25, 75])
    return float(high - low) / 1.349


def binned_medians(
    x: Array, y: Array, edges: Array, fewest: int
) -> tuple[Array, Array, Array]:
    """Median of ``x`` and of ``y``, and the error of the latter, in each bin.

    The error is that of a Gaussian's median, 1.2533 times that of its mean, with the
    width from the quartiles. Bins of fewer than ``fewest`` values are left out.
    """
    place = np.searchsorted(edges, x, side="right")
    rows = []
    for number in range(1, len(edges)):
        inside = place == number
        if inside.sum() >= max(fewest, 4):
            error = 1.2533 * robust_width(y[inside]) / np.sqrt(inside.sum())
            rows.append((np.median(x[inside]), np.median(y[inside]), error))
    found = np.array(rows, dtype=float).reshape(-1, 3)
    return found[:, 0], found[:, 1], found[:, 2]


def significant(value: Real | None, digits: int = 3) -> str:
    """Write a number with so many significant digits; a dash if there is none."""
    if value is None or not np.isfinite(value):
        return DASH
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{min(places, 6)}f}".replace("-", MINUS)


def kms(value: Real | None) -> str:
    """Write a velocity: two digits that matter, with its unit."""
    text = significant(value, 2)
    return text if text == DASH else f"{text} km/s"


def ms(value: Real | None) -> str:
    """Write a velocity given in km/s as whole m/s: ``240 m/s``."""
    if value is None or not np.isfinite(value):
        return DASH
    return f"{1000 * value:,.{0 if abs(value) >= 0.01 else 1}f} m/s".replace("-", MINUS)


def counted(number: int, one: str, many: str | None = None) -> str:
    """Write ``1 star``, ``2 stars``, ``no stars``."""
    name = one if number == 1 else many or f"{one}s"
    return f"{number:,} {name}" if number else f"no {name}"


def counts_axis(label: str, top: Real) -> Axis:
    """Return the axis of a number of things, without ticks at half a thing."""
    if top > 6:
        return Axis(label)
    whole = tuple((n, str(n)) for n in range(int(top) + 1))
    return Axis(label, low=0, high=top + 0.3, ticks=whole)


def percent(part: Real, whole: Real) -> str:
    """Write a fraction as a percentage; a dash of nothing."""
    return f"{100 * part / whole:.3g}%" if whole else DASH


def probability(value: Real | None) -> str:
    """Write a probability: two digits, and no powers of ten that nobody can check."""
    if value is None or not np.isfinite(value):
        return DASH
    if value < 0.001:
        return "< 0.001"
    return "> 0.999" if value > 0.999 else significant(value, 2)


def calendar_date(mjd: Real | None) -> str:
    """Return the date of a modified Julian day, ``2018-05-31``; the number if absurd."""
    if mjd is None or not np.isfinite(mjd):
        return DASH
    if not 0 <= mjd < 200_000:
        return f"{mjd:g}"
    return (_MJD_0 + timedelta(days=int(mjd))).isoformat()


def log_edges(values: Array, bins: int = 30, share: Real = 0.0) -> Array:
    """Edges uniform in the logarithm that span the positive values.

    ``share`` of the values may lie beyond each end (0.001: one in a thousand).
    """
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return np.array([1.0, 10.0])
    low, high = np.quantile(positive, [share, 1 - share])
    if high <= low * 1.01:
        low, high = low / 2, high * 2
    return np.geomspace(low * 0.98, high * 1.02, bins + 1)


def uniform_edges(values: Array, bins: int = 40, share: Real = 0.0) -> Array:
    """Uniform edges that span the finite values, but ``share`` of them on each side."""
    usable = finite(values)
    if not usable.size:
        return np.array([0.0, 1.0])
    low, high = np.quantile(usable, [share, 1 - share])
    if high <= low:
        width = max(abs(low) * 1e-3, 0.5)
        low, high = low - width, high + width
    return np.linspace(low, high, bins + 1)


def outline(
    values: Array, center: Real, half_width: float = 0.4, points: int = 48
) -> tuple[Array, Array]:
    """Return the outline of a violin about the horizontal position ``center``.

    A Gaussian kernel of Silverman's width (0.9 min(sigma, IQR/1.349) n^-1/5); fewer
    than three values give a mere tick.
    """
    usable = finite(values)
    if usable.size < 3 or np.ptp(usable) < _NO_SPREAD:
        at = float(np.mean(usable)) if usable.size else float("nan")
        return np.array([center - 0.2, center + 0.2]), np.array([at, at])
    width = (
        0.9
        * min(float(np.std(usable)), robust_width(usable) or float(np.inf))
        * usable.size ** (-0.2)
    )
    width = max(width, float(np.ptp(usable)) / 200)
    low, high = np.quantile(usable, [0.01, 0.99])
    grid = np.linspace(low - 1.5 * width, high + 1.5 * width, points)
    # Counted in fine bins first: a violin of 10^6 values costs as much as one of 10^3.
    edges = np.linspace(grid[0], grid[-1], 513)
    counts, _ = np.histogram(usable, edges)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp(-0.5 * ((grid[:, None] - middle) / width) ** 2) @ counts
    side = half_width * density / density.max()
    x = np.concatenate([center - side, (center + side)[::-1], [center - side[0]]])
    return x, np.concatenate([grid, grid[::-1], grid[:1]])


def scatter_or_density(
    x: Array,
    y: Array,
    limit: int,
    *,
    color: Color,
    label: str = "",
    hover: Sequence[str] | pl.Series = (),
    edges: tuple[Array, Array] | None = None,
    size: Real = 4,
    unit: str = "points",
) -> Points | Density:
    """Points while there are few; above ``limit`` their number in each cell of a grid.

    ``edges`` are those of the grid, x then y; uniform between the extremes if None.
    ``unit``: what is counted.
    """
    good = np.isfinite(x) & np.isfinite(y)
    if good.sum() <= limit:
        texts = [hover[i] for i in np.flatnonzero(good).tolist()] if len(hover) else []
        opacity = 0.8 if good.sum() < 2000 else 0.4
        return Points(
            x[good], y[good], color, label, hover=texts, size=size, opacity=opacity
        )
    x_edges, y_edges = edges or (uniform_edges(x, 80), uniform_edges(y, 60))
    counts, _, _ = np.histogram2d(x[good], y[good], [x_edges, y_edges])
    return Density(x_edges, y_edges, counts.T.astype(np.int64), unit)
