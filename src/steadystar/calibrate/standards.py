"""The absolute zero: velocities against stars whose velocities are known.

`compare_with_standards` returns a `StandardsTie`: for every group of visits (telescope
and arm, unless told otherwise) the median of ``mean velocity of the star - standard``,
with a scatter that a few odd stars cannot move, the interquartile range over 1.349
(Saydjari et al. 2025, section 5.2). ``apply`` takes it off a table.

Standards are looked for by name and by position (`standard_match`). Those that vary, show
double lines or are flagged in the list are left out, and listed with the reason.
Relative velocities have zeros of their own: they are not compared and not changed.
"""

__all__ = ["StandardsTie", "compare_with_standards"]

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.grouprows import rows_of_groups
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.standard_groups import group_table, location, mark_outliers
from steadystar.calibrate.standard_list import standard_list
from steadystar.calibrate.standard_match import match_standards
from steadystar.calibrate.standard_stars import (
    match_table,
    positions,
    reasons,
    relative_rows,
    usable_visits,
    with_velocity,
)
from steadystar.calibrate.standard_words import (
    left_out,
    matched,
    nobody,
    thin_groups,
    ties_of_groups,
)
from steadystar.calibrate.visits import codes, methods_of, standard_visits
from steadystar.data.archive import pack, unpack
from steadystar.data.match import RADIUS_ARCSEC
from steadystar.data.schema import STANDARDS

_USUAL = ("telescope", "arm")


