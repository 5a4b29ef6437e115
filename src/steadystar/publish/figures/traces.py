"""Have sky, tellurics and the detector left a trace in the velocities?

All three stand still at the observatory, while a star moves past them by the motion of
the Earth. What they leave in a velocity depends on the velocity at the observatory, and
the deviation of a star's visits from their mean shows it (Saydjari et al. 2025, section
3.2). That velocity is taken as the star's mean less the Earth's motion: the measured one
contains the very error that it is to be compared with, and would show a slope near one.
"""

__all__ = ["observed_frame"]

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.data.constants import C_KMS
from steadystar.publish.facts import Facts, arms_of, usable
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    Array,
    binned_medians,
    counted,
    kms,
    robust_width,
    scatter_or_density,
    uniform_edges,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    arm_title,
)
from steadystar.publish.slopes import (
    Index,
    Slope,
    about_means,
    shared_motion,
    steadfast_slope,
    within_star_slope,
)

_TITLE = "Traces of what stands still at the observatory"
_FEWEST = 20
_IN_A_BIN = 8
_FEW_NIGHTS = 10
_WILD = 5.0
"""A velocity is wild beyond so many robust widths from the trend."""
_SHARED = 0.8
"""Share of the motion from which on a zero point of each exposure hides a trend."""


def observed_frame(
    facts: Facts, families: Iterable[str], options: ReportOptions
) -> Figure | Missing:
    """Deviations of constant stars against the velocity at the observatory, by arm.

    ``families`` are those of the zero points that were taken off.
    """
    drawn = ("visit_id", "star_id", "arm", "unit", "exposure", "night", "rv_obs", "raw")
    drawn += ("raw_error", "value", "error", "after", "expected", "steady")
    rows = usable(facts.absolute.select(*drawn, "measured", "status")).filter(
        "steady",
        pl.col("rv_obs").is_finite() & pl.col("raw").is_finite(),
        pl.col("after").is_finite(),
        pl.col("expected") > 0,
    )
    panels: list[Panel] = []
    sentences, hidden = [], 0.0
    for arm in arms_of(rows):
        part = rows.filter(pl.col("arm") == arm)
        calm = _without_wild(part)
        if len(calm) < _FEWEST:
            continue
        made = _arm(calm, arm, options)
        panels += made.panels
        hidden = max(hidden, made.shared)
        sentences.append(
            f"{arm_title(arm) or 'all arms'}: {_slopes(made)}, over "
            f"{counted(len(calm), 'velocity', 'velocities')}"
            + (
                f" ({len(part) - len(calm)} wild ones left out)"
                if len(part) > len(calm)
                else ""
            )
        )
    if not panels:
        return Missing(
            "observed-frame",
            _TITLE,
            f"In no arm there are {_FEWEST} repeated absolute velocities of constant "
            "stars with errors and a velocity at the observatory (which needs the "
            "barycentric correction).",
        )
    return Figure(
        name="observed-frame",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="Sky lines, tellurics and bad pixels stand still at the observatory, where "
        "the Earth's motion carries the stars past them. Left: how far each absolute "
        "velocity of a constant star lies from the star's mean, against the velocity "
        "that the observatory sees (the star's mean less the Earth's motion). Right: "
        "the same against how far that changed about its own mean, with the fitted "
        "line. Diamonds are medians with errors.",
        good="Medians at zero within their errors, and a slope that is zero within its "
        "own: nothing that stands still has left a trace.",
        here="Here: " + "; ".join(sentences) + "." + _hidden(hidden, families),
    )


