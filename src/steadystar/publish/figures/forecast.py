"""What a plan would give: errors of its zero points, weak links, and new ties."""

__all__ = ["forecast_items"]

import numpy as np
import polars as pl

from steadystar.calibrate.forecast import Forecast
from steadystar.infer.summary import summarize_stars
from steadystar.publish.facts import gather
from steadystar.publish.figures.ties import ties
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.lists import Listing
from steadystar.publish.naming import group_names, spoken
from steadystar.publish.numbers import (
    DASH,
    counted,
    finite,
    log_edges,
    median,
    significant,
    uniform_edges,
)
from steadystar.publish.plot import (
    Axis,
    Color,
    Figure,
    Missing,
    Panel,
    Points,
    Steps,
)

_COLORS: tuple[Color, ...] = ("blue", "orange", "green", "purple", "red", "sky")
_MOST_LISTED = 200
_DECADES = 10.0
"""Ratio of the largest to the smallest error from which axes are logarithmic."""


def forecast_items(
    forecast: Forecast, visits: pl.DataFrame
) -> list[Figure | Missing | Listing]:
    """Return everything that the page of a forecast shows, in order.

    ``visits``: the plan, as `Forecast.apply` returns it.
    """
    errors = [_errors(name, table) for name, table in forecast.offsets.items()]
    return [
        *errors,
        _weak_links(forecast),
        _new_ties(forecast),
        _undetermined(forecast),
        *_ties(forecast, visits),
    ]


def _errors(family: str, table: pl.DataFrame) -> Figure | Missing:
    columns = family.split("+")
    error = 1000 * table["offset_err"].to_numpy()
    known = np.isfinite(error)
    title = f"Errors to come: {spoken(family)}"
    if not known.any():
        reason = "The plan determines none of them; the notes say why."
        return Missing(f"errors-{family}", title, reason)
    names = group_names(table, columns)
    place = np.arange(1.0, len(table) + 1)
    component = table["component"].to_numpy()
    sets = np.unique(component[known])
    number = table["n_stars"].to_numpy()
    marks = []
    for i, one in enumerate(sets):
        mine = np.flatnonzero(known & (component == one))
        hover = [
            f"{names[j]}: {significant(error[j], 2)} m/s, "
            f"{counted(int(number[j]), 'star')}, "
            f"{counted(int(table['n_visits'][int(j)]), 'visit')}"
            for j in mine.tolist()
        ]
        label = f"set {one + 1}" if len(sets) > 1 and i < len(_COLORS) else ""
        color = _COLORS[i % len(_COLORS)]
        marks.append(Points(place[mine], error[mine], color, label, hover=hover))
    order = Axis(f"{spoken(family)}, in the order of the table")
    wide = bool(error[known].max() > _DECADES * error[known].min())
    edges = (log_edges if wide else uniform_edges)(error[known], 40)
    heights = np.histogram(error[known], edges)[0].astype(float)
    size = Axis("error (m/s)", log=wide)
    panels = (
        Panel(order, size, tuple(marks)),
        Panel(size, Axis("number"), (Steps(edges, heights),)),
    )
    worst = int(np.nanargmax(error))
    return Figure(
        name=f"errors-{family}",
        title=title,
        panels=panels,
        columns=2,
        wide=True,
        shows="The error that each zero point will have, from who is seen where and how "
        "well (Saydjari et al. 2025, section 5.1); no velocity is needed for it.",
        good="All alike, and small beside the errors of single velocities. Groups that "
        "stand out have few visits of stars that are also seen elsewhere.",
        here=f"Here: {counted(int(known.sum()), 'zero point')} of {len(table)}, with a "
        f"median error of {significant(median(error), 2)} m/s; least is known of "
        f"{names[worst]}: {significant(error[worst], 2)} m/s.",
    )


def _weak_links(forecast: Forecast) -> Listing:
    rows = tuple(
        (
            row["groups"],
            f"{row['n_groups']:,}",
            f"{row['n_rest']:,}",
            f"{row['n_stars']:,}",
            significant(1000 * row["difference_err"], 2),
        )
        for row in forecast.weak_links.iter_rows(named=True)
    )
    note = (
        "Sets of groups that are known among each other, but less well against the rest: "
        "the error is that of the difference between the mean zero points of both sides."
    )
    return Listing(
        "weak-links",
        "The weakest links",
        ("these groups", "groups", "others", "stars in both", "error (m/s)"),
        rows,
        note=note if rows else "No set has two groups: there is nothing to link.",
        numeric=frozenset(range(1, 5)),
        wordy=frozenset({0}),
    )


def _new_ties(forecast: Forecast) -> Listing:
    rows = []
    for row in forecast.new_ties.iter_rows(named=True):
        before = row["before"]
        connects = row["purpose"] == "connect"
        rows.append(
            (
                f"{row['first']} and {row['second']}",
                "ties two sets" if connects else "strengthens",
                DASH if not np.isfinite(before) else significant(1000 * before, 4),
                significant(1000 * row["after"], 4),
            )
        )
    return Listing(
        "new-ties",
        "What one more star would buy",
        ("one star seen in both", "what it does", "before (m/s)", "after (m/s)"),
        tuple(rows),
        note="Each row adds one constant star with a visit of typical error in both "
        "groups, after those of the rows above it. Where it strengthens, the error is the "
        "root mean square over the family; where it ties two sets, that of the "
        "difference between these two groups.",
        numeric=frozenset({2, 3}),
        wordy=frozenset({0}),
    )


def _undetermined(forecast: Forecast) -> Listing:
    rows = []
    for family, table in forecast.offsets.items():
        lost = table.filter(pl.col("offset_err").is_nan())
        names = group_names(lost, family.split("+"))
        for name, row in zip(names, lost.iter_rows(named=True), strict=True):
            rows.append((name, f"{row['n_visits']:,}", f"{row['n_stars']:,}"))
    note = "The plan determines every zero point."
    if rows:
        note = f"{counted(len(rows), 'zero point')} that the plan does not determine."
    if len(rows) > _MOST_LISTED:
        note += f" The first {_MOST_LISTED} are listed."
    return Listing(
        "undetermined",
        "What the plan leaves undetermined",
        ("group", "visits", "stars"),
        tuple(rows[:_MOST_LISTED]),
        note=note,
        numeric=frozenset({1, 2}),
    )


def _ties(forecast: Forecast, visits: pl.DataFrame) -> list[Figure | Missing]:
    """Draw shared stars and correlated errors, as the report of a calibration does."""
    still = visits.with_columns(rv=pl.lit(0.0), rv_raw=pl.lit(0.0))
    inputs = ReportInputs(
        velocities=still,
        stars=summarize_stars(still),
        offsets=forecast.zeropoints.offsets,
        zeropoints=forecast.zeropoints,
    )
    if not len(finite(still["rv_err"])):
        return []
    return ties(gather(inputs), inputs)
