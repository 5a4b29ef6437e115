"""What remains in each fiber: the range of its velocities, and what it has in common.

Where every star keeps its fiber only the range tells something (Xiong et al. 2021,
figures 6 and 7); where stars change fibers the mean of each fiber does, before and after
calibration (Saydjari et al. 2025, figure 3).
"""

__all__ = ["fiber_remainders", "unit_order"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.numbers import counted, finite, kms, median, ms
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Missing,
    Panel,
    Points,
    arm_color,
    arm_title,
)

_FIBERS = "What remains in each fiber"
_DEVIATIONS = "What velocities of a fiber have in common"
_MOST_UNITS = 16
_ROAMING = 0.1
"""Share of constant stars that must change fibers for means to say something."""


def fiber_remainders(facts: Facts) -> list[Figure | Missing]:
    """Residuals of the constant stars of each fiber, one figure an arm."""
    drawn = ("star_id", "arm", "unit", "fiber", "steady", "before", "after")
    rows = (
        facts.columns_measured(*drawn, "correction")
        .filter(
            pl.col("steady")
            & pl.col("after").is_finite()
            & pl.col("fiber").is_not_null()
        )
        .with_columns(pl.col("fiber").cast(pl.Float64, strict=False))
    )
    rows = rows.filter(pl.col("fiber").is_not_null())
    draw = _deviations_of_arm if _roam(rows) else _fibers_of_arm
    made = [draw(facts, rows, arm) for arm in facts.arms]
    figures: list[Figure | Missing] = [figure for figure in made if figure]
    return figures or [
        Missing(
            "fibers",
            _FIBERS,
            "Fewer than three fibers, known by number, saw a constant star twice.",
        )
    ]


def _fibers_of_arm(facts: Facts, rows: pl.DataFrame, arm: str) -> Figure | None:
    # Within one star the residuals average to zero: only stars seen through several
    # fibers say something of the mean. The range of each fiber is what figures 6 and 7
    # of the paper show, and it is meaningful for any star.
    fibers = (
        rows.filter(pl.col("arm") == arm)
        .group_by("unit", "fiber")
        .agg(
            pl.col("after").mean().alias("mean"),
            pl.col("after").std().alias("std"),
            pl.len().alias("n"),
        )
        .filter(pl.col("n") >= 2)
        .sort("unit", "fiber")
    )
    if len(fibers) < 3:
        return None
    busiest = (
        fibers.group_by("unit").len().sort("len", "unit", descending=[True, False])
    )
    units = sorted(busiest["unit"].to_list()[:_MOST_UNITS], key=unit_order)
    # Some fibers hold a hot or faint star: they may leave the panel, not rule it.
    reach = np.abs(finite(fibers["mean"])) + finite(fibers["std"])
    limit = float(min(1.1 * reach.max(), 3 * np.median(reach)))
    beyond = int((reach > limit).sum())
    panels = []
    for unit in units:
        part = fibers.filter(pl.col("unit") == unit)
        x = part["fiber"].to_numpy()
        panels.append(
            Panel(
                Axis("fiber"),
                Axis("remainder (km/s)", low=-limit, high=limit),
                (
                    Line(
                        np.array([x.min() - 1, x.max() + 1]), np.zeros(2), "muted", dash="dot"
                    ),
                    Points(
                        x,
                        part["mean"].to_numpy(),
                        arm_color(arm, facts.arms),
                        error=part["std"].to_numpy(),
                        hover=[f"fiber {f:g}: {n} velocities" for f, n in zip(x, part["n"], strict=True)],
                        size=4,
                    ),
                ),
                title=unit,
                tall=0.7,
            )
        )  # fmt: skip
    means = finite(fibers["mean"])
    left = len(busiest) - len(units)
    here = (
        f"Here: {counted(len(fibers), 'fiber')}; their means scatter by "
        f"{kms(float(means.std()))}, the typical range of a fiber is "
        f"±{kms(median(fibers['std']))}."
    )
    if beyond:
        here += f" The bars of {beyond} reach out of the panel."
    if left:
        here += f" The {len(units)} spectrographs with the most fibers are drawn."
    return Figure(
        name=f"fibers-{arm}",
        title=f"{_FIBERS}, {arm} arm" if arm != "all" else _FIBERS,
        panels=tuple(panels),
        columns=min(4, len(units)),
        wide=True,
        shows="Calibrated velocities of the constant stars in each fiber about the mean "
        "of their star: the mean and, as a bar, the standard deviation "
        "(Xiong et al. 2021, figures 6 and 7).",
        good="Means at zero with bars as long as the errors. Where every star keeps one "
        "fiber the means are zero by construction, and only the bars tell.",
        here=here,
    )


