"""Zero points as a value: inspect it, save it, apply it to a table.

A correction is what is subtracted: ``rv = rv_raw - correction``, the sum of the offsets
of all families. An offset that could not be determined adds nothing to the correction
and the width of its family's offsets to ``correction_err``.

``correction_common_err`` is the part of that error which all visits of a star have in
common (it never changed the fiber whose offset is uncertain, say). It matters when stars
are compared, not when a star's visits are: tests of constancy leave it out.
"""

__all__ = ["ZeroPoints"]

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.bins import with_bins
from steadystar.calibrate.contrasts import contrasts
from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.grouprows import rows_of_groups
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visitcovariance import VisitCovariances
from steadystar.calibrate.visits import (
    codes,
    duplicates,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Vector
from steadystar.calibrate.within import common_variance
from steadystar.data.archive import pack, unpack
from steadystar.data.status import Status

REASONS = (
    Status.UNCALIBRATED
    | Status.TOO_FEW_STARS
    | Status.TOO_FEW_VISITS
    | Status.LAMP_OUTLIER
    | Status.PLATE_REFUSED
    | Status.INCONSISTENT_SCATTER
)
"""Flags that a visit takes over from its groups."""

_UNKNOWN = int(Status.TOO_FEW_STARS | Status.UNCALIBRATED)


@dataclass(frozen=True, eq=False)
class ZeroPoints:
    """The offsets of every family, with their errors, and what was found on the way.

    ``by``: columns of each family. ``offsets``: one table a family (schema "offsets"
    after the family's columns), keyed by its columns joined by ``+``. ``stars``:
    ``star_id, n_visits, p_constant, constant`` of the stars that entered the solution
    (``p_constant`` is NaN where the method does not say). ``errors``: scale and floor
    of the given errors that the method found, if it looks for them. ``prior_widths``:
    km/s by family. ``notes``: sentences for people.
    """

    by: tuple[tuple[str, ...], ...]
    method: str
    offsets: dict[str, pl.DataFrame]
    stars: pl.DataFrame
    prior_widths: dict[str, float]
    errors: pl.DataFrame = field(default_factory=pl.DataFrame)
    notes: list[str] = field(default_factory=list)
    covariance: OffsetCovariance = field(default_factory=lambda: OffsetCovariance(0))

    def apply(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Correct a table of visits, this one or another; the row order is kept.

        Fills ``correction, correction_err, correction_common_err, rv, rv_err`` and adds
        flags to ``status``. Visits of groups that are not among the offsets stay as
        they are and become UNCALIBRATED.

        Raises:
            CalibrationError: a column is missing or of another kind than in the fit.
        """
        visits = standard_visits(visits)
        found = self._find(visits)
        variance = self.covariance.of_sums(found.unknown) + sum(found.prior)
        stays, common = self._within_stars(visits, found, variance)
        lost = np.all(found.unknown < 0, axis=0)
        parts = zip(found.missing, stays, strict=True)
        partly = np.any([m & ~s for m, s in parts], axis=0)
        status = _status(visits, found.flags, lost, lost | partly)
        return _filled(visits, found.total, variance, common, status)

    def correction_covariance(self, visits: pl.DataFrame) -> NDArray[np.float64]:
        """Covariance of the corrections of visits, km^2/s^2, ``(visit, visit)``.

        Visits of one exposure share its offset and so the error of it: who compares
        velocities of several visits, of one star or of many, adds ``rv_err^2 -
        correction_err^2`` to the diagonal of this matrix and has the covariance of ``rv``.

        Arguments:
            visits: some visits, with the columns of the families; at most some thousands.

        Raises:
            CalibrationError: a column is missing or of another kind than in the fit.
        """
        everyone = np.arange(len(visits))[None, :]
        return self.covariances_of_visits(visits).of(everyone)[0]

    def covariances_of_visits(self, visits: pl.DataFrame) -> VisitCovariances:
        """Return what tells the same of any number of visits, some at a time.

        Raises:
            CalibrationError: a column is missing or of another kind than in the fit.
        """
        found = self._find(standard_visits(visits))
        return VisitCovariances(self.covariance, found.unknown, found.rows, found.prior)

    def compare(self, column: str) -> pl.DataFrame:
        """Compare the values of a column of a family, such as two telescopes.

        The mean offset of all groups of one value (all fibers of a telescope, say) less
        that of another, with the error that the full covariance gives (Saydjari 2025,
        section 5.1). Only groups of one component can be compared.

        Returns:
            ``family``, ``component``, ``column``'s values ``first`` and ``second``,
            ``difference`` and ``difference_err`` (km/s), and the numbers of groups
            ``n_first`` and ``n_second``; no rows where no two values are tied.

        Raises:
            CalibrationError: no family has the column.
        """
        families = [c for c in self.by if column in c]
        if not families:
            raise CalibrationError(
                f"No family of offsets has a column {column}: there are "
                f"{', '.join('+'.join(c) for c in self.by)}."
            )
        names = ["+".join(columns) for columns in families]
        parts = [
            contrasts(n, self.offsets[n], column, partial(self._variance_of, n))
            for n in names
        ]
        return pl.concat(parts)

    def covariance_of(
        self, family: str, groups: Sequence[int] | NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Covariance of offsets of one family, by their rows in its table, km^2/s^2.

        NaN in rows and columns of undetermined offsets.
        """
        start, rows = self._start_of(family), np.asarray(groups, np.intp)
        size = len(self.offsets[family])
        if len(rows) and (rows.min() < 0 or rows.max() >= size):
            raise CalibrationError(
                f"The offsets of {family} are rows 0 to {size - 1} of its table: "
                f"{rows.min()} to {rows.max()} were asked for."
            )
        return self.covariance.matrix(rows + start)

    def _variance_of(
        self, family: str, groups: NDArray[np.intp], weights: NDArray[np.float64]
    ) -> float:
        start = self._start_of(family)
        return self.covariance.of_combination(groups + start, weights)

    def _start_of(self, family: str) -> int:
        """Return the place of the first offset of a family among all."""
        names = ["+".join(columns) for columns in self.by]
        if family not in names:
            raise CalibrationError(
                f"There is no family {family}: choose among {', '.join(names)}."
            )
        return sum(len(self.offsets[n]) for n in names[: names.index(family)])

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        meta = {
            "by": [list(columns) for columns in self.by],
            "method": self.method,
            "prior_widths": self.prior_widths,
            "notes": self.notes,
            "size": self.covariance.size,
        }
        tables = {
            f"offsets/{i}": self.offsets["+".join(c)] for i, c in enumerate(self.by)
        }
        tables |= {"stars": self.stars, "errors": self.errors}
        pack(Path(path), "zero points", meta, tables, self.covariance.to_arrays())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "ZeroPoints":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no zero points.
        """
        meta, tables, arrays = unpack(Path(path), "zero points", CalibrationError)
        by = tuple(tuple(columns) for columns in meta["by"])
        return cls(
            by=by,
            method=meta["method"],
            offsets={"+".join(c): tables[f"offsets/{i}"] for i, c in enumerate(by)},
            stars=tables["stars"],
            prior_widths=meta["prior_widths"],
            errors=tables["errors"],
            notes=meta["notes"],
            covariance=OffsetCovariance.from_arrays(meta["size"], arrays),
        )

    def _find(self, visits: pl.DataFrame) -> "_Found":
        """Return what is known of the offsets of every visit."""
        names = ["+".join(columns) for columns in self.by]
        tables = [self.offsets[name] for name in names]
        rows = [
            self._rows_of(visits, columns, name)
            for columns, name in zip(self.by, names, strict=True)
        ]
        starts = np.cumsum([0] + [len(t) for t in tables])
        total, unknown, missing, flags = np.zeros(len(visits)), [], [], []
        for table, row, start in zip(tables, rows, starts, strict=False):
            offset = _take(table["offset"].to_numpy(), row)
            flag = _take(table["status"].to_numpy(), row, int(Status.UNCALIBRATED))
            known = np.isfinite(offset)
            total += np.where(known, offset, 0.0)
            unknown.append(np.where(known, row + start, -1))
            missing.append(~known & ((flag & int(Status.REDUNDANT)) == 0))
            flags.append(flag)
        widths = [self.prior_widths[name] for name in names]
        prior = [np.where(m, w**2, 0.0) for m, w in zip(missing, widths, strict=True)]
        return _Found(rows, np.stack(unknown), total, missing, prior, flags)

    def _rows_of(self, visits, columns, name: str) -> NDArray[np.intp]:
        """Return the row of each visit's group in the family's table, -1 if it has none."""
        binned = with_bins(visits, columns)
        return rows_of_groups(binned, self.offsets[name], columns, "the zero points")

    def _within_stars(
        self, visits: pl.DataFrame, found: "_Found", variance: Vector
    ) -> tuple[list[NDArray[np.bool_]], Vector]:
        """Say, by family, if a star stays in one group, and what its visits share."""
        star, _ = codes(visits, ["star_id"])
        zero, _, _ = velocity_zeros(visits, star)
        seen = (zero >= 0) & np.isfinite(visits["rv_raw"].to_numpy())
        error = visits["rv_raw_err"].to_numpy()
        good = seen & np.isfinite(error) & (error > 0)
        weight = np.where(good, np.where(good, error, 1.0) ** -2.0, 0.0)
        stays = [_stays(zero, seen, row) for row in found.rows]
        # Where a star changes between groups that nobody knows, it must not seem to vary.
        shared = [np.where(s, r, -1) for s, r in zip(stays, found.rows, strict=True)]
        undetermined = zip(shared, found.prior, strict=True)
        common = common_variance(
            self.covariance, found.unknown, undetermined, zero, weight, variance
        )
        return stays, common


@dataclass(frozen=True)
class _Found:
    """The offsets of visits: all but ``total`` one array a family, each ``(visit,)``.

    ``rows``: in the family's table, -1 if none; ``unknown``: index of a determined
    offset, else -1; ``missing``: whether one is not determined, and ``prior`` its
    variance, else 0; ``total``: the sum of the determined ones.
    """

    rows: list[NDArray[np.intp]]
    unknown: NDArray[np.intp]
    total: Vector
    missing: list[NDArray[np.bool_]]
    prior: list[Vector]
    flags: list[NDArray[np.int64]]


def _stays(zero, seen, row) -> NDArray[np.bool_]:
    """Return whether all visits of each visit's velocity zero share its group."""
    count = int(zero.max(initial=-1)) + 2
    low, high = np.full(count, np.iinfo(np.intp).max), np.full(count, -1)
    np.minimum.at(low, zero[seen], row[seen])
    np.maximum.at(high, zero[seen], row[seen])
    return (low >= high)[zero] & (zero >= 0) & (row >= 0)


def _take(values: NDArray, row: NDArray[np.intp], default=np.nan) -> NDArray:
    return np.append(values, np.array(default, values.dtype))[row]


def _status(visits: pl.DataFrame, flags, lost, partly) -> NDArray[np.int64]:
    """Return the visits' status with the reasons of their groups, and without old ones.

    ``lost`` (visit,) have no offset at all, ``partly`` lack one that tells visits apart.
    """
    status = visits["status"].to_numpy() & ~int(REASONS | Status.DUPLICATE)
    for flag in flags:
        status |= flag & int(REASONS & ~Status.UNCALIBRATED & ~Status.TOO_FEW_STARS)
        # A visit that other families have corrected must not pass as calibrated either.
        why = np.where(lost, int(Status.TOO_FEW_STARS), _UNKNOWN)
        few = partly & ((flag & why) != 0)
        status |= np.where(few, int(Status.TOO_FEW_STARS), 0)
    status |= np.where(lost, int(Status.UNCALIBRATED), 0)
    return status | np.where(duplicates(visits), int(Status.DUPLICATE), 0)


def _filled(visits, correction: Vector, variance: Vector, common: Vector, status):
    raw, err = visits["rv_raw"].to_numpy(), visits["rv_raw_err"].to_numpy()
    valid = np.isfinite(err) & (err > 0)
    total = np.sqrt(variance + np.where(valid, err, np.nan) ** 2)
    return visits.with_columns(
        correction=pl.Series(correction),
        correction_err=pl.Series(np.sqrt(variance)),
        correction_common_err=pl.Series(np.sqrt(np.minimum(common, variance))),
        rv=pl.Series(raw - correction),
        rv_err=pl.Series(np.where(np.isfinite(raw), total, np.nan)),
        status=pl.Series(status, dtype=pl.Int64),
    )
