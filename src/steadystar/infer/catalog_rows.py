"""Columns of catalogs as numbers, and several rows of one star as one."""

__all__ = ["Numbers", "numbers_of", "one_row_each", "same_name"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.standard_list import normal_name
from steadystar.calibrate.visitsums import Vector, sums

_PLACEHOLDERS = (9999.0, 9999.9, 9999.99, 99999.0)
_MORE = (-999.0, -999.9, -999.99, -99.0)
"""Of quantities of which nothing is known; a velocity can be -99."""
_SUMMARY = ("star_id", "ra", "dec", "n_visits", "rv_scatter", "row")


@dataclass(frozen=True)
class Numbers:
    """A column as float64, NaN where missing; how many texts were none, and one."""

    values: Vector
    odd: int = 0
    example: str = ""


def numbers_of(
    column: pl.Series,
    limits: tuple[float, float] | None,
    factor: float = 1.0,
    *,
    is_error: bool = False,
) -> Numbers:
    """Return a column as numbers, times ``factor``.

    The -9999 of catalogs are missing, and what is then beyond ``limits``; so are errors
    that are not positive.
    """
    odd, example = 0, ""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        values = text.cast(pl.Float64, strict=False)
        wrong = text.filter(
            values.is_null()
            & text.is_not_null()
            & ~text.str.to_lowercase().is_in(["", "nan", "null", "none", "-", "--"])
        )
        odd, example = len(wrong), str(wrong[0])[:40] if len(wrong) else ""
    elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
        values = column.cast(pl.Float64)
    else:
        count = len(column) - column.null_count()
        return Numbers(np.full(len(column), np.nan), count, str(column.dtype))
    out = values.fill_null(np.nan).to_numpy()
    rounded = np.round(np.where(np.abs(out) < 1e30, out, np.nan), 2)
    good = np.isfinite(rounded) & ~np.isin(np.abs(rounded), _PLACEHOLDERS)
    if is_error:
        good &= out > 0
    elif limits is None:
        good &= ~np.isin(rounded, _MORE)
    else:
        good &= (factor * out >= limits[0]) & (factor * out <= limits[1])
    return Numbers(np.where(good, factor * out, np.nan), odd, example)


def same_name(ids: pl.Series) -> list[str | None]:
    """Return identifiers in the spelling in which they are compared."""
    return [n if n is None else normal_name(n) for n in ids.to_list()]


def one_row_each(table: pl.DataFrame, name: str) -> tuple[pl.DataFrame, list[str]]:
    """Average the rows of each star; return them in order of its first row, and a note.

    ``table``: ``star_id, ra, dec, n_visits, rv_scatter, row``, then quantities and their
    errors. Rows without an identifier are stars of their own.
    """
    key = same_name(table["star_id"])
    alone = pl.Series([f"\0{i}" if k is None else k for i, k in enumerate(key)])
    table = table.with_columns(key=pl.Series(key, dtype=pl.String))
    if alone.n_unique() == len(table):
        return table, []
    _, first, star = np.unique(alone.to_numpy(), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order))
    star, size = rank[star], len(order)
    out = table[np.sort(first)]
    columns = {}
    for position in ("ra", "dec"):
        columns[position] = _first(table[position].to_numpy(), star, size)
    rv = (
        table["rv"].to_numpy() if "rv" in table.columns else np.full(len(table), np.nan)
    )
    columns["n_visits"] = _visits(table["n_visits"].to_numpy(), rv, star, size)
    given = _mean(table["rv_scatter"].to_numpy(), None, star, size)[0]
    columns["rv_scatter"] = np.where(np.isfinite(given), given, _std(rv, star, size))
    for quantity in [n for n in table.columns if f"{n}_err" in table.columns]:
        value, error = (table[n].to_numpy() for n in (quantity, f"{quantity}_err"))
        columns[quantity], columns[f"{quantity}_err"] = _mean(value, error, star, size)
    rest = [n for n in table.columns if n not in (*columns, *_SUMMARY, "key")]
    for other in rest:
        columns[other] = _mean(table[other].to_numpy(), None, star, size)[0]
    several = int((np.bincount(star) > 1).sum())
    note = (
        f"{name}: {len(table):,} rows are of {size:,} stars; {several:,} of these have "
        "several, whose means are compared."
    )
    return out.with_columns(**{n: pl.Series(v) for n, v in columns.items()}), [note]


def _first(values: Vector, star: NDArray[np.intp], size: int) -> Vector:
    """The first value of each star that is finite."""
    out = np.full(size, np.nan)
    good = np.flatnonzero(np.isfinite(values))[::-1]
    out[star[good]] = values[good]
    return out


def _visits(given: Vector, rv: Vector, star, size: int) -> Vector:
    """Visits of each star: the sum where rows say how many, else its velocities.

    A table in which most stars have one row is no table of visits: NaN.
    """
    said = np.isfinite(given)
    if not said.any() and np.median(np.bincount(star)) < 2:
        return np.full(size, np.nan)
    total = sums(star, np.where(said, given, 0.0), size)
    counted = sums(star, np.isfinite(rv).astype(float), size)
    return np.where(sums(star, said.astype(float), size) > 0, total, counted)


def _mean(value: Vector, error: Vector | None, star, size: int):
    """Means weighted by the errors where all of a star's are known, else plain; errors.

    Where rows disagree by more than their errors, that of the mean is as large as their
    disagreement asks for; without errors it is what their scatter shows.
    """
    use = np.isfinite(value)
    if error is None:
        error = np.full(len(value), np.nan)
    lacking = sums(star, (use & ~np.isfinite(error)).astype(float), size) > 0
    weight = np.where(use, np.where(lacking[star], 1.0, error**-2.0), 0.0)
    total = sums(star, weight, size)
    safe = np.where(total > 0, total, np.nan)
    # About the first value, so that no digit is lost to a mean of many equal ones.
    base = np.nan_to_num(_first(value, star, size))
    moved = np.where(use, np.nan_to_num(value) - base[star], 0.0)
    mean = sums(star, weight * moved, size) / safe
    n = sums(star, use.astype(float), size)
    square = sums(star, weight * (moved - np.nan_to_num(mean)[star]) ** 2, size)
    scatter = square / np.maximum(n - 1, 1)
    known = np.sqrt(np.maximum(np.where(lacking, scatter, np.maximum(scatter, 1)), 0))
    unknown = lacking & ((n < 2) | (square <= 0))
    return base + mean, np.where(unknown, np.nan, known / np.sqrt(safe))


def _std(value: Vector, star, size: int) -> Vector:
    """Sample standard deviation of each star's values; NaN below two."""
    use = np.isfinite(value)
    n = sums(star, use.astype(float), size)
    base = np.nan_to_num(_first(value, star, size))
    moved = np.where(use, np.nan_to_num(value) - base[star], 0.0)
    mean = sums(star, moved, size) / np.maximum(n, 1)
    square = sums(star, np.where(use, (moved - mean[star]) ** 2, 0.0), size)
    return np.where(n > 1, np.sqrt(square / np.maximum(n - 1, 1)), np.nan)
