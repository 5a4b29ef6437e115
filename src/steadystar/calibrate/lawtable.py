"""Laws of uncertainty of the columns of a table, by groups of its rows.

`fit_laws` takes a table of single measurements (velocities, temperatures, anything that
repeats), and returns the law ``a x^b + c`` of one column in S/N, for each group of rows.

By likelihood the means of the stars are weighted by the law that is being fitted, a star
is constant or varies as a whole (`constancy`), and each deviation counts ``1 - h``, with
``h`` its share in the mean: together the degrees of freedom. As published (Zong et al.
2020) the means are weighted by the square of S/N, and deviations count alike.
"""

__all__ = ["UncertaintyLaws", "fit_laws"]

from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import polars as pl

from steadystar.calibrate.constancy import Classes, class_widths, judge, updated_shares
from steadystar.calibrate.grouprows import rows_of_groups
from steadystar.calibrate.lawfit import fit_squares
from steadystar.calibrate.laws import (
    LawOptions,
    UncertaintyLaw,
    fit_law,
    law_of,
    left_out,
    require_range,
    unsettled,
    with_note,
)
from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    double_lined_stars,
    duplicates,
    of_leading_method,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.archive import pack, unpack
from steadystar.data.status import Status

_DEFAULT = LawOptions()


@dataclass(frozen=True, eq=False)
class UncertaintyLaws:
    """One law for each group of rows, of one column.

    ``groups``: the columns of ``by``, one row a group; ``laws`` beside it. ``notes``:
    sentences for people, also on groups that have no law.
    """

    column: str
    snr: str
    by: tuple[str, ...]
    groups: pl.DataFrame
    laws: tuple[UncertaintyLaw, ...]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pl.DataFrame:
        """The columns of ``by``, then ``a, a_err, b, b_err, c, c_err`` and counts."""
        rows = {
            name: [getattr(law, name) for law in self.laws]
            for name in (
                *("a", "a_err", "b", "b_err", "c", "c_err", "low", "high"),
                *("n_used", "n_outliers"),
            )
        }
        return pl.DataFrame({**self.groups.to_dict(), **rows})

    def apply(self, visits: pl.DataFrame) -> pl.DataFrame:
        """Add ``COLUMN_law_err``, the error of each row; NaN in groups without a law.

        Raises:
            CalibrationError: the column of S/N or one of ``by`` is missing.
        """
        _require(visits, [self.snr])
        x = _numbers(visits, self.snr)
        out = np.full(len(visits), np.nan)
        place = rows_of_groups(visits, self.groups, self.by, "the laws")
        for i, law in enumerate(self.laws):
            here = place == i
            out[here] = law.apply(x[here])
        return visits.with_columns(pl.Series(f"{self.column}_law_err", out))

    def save(self, path: str | PathLike[str]) -> None:
        """Write to one file, whole or not at all; equal values give equal bytes."""
        meta = {
            "column": self.column,
            "snr": self.snr,
            "by": list(self.by),
            "laws": [law.facts() for law in self.laws],
            "notes": list(self.notes),
        }
        numbers = np.stack([law.arrays()["law"] for law in self.laws])
        tables = {"groups": self.groups} if self.by else {}
        pack(Path(path), "laws of uncertainty", meta, tables, {"laws": numbers})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "UncertaintyLaws":
        """Read what `save` wrote.

        Raises:
            CalibrationError: the file holds no laws of uncertainty.
        """
        meta, tables, arrays = unpack(
            Path(path), "laws of uncertainty", CalibrationError
        )
        laws = tuple(
            UncertaintyLaw.restored(facts, row)
            for facts, row in zip(meta["laws"], arrays["laws"], strict=True)
        )
        groups = tables.get("groups", pl.DataFrame())
        by, notes = tuple(meta["by"]), tuple(meta["notes"])
        return cls(meta["column"], meta["snr"], by, groups, laws, notes)


def fit_laws(
    visits: pl.DataFrame,
    column: str = "rv",
    by: Sequence[str] = (),
    snr: str = "snr",
    options: LawOptions = _DEFAULT,
) -> UncertaintyLaws:
    """Fit the law of uncertainty of a column to the repeats of stars.

    Arguments:
        visits: with ``star_id``, ``column`` and ``snr``, one row a measurement.
        column: ``rv`` (``rv_raw`` where there is none), ``teff`` or any other.
        by: columns whose groups get laws of their own; means are taken within them.
        snr: the column on which the error depends.
        options: method and limits.

    Double-lined stars, duplicates and what a status keeps out of solutions stay out.

    Raises:
        CalibrationError: a column is missing or unusable, or no group has a law.
    """
    if column == "rv" and "rv" not in visits.columns:
        visits = visits.rename({"rv_raw": "rv"}, strict=False)
    by = (by,) if isinstance(by, str) else tuple(by)
    _require(visits, ["star_id", column, snr, *by])
    table, value = _usable(visits, column)
    place, groups = np.zeros(len(table), np.intp), pl.DataFrame()
    if by:
        place, groups = codes(table, list(by))
    laws, kept, notes = [], [], []
    for i in range(max(len(groups), 1)):
        part = table.filter(pl.Series(place == i))
        try:
            laws.append(_fit(part, value[place == i], _numbers(part, snr), options))
            kept.append(i)
        except CalibrationError as error:
            if not by:
                raise
            notes.append(f"{_name(groups, i)} has no law. {error}")
    if not laws:
        raise CalibrationError(
            f"No group of {', '.join(by)} has a law of {column}. {notes[0]}"
            if notes
            else f"No row has a {column} and all of {', '.join(by)}: nothing to fit."
        )
    if by:
        groups = groups[kept]
    return UncertaintyLaws(column, snr, tuple(by), groups, tuple(laws), tuple(notes))


