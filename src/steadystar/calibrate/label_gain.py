"""What zero points of a label are worth: for stars that took no part in the fit.

The parts of `label_zeropoints` that look at its result. A label stands as a velocity here
(`label_errors.as_velocities`), in units of its typical deviation.
"""

__all__ = [
    "constant_rows",
    "gain_of",
    "held_out",
    "laws_before_and_after",
    "offsets_chi2",
    "offsets_width",
    "robust_scatter",
]

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.linalg import eigh

from steadystar.calibrate.correction import ZeroPoints
from steadystar.calibrate.label_laws import PUBLISHED_AT
from steadystar.calibrate.laws import LawOptions
from steadystar.calibrate.lawtable import fit_laws
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.visits import codes
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.calibrate.zeropoint import fit_zeropoints

_EIGENVALUE = 1e-6


def held_out(visits: pl.DataFrame, families, options: ZeroPointOptions, folds: int):
    """Correct each part of the stars by the offsets of the others, ``(row,)``."""
    star, _ = codes(visits, ["star_id"])
    out = visits["rv_raw"].to_numpy().copy()
    spectra = int(options.min_plate_spectra * (folds - 1) / folds)
    asked = replace(options, min_plate_spectra=spectra)
    for part in range(folds):
        mine = star % folds == part
        if mine.any() and not mine.all():
            others = visits.filter(pl.Series(~mine))
            fitted = fit_zeropoints(others, families, options=asked)
            out[mine] = fitted.apply(visits.filter(pl.Series(mine)))["rv"].to_numpy()
    return out


def constant_rows(visits: pl.DataFrame, zero: ZeroPoints) -> NDArray[np.bool_]:
    """Return which rows are of stars that the fit holds to be constant."""
    stars = zero.stars.filter(pl.col("constant"))["star_id"]
    return visits["star_id"].is_in(stars.implode()).to_numpy()


def gain_of(
    before: Vector, after: Vector, error: Vector, groups: Groups, constant
) -> tuple[float, float]:
    """Return the relative fall of squared deviations, and its error."""
    weight = np.where(constant, error**-2.0, 0.0)
    total = np.maximum(groups.zeros(weight), 1e-300)

    def square(value: Vector) -> Vector:
        centered = value - groups.medians(value)[groups.zero]
        mean = groups.zeros(weight * centered) / total
        return groups.zeros(weight * (centered - mean[groups.zero]) ** 2)

    first = square(before)
    fall = first - square(after)
    whole = float(np.sum(first))
    if not whole > 0:
        return 0.0, float("inf")
    gain = float(np.sum(fall)) / whole
    # The error of a ratio of two sums over stars.
    scatter = np.sqrt(np.sum((fall - gain * first) ** 2))
    return gain, float(scatter) / whole


def robust_scatter(value: Vector, error: Vector, groups: Groups) -> float:
    """Return the robust width of ``(P - mean) sqrt(n/(n - 1))`` (Zong, equation 3)."""
    weight = error**-2.0
    n = groups.n_of_zero[groups.zero]
    several = n > 1
    centered = value - groups.medians(value)[groups.zero]
    mean = groups.zeros(weight * centered) / np.maximum(groups.zeros(weight), 1e-300)
    widened = (centered - mean[groups.zero]) * np.sqrt(n / np.maximum(n - 1, 1))
    return 1.4826 * float(np.median(np.abs(widened[several])))


def _determined(zero: ZeroPoints) -> tuple[Vector, Vector]:
    """Return the offsets of all families one after the other, and their errors."""
    tables = ["+".join(columns) for columns in zero.by]
    offset, error = (
        np.concatenate([zero.offsets[name][column].to_numpy() for name in tables])
        for column in ("offset", "offset_err")
    )
    return offset, error


def offsets_chi2(zero: ZeroPoints) -> tuple[float, int]:
    """Return the chi squared of the offsets against zero, and its degrees of freedom."""
    offset, error = _determined(zero)
    total, freedom = 0.0, 0
    parts = zip(
        zero.covariance.members,
        zero.covariance.matrices,
        zero.covariance.sampled,
        strict=True,
    )
    for member, matrix, sampled in parts:
        mine = np.nan_to_num(offset[member])
        if sampled:
            known = error[member] > 0
            total += float(np.sum((mine[known] / error[member][known]) ** 2))
            freedom += max(int(known.sum()) - 1, 0)
            continue
        value, vector = eigh(matrix)
        # The gauge takes a direction out of each connected part.
        free = value > _EIGENVALUE * max(float(value[-1]), 1e-300)
        along = vector[:, free].T @ mine
        total += float(np.sum(along**2 / value[free]))
        freedom += int(free.sum())
    return total, freedom


def offsets_width(zero: ZeroPoints) -> tuple[float, float]:
    """Return the scatter of the offsets beyond their errors, and its error."""
    offset, error = _determined(zero)
    known = np.isfinite(offset) & (error > 0)
    if known.sum() < 2:
        return float("nan"), float("nan")
    weight = error[known] ** -2.0
    freedom = known.sum() - 1
    square = (np.sum(weight * offset[known] ** 2) - freedom) / np.sum(weight)
    width = float(np.sqrt(max(square, 0.0)))
    spread = np.sqrt(2 * np.sum((1 + weight * width**2) ** 2)) / np.sum(weight)
    return width, float(spread / (2 * max(width, np.sqrt(spread) / 2)))


def laws_before_and_after(
    visits: pl.DataFrame, before: Vector, after: Vector, unit: float
):
    """Return the law of uncertainty at S/N 10, 20, 50 before and after."""
    rows = {"snr": [], "before": [], "before_err": [], "after": [], "after_err": []}
    kinds = dict.fromkeys(rows, pl.Float64)
    if "snr" not in visits.columns:
        return pl.DataFrame(rows, schema=kinds)
    place = np.array(PUBLISHED_AT)
    found = {"snr": place}
    # Each arm, method and model of a star has a mean of its own.
    mean_of = pl.format("{} {}", "star_id", "reference_visit_id")
    for name, values in (("before", before), ("after", after)):
        table = visits.select(
            "snr", star_id=mean_of, value=pl.Series(values * unit)
        ).filter(pl.col("value").is_finite())
        try:
            law = fit_laws(table, "value", options=LawOptions()).laws[0]
        except CalibrationError:
            return pl.DataFrame(rows, schema=kinds)
        found |= {name: law.apply(place), f"{name}_err": law.error(place)}
    return pl.DataFrame(found)
