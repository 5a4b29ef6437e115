"""The visits of stars that count, and what tells the visits of one star apart.

Whoever compares the visits of a star (is it constant? what is its period, its orbit?)
begins here, so that all judge the same velocities with the same errors:

- rows whose flags say that the velocity cannot be used are left out; where spectra have
  velocities by several methods, those of the leading one stay (`of_leading_method`);
- the part of the error that all visits of the star have in common
  (``correction_common_err``) is taken out of ``rv_err``: it moves the star as a whole;
- relative velocities of an arm, or against another reference, have a zero of their own:
  ``zero`` numbers them within the star.

Nights are told apart by the column ``night`` where it is known, else by gaps (`night_runs`).
"""

__all__ = [
    "count_nights",
    "groups_of",
    "night_runs",
    "standard_velocities",
    "usable_rows",
    "usable_visits",
    "without_visits",
]

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    of_leading_method,
    standard_visits,
    velocity_zeros,
)
from steadystar.calibrate.visitsums import Groups, Vector
from steadystar.data.column import FLOAT, INT, TEXT
from steadystar.data.status import Status

_NOT_COUNTED = STAYS_OUT | Status.DUPLICATE
_NEW_NIGHT = 0.4
"""Days without a visit after which another night has begun: the shortest day of a site at
40 degrees is longer, with its twilights."""
_FILLED = {
    "visit_id": TEXT,
    "bjd": FLOAT,
    "night": INT,
    "arm": TEXT,
    "rv_2": FLOAT,
    "rv_2_err": FLOAT,
}


def usable_visits(visits: pl.DataFrame, allowed: Status = Status.GOOD) -> pl.DataFrame:
    """Return the visits that count in comparisons within a star, in the table's order.

    Arguments:
        visits: with ``star_id`` and calibrated ``rv, rv_err`` (km/s), else ``rv_raw,
            rv_raw_err``; all else is optional.
        allowed: flags that do not keep a visit out, though they usually do.

    Returns:
        All columns of ``visits``, and besides or instead

        - ``rv`` (km/s), the velocity to be used, ``rv_err`` its error within the star;
        - ``rv_common_err``: the part that was taken out of the error;
        - ``rv_raw``: the uncalibrated velocity where there is one, else ``rv``;
        - ``rv_2, rv_2_err``: the second star's, corrected as the first's; NaN if none;
        - ``star``: number of the star among the sorted ones of ``visits``; ``zero``:
          number of the velocity zero within the star, 0 where it has but one;
        - ``double_lined``: whether this spectrum shows two stars;
        - ``visit_id, bjd, night, arm``: null or NaN where unknown;
        - ``row``: where the visit stands in ``visits``.

        A table that comes from here, or a part of one, is returned as it is.

    Raises:
        ValueError: a column is missing or holds text where numbers should be.
    """
    if {"rv_common_err", "zero"} <= set(visits.columns):
        return visits
    table = standard_velocities(visits.drop("row", strict=False)).with_row_index("row")
    star, _ = codes(table, ["star_id"])
    table = table.with_columns(star=pl.Series(star))
    return _within_star(usable_rows(of_leading_method(table), allowed))


