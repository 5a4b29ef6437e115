"""A table of visits in standard columns, and what its columns say about them.

What is needed: ``star_id``, a velocity (``rv_raw``, else ``rv``) and its error
(``rv_raw_err``, else ``rv_err``). All else is optional and used where it is there:
``status`` and ``rv_2`` tell double-lined stars, ``visit_id`` and ``method`` visits that
occur twice, ``arm`` and ``reference_visit_id`` which velocities share a zero.
"""

__all__ = [
    "STAYS_OUT",
    "codes",
    "double_lined_stars",
    "duplicates",
    "methods_of",
    "of_leading_method",
    "standard_visits",
    "velocity_zeros",
]

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError
from steadystar.data.status import FATAL, Status

STAYS_OUT = FATAL | Status.TWO_MINIMA | Status.COADD | Status.USER_EXCLUDED
"""Visits with any of these flags do not enter a solution."""

_NO_ERROR = 1e-30
"""km/s. Smaller than any error of a velocity; the squares of smaller ones vanish."""


def standard_visits(visits: pl.DataFrame) -> pl.DataFrame:
    """Return ``visits`` with ``star_id``, ``rv_raw``, ``rv_raw_err`` and ``status``.

    A velocity ``rv`` without ``rv_raw`` becomes ``rv_raw``; so does its error. A
    missing error is NaN, and so is one too small to divide by. Null numbers become
    NaN, a null status 0.

    Raises:
        CalibrationError: a column is missing or holds text where numbers should be.
    """
    if "star_id" not in visits.columns:
        raise CalibrationError(
            "The table has no column star_id: visits of one star must share a name; "
            "map the column that has it to star_id."
        )
    rename = {}
    for raw, final in (("rv_raw", "rv"), ("rv_raw_err", "rv_err")):
        if final in visits.columns and not _has_numbers(visits, raw):
            visits = visits.drop(raw, strict=False)
            rename[final] = raw
    visits = visits.rename(rename)
    if "rv_raw" not in visits.columns:
        raise CalibrationError(
            "The table has no velocity: it needs a column rv_raw or rv; map the column "
            "that has it."
        )
    numbers = ["rv_raw", "rv_raw_err"]
    missing = [
        pl.lit(float("nan")).alias(n) for n in numbers if n not in visits.columns
    ]
    visits = visits.with_columns(*missing)
    numbers += [n for n in ("rv_2",) if n in visits.columns]
    visits = visits.with_columns(_as_numbers(visits[name]) for name in numbers)
    no_error = pl.col("rv_raw_err").is_between(0, _NO_ERROR, closed="right")
    visits = visits.with_columns(
        rv_raw_err=pl.when(no_error).then(float("nan")).otherwise(pl.col("rv_raw_err"))
    )
    status = visits["status"] if "status" in visits.columns else None
    if status is not None and status.dtype.is_float():
        # Other programs turn a column of integers with gaps into floats.
        status = status.fill_nan(None).cast(pl.Int64, strict=False)
    if status is None or not status.dtype.is_integer():
        given = pl.Series("status", np.zeros(len(visits), np.int64))
    else:
        given = status.cast(pl.Int64).fill_null(0)
    return visits.with_columns(given)


def _has_numbers(visits: pl.DataFrame, name: str) -> bool:
    if name not in visits.columns:
        return False
    column = visits[name]
    if column.dtype.is_float():
        return bool(column.is_finite().any())
    return column.null_count() < len(column)


def _as_numbers(column: pl.Series) -> pl.Series:
    if column.dtype.is_numeric() or column.dtype == pl.Null:
        return column.cast(pl.Float64).fill_null(float("nan"))
    try:
        numbers = column.cast(pl.Float64, strict=False)
    except pl.exceptions.PolarsError:
        numbers = pl.Series(column.name, [None] * len(column), dtype=pl.Float64)
    bad = (numbers.is_null() & column.is_not_null()).arg_true()
    if len(bad):
        raise CalibrationError(
            f"Column {column.name} should hold numbers, but row {bad[0] + 1} has "
            f"{str(column[int(bad[0])])[:40]!r}: correct it or leave it empty."
        )
    return numbers.fill_null(float("nan"))


