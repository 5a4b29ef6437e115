"""The same table by several methods: their zero points against each other."""

__all__ = ["method_figure", "method_listing"]

from collections.abc import Mapping
from typing import Any

import numpy as np

from steadystar.calibrate.zeropoint import ZeroPoints
from steadystar.publish.comparison import differences
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.naming import group_names
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    counted,
    kms,
    ms,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import Axis, Figure, Line, Mark, Missing, Panel, Points

_TITLE = "Zero points by other methods"
_COLORS = ("blue", "orange", "purple", "green")
_MOST_NAMED = 4000


def method_listing(numbers: Mapping[str, Mapping[str, Any]]) -> Listing:
    """One row a method: what it leaves, finds and cannot do."""
    rows = []
    for place, (name, one) in enumerate(numbers.items()):
        constant = one["constant_stars"]
        rows.append(
            (
                f"{name} (used here)" if place == 0 else name,
                _ms(one["scatter_kms"]),
                DASH if constant is None else f"{constant:,}",
                f"{one['undetermined']:,} of {one['offsets']:,}",
                _ms(one["error_kms"]),
                _ms(one["difference_kms"]),
                significant(one["error_ratio"], 2),
            )
        )
    number = next(iter(numbers.values()))["velocities"]
    return Listing(
        "methods",
        "By method",
        (
            "method",
            "scatter of constant stars (m/s)",
            "constant stars",
            "undetermined zero points",
            "their own median error (m/s)",
            "rms difference (m/s)",
            "error / joint's",
        ),
        tuple(rows),
        note=_note(number),
        numeric=frozenset(range(1, 7)),
    )


def _note(number: int) -> str:
    scatter = (
        f"The scatter is that of {counted(number, 'velocity', 'velocities')} about the "
        "mean of their star, the same for all methods: of stars that are constant by "
        "the method used here, where all know the zero points."
        if number
        else "No constant star has velocities that all methods could calibrate."
    )
    return (
        f"{scatter} The last column holds if joint is as precise as it says: then "
        "another's error is what remains of the difference."
    )


def _ms(value: float | None) -> str:
    return DASH if value is None else significant(1000 * value, 3)


def method_figure(
    inputs: ReportInputs,
    numbers: Mapping[str, Mapping[str, Any]],
    options: ReportOptions,
) -> Figure | Missing:
    """Offsets of every other method against those of the chosen one, and differences."""
    chosen = inputs.zeropoints
    panels: list[Panel] = []
    said = []
    for place, (name, other) in enumerate(inputs.compared.items()):
        if chosen is None:
            break
        color = _COLORS[place % len(_COLORS)]
        pair = _panels(chosen, other, name, color, options)
        panels += pair
        if pair:
            said.append(_said(name, numbers[name]))
    if not panels:
        reason = "No zero point was determined by two methods."
        return Missing("methods", _TITLE, reason)
    return Figure(
        name="methods",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="Left, the zero points of another method against those used here; right, "
        "by how much they differ. Each connected set is brought to the same mean.",
        good="Points on the line. Differences larger than the errors are errors of one "
        "of the two; differences that grow with the zero point itself mean that one "
        "method did not run to the end.",
        here=f"Here: {'; '.join(said)}.",
    )


def _said(name: str, one: Mapping[str, Any]) -> str:
    text = f"{name} differs by {ms(one['difference_kms'])} rms"
    if one["error_ratio"] is not None:
        text += (
            f", so that its zero points err {significant(one['error_ratio'], 2)} times "
            "as much as those of joint"
        )
    if one["scatter_kms"] is not None:
        text += f", and constant stars scatter by {kms(one['scatter_kms'])} after it"
    return text


def _panels(
    chosen: ZeroPoints,
    other: ZeroPoints,
    name: str,
    color: str,
    options: ReportOptions,
) -> list[Panel]:
    names, mine, theirs, error = differences(chosen, other)
    if mine.size < 2:
        return []
    hover = _named(chosen, names) if len(names) <= _MOST_NAMED else []
    ends = np.array([mine.min(), mine.max()])
    across = Axis(f"{chosen.method} (km/s)")
    apart = theirs - mine
    pairs: tuple[tuple[Array, Array, str, Array | None], ...] = (
        (theirs, ends, f"{name} (km/s)", None),
        (apart, np.zeros(2), f"{name} {MINUS} {chosen.method} (km/s)", error),
    )
    panels = []
    for y, line, label, bars in pairs:
        cloud = scatter_or_density(
            mine, y, options.aggregate_above, color=color, hover=hover, size=5
        )
        if isinstance(cloud, Points) and bars is not None:
            cloud = Points(mine, y, color, error=bars, hover=hover, size=5, opacity=0.8)
        marks: tuple[Mark, ...] = (Line(ends, line, "muted", dash="dash"), cloud)
        panels.append(Panel(across, Axis(label), marks, title=name, tall=0.9))
    return panels


def _named(zero: ZeroPoints, keys: list[str]) -> list[str]:
    words = {
        family: group_names(table, family.split("+"))
        for family, table in zero.offsets.items()
    }
    parts = (key.rpartition("#") for key in keys)
    return [words[family][int(row)] for family, _, row in parts]