def standard_velocities(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the table in standard columns, ``rv_raw`` the velocities to be compared.

    These are the calibrated ones where there are any. ``_raw`` then holds what was
    ``rv_raw``.

    Raises:
        ValueError: a column is missing or holds text where numbers should be.
    """
    if not np.isfinite(_numbers(visits, "rv")).any() and _measured(visits):
        # Not calibrated yet: what was measured counts.
        visits = visits.drop("rv", "rv_err", strict=False)
    if {"rv", "rv_err"} <= set(visits.columns):
        visits = visits.drop("rv_raw_err", strict=False)
        visits = visits.rename({"rv_raw": "_raw"}, strict=False)
    visits = standard_visits(visits)
    raw = "_raw" if "_raw" in visits.columns else "rv_raw"
    raw_value = pl.col(raw).cast(pl.Float64, strict=False).fill_null(float("nan"))
    return visits.with_columns(_raw=raw_value)


def _measured(visits: pl.DataFrame) -> bool:
    return bool(np.isfinite(_numbers(visits, "rv_raw")).any())


def usable_rows(table: pl.DataFrame, allowed: Status = Status.GOOD) -> pl.DataFrame:
    """Return the rows of `standard_velocities` that count, errors taken apart.

    The table has the number of the star in ``star`` (negative: none). ``rv_err``
    becomes the error within the star and ``rv_common_err`` what its visits share.
    """
    rv, err = table["rv_raw"].to_numpy(), table["rv_raw_err"].to_numpy()
    flags = int(_NOT_COUNTED) & ~int(allowed)
    good = np.isfinite(rv) & np.isfinite(err) & (err > 0)
    good &= table["star"].to_numpy() >= 0
    good &= (table["status"].to_numpy() & flags) == 0
    common = np.zeros(len(table))
    given = _numbers(table, "correction_common_err")
    common = np.where(np.isfinite(given) & (given < err), given, 0.0)
    return table.with_columns(
        rv=pl.col("rv_raw"),
        rv_err=pl.Series(np.sqrt(err**2 - common**2)),
        rv_common_err=pl.Series(common),
    ).filter(pl.Series(good))


def without_visits(visits: pl.DataFrame, out: pl.DataFrame) -> pl.DataFrame:
    """Return the table with some visits flagged as excluded, by all methods.

    Arguments:
        visits: as given to `usable_visits`.
        out: those rows of what it returned that shall not count.
    """
    left = np.zeros(len(visits), bool)
    left[out["row"].to_numpy()] = True
    if "visit_id" in visits.columns:
        named = out["visit_id"].drop_nulls().implode()
        left |= visits["visit_id"].is_in(named).fill_null(value=False).to_numpy()
    status = standard_velocities(visits)["status"].to_numpy()
    status = np.where(left, status | int(Status.USER_EXCLUDED), status)
    return visits.with_columns(status=pl.Series(status, dtype=pl.Int64))


def groups_of(table: pl.DataFrame, stars: int) -> Groups:
    """Return which rows of `usable_rows` or `usable_visits` share a zero and a star."""
    zero, star_of_zero, _ = velocity_zeros(table, table["star"].to_numpy())
    return Groups(zero, star_of_zero, stars)


def night_runs(bjd: Vector, star: NDArray[np.intp] | None = None) -> NDArray[np.intp]:
    """Number the nights of visits whose nights have no name, ``(visit,)``, by gaps.

    Wherever the observatory is, 0.4 d without a visit divide two nights; midnight of UTC or
    a Julian date's noon do not.

    Arguments:
        bjd: times, d.
        star: number of each visit's star, 0 or more; each has nights of its own. None: one.

    Returns:
        Numbers from 0; -1 where the time is not known.
    """
    star = np.zeros(len(bjd), np.intp) if star is None else star
    order = np.lexsort((bjd, star))
    order = order[np.isfinite(bjd[order])]
    new = np.diff(bjd[order], prepend=-np.inf) > _NEW_NIGHT
    new |= np.diff(star[order], prepend=-1) > 0
    out = np.full(len(bjd), -1, np.intp)
    out[order] = np.cumsum(new) - 1
    return out


def count_nights(table: pl.DataFrame, stars: int) -> NDArray[np.intp]:
    """Count the nights of each star in a table of `usable_visits`, ``(star,)``.

    A visit whose night has no name is of the named night within 0.4 d, if there is one; one
    that has no time either does not count.
    """
    star = table["star"].to_numpy()
    run = night_runs(table["bjd"].to_numpy(), star)
    name, _ = codes(table, ["star", "night"])
    named = (name >= 0) & (run >= 0)
    whose = np.full(int(run.max(initial=-1)) + 1, -1)
    whose[run[named]] = name[named]
    lone = (name < 0) & (run >= 0)
    # A run of visits of which none has a name gets a number beyond all names.
    beyond = int(name.max(initial=-1)) + 1
    name[lone] = np.where(whose[run[lone]] >= 0, whose[run[lone]], beyond + run[lone])
    known = name >= 0
    first = np.unique(name[known], return_index=True)[1]
    return np.bincount(star[known][first], minlength=stars)


def _within_star(table: pl.DataFrame) -> pl.DataFrame:
    """Give usable rows the columns that `usable_visits` promises."""
    star = table["star"].to_numpy()
    groups = groups_of(table, int(star.max(initial=-1)) + 1)
    absent = [n for n in _FILLED if n not in table.columns]
    nan = float("nan")
    table = table.with_columns(
        pl.lit(nan if _FILLED[n] == FLOAT else None, dtype=_FILLED[n]).alias(n)
        for n in absent
    )
    # What all the visits of a star share moves its second component as well.
    own = (
        _numbers(table, "correction_err") ** 2 - table["rv_common_err"].to_numpy() ** 2
    )
    own = np.maximum(np.nan_to_num(own), 0.0)
    second = _numbers(table, "rv_2") - np.nan_to_num(_numbers(table, "correction"))
    second_err = np.sqrt(_numbers(table, "rv_2_err") ** 2 + own)
    second_err = np.where(np.isfinite(second), second_err, np.nan)
    double = (table["status"].to_numpy() & int(Status.DOUBLE_LINED)) != 0
    if "double_lined" in table.columns and table["double_lined"].dtype == pl.Boolean:
        double |= table["double_lined"].fill_null(value=False).to_numpy()
    return table.with_columns(
        zero=pl.Series(_within(groups)),
        bjd=pl.Series(_numbers(table, "bjd")),
        rv_raw=pl.col("_raw"),
        rv_2=pl.Series(second),
        rv_2_err=pl.Series(second_err),
        double_lined=pl.Series(double | np.isfinite(second)),
        row=pl.col("row").cast(pl.Int64),
    ).drop("_raw", "rv_raw_err")


def _within(groups: Groups) -> NDArray[np.intp]:
    """Return the number of each visit's zero among those of its star, ``(visit,)``."""
    # Zeros are numbered star by star.
    first = np.searchsorted(groups.star_of_zero, np.arange(groups.n_stars))
    return (np.arange(groups.n_zeros) - first[groups.star_of_zero])[groups.zero]


def _numbers(table: pl.DataFrame, name: str) -> Vector:
    """Return a column as floats, NaN where there is none."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    column = table[name].cast(pl.Float64, strict=False)
    return column.fill_null(float("nan")).to_numpy()