def codes(
    visits: pl.DataFrame, columns: Sequence[str]
) -> tuple[NDArray[np.intp], pl.DataFrame]:
    """Number the distinct rows of ``columns`` in sorted order; -1 where one is null."""
    keys = visits.select(
        pl.col(name).fill_nan(None) if visits[name].dtype.is_float() else pl.col(name)
        for name in columns
    )
    valid = pl.all_horizontal(pl.col(name).is_not_null() for name in columns)
    if visits[columns[0]].dtype == pl.String and columns[0] == "star_id":
        valid &= pl.col("star_id") != ""
    try:
        distinct = keys.filter(valid).unique().sort(columns)
    except pl.exceptions.PolarsError as error:
        raise CalibrationError(
            f"The column{'s' * (len(columns) > 1)} {', '.join(columns)} cannot number "
            "groups: use columns of names, integers or numbers."
        ) from error
    code = keys.join(
        distinct.with_row_index("_code"), on=columns, how="left", maintain_order="left"
    )["_code"]
    return code.cast(pl.Int64).fill_null(-1).to_numpy().astype(np.intp), distinct


def methods_of(visits: pl.DataFrame) -> list[str]:
    """Return the methods by which the same spectra were measured, the leading one first.

    Empty where each spectrum has one velocity. Velocities of one spectrum share its
    noise: in one statistic they would count twice, so that only the leading method's
    enter. These are the relative ones where there are any, for no model of the star is
    in them; else those of the method with the most velocities.
    """
    if not {"visit_id", "method"} <= set(visits.columns):
        return []
    each = visits.select("visit_id", "method").drop_nulls().unique()
    if each["visit_id"].n_unique() == len(each):
        return []
    relative = pl.lit(False)
    if "reference_visit_id" in visits.columns:
        relative = pl.col("reference_visit_id").is_not_null()
    velocity = pl.col("rv_raw").is_finite()
    counts = (
        visits.filter(pl.col("method").is_not_null())
        .group_by("method")
        .agg(relative=(relative & velocity).any(), n=velocity.sum())
    )
    order = counts.sort("relative", "n", "method", descending=[True, True, False])
    return order["method"].to_list()


def of_leading_method(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the leading method (`methods_of`), and those that name none."""
    methods = methods_of(visits)
    if not methods:
        return visits
    method = pl.col("method")
    return visits.filter(method.is_null() | (method == methods[0]))


def velocity_zeros(
    visits: pl.DataFrame, star: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Number the unknown velocities: one a star, or one a star, arm and reference.

    Velocities by different methods have different zeros.
    """
    against = np.zeros(len(visits), np.intp)
    relative = False
    if "reference_visit_id" in visits.columns:
        reference, _ = codes(visits, ["reference_visit_id"])
        relative = bool((reference >= 0).any())
        against = reference + 1
        if "arm" in visits.columns:
            arm, names = codes(visits, ["arm"])
            against = np.where(against > 0, against * (len(names) + 1) + arm + 1, 0)
    if "method" in visits.columns and visits["method"].n_unique() > 1:
        method, names = codes(visits, ["method"])
        against = against * (len(names) + 1) + method + 1
    key = np.where(star >= 0, star * (against.max(initial=0) + 1) + against, -1)
    distinct, zero = np.unique(key, return_inverse=True)
    unknown = int(len(distinct) > 0 and distinct[0] < 0)
    star_of_zero = distinct[unknown:] // (against.max(initial=0) + 1)
    return zero.astype(np.intp) - unknown, star_of_zero.astype(np.intp), relative


def double_lined_stars(visits: pl.DataFrame, star: NDArray[np.intp]) -> NDArray:
    """Return the visits (bool) of stars that show double lines in any visit."""
    seen = (visits["status"].to_numpy() & int(Status.DOUBLE_LINED)) != 0
    if "rv_2" in visits.columns:
        seen |= np.isfinite(visits["rv_2"].to_numpy())
    if "double_lined" in visits.columns and visits["double_lined"].dtype == pl.Boolean:
        seen |= visits["double_lined"].fill_null(False).to_numpy()
    stars = np.bincount(
        star[seen & (star >= 0)], minlength=int(star.max(initial=0)) + 1
    )
    return seen | ((star >= 0) & (stars[star] > 0))


def duplicates(visits: pl.DataFrame) -> NDArray:
    """Return the visits (bool) that repeat an earlier row: same visit, same velocity.

    Without ``visit_id``, rows repeat each other if they agree in every column and one
    of these tells exposures apart; else two equal velocities may be two visits.
    """
    columns = visits.columns
    if "visit_id" in columns and visits["visit_id"].null_count() == 0:
        keys = [n for n in ("visit_id", "method", "arm", "star_id") if n in columns]
        keys += ["rv_raw", "rv_raw_err"]
    elif "bjd" in columns or "exposure_id" in columns:
        keys = columns
    else:
        return np.zeros(len(visits), bool)
    first = visits.select(pl.struct(keys).is_first_distinct()).to_series()
    return ~first.to_numpy() & np.isfinite(visits["rv_raw"].to_numpy())