def _roam(rows: pl.DataFrame) -> bool:
    fibers = rows.group_by("star_id", "arm").agg(
        n=pl.struct("unit", "fiber").n_unique()
    )
    several = (fibers["n"] > 1).to_numpy()
    return several.size > 0 and bool(several.mean() > _ROAMING)


def _deviations_of_arm(facts: Facts, rows: pl.DataFrame, arm: str) -> Figure | None:
    """Mean deviation of each fiber, before and after calibration, with its error."""
    fibers = (
        rows.filter(pl.col("arm") == arm)
        .group_by("unit", "fiber")
        .agg(
            pl.col("before").fill_nan(None).mean(),
            pl.col("after").mean(),
            (pl.col("after").std() / pl.len().sqrt()).alias("error"),
            pl.len().alias("n"),
        )
        .filter(pl.col("n") >= 3)
        .sort("unit", "fiber")
    )
    if len(fibers) < 3:
        return None
    changed = bool(np.any(finite(rows["correction"]) != 0))
    busiest = (
        fibers.group_by("unit").len().sort("len", "unit", descending=[True, False])
    )
    units = sorted(busiest["unit"].to_list()[:_MOST_UNITS], key=unit_order)
    drawn = ["after", *(["before"] if changed else [])]
    means = np.abs(np.concatenate([finite(fibers[name]) for name in drawn]))
    limit = 1.15 * float(max(np.quantile(means, 0.995), 3 * median(fibers["error"])))
    panels = [
        _deviation_panel(
            fibers.filter(pl.col("unit") == unit), unit, limit, changed=changed
        )
        for unit in units
    ]
    old, new = (float(finite(fibers[name]).std()) for name in ("before", "after"))
    here = f"Here: {counted(len(fibers), 'fiber')}; their means scatter by {ms(new)}"
    here += f" calibrated, {ms(old)} as measured" if changed else " as measured"
    here += f", where the typical error of a mean is {ms(median(fibers['error']))}."
    beyond = int((means > limit).sum())
    if beyond:
        lies = "lies" if beyond == 1 else "lie"
        here += f" {counted(beyond, 'mean').capitalize()} {lies} beyond the panels."
    if len(busiest) > len(units):
        here += f" The {len(units)} units with the most fibers are drawn."
    return Figure(
        name=f"fibers-{arm}",
        title=f"{_DEVIATIONS}, {arm_title(arm)}" if arm_title(arm) else _DEVIATIONS,
        panels=tuple(panels),
        columns=1 if len(panels) <= 2 else 2,
        wide=True,
        shows="Velocities of constant stars about the mean of their star, averaged in "
        "each fiber with the error of that mean"
        + (", before and after calibration" if changed else "")
        + " (Saydjari et al. 2025, figure 3). Stars change fibers here, so that this mean is the "
        "fiber's own.",
        good="Calibrated means at zero within their errors. Structure that neighbors "
        "share, or that calibration leaves, belongs to the spectrograph.",
        here=here,
    )


def _deviation_panel(
    part: pl.DataFrame, unit: str, limit: float, *, changed: bool
) -> Panel:
    x = part["fiber"].to_numpy()
    hover = [f"fiber {f:g}: {n} velocities" for f, n in zip(x, part["n"], strict=True)]
    ends = np.array([x.min() - 1, x.max() + 1])
    series = [("before", "orange", "as measured")] * changed
    series += [("after", "green", "calibrated" if changed else "")]
    return Panel(
        Axis("fiber"),
        Axis("mean deviation (km/s)", low=-limit, high=limit),
        (
            Line(ends, np.zeros(2), "muted", dash="dot"),
            *(
                Points(
                    x,
                    part[name].cast(pl.Float64).fill_null(np.nan).to_numpy(),
                    color,
                    label,
                    error=part["error"].to_numpy(),
                    hover=hover,
                    size=4,
                )
                for name, color, label in series
            ),
        ),
        title=unit,
        tall=0.8,
    )


def unit_order(unit: str) -> tuple:
    """A key that sorts spectrographs by number, and others by name after them."""
    number = unit.rpartition(" ")[2]
    return (0, int(number), unit) if number.isdigit() else (1, 0, unit)
