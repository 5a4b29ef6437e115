"""How often each field was observed (Zong et al. 2020, figure 3), and the log (table 2)."""

__all__ = ["exposures_per_field", "field_listing", "observing_log"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.field_facts import field_nights, field_table
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    calendar_date,
    counted,
    counts_axis,
    finite,
    median,
    significant,
)
from steadystar.publish.plot import Axis, Bars, Figure, Missing, Panel, Steps

_TITLE = "Exposures of each field"
_MOST_BARS = 40
_MOST_NAMES = 24


def exposures_per_field(facts: Facts) -> Figure | Missing:
    """A bar a field, the most observed first; a histogram where there are many."""
    fields = field_table(facts)
    if not len(fields):
        return Missing(
            "fields", _TITLE, "The table of velocities does not say fields or plates."
        )
    if len(fields) == 1:
        row = fields.row(0, named=True)
        return Missing(
            "fields",
            _TITLE,
            f"There is only one field, with {counted(row['exposures'], 'exposure')}.",
        )
    number = fields["exposures"].to_numpy().astype(float)
    few = len(fields) <= _MOST_BARS
    panel = _bars(fields) if few else _histogram(number)
    most = fields.sort("exposures", "field", descending=[True, False])
    return Figure(
        name="fields",
        title=_TITLE,
        panels=(panel,),
        wide=few and len(fields) > 8,
        shows="How many exposures each field (plate, plan) has, the arms of one exposure "
        "counted once (Zong et al. 2020, figure 3)."
        if few
        else "How many fields (plates, plans) have so many exposures, the arms of one "
        "exposure counted once (Zong et al. 2020, figure 3).",
        good="Many exposures of each field: a star's velocity is compared with itself, "
        "and from three exposures on what is steady can be told from what is not.",
        here=f"Here: {counted(len(fields), 'field')} with {number.min():.0f} to "
        f"{number.max():.0f} exposures (median {median(number):.3g}); most has "
        f"{most['field'][0]}.",
    )


def _bars(fields: pl.DataFrame) -> Panel:
    fields = fields.sort("exposures", "field", descending=[True, False])
    at = np.arange(1.0, len(fields) + 1)
    names = fields["field"].to_list()
    hover = [
        f"{row['field']}: {counted(row['exposures'], 'exposure')} in "
        f"{counted(row['nights'], 'night')}, {counted(row['stars'], 'star')}"
        for row in fields.iter_rows(named=True)
    ]
    every = 1 if len(names) <= _MOST_NAMES else 2
    ticks = tuple(
        (float(i + 1), name if len(name) <= 12 else f"…{name[-12:]}")
        for i, name in enumerate(names)
        if i % every == 0
    )
    number = fields["exposures"].to_numpy().astype(float)
    return Panel(
        Axis("field", low=0.4, high=len(names) + 0.6, ticks=ticks),
        counts_axis("exposures", float(number.max())),
        (Bars(at, number, "blue", hover=hover),),
    )


def _histogram(number: Array) -> Panel:
    step = max(1, int(np.ceil(number.max() / 40)))
    edges = np.arange(0.5, number.max() + step + 0.5, step)
    heights, _ = np.histogram(number, edges)
    return Panel(
        Axis("exposures of a field"),
        counts_axis("fields", float(heights.max())),
        (Steps(edges, heights.astype(float), "blue"),),
    )


def observing_log(facts: Facts, options: ReportOptions) -> Listing | None:
    """A row a night of a field; None where no field is known."""
    log = field_nights(facts)
    if not len(log):
        return None
    shown = log.tail(options.listed_rows)
    seeing = "seeing" in log.columns and log["seeing"].is_not_null().any()
    arms = [arm for arm in facts.arms if log[f"snr {arm}"].is_not_null().any()]
    rows = tuple(
        (
            calendar_date(row["night"]),
            row["field"],
            f"{row['exposures']:,}",
            _times(row),
            significant(_hours(row["seconds"]), 3),
            f"{row['stars']:,}",
            *(significant(row[f"snr {arm}"]) for arm in arms),
            *((significant(row["seeing"], 2),) if seeing else ()),
        )
        for row in shown.iter_rows(named=True)
    )
    nights = log["night"].drop_nulls().n_unique()
    total = _hours(float(finite(log["seconds"]).sum()))
    note = f"{counted(nights, 'night')}, {log['exposures'].sum():,} exposures"
    note += f", {significant(total, 3)} hours of open shutter." if total else "."
    if len(shown) < len(log):
        note += f" The last {len(shown):,} of {len(log):,} rows are listed."
    note += " Click on a heading to sort."
    columns = (
        *("night", "field", "exposures", "seconds", "hours", "stars"),
        *(f"S/N{_of(arm)}" for arm in arms),
        *(("seeing (arcsec)",) if seeing else ()),
    )
    return Listing(
        "observing-log",
        "Observing log",
        columns,
        rows,
        note=note,
        numeric=frozenset({2, *range(4, len(columns))}),
        search=len(rows) > 20,
        sortable=True,
    )


def field_listing(facts: Facts, options: ReportOptions) -> Listing | None:
    """A row a field; None where there are fewer than two."""
    fields = field_table(facts)
    if len(fields) < 2:
        return None
    shown = fields.sort("exposures", "field", descending=[True, False])
    shown = shown.head(options.listed_rows)
    rows = tuple(
        (
            row["field"],
            _degrees(row["ra"]),
            _degrees(row["dec"]),
            f"{row['stars']:,}",
            f"{row['exposures']:,}",
            f"{row['nights']:,}",
            significant(_hours(row["seconds"]), 3),
            *(significant(row[f"snr {arm}"]) for arm in facts.arms),
            calendar_date(row["first"]),
            calendar_date(row["last"]),
        )
        for row in shown.iter_rows(named=True)
    )
    columns = (
        *("field", "ra (deg)", "dec (deg)", "stars", "exposures", "nights", "hours"),
        *(f"S/N{_of(arm)}" for arm in facts.arms),
        *("first night", "last night"),
    )
    note = "Middle of the stars; median S/N. Click on a heading to sort."
    if len(shown) < len(fields):
        note = (
            f"The {len(shown):,} fields with most exposures of {len(fields):,}. " + note
        )
    return Listing(
        "plates",
        "Fields",
        columns,
        rows,
        note=note,
        numeric=frozenset(range(1, len(columns) - 2)),
        search=len(rows) > 20,
        sortable=True,
    )


def _of(arm: str) -> str:
    return f", {arm}" if arm != "all" else ""


def _hours(seconds: float | None) -> float | None:
    return seconds / 3600 if seconds else None


def _times(row: dict) -> str:
    """The time of an exposure, or its range."""
    if row["shortest"] is None:
        return DASH
    if row["longest"] - row["shortest"] < 0.5:
        return f"{row['exposures']} \N{MULTIPLICATION SIGN} {row['shortest']:.0f}"
    return f"{row['shortest']:.0f} to {row['longest']:.0f}"


def _degrees(value: float) -> str:
    return f"{value:.2f}".replace("-", MINUS) if np.isfinite(value) else DASH
