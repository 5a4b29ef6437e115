"""Zero points, family by family: as points or as a map (Zong et al. 2020, figure A1).

A family of offsets is any group of columns. Its figure puts what runs (exposures, nights
or fibers) on the horizontal axis and what stands beside each other (spectrographs,
telescopes) in rows; with one row the offsets are points with error bars, with several a
map. What they are made of is in `distributions`.
"""

__all__ = ["natural", "offset_figures"]

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.naming import spoken
from steadystar.publish.numbers import (
    DASH,
    Array,
    counted,
    finite,
    kms,
    median,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Heat,
    Line,
    Missing,
    Panel,
    Points,
    arm_color,
    arm_title,
)

_RUNNING = ("exposure_id", "night", "fiber")
_MOST_COLUMNS = 300
"""Columns of a map; more are averaged by neighbors."""
_MOST_ROWS = 64
_MOST_PANELS = 6
_MOST_APART = 4
"""Telescopes or spectrographs whose fibers get a panel each."""
_MOST_LABELS = 30
_MOST_NIGHTS = 40


def offset_figures(
    facts: Facts, offsets: Mapping[str, pl.DataFrame]
) -> list[Figure | Missing]:
    """Make one figure a family of offsets."""
    if not offsets:
        return [
            Missing(
                "zero-points",
                "Zero points",
                "No zero points were solved: the velocities are as measured.",
            )
        ]
    return [_family(facts, name, table) for name, table in sorted(offsets.items())]


def _family(facts: Facts, family: str, table: pl.DataFrame) -> Figure | Missing:
    name, title = f"zero-points-{family}", f"Zero points of {spoken(family)}"
    columns = [c for c in family.split("+") if c in table.columns]
    if "offset" in table.columns:
        offset = pl.col("offset").cast(pl.Float64)
        absurd = ~(offset.abs() < 1e9).fill_null(False)
        table = table.with_columns(
            pl.when(absurd).then(float("nan")).otherwise(offset).alias("offset")
        )
    known = finite(table["offset"]) if "offset" in table.columns else np.empty(0)
    if not columns or not known.size:
        reason = (
            f"None of the {len(table):,} groups of {family} could be determined: in "
            "each there are too few steady stars that were also seen in another group."
        )
        return Missing(name, title, reason)
    running = next((c for c in _RUNNING if c in columns), columns[-1])
    ordered = _placed(facts, table, running)
    nights = _night_ends(facts) if running == "exposure_id" else np.empty(0)
    panels = []
    beside = [c for c in columns if c not in (running, "arm")]
    for arm, rows in _by_arm(ordered, columns, facts.arms)[:_MOST_PANELS]:
        names = _row_names(rows, beside)
        if running == "fiber" and 1 < len(set(names)) <= _MOST_APART:
            # Fibers are known far better than they differ: their errors are worth seeing.
            panels += _apart(rows, names, arm, facts.arms)
            continue
        panels.append(_offset_panel(rows, beside, running, arm, facts.arms, nights))
    return Figure(
        name=name,
        title=title,
        panels=tuple(panels),
        columns=1,
        wide=True,
        shows=_shows(family, panels[0], nights),
        good=_GOOD.get(running, _GOOD["fiber"]),
        here=_offset_sentence(table, known, family),
    )


_IN_TIME = {"exposure_id": "exposure, in order of time", "night": "night"}
_CHANGES = (
    "Offsets of a few hundred m/s to a few km/s that change from night to night, while "
    "neighboring exposures of one night are alike. A single one that stands out by "
    "several km/s points to a change of the arc lamp."
)
_GOOD = {
    "exposure_id": _CHANGES,
    "night": _CHANGES,
    "fiber": "Offsets much larger than their errors are worth correcting; neighbors "
    "alike or not, they should stay the same from year to year.",
}


def _shows(family: str, panel: Panel, nights: Array) -> str:
    text = (
        f"The zero point of every {spoken(family)}: what is subtracted from the "
        "velocities measured there."
    )
    heat = next((mark for mark in panel.marks if isinstance(mark, Heat)), None)
    if heat is not None:
        text += " One cell a group (Zong et al. 2020, figure A1)"
        counted_cells = heat.roomy and heat.counts is not None
        text += (
            "; the numbers are the constant stars that determined it."
            if counted_cells
            else "."
        )
    if nights.size:
        text += " Thin vertical lines part the nights."
    return text


