"""What zero points are made of: measured velocities of constant stars, side by side.

By spectrograph and by exposure, as violins (Xiong et al. 2021, figure 3).
"""

__all__ = ["by_exposure", "by_spectrograph"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.figures.zeropoints import natural
from steadystar.publish.numbers import (
    MINUS,
    Array,
    counted,
    finite,
    kms,
    median,
    outline,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Missing,
    Panel,
    Violins,
    arm_color,
    arm_title,
)

_MOST_VIOLINS = 40
_UNIT = "spectrograph "
_FEWEST = 3
"""Constant stars from which on a common motion shows."""
_DRAWN = ("star_id", "arm", "unit", "exposure", "place", "steady", "before")


def by_spectrograph(facts: Facts) -> Figure | Missing:
    """Measured velocities of constant stars about their mean, for each spectrograph."""
    title = "Distribution in each spectrograph or telescope"
    rows = facts.columns_measured(*_DRAWN)
    rows = rows.filter(pl.col("steady") & pl.col("before").is_finite())
    units = rows.filter(pl.col("unit") != "")["unit"].unique().to_list()
    if not units:
        reason = (
            "No constant star has two velocities and a known spectrograph or telescope."
            if facts.visits["measured"].any()
            else "There is no velocity."
        )
        return Missing("spectrographs", title, reason)
    if rows["star_id"].n_unique() < _FEWEST:
        return Missing(
            "spectrographs",
            title,
            f"Fewer than {_FEWEST} constant stars have repeats: what they have in common "
            "cannot be told from what each does.",
        )
    if len(units) == 1:
        return Missing(
            "spectrographs", title, f"There is only one: {units[0]}. See the exposures."
        )
    units = sorted(units, key=natural)[:_MOST_VIOLINS]
    kind = units[0].partition(" ")[0] if units[0].startswith(_UNIT) else "telescope"
    panels = _violin_panels(facts, rows, "unit", units, kind)
    spread = [float(np.mean(finite(rows.filter(pl.col("unit") == u)["before"]))) for u in units]  # fmt: skip
    return Figure(
        name="spectrographs",
        title=title,
        panels=panels,
        columns=1,
        wide=len(units) > 6,
        shows="Velocities of constant stars as measured, about the mean of each star, "
        f"one shape a {kind} (Xiong et al. 2021, figure 3a and b); dots are means.",
        good="Narrow shapes of the same width. A wide or double one drifts; a mean far "
        f"from the others belongs to a {kind} whose stars others observe as well.",
        here=f"Here: {counted(len(units), kind)}; the means lie within "
        f"{kms(round(float(np.ptp(spread)), 6))} of each other. {facts.steady_words}",
    )


def by_exposure(facts: Facts) -> Figure | Missing:
    """The same for each exposure of the spectrograph with the most constant stars."""
    title = "Distribution in each exposure"
    rows = facts.columns_measured(*_DRAWN).filter(
        pl.col("steady") & pl.col("before").is_finite() & pl.col("place").is_not_null()
    )
    if not len(rows):
        return Missing(
            "exposures",
            title,
            "No constant star has velocities in two exposures that are known by name.",
        )
    busiest = rows.group_by("unit").len().sort("len", "unit", descending=[True, False])
    unit = busiest["unit"][0]
    rows = rows.filter(pl.col("unit") == unit)
    typical = median(rows.group_by("exposure", "arm").len()["len"])
    if typical < _FEWEST:
        return Missing(
            "exposures",
            title,
            f"A typical exposure holds fewer than {_FEWEST} constant stars: what they "
            "have in common cannot be told from what each does.",
        )
    exposures = rows.group_by("exposure").agg(pl.col("place").first()).sort("place")
    chosen = exposures["exposure"].to_list()
    every = -(-len(chosen) // _MOST_VIOLINS)
    chosen = chosen[::every]
    panels = _violin_panels(
        facts, rows, "exposure", chosen, "exposure, in order of time"
    )
    moved = finite(
        rows.group_by("exposure", "arm").agg(pl.col("before").mean())["before"]
    )
    where = f" of {unit}" if unit else ""
    thinned = f" One exposure in {every} is drawn." if every > 1 else ""
    return Figure(
        name="exposures",
        title=title,
        panels=panels,
        columns=1,
        wide=True,
        shows=f"Velocities of constant stars as measured, about the mean of each star, "
        f"one shape an exposure{where} (Xiong et al. 2021, figure 3c and d).",
        good="All stars of an exposure move together: shapes as narrow as the errors, "
        "whose means wander. That wandering is what the calibration takes out.",
        here=f"Here: the mean of an exposure strays by up to "
        f"{kms(float(np.abs(moved).max(initial=0)))}, {kms(float(moved.std()))} rms."
        f"{thinned}",
    )


def _violin_panels(
    facts: Facts, rows: pl.DataFrame, key: str, names: list[str], axis: str
) -> tuple[Panel, ...]:
    panels = []
    for arm in facts.arms:
        of_arm = rows.filter(pl.col("arm") == arm)
        if not len(of_arm):
            continue
        groups = {
            name: finite(part["before"])
            for (name,), part in of_arm.group_by(key, maintain_order=True)
        }
        at = np.arange(1.0, len(names) + 1)
        values = [groups.get(name, np.empty(0)) for name in names]
        shapes = tuple(outline(v, x) for v, x in zip(values, at, strict=True) if v.size)
        means = np.array([v.mean() if v.size else np.nan for v in values])
        low, high = _reach(values)
        hover = [
            f"{name}: {counted(v.size, 'velocity', 'velocities')}, "
            f"rms {kms(float(v.std()) if v.size else None)}"
            for name, v in zip(names, values, strict=True)
        ]
        every = -(-len(names) // 12)
        ticks = tuple(
            (float(i + 1), name.removeprefix(_UNIT) if key == "unit" else str(i + 1))
            for i, name in enumerate(names)
            if i % every == 0
        )  # fmt: skip
        panels.append(
            Panel(
                Axis(axis, low=0.4, high=len(names) + 0.6, ticks=ticks),
                Axis(f"measured {MINUS} mean (km/s)", low=low, high=high),
                (
                    Line(
                        np.array([0.4, len(names) + 0.6]),
                        np.zeros(2),
                        "muted",
                        dash="dot",
                    ),
                    Violins(at, shapes, means, arm_color(arm, facts.arms), hover=hover),
                ),
                title=arm_title(arm),
                tall=0.8,
            )
        )
    return tuple(panels)


def _reach(groups: list[Array]) -> tuple[float, float]:
    """Limits that hold the body of every shape; the thin tails may leave the panel."""
    known = [values for values in groups if values.size]
    low = min(0.0, *(float(np.quantile(values, 0.03)) for values in known))
    high = max(0.0, *(float(np.quantile(values, 0.97)) for values in known))
    room = 0.15 * (high - low) + 1e-3
    return low - room, high + room
