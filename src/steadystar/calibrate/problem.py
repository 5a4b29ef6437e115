"""From a table of visits to the arrays of a calibration problem.

What is needed: ``star_id``, a velocity (``rv_raw``, else ``rv``), its error
(``rv_raw_err``, else ``rv_err``) and the columns of the families of offsets. All else
is optional and used where it is there: ``status`` and ``rv_2`` keep double-lined stars
out of the solution, ``visit_id`` and ``method`` find visits that occur twice, ``arm``
and ``reference_visit_id`` tell which velocities share a zero.
"""

__all__ = [
    "Family",
    "Problem",
    "codes",
    "families_of",
    "pose",
    "standard_visits",
    "velocity_zeros",
]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.status import FATAL, Status

STAYS_OUT = FATAL | Status.TWO_MINIMA | Status.COADD | Status.USER_EXCLUDED
"""Visits with any of these flags do not enter a solution."""


@dataclass(frozen=True)
class Family:
    """One family of offsets: its columns, and its groups in sorted order.

    ``index`` (visit,) is the group of each visit, -1 where a column is null.
    """

    columns: tuple[str, ...]
    groups: pl.DataFrame
    index: NDArray[np.intp]

    @property
    def name(self) -> str:
        """The columns joined by ``+``: the key of the family's offsets."""
        return "+".join(self.columns)

    def describe(self, group: int) -> str:
        """Return a group in words, as ``spectrograph 4, exposure_id e07``."""
        row = self.groups.row(group, named=True)
        return ", ".join(f"{name} {value}" for name, value in row.items())


@dataclass(frozen=True)
class Problem:
    """A table, the families of offsets, and what enters the solution.

    Arrays with one entry a visit of the whole table: ``visits`` (standard columns),
    ``star`` (index into ``star_ids``, -1 if unknown), ``zero`` (index of the velocity
    zero, -1 if unknown), ``enters`` (bool). ``star_of_zero`` maps zeros to stars.
    """

    visits: pl.DataFrame
    families: tuple[Family, ...]
    star_ids: pl.Series
    star: NDArray[np.intp]
    zero: NDArray[np.intp]
    star_of_zero: NDArray[np.intp]
    enters: NDArray[np.bool_]
    relative: bool
    notes: tuple[str, ...]

    @property
    def rv(self) -> Vector:
        """Uncalibrated velocities, km/s, ``(visit,)``."""
        return self.visits["rv_raw"].to_numpy()

    @property
    def err(self) -> Vector:
        """Their errors, km/s, ``(visit,)``."""
        return self.visits["rv_raw_err"].to_numpy()

    @property
    def starts(self) -> NDArray[np.intp]:
        """First unknown of every family, and the number of unknowns, last."""
        return np.cumsum([0] + [len(f.groups) for f in self.families])

    @property
    def unknown(self) -> NDArray[np.intp]:
        """Unknown of each visit in each family, ``(family, visit)``; -1 if none."""
        return np.stack(
            [
                np.where(f.index >= 0, f.index + start, -1)
                for f, start in zip(self.families, self.starts, strict=False)
            ]
        )

    @property
    def family_of_unknown(self) -> NDArray[np.intp]:
        """Family of every unknown, ``(offset,)``."""
        return np.repeat(np.arange(len(self.families)), np.diff(self.starts))

    def groups(self, rows: NDArray[np.intp]) -> Groups:
        """Return which of ``rows`` share a velocity zero, and zeros a star."""
        return Groups(self.zero[rows], self.star_of_zero, len(self.star_ids))


