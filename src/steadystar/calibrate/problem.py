"""From a table of visits to the arrays of a calibration problem."""

__all__ = ["Family", "Problem", "families_of", "pose"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.bins import with_bins
from steadystar.calibrate.options import CalibrationError, ZeroPointOptions
from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    double_lined_stars,
    duplicates,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.constants import C_KMS


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


def pose(
    visits: pl.DataFrame, options: ZeroPointOptions, *, need_errors: bool = True
) -> Problem:
    """Turn a table of visits into a `Problem`; the order of its rows is kept.

    Raises:
        CalibrationError: a column is missing or unusable; the message names it.
    """
    by = families_of(options.by)
    asked = dict.fromkeys(name for columns in by for name in columns)
    visits = with_bins(standard_visits(visits), asked)
    for column in asked:
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


def _family(visits: pl.DataFrame, columns: tuple[str, ...]) -> Family:
    index, groups = codes(visits, columns)
    return Family(columns, groups, index)


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
    # Placeholders such as 1e20 would cost all other velocities their digits.
    leave_out(np.abs(rv) > C_KMS, "their velocity is beyond that of light")
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