def _night_ends(facts: Facts) -> Array:
    """Where a night ends on an axis of exposures; nothing if that would be a thicket."""
    exposures = (
        facts.visits.drop_nulls(["place", "night"])
        .group_by("place")
        .agg(pl.col("night").first())
        .sort("place")
    )
    night, place = exposures["night"].to_list(), exposures["place"].to_numpy()
    ends = [place[i] + 0.5 for i in range(len(night) - 1) if night[i] != night[i + 1]]
    if len(ends) > _MOST_NIGHTS or len(night) > _MOST_COLUMNS:
        return np.empty(0)
    return np.array(ends, dtype=np.float64)


def _offset_sentence(table: pl.DataFrame, known: Array, family: str) -> str:
    lost = len(table) - known.size
    sentence = (
        f"Here: {counted(known.size, 'offset')}, from {significant(known.min())} to "
        f"{significant(known.max())} km/s, with a scatter of {kms(float(known.std()))}"
    )
    if "offset_err" in table.columns:
        error = median(table["offset_err"])
        if np.isfinite(error):
            sentence += f"; the median error is {kms(error)}"
    sentence += "."
    if lost:
        sentence += (
            f" {counted(lost, 'group')} of {family} could not be determined; "
            "velocities there stay as measured and say so in their status."
        )
    return sentence


def _placed(facts: Facts, table: pl.DataFrame, running: str) -> pl.DataFrame:
    """Add ``_place`` (1, 2, ... along the horizontal axis) and ``_label``."""
    key = pl.col(running).cast(pl.String).fill_null(DASH)
    table = table.with_columns(key.alias("_label"))
    if running == "exposure_id":
        order = facts.visits.group_by("exposure").agg(
            pl.col("place").first().cast(pl.Float64).alias("_time")
        )
        table = table.join(
            order,
            left_on="_label",
            right_on="exposure",
            how="left",
            maintain_order="left",
        ).with_columns(pl.col("_time").fill_null(float("inf")))
        labels = table.select("_time", "_label").unique().sort("_time", "_label")
    else:
        labels = (
            table.select("_label", pl.col(running).alias("_key"))
            .unique()
            .sort("_key", "_label", nulls_last=True)
        )
    labels = labels.select("_label").unique(maintain_order=True)
    places = labels.with_columns(pl.int_range(1, pl.len() + 1).alias("_place"))
    return table.join(places, on="_label", how="left", maintain_order="left")


def _by_arm(
    table: pl.DataFrame, columns: list[str], arms: tuple[str, ...]
) -> list[tuple[str, pl.DataFrame]]:
    if "arm" not in columns:
        return [("", table)]
    table = table.with_columns(pl.col("arm").cast(pl.String).fill_null("all"))
    present = table["arm"].unique().to_list()
    order = [arm for arm in arms if arm in present]
    order += sorted(arm for arm in present if arm not in arms)
    return [(arm, table.filter(pl.col("arm") == arm)) for arm in order]


def _row_names(rows: pl.DataFrame, beside: list[str]) -> list[str]:
    if not beside:
        return [""] * len(rows)
    words = [pl.col(c).cast(pl.String).fill_null(DASH) for c in beside]
    return rows.select(pl.concat_str(words, separator=" ")).to_series().to_list()


def _apart(
    rows: pl.DataFrame, names: list[str], arm: str, arms: tuple[str, ...]
) -> list[Panel]:
    """A panel of points for each telescope or spectrograph."""
    rows = rows.with_columns(pl.Series("_row", names))
    panels = []
    for name in sorted(set(names), key=natural):
        part = rows.filter(pl.col("_row") == name)
        if not part["offset"].is_finite().any():
            continue
        title = f"{name}, {arm_title(arm)}" if arm_title(arm) else name
        color = arm_color(arm or "all", arms)
        panels.append(_points_panel(part, Axis("fiber"), title, color, np.empty(0)))
    return panels


def _offset_panel(
    rows: pl.DataFrame,
    beside: list[str],
    running: str,
    arm: str,
    arms: tuple[str, ...],
    nights: Array,
) -> Panel:
    rows = rows.with_columns(pl.Series("_row", _row_names(rows, beside)))
    names = sorted(rows["_row"].unique().to_list(), key=natural)[:_MOST_ROWS]
    title = arm_title(arm)
    axis = Axis(_IN_TIME.get(running, running))
    if len(names) <= 1:
        color = arm_color(arm or "all", arms)
        return _points_panel(rows, axis, title, color, nights)
    return _map_panel(rows, names, axis, title, beside, nights)