def _without_wild(rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out velocities far from the trend of the others, and stars seen once."""
    rows = rows.filter(pl.len().over("star_id") >= 2)
    if len(rows) < _FEWEST:
        return rows
    x, deviation, weight, star = _moving(rows)
    # About the median of a star, which one wild velocity does not move.
    middle = pl.col("x", "y") - pl.col("x", "y").median().over("star")
    about = pl.DataFrame({"star": star, "x": x, "y": deviation}).select(middle)
    moved, left = about["x"].to_numpy(), about["y"].to_numpy()
    trend = steadfast_slope(moved, left, weight**-0.5) * moved
    pull = np.abs(left - trend) * np.sqrt(weight)
    calm = pull <= _WILD * max(1.0, 1.4826 * float(np.median(pull)))
    return rows.filter(pl.Series(calm)).filter(pl.len().over("star_id") >= 2)


def _slopes(made: "_Arm") -> str:
    if not made.calibrated.known:
        return (
            "no slope, because the Earth's motion hardly changed between the visits of "
            "a star"
        )
    return (
        f"slope {made.calibrated} m/s per km/s ({made.measured} before calibration), "
        f"from changes by the Earth's motion of {kms(made.reach)} rms"
        + (f" in {made.nights} nights only" if made.nights < _FEW_NIGHTS else "")
    )


def _hidden(shared: float, families: Iterable[str]) -> str:
    """Say where the calibration would have taken such a trend away."""
    if not shared > _SHARED or not any("exposure_id" in name for name in families):
        return ""
    return (
        f" The stars of an exposure move together here ({100 * shared:.0f}% of the "
        "motion is common to them), so that the zero point of the exposure takes such "
        "a trend away. Only the slope before calibration could show it, and that "
        "also holds what the zero points did by chance."
    )


@dataclass(frozen=True)
class _Arm:
    panels: tuple[Panel, Panel]
    calibrated: Slope
    measured: Slope
    shared: float
    reach: float
    nights: int


def seen_from_observatory(rows: pl.DataFrame, star: Index) -> Array:
    """Velocity at the observatory of a star that keeps its mean, km/s, ``(visit,)``.

    The Earth's motion is that between ``rv_raw`` and ``rv_obs``, whose errors are the
    same and cancel.
    """
    raw, observed = (1 + rows[name].to_numpy() / C_KMS for name in ("raw", "rv_obs"))
    value, weight = rows["value"].to_numpy(), rows["error"].to_numpy() ** -2.0
    mean = value - about_means(value, weight, star)
    return C_KMS * ((1 + mean / C_KMS) * observed / raw - 1)


def _moving(rows: pl.DataFrame) -> tuple[Array, Array, Array, Index]:
    """Velocity at the observatory, deviation, weight and star of each visit."""
    star = _codes(rows, ["star_id"])
    weight = rows["error"].to_numpy() ** -2.0
    deviation = about_means(rows["value"].to_numpy(), weight, star)
    return seen_from_observatory(rows, star), deviation, weight, star


def _arm(rows: pl.DataFrame, arm: str, options: ReportOptions) -> _Arm:
    exposure = _codes(rows, ["unit", "exposure"], alone="visit_id")
    night = _codes(rows, ["unit", "night"], alone="visit_id")
    x, deviation, weight, star = _moving(rows)
    moved = about_means(x, weight, star)
    slope = within_star_slope(x, deviation, weight**-0.5, star, exposure, night)
    raw_error = rows["raw_error"].to_numpy()
    raw = within_star_slope(x, rows["raw"].to_numpy(), raw_error, star, exposure, night)
    ends = np.array([moved.min(), moved.max()])
    line = Line(ends, 1000 * slope.value * ends, "orange", "fitted line", width=2)
    here, change = "velocity at the observatory", "change of the velocity there"
    return _Arm(
        panels=(
            _panel(x, deviation, f"{here} (km/s)", arm, options),
            _panel(
                moved,
                deviation,
                f"{change} (km/s)",
                arm,
                options,
                (line,) if slope.known else (),
            ),
        ),
        calibrated=slope,
        measured=raw,
        shared=shared_motion(x, weight, star, exposure),
        nights=np.unique(night).size,
        reach=float(np.sqrt(np.average(moved**2, weights=weight))),
    )


def _codes(rows: pl.DataFrame, columns: list[str], alone: str | None = None) -> Index:
    """Number the distinct rows; one with a null is like no other."""
    key = pl.concat_str([pl.col(c).cast(pl.String) for c in columns], separator="\n")
    if alone:
        key = pl.coalesce(key, pl.format("alone {}", alone))
    return rows.select(key.rank("dense") - 1).to_series().cast(pl.Int64).to_numpy()


def _panel(
    x: Array,
    deviation: Array,
    label: str,
    arm: str,
    options: ReportOptions,
    lines: tuple[Line, ...] = (),
) -> Panel:
    y = 1000 * deviation
    limit = 3.0 * robust_width(y)
    limit = limit if np.isfinite(limit) and limit > 0 else float(np.abs(y).max()) + 1e-3
    edges = uniform_edges(x, 80), np.linspace(-limit, limit, 61)
    inside = np.quantile(x, np.linspace(0, 1, 1 + int(np.clip(x.size // 30, 2, 12))))
    inside[-1] = np.nextafter(inside[-1], np.inf)
    at, middle, error = binned_medians(x, y, inside, _IN_A_BIN)
    marks: list[Mark] = [
        scatter_or_density(
            x,
            y,
            options.aggregate_above,
            color="muted",
            label="a velocity",
            edges=edges,
            size=3,
        ),
        Line(edges[0][[0, -1]], np.zeros(2), "ink", dash="dot"),
        *lines,
        Points(at, middle, "ink", "median", error, symbol="diamond", size=8),
    ]
    return Panel(
        Axis(label),
        Axis("deviation (m/s)", low=-limit, high=limit),
        tuple(marks),
        title=arm_title(arm),
        tall=0.9,
    )