def _name(groups: pl.DataFrame, row: int) -> str:
    return ", ".join(f"{k} {v}" for k, v in groups.row(row, named=True).items())


def _require(visits: pl.DataFrame, names: Sequence[str]) -> None:
    absent = [name for name in names if name not in visits.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, which a law of uncertainty "
            f"needs: choose among {', '.join(sorted(visits.columns)[:40])}."
        )


def _numbers(visits: pl.DataFrame, name: str) -> Vector:
    try:
        return visits[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    except pl.exceptions.PolarsError as error:
        raise CalibrationError(
            f"Column {name} should hold numbers, but is of type "
            f"{visits[name].dtype}: convert it."
        ) from error


def _usable(visits: pl.DataFrame, column: str) -> tuple[pl.DataFrame, Vector]:
    """Return the rows that may enter, and their values."""
    value = _numbers(visits, column)
    if column == "rv":
        visits = of_leading_method(
            standard_visits(visits.with_columns(rv_raw=pl.Series(value)))
        )
        value = visits["rv_raw"].to_numpy()
    else:
        # The rest of a row is that of its velocity, whether there is one or not.
        visits = standard_visits(visits.with_columns(rv_raw=pl.Series(value)))
    status = visits["status"].to_numpy()
    star, _ = codes(visits, ["star_id"])
    good = ((status & int(STAYS_OUT | Status.DUPLICATE)) == 0) & (star >= 0)
    good &= np.isfinite(value) & ~duplicates(visits)
    good &= ~double_lined_stars(visits, star)
    return visits.filter(pl.Series(good)), value[good]


def _fit(table: pl.DataFrame, value: Vector, x: Vector, options: LawOptions):
    good = np.isfinite(x) & (x > 0)
    lost, count = int((~good).sum()), len(good)
    table, value, x = table.filter(pl.Series(good)), value[good], x[good]
    star, _ = codes(table, ["star_id"])
    zero, star_of_zero, _ = velocity_zeros(table, star)
    repeated = np.bincount(zero, minlength=1)[zero] > 1 if len(zero) else zero > 0
    value, x, zero = value[repeated], x[repeated], zero[repeated]
    stars = int(star.max(initial=-1)) + 1
    groups = Groups(zero, star_of_zero, stars)
    if len(x) < options.fewest:
        raise CalibrationError(
            f"Only {len(x)} measurements are of stars that have two, and a law of three "
            f"coefficients asks for {options.fewest}: add repeated measurements."
        )
    if options.method == "zong":
        law = _published(value, x, groups, options)
    else:
        law = _by_likelihood(value, x, groups, options)
    return with_note(law, left_out(lost, count)) if lost else law


def _published(value: Vector, x: Vector, groups: Groups, options) -> UncertaintyLaw:
    """Take deviations from means weighted by the square of S/N (equations 1 and 3)."""
    mean = groups.zeros(x**2 * value) / np.maximum(groups.zeros(x**2), 1e-300)
    n = groups.n_of_zero[groups.zero]
    deviations = (value - mean[groups.zero]) * np.sqrt(n / (n - 1))
    return fit_law(x, deviations, (n - 1) / n, options)


def _by_likelihood(value: Vector, x: Vector, groups: Groups, options) -> UncertaintyLaw:
    """Find the law, and who is constant, in turn.

    Values are scaled to a typical deviation of 1, for `constancy` thinks in km/s.
    """
    value = value - groups.medians(value)[groups.zero]
    require_range(x, value, options)
    typical = 1.4826 * float(np.median(np.abs(value)))
    typical = typical or float(np.sqrt(np.mean(value**2)))
    value = value / typical
    n = groups.n_of_zero[groups.zero]
    fit = fit_squares(x, np.minimum(value**2 * n / (n - 1), 9.0), (n - 1) / n)
    # The widths of variables must not follow the law, or they would chase each other.
    classes = Classes.starting(class_widths(float(np.median(fit(x))), 0.1))
    mean, counts, settled = None, np.ones(len(x)), False
    for _ in range(options.max_rounds):
        variance = fit(x) ** 2
        verdicts = judge(value, variance, groups, classes, mean)
        was = np.r_[fit.parameters, classes.share[0]]
        classes, mean = updated_shares(classes, verdicts, groups), verdicts.mean
        counts = verdicts.probability[groups.star, 0] * (1 - verdicts.wild)
        own = np.clip(verdicts.mean_var[groups.zero] / variance, 0.0, 1.0)
        # A deviation from a mean that it is most of says nothing, and counts nothing.
        free = np.maximum(1 - own, 1e-6)
        square = (value - mean[groups.zero]) ** 2 / free
        fit = fit_squares(x, square, counts * free, fit)
        moved = np.abs(np.r_[fit.parameters, classes.share[0]] - was)
        error = np.append(np.sqrt(np.diag(fit.covariance)), 1e-3)
        if np.all(moved < 1e-3 * error):
            settled = True
            break
    unit = np.array([typical, typical, 1.0])
    fit = replace(
        fit,
        parameters=fit.parameters * unit,
        covariance=fit.covariance * np.outer(unit, unit),
    )
    notes = () if settled else (unsettled(options.max_rounds),)
    outliers = float(np.sum(1 - counts))
    return law_of(fit, x, n_used=len(x), n_outliers=outliers, notes=notes)
