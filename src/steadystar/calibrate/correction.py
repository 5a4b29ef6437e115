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
from os import PathLike
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.archive import pack, unpack
from steadystar.calibrate.covariance import OffsetCovariance
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import (
    codes,
    duplicates,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Vector
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
        rows = [
            self._rows_of(visits, columns, "+".join(columns)) for columns in self.by
        ]
        tables = [self.offsets["+".join(columns)] for columns in self.by]
        starts = np.cumsum([0] + [len(t) for t in tables])
        offset = [
            _take(t["offset"].to_numpy(), r) for t, r in zip(tables, rows, strict=True)
        ]
        flags = [
            _take(t["status"].to_numpy(), r, int(Status.UNCALIBRATED))
            for t, r in zip(tables, rows, strict=True)
        ]
        known = [np.isfinite(o) for o in offset]
        unknown = np.stack(
            [
                np.where(k, r + s, -1)
                for k, r, s in zip(known, rows, starts, strict=False)
            ]
        )
        missing = [
            ~k & ((f & int(Status.REDUNDANT)) == 0)
            for k, f in zip(known, flags, strict=True)
        ]
        widths = [self.prior_widths["+".join(columns)] for columns in self.by]
        prior = [np.where(m, w**2, 0.0) for m, w in zip(missing, widths, strict=True)]
        variance = self.covariance.of_sums(unknown) + sum(prior)
        stays = self._stays(visits, rows)
        common = np.zeros(len(visits))
        for f in range(len(rows)):
            single = self.covariance.of_sums(unknown[f : f + 1]) + prior[f]
            common += np.where(stays[f], single, 0.0)
        lost = ~np.any(known, axis=0)
        partly = np.any([m & ~s for m, s in zip(missing, stays, strict=True)], axis=0)
        status = _status(visits, flags, lost, lost | partly)
        return _filled(visits, np.nansum(offset, axis=0), variance, common, status)

    def covariance_of(self, family: str, groups: Sequence[int]) -> NDArray[np.float64]:
        """Covariance of offsets of one family, by their rows in its table, km^2/s^2.

        NaN in rows and columns of undetermined offsets.
        """
        names = ["+".join(columns) for columns in self.by]
        if family not in names:
            raise CalibrationError(
                f"There is no family {family}: choose among {', '.join(names)}."
            )
        start = sum(len(self.offsets[n]) for n in names[: names.index(family)])
        return self.covariance.matrix(np.asarray(groups, np.intp) + start)

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
        meta, tables, arrays = unpack(Path(path), "zero points")
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

    def _rows_of(self, visits, columns, name: str) -> NDArray[np.intp]:
        """Return the row of each visit's group in the family's table, -1 if it has none."""
        absent = [c for c in columns if c not in visits.columns]
        if absent:
            raise CalibrationError(
                f"The table has no column {', '.join(absent)}, by which these zero "
                "points were solved: add it, or solve anew for this table."
            )
        groups = self.offsets[name].select(columns).with_row_index("_row")
        try:
            found = visits.select(columns).join(
                groups, on=columns, how="left", maintain_order="left"
            )["_row"]
        except pl.exceptions.PolarsError as error:
            raise CalibrationError(
                f"The columns {name} are of another kind than those of the zero points "
                f"({', '.join(map(str, groups.dtypes[1:]))}): convert them."
            ) from error
        return found.cast(pl.Int64).fill_null(-1).to_numpy().astype(np.intp)

    def _stays(self, visits: pl.DataFrame, rows) -> list[NDArray[np.bool_]]:
        """Return, by family, whether all visits of the visit's star share its group."""
        star, _ = codes(visits, ["star_id"])
        zero, star_of_zero, _ = velocity_zeros(visits, star)
        seen = (zero >= 0) & np.isfinite(visits["rv_raw"].to_numpy())
        out = []
        for row in rows:
            low = np.full(len(star_of_zero) + 1, np.iinfo(np.intp).max)
            high = np.full(len(star_of_zero) + 1, -1)
            np.minimum.at(low, zero[seen], row[seen])
            np.maximum.at(high, zero[seen], row[seen])
            out.append((low >= high)[zero] & (zero >= 0) & (row >= 0))
        return out


def _take(values: NDArray, row: NDArray[np.intp], default=np.nan) -> NDArray:
    return np.append(values, np.array(default, values.dtype))[row]


def _status(visits: pl.DataFrame, flags, lost, partly) -> NDArray[np.int64]:
    """Return the visits' status with the reasons of their groups, and without old ones.

    ``lost`` (visit,) have no offset at all, ``partly`` lack one that tells visits apart.
    """
    status = visits["status"].to_numpy() & ~int(REASONS | Status.DUPLICATE)
    for flag in flags:
        status |= flag & int(REASONS & ~Status.UNCALIBRATED & ~Status.TOO_FEW_STARS)
        few = partly & ((flag & int(Status.TOO_FEW_STARS)) != 0)
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