@dataclass(frozen=True, eq=False)
class StandardsTie:
    """Offsets of groups of visits from the standards.

    ``groups``: the columns of ``by``, then ``n_standards, n_visits, offset, offset_err``
    (the median and its error), ``scatter, scatter_err`` (robust), ``mean, mean_err, chi2,
    dof`` (weighted by the errors; ``mean_err`` as large as chi2 asks for). Groups without
    a standard are there, with NaN. ``matches``: one row a star and group: both
    velocities, ``difference``, ``used``, the ``reason`` if not, and ``outlier``. km/s.
    ``notes``: sentences for people.
    """

    by: tuple[str, ...]
    groups: pl.DataFrame
    matches: pl.DataFrame
    notes: tuple[str, ...] = ()

    def apply(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Take the offsets off a table: the same, or another of these groups.

        ``rv`` loses the offset and ``correction`` gains it; ``rv_err``,
        ``correction_err`` and, for stars that never change the group,
        ``correction_common_err`` gain its error. ``tied`` says which rows could be:
        relative velocities, and those of groups without standards, stay as they are.

        Raises:
            CalibrationError: a column is missing or of another kind.
        """
        row = rows_of_groups(visits, self.groups, self.by, "the offsets")
        visits = with_velocity(visits)
        padded = [np.append(self.groups[n].to_numpy(), np.nan) for n in _TAKEN]
        offset, error = (values[row] for values in padded)
        tied = np.isfinite(offset) & ~relative_rows(visits)
        offset, error = (np.where(tied, values, 0.0) for values in (offset, error))
        star, _ = codes(visits, ["star_id"])
        stays = _stays(star, np.where(tied, row, -1))
        old = {
            name: visits[name].cast(pl.Float64).fill_null(0).fill_nan(0).to_numpy()
            if name in visits.columns
            else np.zeros(len(visits))
            for name in ("correction", "correction_err", "correction_common_err")
        }
        common = np.hypot(old["correction_common_err"], np.where(stays, error, 0.0))
        return visits.with_columns(
            rv=pl.col("rv") - pl.Series(offset),
            rv_err=pl.Series(np.hypot(visits["rv_err"].to_numpy(), error)),
            correction=pl.Series(old["correction"] + offset),
            correction_err=pl.Series(np.hypot(old["correction_err"], error)),
            correction_common_err=pl.Series(common),
            tied=pl.Series(tied),
        )

    def difference(
        self, one: str | int | Sequence, other: str | int | Sequence
    ) -> tuple[float, float, int]:
        """Return how much group ``one`` reads more than ``other``, its error, and from
        how many standards in both.

        Groups are the values of ``by``, as ``("apo25m", "all")``, or the one value where
        ``by`` is one column. Standards that both observed are compared star by star,
        where that is more precise than the difference of two medians: what is odd about
        a star is odd in both.

        Raises:
            CalibrationError: there is no such group, or it has no standard.
        """
        first, second = self._row(one), self._row(other)
        offset, error = (self.groups[name].to_numpy() for name in _TAKEN)
        apart = offset[first] - offset[second], np.hypot(error[first], error[second])
        pairs = self._pairs(first, second)
        if len(pairs) < 3:
            return float(apart[0]), float(apart[1]), len(pairs)
        value = pairs["difference"].to_numpy() - pairs["difference_b"].to_numpy()
        formal = np.hypot(pairs["rv_err"].to_numpy(), pairs["rv_err_b"].to_numpy())
        found = location(value, formal)
        if found.error < apart[1]:
            return found.median, found.error, len(pairs)
        return float(apart[0]), float(apart[1]), len(pairs)

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        meta = {"by": list(self.by), "notes": list(self.notes)}
        tables = {"groups": self.groups, "matches": self.matches}
        pack(Path(path), "tie to standards", meta, tables, {})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "StandardsTie":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no tie to standards.
        """
        meta, tables, _ = unpack(Path(path), "tie to standards", CalibrationError)
        return cls(
            tuple(meta["by"]), tables["groups"], tables["matches"], tuple(meta["notes"])
        )

    def name(self, row: int) -> str:
        """Return a group in words, as ``telescope apo25m, arm all``."""
        if not self.by:
            return "all visits"
        values = self.groups.select(self.by).row(row, named=True)
        return ", ".join(f"{name} {value}" for name, value in values.items())

    def _row(self, group: str | int | Sequence) -> int:
        values = (group,) if isinstance(group, str | int) else tuple(group)
        rows = self.groups.select(self.by).rows() if self.by else []
        if values not in rows:
            known = "; ".join(", ".join(map(str, row)) for row in rows[:10])
            raise CalibrationError(
                f"There is no group {', '.join(map(str, values))}: choose among {known}."
            )
        return rows.index(values)

    def _pairs(self, first: int, second: int) -> pl.DataFrame:
        used = self.matches.filter("used")
        row = pl.Series(rows_of_groups(used, self.groups, self.by, "the offsets"))
        return used.filter(row == first).join(
            used.filter(row == second),
            on="standard_id",
            suffix="_b",
            maintain_order="left",
        )


_TAKEN = ("offset", "offset_err")


def compare_with_standards(
    velocities: pl.DataFrame,
    standards: pl.DataFrame,
    by: Sequence[str] | None = None,
    radius_arcsec: float = RADIUS_ARCSEC,
    stars: pl.DataFrame | None = None,
) -> StandardsTie:
    """Compare velocities with those of standard stars, or with any other catalog.

    Arguments:
        velocities: with ``star_id`` and ``rv, rv_err`` (else ``rv_raw, rv_raw_err``),
            km/s; ``ra, dec`` for positions, ``bjd`` for proper motions.
        standards: what `standard_list.read_standards` gives, or any table of ``star_id``
            or ``ra, dec`` and ``rv``, with ``rv_err, pmra, pmdec, epoch, teff, color`` and
            flags where it has them.
        by: columns whose groups have offsets of their own; None: telescope and arm, and
            the method if there are several. Empty: one offset for all.
        radius_arcsec: how far apart a star and a standard may be.
        stars: verdicts on the stars (`summarize_stars`): standards that vary by
            ``variable`` or ``p_constant`` below one half are left out. Judge velocities
            from which the groups' offsets are gone, or they will seem to vary.

    Raises:
        CalibrationError: a column is missing, all velocities are relative, or no standard
            was observed; the sentence says how near the nearest was.
    """
    if not radius_arcsec > 0:
        raise CalibrationError(
            f"A radius of {radius_arcsec} arcsec matches nothing: give a positive number."
        )
    standards = standard_list(standards) if "given" not in standards else standards
    visits = with_velocity(velocities)
    columns = _columns(visits, by)
    good, notes = usable_visits(visits)
    star, star_ids = codes(visits, ["star_id"])
    sky = positions(visits, star, star_ids, good)
    match = match_standards(sky, standards, radius_arcsec)
    if not (match.standard[star[good]] >= 0).any():
        raise CalibrationError(nobody(sky, standards, match, radius_arcsec))
    reason = reasons(visits, star, sky, standards, match, stars)
    rows = good & (match.standard[star] >= 0)
    group, groups = _grouped(visits, good, columns)
    if lost := int((rows & (group < 0)).sum()):
        notes.append(
            f"{lost} velocities of standards are not compared: one of "
            f"{', '.join(columns)} is empty."
        )
    rows &= group >= 0
    matches = match_table(visits, rows, star, group, sky, standards, match, reason)
    table = group_table(matches, max(len(groups), 1))
    if columns:
        matches = pl.concat([groups[matches["_group"]], matches], how="horizontal")
        table = pl.concat([groups, table], how="horizontal")
    if not matches["used"].any():
        raise CalibrationError(
            f"All {matches['star_id'].n_unique()} standards among the stars are left "
            f"out: {' '.join(left_out(matches))} Give a list with others."
        )
    matches = mark_outliers(matches, table).drop("_group")
    tie = StandardsTie(columns, table, matches)
    if stars is None:
        notes.append(
            "Whether the standards vary by these velocities was not looked at."
        )
    notes += [matched(match, radius_arcsec), *match.notes, *left_out(matches)]
    return StandardsTie(
        columns, table, matches, (*notes, *thin_groups(tie), *ties_of_groups(tie))
    )


def _columns(visits: pl.DataFrame, by: Sequence[str] | None) -> tuple[str, ...]:
    if by is None:
        absolute = visits.filter(pl.Series(~relative_rows(visits)))
        usual = [n for n in _USUAL if n in visits.columns]
        if methods_of(standard_visits(absolute)):
            usual.append("method")
        return tuple(n for n in usual if not visits[n].is_null().all())
    by = by.split(",") if isinstance(by, str) else by
    by = tuple(dict.fromkeys(by))
    absent = [name for name in by if name not in visits.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, by which offsets from the "
            f"standards were asked for: choose among {', '.join(visits.columns[:40])}."
        )
    taken = {column.name for column in STANDARDS} & set(by)
    if taken:
        raise CalibrationError(
            f"Offsets by {', '.join(sorted(taken))} say nothing of an instrument: choose "
            "columns such as telescope, arm or fiber."
        )
    return by


def _grouped(visits: pl.DataFrame, good, columns: tuple[str, ...]):
    """Return the group of every visit (-1: none), and those that ``good`` ones have."""
    if not columns:
        return np.zeros(len(visits), np.intp), pl.DataFrame()
    _, groups = codes(visits.filter(pl.Series(good)), columns)
    return rows_of_groups(visits, groups, columns, "the offsets"), groups


def _stays(star: NDArray[np.intp], row: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return the visits (bool) of stars whose tied visits are all of one group."""
    seen = (star >= 0) & (row >= 0)
    size = int(star.max(initial=-1)) + 2
    low, high = np.full(size, np.iinfo(np.intp).max), np.full(size, -1)
    np.minimum.at(low, star[seen], row[seen])
    np.maximum.at(high, star[seen], row[seen])
    return seen & (low >= high)[star]
