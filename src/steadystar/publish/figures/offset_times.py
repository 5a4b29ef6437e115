"""Zero points against time, for families whose groups are short: exposures and nights.

The map of a family orders its exposures; here they stand at their dates, with errors, so
that drifts, jumps and seasons can be told apart.
"""

__all__ = ["offset_times"]

from collections.abc import Mapping

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.figures.timeline import TimeAxis, time_axis
from steadystar.publish.figures.zeropoints import natural
from steadystar.publish.naming import group_names, spoken
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
    Line,
    Panel,
    Points,
    arm_color,
    arm_title,
)

_SHORT = 0.1
"""Part of the whole time that groups may last to count as moments."""
_MOST_PANELS = 16
_MOST_NAMED = 4000
"""Points up to which each has a text."""


def offset_times(facts: Facts, offsets: Mapping[str, pl.DataFrame]) -> list[Figure]:
    """Make one figure for every family whose groups are moments in time."""
    made = [_family(facts, name, table) for name, table in sorted(offsets.items())]
    return [figure for figure in made if figure]


def _family(facts: Facts, family: str, table: pl.DataFrame) -> Figure | None:
    columns = [c for c in family.split("+") if c in table.columns]
    if "offset" not in table.columns or not columns or not len(facts.visits):
        return None
    times = _times(facts, family, len(table))
    offset = table["offset"].cast(pl.Float64)
    rows = table.with_columns(
        _bjd=times[0],
        _offset=pl.when(offset.abs() < 1e9).then(offset).otherwise(float("nan")),
        _error=pl.col("offset_err").cast(pl.Float64).fill_null(float("nan"))
        if "offset_err" in table.columns
        else pl.lit(float("nan")),
    ).filter(pl.col("_offset").is_finite(), pl.col("_bjd").is_finite())
    span = float(np.ptp(rows["_bjd"].to_numpy())) if len(rows) > 2 else 0.0
    if span <= 0 or not median(times[1]) <= _SHORT * span:
        return None
    beside = [c for c in columns if c != "arm" and not _tells_time(rows, c, span)]
    units = _units(rows, beside)
    time = time_axis(rows.select(pl.col("_bjd").alias("bjd")))
    limits = _limits(rows)
    panels = [
        _panel(facts, part, columns, name, time, limits, named=len(rows) <= _MOST_NAMED)
        for name, part in units[:_MOST_PANELS]
    ]
    beyond = int((np.abs(rows["_offset"].to_numpy() - sum(limits) / 2)
                  > (limits[1] - limits[0]) / 2).sum())  # fmt: skip
    return Figure(
        name=f"times-{family}",
        title=f"Zero points of {spoken(family)} in time",
        panels=tuple(panels),
        columns=min(2, len(panels)),
        wide=True,
        shows="The same zero points at the mean time of their visits, with errors"
        + (f", one panel a {spoken('+'.join(beside))}." if beside else "."),
        good="Errors much smaller than the changes: these are real. Jumps mark what was "
        "done to the instrument, slopes what drifts; zero points that stray no more "
        "than their errors need no correction.",
        here=_sentence(rows, span, len(units) - len(panels), beyond),
    )


def _times(facts: Facts, family: str, size: int) -> tuple[pl.Series, pl.Series]:
    """Mean time and duration of every group of the family, NaN if unknown."""
    night = pl.col("night").cast(pl.Float64, strict=False) + 2_400_001.0
    bjd = pl.col("bjd").fill_nan(None)
    visits = facts.visits.select(
        pl.when(bjd.is_not_null().any()).then(bjd).otherwise(night).alias("bjd"),
        pl.Series("_row", facts.groups[family]),
    )
    seen = (
        visits.filter(pl.col("_row") >= 0, pl.col("bjd").is_finite())
        .group_by("_row")
        .agg(mean=pl.col("bjd").mean(), long=pl.col("bjd").max() - pl.col("bjd").min())
    )
    mean, long = np.full(size, np.nan), np.full(size, np.nan)
    mean[seen["_row"]], long[seen["_row"]] = seen["mean"], seen["long"]
    return pl.Series(mean), pl.Series(long)


