"""Velocities of single stars against time, in all arms."""

__all__ = ["TimeAxis", "arm_points", "small_multiples", "time_axis"]

from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.data.status import Status
from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import MINUS, Array, counted, finite, kms
from steadystar.publish.plot import (
    Axis,
    Figure,
    Missing,
    Panel,
    Points,
    Real,
    arm_color,
    arm_title,
)

_TITLE = "Velocities of the most telling stars"

CAUTION = int(
    Status.UNCALIBRATED
    | Status.POOR_FIT
    | Status.TWO_MINIMA
    | Status.DOUBLE_LINED
    | Status.LAMP_OUTLIER
    | Status.PLATE_REFUSED
    | Status.INCONSISTENT_SCATTER
)
"""Flags of velocities that are drawn as open symbols."""


@dataclass(frozen=True)
class TimeAxis:
    """Where time starts: ``BJD_TDB - zero``, or the order of the rows if none is known."""

    zero: float
    known: bool

    @property
    def label(self) -> str:
        """The label of the axis."""
        return f"BJD {MINUS} {self.zero:.0f} (d)" if self.known else "exposure number"

    def of(self, visits: pl.DataFrame) -> Array:
        """Return the horizontal position of each visit."""
        if self.known:
            return visits["bjd"].to_numpy() - self.zero
        place = visits["place"].cast(pl.Float64)
        if place.is_not_null().all():
            return place.to_numpy()
        return np.arange(1.0, len(visits) + 1)


def time_axis(visits: pl.DataFrame) -> TimeAxis:
    """Choose the start of time for some visits: a full thousand of days before them."""
    times = finite(visits["bjd"])
    if not times.size:
        return TimeAxis(0.0, known=False)
    return TimeAxis(float(np.floor(times.min() / 1000) * 1000), known=True)


def arm_points(
    facts: Facts, visits: pl.DataFrame, time: TimeAxis, *, labels: bool, size: Real = 5
) -> list[Points]:
    """Velocities of one star, a color an arm; open symbols where caution is due."""
    marks = []
    for arm in facts.arms:
        rows = visits.filter((pl.col("arm") == arm) & pl.col("measured"))
        doubtful = (rows["status"].to_numpy() & CAUTION) != 0
        for symbol, chosen in (("circle", ~doubtful), ("open", doubtful)):
            if not chosen.any():
                continue
            part = rows.filter(pl.Series(chosen))
            # Open symbols are explained under the figure: names for them would take
            # half of it on a narrow page.
            name = arm_title(arm)
            if symbol == "open" and (~doubtful).any():
                name = ""
            marks.append(
                Points(
                    time.of(part),
                    shown_velocity(facts, part),
                    arm_color(arm, facts.arms),
                    name if labels else "",
                    error=part["error"].to_numpy(),
                    hover=_hover(part),
                    symbol=symbol,  # pyright: ignore[reportArgumentType]
                    size=size,
                )
            )
    return marks


def shown_velocity(facts: Facts, rows: pl.DataFrame) -> Array:
    """The velocity that is drawn: about the arm's mean if velocities are relative."""
    value = rows["value"].to_numpy()
    if not facts.relative:
        return value
    about_mean = rows["after"].to_numpy()
    return np.where(np.isfinite(about_mean), about_mean, value)


def velocity_label(facts: Facts) -> str:
    """The label of a velocity axis."""
    return f"velocity {MINUS} mean (km/s)" if facts.relative else "velocity (km/s)"


def _hover(rows: pl.DataFrame) -> list[str]:
    return [
        f"exposure {exposure}, S/N {snr:.3g}" if exposure else f"S/N {snr:.3g}"
        for exposure, snr in rows.select("exposure", "snr").iter_rows()
    ]


def small_multiples(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """The stars of most interest side by side."""
    several = facts.stars.filter(pl.col("n_measured") >= 2).sort("interest")
    chosen = several["star_id"].to_list()[: options.small_multiples]
    if not chosen:
        return Missing(
            "velocities", _TITLE, "No star has two velocities, so none can be compared."
        )
    visits = facts.visits.filter(pl.col("star_id").is_in(chosen))
    time = time_axis(visits)
    names = _classes(several.head(len(chosen)))
    panels = []
    for number, star in enumerate(chosen):
        rows = visits.filter(pl.col("star_id") == star)
        # Stars without times are drawn in the order of their exposures.
        own = time if finite(rows["bjd"]).size else time_axis(rows)
        marks = arm_points(facts, rows, own, labels=False, size=4.5)
        if number == 0:
            marks += _legend(facts)
        panels.append(
            Panel(
                Axis(own.label),
                Axis(velocity_label(facts), *_range(marks)),
                tuple(marks),
                title=f"{star}, {names[star]}" if names[star] else star,
                tall=0.75,
            )
        )
    widest = several["scatter_after"].head(len(chosen)).drop_nulls()
    here = f"Here: {counted(len(chosen), 'star')} of {len(several):,} with repeats"
    if len(widest):
        top = float(widest.max())  # pyright: ignore[reportArgumentType]
        here += f"; the largest scatter among them is {kms(top)}"
    return Figure(
        name="velocities",
        title=_TITLE,
        panels=tuple(panels),
        columns=min(3, len(panels)),
        wide=True,
        shows="Calibrated velocities against time in every arm: the stars that vary "
        "most, some with warnings (open symbols) and the brightest, which should be "
        "steady.",
        good="The arms agree within their errors; steady stars stay on one level over "
        "all nights.",
        here=here + ".",
    )


def _legend(facts: Facts) -> list[Points]:
    """Points that are nowhere, to name every arm in the first panel."""
    nowhere = np.array([np.nan])
    return [
        Points(nowhere, nowhere, arm_color(arm, facts.arms), arm_title(arm), size=4.5)
        for arm in facts.arms
        if arm != "all"
    ]


def _classes(stars: pl.DataFrame) -> dict[str, str]:
    kind = (
        pl.when(pl.col("variable").fill_null(False))
        .then(pl.lit("variable"))
        .when(pl.col("constant").fill_null(False))
        .then(pl.lit("constant"))
        .otherwise(pl.lit(""))
    )
    return dict(stars.select("star_id", kind.alias("kind")).iter_rows())


def _range(marks: list[Points]) -> tuple[bool, float | None, float | None]:
    """Whether the axis is logarithmic (no), and limits of at least 2 km/s in all."""
    values = (
        finite(np.concatenate([mark.y for mark in marks])) if marks else np.empty(0)
    )
    if not values.size:
        return False, None, None
    none = np.empty(0)
    errors = np.concatenate(
        [none if mark.error is None else mark.error for mark in marks]
    )
    # Room for the error bars, but not for an absurd one.
    bar = float(np.median(finite(errors))) if finite(errors).size else 0.0
    middle = (values.max() + values.min()) / 2
    half = max(1.0, 0.55 * float(np.ptp(values)) + 1.5 * bar)
    return False, float(middle - half), float(middle + half)