def natural(text: str) -> tuple:
    """A key that sorts names with numbers in them as a person would."""
    return tuple((0, int(w), "") if w.isdigit() else (1, 0, w) for w in text.split())


def _points_panel(
    rows: pl.DataFrame, axis: Axis, title: str, color: str, nights: Array
) -> Panel:
    rows = rows.sort("_place")
    x = rows["_place"].to_numpy().astype(float)
    number = rows["_label"].cast(pl.Float64, strict=False)
    if axis.label == "fiber" and number.is_not_null().all():
        x = number.to_numpy()
    elif len(rows) <= _MOST_LABELS and axis.label not in _IN_TIME.values():
        texts = rows["_label"].to_list()
        axis = replace(axis, ticks=tuple(zip(x.tolist(), texts, strict=True)))
    error = (
        rows["offset_err"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if "offset_err" in rows.columns
        else None
    )
    offset = rows["offset"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = finite(offset)
    low, high = known.min(initial=0.0), known.max(initial=0.0)
    room = 0.1 * (high - low) + 1e-3
    marks = (
        *_posts(nights, low - room, high + room),
        Line(
            np.array([x.min() - 0.5, x.max() + 0.5]), np.zeros(2), "muted", dash="dot"
        ),
        Points(
            x,
            offset,
            color,
            error=error,
            hover=_cell_hover(rows),
        ),
    )
    y = Axis("zero point (km/s)", low=float(low - room), high=float(high + room))
    return Panel(axis, y, marks, title=title, tall=0.8)


def _posts(at: Array, low: float, high: float) -> tuple[Line, ...]:
    """Vertical lines at each place, as one line with gaps."""
    if not at.size:
        return ()
    x = np.repeat(at, 3)
    y = np.tile([low, high, np.nan], at.size)
    return (Line(x, y, "muted", width=0.7),)


def _cell_hover(rows: pl.DataFrame) -> list[str]:
    labels = rows["_label"].to_list()
    if "n_constant" not in rows.columns:
        return labels
    return [
        f"{label}: {counted(int(n or 0), 'constant star')}"
        for label, n in zip(labels, rows["n_constant"].to_list(), strict=True)
    ]


def _map_panel(
    rows: pl.DataFrame,
    names: list[str],
    axis: Axis,
    title: str,
    beside: list[str],
    nights: Array,
) -> Panel:
    places = int(rows["_place"].max() or 1)  # pyright: ignore[reportArgumentType]
    group = -(-places // _MOST_COLUMNS)
    width = -(-places // group)
    number = {name: i for i, name in enumerate(names)}
    offset = rows["offset"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    row = np.array([number.get(name, -1) for name in rows["_row"].to_list()])
    column = (rows["_place"].to_numpy() - 1) // group
    good = (row >= 0) & np.isfinite(offset)
    total = np.zeros((len(names), width))
    cells = np.zeros((len(names), width))
    np.add.at(total, (row[good], column[good]), offset[good])
    np.add.at(cells, (row[good], column[good]), 1)
    with np.errstate(invalid="ignore"):
        z = np.where(cells > 0, total / np.maximum(cells, 1), np.nan)
    counts = None
    if "n_constant" in rows.columns and group == 1:
        counts = np.zeros((len(names), width), np.int64)
        stars = rows["n_constant"].fill_null(0).to_numpy().astype(np.int64)
        np.add.at(counts, (row[good], column[good]), stars[good])
    labels = (
        rows.select("_place", "_label").unique("_place", keep="first").sort("_place")
    )
    column_names = labels["_label"].to_list()[::group]
    if group > 1:
        axis = Axis(f"{axis.label} ({group} averaged)")
    first = " ".join(beside)
    return Panel(
        axis,
        Axis(first),
        (
            Heat(
                tuple(names),
                z,
                "km/s",
                counts,
                column_names,
            ),
            *_posts(nights if group == 1 else np.empty(0), 0.5, len(names) + 0.5),
        ),
        title=title,
        tall=float(np.clip(0.08 * len(names) + 0.25, 0.4, 1.6)),
    )