def _tells_time(rows: pl.DataFrame, column: str, span: float) -> bool:
    """Whether the groups of this column alone are moments, too."""
    lasts = rows.group_by(column).agg(long=pl.col("_bjd").max() - pl.col("_bjd").min())
    return median(lasts["long"]) <= _SHORT * span


def _units(rows: pl.DataFrame, beside: list[str]) -> list[tuple[str, pl.DataFrame]]:
    if not beside:
        return [("", rows)]
    rows = rows.with_columns(_unit=pl.Series(group_names(rows, beside)))
    most = rows.group_by("_unit").len().sort("len", "_unit", descending=[True, False])
    names = most["_unit"].to_list()
    kept = sorted(names[:_MOST_PANELS], key=natural) + names[_MOST_PANELS:]
    parts = {name: part for (name,), part in rows.group_by("_unit")}
    return [(name, parts[name]) for name in kept]


def _limits(rows: pl.DataFrame) -> tuple[float, float]:
    """Limits that hold all but a few zero points far from the others, with their bars."""
    values = rows["_offset"].to_numpy()
    low, high = np.quantile(values, [0.01, 0.99])
    reach = max(high - low, 1e-3)
    inside = values[(values > low - reach) & (values < high + reach)]
    bar = 2 * median(rows["_error"]) if finite(rows["_error"]).size else 0.0
    room = 0.08 * float(np.ptp(inside)) + bar + 1e-3
    return float(inside.min() - room), float(inside.max() + room)


def _panel(
    facts: Facts,
    rows: pl.DataFrame,
    columns: list[str],
    title: str,
    time: TimeAxis,
    limits: tuple[float, float],
    *,
    named: bool,
) -> Panel:
    arm = pl.col("arm").cast(pl.String) if "arm" in columns else pl.lit(None, pl.String)
    rows = rows.with_columns(_arm=arm.fill_null("all")).sort("_bjd")
    points = []
    for name in sorted(rows["_arm"].unique().to_list()):
        part = rows.filter(pl.col("_arm") == name)
        points.append(
            Points(
                part["_bjd"].to_numpy() - time.zero,
                part["_offset"].to_numpy(),
                arm_color(name, facts.arms),
                arm_title(name),
                error=part["_error"].to_numpy(),
                hover=group_names(part, columns) if named else (),
                size=4,
            )
        )
    x = np.concatenate([p.x for p in points])
    room = 0.03 * max(float(np.ptp(x)), 1e-3)
    ends = np.array([x.min() - room, x.max() + room])
    level: Array = np.zeros(2)
    return Panel(
        Axis(time.label),
        Axis("zero point (km/s)", low=limits[0], high=limits[1]),
        (Line(ends, level, "muted", dash="dot"), *points),
        title=title,
        tall=0.8,
    )


def _sentence(rows: pl.DataFrame, span: float, left: int, beyond: int) -> str:
    offset, error = rows["_offset"].to_numpy(), median(rows["_error"])
    said = (
        f"Here: {counted(len(rows), 'zero point')} within {significant(span, 3)} days, "
        f"with a scatter of {kms(float(offset.std()))}"
    )
    if np.isfinite(error):
        ratio = float(offset.std()) / error if error > 0 else np.nan
        said += f" and a median error of {kms(error)}"
        said += f" ({significant(ratio, 2)} times less)" if ratio > 1 else ""
    said += "."
    if beyond:
        lies = "lies" if beyond == 1 else "lie"
        said += (
            f" {counted(beyond, 'zero point').capitalize()} {lies} beyond the panels."
        )
    if left:
        said += f" The {_MOST_PANELS} panels with the most are drawn, {left} are not."
    return said.replace(DASH, "unknown")
