"""Which visits can be compared with standards, where their stars are, and the matches."""

__all__ = [
    "match_table",
    "positions",
    "reasons",
    "relative_rows",
    "usable_visits",
    "with_velocity",
]

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError
from steadystar.calibrate.standard_match import Match
from steadystar.calibrate.visits import (
    STAYS_OUT,
    codes,
    double_lined_stars,
    duplicates,
    standard_visits,
)
from steadystar.calibrate.visitsums import Vector, sums
from steadystar.data.status import Status


def with_velocity(visits: pl.DataFrame) -> pl.DataFrame:
    """Return the table with ``rv, rv_err``, from ``rv_raw`` where it has none, and status."""
    final = {"rv", "rv_err"} <= set(visits.columns) and visits["rv"].dtype.is_numeric()
    if final and visits["rv"].cast(pl.Float64).is_finite().any():
        value = visits.drop("rv_raw", "rv_raw_err", strict=False)
        value = standard_visits(value)
    else:
        value = standard_visits(visits)
        if not value["rv_raw"].is_finite().any():
            raise CalibrationError(
                "The table has no velocity that is a number: give a table with values in "
                "rv or rv_raw."
            )
    return visits.with_columns(
        value["status"],
        rv=value["rv_raw"],
        rv_err=value["rv_raw_err"],
    )


def relative_rows(visits: pl.DataFrame) -> NDArray[np.bool_]:
    """Return the rows (bool) whose velocities are relative to another visit."""
    if "reference_visit_id" not in visits.columns:
        return np.zeros(len(visits), bool)
    reference = visits["reference_visit_id"]
    relative = reference.is_not_null()
    if "method" in visits.columns:
        # A method is relative as a whole: also where a row lacks its reference.
        methods = visits.filter(relative)["method"].drop_nulls().unique()
        relative |= visits["method"].is_in(methods.implode()).fill_null(value=False)
    return relative.to_numpy()


def usable_visits(visits: pl.DataFrame) -> tuple[NDArray[np.bool_], list[str]]:
    """Return the visits that can be compared, and what is to be said of the others."""
    notes = []
    relative = relative_rows(visits)
    rv, err = visits["rv"].to_numpy(), visits["rv_err"].to_numpy()
    measured = np.isfinite(rv)
    if (relative & measured).any():
        if not (measured & ~relative).any():
            raise CalibrationError(
                "All velocities of the table are relative, each star to one of its own "
                "visits: they have no zero that standards could tell. Measure absolute "
                "ones as well (measure_absolute), and compare these."
            )
        notes.append(
            f"{int((relative & measured).sum())} relative velocities are neither "
            "compared nor changed: each star has a zero of its own."
        )
    flags = int(STAYS_OUT | Status.DUPLICATE)
    good = measured & ~relative & ((visits["status"].to_numpy() & flags) == 0)
    good &= ~duplicates(
        visits.with_columns(rv_raw=pl.col("rv"), rv_raw_err=pl.col("rv_err"))
    )
    star, _ = codes(visits, ["star_id"])
    valid = np.isfinite(err) & (err > 0)
    if good.any() and not (good & valid).any():
        raise CalibrationError(
            "No velocity has an error that is a positive number: name the column that "
            "has it (rv_err), or add one."
        )
    lost = int((measured & ~relative & ~(good & valid & (star >= 0))).sum())
    if lost:
        notes.append(
            f"{lost} of {int((measured & ~relative).sum())} velocities are not compared: "
            "their status, a missing error or a missing star keeps them out."
        )
    return good & valid & (star >= 0), notes


def positions(visits, star, star_ids, good) -> pl.DataFrame:
    """Return ``star_id, ra, dec, bjd`` of every star, NaN where unknown."""
    size = len(star_ids)
    known = {}
    for name in ("ra", "dec", "bjd"):
        value = np.full(len(visits), np.nan)
        if name in visits.columns:
            value = visits[name].cast(pl.Float64, strict=False).fill_null(np.nan)
            value = value.to_numpy()
        known[name] = value
    placed = good & np.isfinite(known["ra"]) & np.isfinite(known["dec"])
    # The first position of a star is as good as any: its visits were matched before.
    out = {name: np.full(size, np.nan) for name in known}
    first, at = np.unique(star[placed], return_index=True)
    for name in ("ra", "dec"):
        out[name][first] = known[name][placed][at]
    timed = good & np.isfinite(known["bjd"])
    number = sums(star[timed], np.ones(int(timed.sum())), size)
    total = sums(star[timed], known["bjd"][timed], size)
    out["bjd"] = np.where(number > 0, total / np.maximum(number, 1), np.nan)
    seen = pl.Series(np.bincount(star[good], minlength=size) > 0)
    # A star without a usable visit is no candidate.
    ids = star_ids.select(star_id=pl.when(seen).then(pl.col("star_id").cast(pl.String)))
    return ids.with_columns(**{name: pl.Series(values) for name, values in out.items()})


