"""Periods of all stars of a table.

Each star is searched as in `periodogram`; where its options ask for several sines, they
are found one after the other: the next one is looked for with those before it fitted at
every frequency, until noise would do as well, and at the end all are fitted together.
"""

__all__ = ["FAILED", "failed_search", "find_periods"]

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from steadystar.data import schema
from steadystar.infer.aliases import name_aliases
from steadystar.infer.modes import find_modes, mode_rows
from steadystar.infer.peaks import peak_rows, search
from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.star_visits import usable_visits
from steadystar.infer.velocity_curve import Curve

FAILED = "the search failed"
"""How ``period_status`` begins where a star's numbers did not work out."""

_DEFAULT = PeriodOptions()
_DOUBLE = "good, all visits double-lined: the first star's velocities"


def find_periods(
    visits: pl.DataFrame,
    star_ids: Iterable | None = None,
    options: PeriodOptions = _DEFAULT,
) -> pl.DataFrame:
    """Return the highest peaks of every star's periodogram (schema "periods").

    Arguments:
        visits: calibrated visits, with ``star_id, bjd, rv, rv_err``.
        star_ids: which stars; None: all that have ``options.min_visits`` visits.
        options: see `PeriodOptions`.

    Rows are sorted by star and rank. With ``options.n_modes > 1`` the first rows of a star
    are the sines that were found, each with the power that it explains beside the others;
    then come other peaks. A star named in ``star_ids`` that cannot be searched, or whose
    search fails, has a row of rank 0 without a period, and ``period_status`` says why.

    Double-lined visits are left out: the velocity of a blend is nobody's, and the first
    star's beside it would make another curve. A star that has no others is searched in
    them (``rv`` is then the first star's), and ``period_status`` says so.

    Raises:
        ValueError: a column is missing, or ``star_ids`` has a star without a visit.
    """
    table = usable_visits(visits)
    if "bjd" not in visits.columns:
        raise ValueError(
            "The table has no column bjd: periods need the times of the visits; give "
            "barycentric Julian dates."
        )
    table = table.filter(pl.col("bjd").is_finite())
    wanted = None
    if star_ids is not None:
        wanted = pl.Series("star_id", list(star_ids), dtype=visits["star_id"].dtype)
        unknown = wanted.filter(~wanted.is_in(visits["star_id"].implode()))
        if len(unknown):
            raise ValueError(
                f"Star {unknown[0]} has no visit in the table: name stars by their star_id."
            )
        table = table.filter(pl.col("star_id").is_in(wanted.implode()))
    found = {}
    for (star_id,), own in table.group_by("star_id", maintain_order=True):
        rows = _searched(own, options)
        failed = rows["period_status"][0].startswith(FAILED)
        if rows["rank"] != [0] or failed or wanted is not None:
            found[star_id] = rows
    for star_id in () if wanted is None else wanted.unique():
        found.setdefault(star_id, _refused("no usable visit has a time"))
    return _table(found, visits)


def failed_search(star_id: Any, why: str, visits: pl.DataFrame) -> pl.DataFrame:
    """Return the row of a star whose search ended with an error (schema "periods").

    ``visits``: those that were searched, for the dtype of their ``star_id``.
    """
    return _table({star_id: _refused(f"{FAILED}: {why}")}, visits)


def _searched(visits: pl.DataFrame, options: PeriodOptions) -> dict[str, list]:
    """Return the rows of one star, from its single-lined visits if it has any."""
    double = visits["double_lined"]
    mixed = double.any() and not double.all()
    if mixed:
        visits = visits.filter(~double)
    columns = [visits[name].to_numpy() for name in ("bjd", "rv", "rv_err", "zero")]
    curve = Curve.of(*columns)
    refusal = curve.refusal(options)
    if refusal is not None:
        left_out = f" ({double.sum()} double-lined left out)" if mixed else ""
        return _refused(refusal + left_out)
    try:
        rows = _rows(curve, options)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        return _refused(f"{FAILED}: {error}")
    if double.all():
        rows["period_status"] = [_DOUBLE] * len(rows["rank"])
    return rows


def _refused(reason: str) -> dict[str, list]:
    return {"rank": [0], "period_status": [reason]}


def _table(found: dict, visits: pl.DataFrame) -> pl.DataFrame:
    columns: dict[str, list] = {name: [] for name in schema.columns("periods")}
    for star_id, rows in found.items():
        several = len(rows["rank"])
        for name, values in columns.items():
            if name == "star_id":
                values += [star_id] * several
            else:
                values += rows.get(name, [None] * several)
    types = {c.name: c.dtype for c in schema.TABLES["periods"]} | {
        "star_id": visits.schema["star_id"]
    }
    table = pl.DataFrame(columns, schema=types).sort("star_id", "rank")
    return schema.conform(table, "periods", keep_dtype=("star_id",))


def _rows(curve: Curve, options: PeriodOptions) -> dict[str, list]:
    first = search(curve, options, np.empty(0))
    rows = peak_rows(curve, first, options)
    if options.n_modes == 1:
        return rows
    modes = find_modes(curve, options, first)
    if len(modes) < 2:
        return rows
    found = mode_rows(curve, modes, options)
    apart = 1 / np.ptp(curve.t)
    frequency = 1 / np.array(rows["period"])
    others = [i for i, f in enumerate(frequency) if np.abs(modes - f).min() > apart][
        : max(options.n_peaks - len(modes), 0)
    ]
    # Aliases of the first periodogram's peaks are named by their ranks there.
    joined = {name: found[name] + [rows[name][i] for i in others] for name in rows}
    joined["rank"] = list(range(1, len(modes) + len(others) + 1))
    names = name_aliases(curve.t, first.sampling.weight, 1 / np.array(joined["period"]))
    m = len(modes)
    joined["alias_of"] = [None] * m + names[0][m:]
    joined["alias"] = [None] * m + names[1][m:]
    return joined