def families_of(by: Sequence[str | Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Normalize ``by``: each family a tuple of columns; "a,b" and "a+b" are split.

    Raises:
        CalibrationError: none at all, an empty one, or one that occurs twice.
    """
    if isinstance(by, str):
        by = [by]
    families = []
    for family in by:
        words = (
            family.replace("+", ",").split(",") if isinstance(family, str) else family
        )
        columns = tuple(word.strip() for word in words)
        if not columns or not all(columns):
            raise CalibrationError(
                f"The family of offsets {family!r} has no name of a column: give "
                "columns such as spectrograph,arm,exposure_id."
            )
        if len(set(columns)) < len(columns):
            raise CalibrationError(
                f"The family {'+'.join(columns)} names a column twice: name it once."
            )
        if any(set(columns) == set(other) for other in families):
            raise CalibrationError(
                f"The family {'+'.join(columns)} is given twice: give it once."
            )
        families.append(columns)
    if not families:
        raise CalibrationError(
            "No family of offsets is given: name the columns that share a zero point, "
            "such as spectrograph,arm,exposure_id."
        )
    return tuple(families)


def standard_visits(visits: pl.DataFrame) -> pl.DataFrame:
    """Return ``visits`` with ``star_id``, ``rv_raw``, ``rv_raw_err`` and ``status``.

    A velocity ``rv`` without ``rv_raw`` becomes ``rv_raw``; so does its error. A
    missing error is NaN. Null numbers become NaN, a null status 0.

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
    status = visits["status"] if "status" in visits.columns else None
    if status is None or not status.dtype.is_integer():
        given = pl.Series("status", np.zeros(len(visits), np.int64))
    else:
        given = status.cast(pl.Int64).fill_null(0)
    return visits.with_columns(given)


def pose(
    visits: pl.DataFrame, options: ZeroPointOptions, *, need_errors: bool = True
) -> Problem:
    """Turn a table of visits into a `Problem`; the order of its rows is kept.

    Raises:
        CalibrationError: a column is missing or unusable; the message names it.
    """
    visits = standard_visits(visits)
    by = families_of(options.by)
    for column in dict.fromkeys(name for columns in by for name in columns):
        if column not in visits.columns:
            raise CalibrationError(
                f"The table has no column {column}, by which offsets were asked for: "
                f"choose among {', '.join(sorted(visits.columns)[:40])}."
            )
    families = tuple(_family(visits, columns) for columns in by)
    star, star_ids = codes(visits, ["star_id"])
    zero, star_of_zero, relative = velocity_zeros(visits, star)
    notes: list[str] = []
    enters = _which_enter(visits, star, families, options, need_errors, notes)
    return Problem(
        visits,
        families,
        star_ids["star_id"],
        star,
        zero,
        star_of_zero,
        enters,
        relative,
        tuple(notes),
    )


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


def _family(visits: pl.DataFrame, columns: tuple[str, ...]) -> Family:
    index, groups = codes(visits, columns)
    return Family(columns, groups, index)


def velocity_zeros(
    visits: pl.DataFrame, star: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Number the unknown velocities: one a star, or one a star, arm and reference."""
    against = np.zeros(len(visits), np.intp)
    relative = False
    if "reference_visit_id" in visits.columns:
        reference, _ = codes(visits, ["reference_visit_id"])
        relative = bool((reference >= 0).any())
        against = reference + 1
        if "arm" in visits.columns:
            arm, names = codes(visits, ["arm"])
            against = np.where(against > 0, against * (len(names) + 1) + arm + 1, 0)
    key = np.where(star >= 0, star * (against.max(initial=0) + 1) + against, -1)
    distinct, zero = np.unique(key, return_inverse=True)
    unknown = int(len(distinct) > 0 and distinct[0] < 0)
    star_of_zero = distinct[unknown:] // (against.max(initial=0) + 1)
    return zero.astype(np.intp) - unknown, star_of_zero.astype(np.intp), relative


def _which_enter(visits, star, families, options, need_errors, notes) -> NDArray:
    """Return the visits that enter the solution; say how many do not, and why."""
    count = len(visits)
    enters = np.ones(count, bool)

    def leave_out(mask: NDArray[np.bool_], reason: str) -> None:
        lost = int((enters & mask).sum())
        if lost:
            notes.append(
                f"{lost} of {count} visits stay out of the solution: {reason}."
            )
        enters[mask] = False

    rv, err = visits["rv_raw"].to_numpy(), visits["rv_raw_err"].to_numpy()
    status = visits["status"].to_numpy()
    leave_out(~np.isfinite(rv), "they have no velocity")
    leave_out((status & int(STAYS_OUT)) != 0, "their status says so")
    leave_out(star < 0, "their star is unknown")
    if need_errors:
        if np.isfinite(rv).any() and not np.isfinite(err[np.isfinite(rv)]).any():
            raise CalibrationError(
                "The table has no velocity errors: this method needs a column "
                "rv_raw_err or rv_err with positive numbers; method xiong does not."
            )
        bad = ~(np.isfinite(err) & (err > 0))
        leave_out(bad, "their error is not a positive number")
    leave_out(duplicates(visits), "they occur more than once in the table")
    double = double_lined_stars(visits, star)
    leave_out(double, "their stars are double-lined")
    if options.exclude_stars:
        named = visits["star_id"].cast(pl.String).is_in(list(options.exclude_stars))
        leave_out(named.fill_null(False).to_numpy(), "their stars were excluded")
    for family in families:
        reason = f"a column of {family.name} is empty"
        leave_out(family.index < 0, reason)
    return enters


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

    Raises:
        CalibrationError: the visits were measured by more than one method.
    """
    columns = visits.columns
    if "visit_id" in columns and visits["visit_id"].null_count() == 0:
        keys = [n for n in ("visit_id", "method", "arm", "star_id") if n in columns]
        if "method" in keys and visits["method"].n_unique() > 1:
            each = visits.select("visit_id", "method").unique()
            if each["visit_id"].n_unique() < len(each):
                methods = visits["method"].drop_nulls().unique().sort().to_list()
                raise CalibrationError(
                    f"The same visits were measured by several methods "
                    f"({', '.join(map(str, methods))}): keep the rows of one of them."
                )
        keys += ["rv_raw", "rv_raw_err"]
    elif "bjd" in columns or "exposure_id" in columns:
        keys = columns
    else:
        return np.zeros(len(visits), bool)
    first = visits.select(pl.struct(keys).is_first_distinct()).to_series()
    return ~first.to_numpy() & np.isfinite(visits["rv_raw"].to_numpy())