def reasons(visits, star, sky, standards, match: Match, stars) -> list[str | None]:
    """Return why each star (that is a standard) is left out; None if it is not."""
    set_aside = standards["set_aside"].to_list()
    out = [None if s < 0 else set_aside[s] for s in match.standard.tolist()]
    table = visits.with_columns(rv_raw=pl.col("rv"))
    double = np.zeros(len(sky), bool)
    double[star[double_lined_stars(table, star) & (star >= 0)]] = True
    varies = np.full(len(sky), None, object)
    if stars is not None:
        double |= _verdict(
            sky, stars, "double_lined", lambda c: c.fill_null(value=False)
        )
        low = _verdict(sky, stars, "p_constant", lambda c: c.fill_nan(None) < 0.5)
        varies[low] = "probably variable by these velocities (p_constant below 0.5)"
        found = _verdict(sky, stars, "variable", lambda c: c.fill_null(value=False))
        varies[found] = "variable by these velocities"
    return [
        given or ("double-lined" if two else None) or moving
        for given, two, moving in zip(out, double, varies, strict=True)
    ]


def _verdict(sky: pl.DataFrame, stars: pl.DataFrame, name: str, test) -> NDArray:
    if not {"star_id", name} <= set(stars.columns):
        return np.zeros(len(sky), bool)
    found = stars.select(
        pl.col("star_id").cast(pl.String), test(pl.col(name)).alias("_")
    )
    found = sky.select("star_id").join(
        found.unique("star_id", keep="first", maintain_order=True),
        on="star_id",
        how="left",
        maintain_order="left",
    )
    return found["_"].fill_null(value=False).to_numpy()


def match_table(
    visits: pl.DataFrame, rows, star, group, sky, standards, match: Match, reason
) -> pl.DataFrame:
    """Return one row a star and group, sorted by group and star."""
    part = visits.filter(pl.Series(rows))
    star, group = star[rows], group[rows]
    key = group * (int(star.max(initial=0)) + 1) + star
    _, first, pair = np.unique(key, return_index=True, return_inverse=True)
    size = len(first)
    rv, err = part["rv"].to_numpy(), part["rv_err"].to_numpy()
    common = _common(part, err)
    weight = 1 / (err**2 - common**2)
    total = sums(pair, weight, size)
    mean = sums(pair, weight * rv, size) / total
    mean_err = np.sqrt(1 / total + sums(pair, weight * common**2, size) / total)
    star, group = star[first], group[first]
    found = match.standard[star]
    theirs = standards[found]
    known = theirs["rv_err"].to_numpy()
    difference = mean - theirs["rv"].to_numpy()
    why = [reason[s] for s in star.tolist()]
    return pl.DataFrame(
        {
            "_group": pl.Series(group, dtype=pl.Int64),
            "star_id": sky["star_id"][star],
            "standard_id": theirs["given"],
            "matched": pl.Series([match.by[s] for s in star.tolist()], dtype=pl.String),
            "separation": match.separation[star],
            "n_visits": pl.Series(np.bincount(pair, minlength=size), dtype=pl.Int64),
            "bjd": _mean_of(part, pair, size, "bjd"),
            "rv": mean,
            "rv_err": mean_err,
            "rv_standard": theirs["rv"],
            "rv_standard_err": theirs["rv_err"],
            "difference": difference,
            "difference_err": np.hypot(mean_err, np.nan_to_num(known)),
            "teff": _either(theirs["teff"], part, pair, ("teff", "rv_teff", "RV_TEFF")),
            "color": _either(theirs["color"], part, pair, ("color", "bp_rp", "b_v")),
            "used": pl.Series([w is None for w in why]),
            "reason": pl.Series(why, dtype=pl.String),
        }
    )


def _common(visits: pl.DataFrame, err: Vector) -> Vector:
    if "correction_common_err" not in visits.columns:
        return np.zeros(len(visits))
    given = visits["correction_common_err"].cast(pl.Float64).fill_null(0).to_numpy()
    return np.where(np.isfinite(given) & (given < err), given, 0.0)


def _mean_of(visits: pl.DataFrame, pair, size: int, name: str) -> Vector:
    if name not in visits.columns or not visits[name].dtype.is_numeric():
        return np.full(size, np.nan)
    value = visits[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    good = np.isfinite(value) & (np.abs(value) != 9999)
    number = sums(pair[good], np.ones(int(good.sum())), size)
    total = sums(pair[good], value[good], size)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _either(theirs: pl.Series, visits, pair, names: Sequence[str]) -> Vector:
    """Return what the list says of each star, else what the visits do."""
    value = theirs.to_numpy()
    for name in names:
        ours = _mean_of(visits, pair, len(value), name)
        value = np.where(np.isfinite(value), value, ours)
    return value
