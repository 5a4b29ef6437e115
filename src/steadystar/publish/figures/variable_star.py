"""What changes in the spectra of a star beside the velocity: lines, temperature.

The spectra of the extreme epochs show whether lines move as a whole (a binary), split (two
stars) or change their shape (a pulsator); H alpha shows activity and gas that streams.
"""

__all__ = ["extreme_spectra", "line_strength", "temperatures"]

from collections.abc import Sequence

import numpy as np
import polars as pl

from steadystar.data.constants import C_KMS
from steadystar.data.spectra import Spectra
from steadystar.measure.equivalent_width import H_ALPHA, equivalent_widths
from steadystar.publish.facts import Facts
from steadystar.publish.figures.lines import NamedLine, named_lines
from steadystar.publish.figures.spectra import display_grid, normalized
from steadystar.publish.figures.timeline import shown_velocity, time_axis
from steadystar.publish.numbers import (
    Array,
    calendar_date,
    counted,
    robust_width,
    significant,
)
from steadystar.publish.plot import (
    PHASE,
    Axis,
    Figure,
    Line,
    Missing,
    Panel,
    Points,
    arm_color,
    arm_title,
    twice,
)

_LINES = 3
_HALF_KMS = 450.0
_NOISY = 0.35
_EPOCHS = ("blue", "red")
"""Colors of the lowest and the highest velocity."""


def extreme_spectra(
    facts: Facts, visits: pl.DataFrame, rows: pl.DataFrame, spectra: Spectra, arm: str
) -> Figure | None:
    """Draw the epochs of lowest and highest velocity over each other, line by line.

    Arguments:
        visits: the star's, as the report has them.
        rows: of ``spectra``, which are those of the arm.
    """
    velocity = _of_spectra(facts, visits, rows)
    usable = np.flatnonzero((spectra.ivar > 0).any(axis=1) & np.isfinite(velocity))
    if usable.size < 2:
        return None
    grid = display_grid(spectra, usable)
    usable = _quiet(spectra, usable, grid, velocity)
    if len(usable) < 2:
        return None
    both = int(usable[0]), int(usable[-1])
    hottest = visits["teff"].max() if "teff" in visits.columns else None
    lines = named_lines(
        float(grid[0]),
        float(grid[-1]),
        hottest=float(hottest) if isinstance(hottest, float) else 7000.0,
    )
    chosen = sorted(lines, key=lambda line: (line.rank, line.middle))[:_LINES]
    if not chosen:
        return None
    curves = [normalized(spectra, i, grid) for i in both]
    names = [f"{significant(float(velocity[i]), 3)} km/s" for i in both]
    shift = 1 + float(np.mean(_absolute(facts, visits, rows))) / C_KMS
    panels = [
        _line_panel(line, shift, grid, curves, [] if place else names)
        for place, line in enumerate(sorted(chosen, key=lambda line: line.middle))
    ]
    nights = [_night(visits, rows, i) for i in both]
    which = f", {arm} arm" if arm != "all" else ""
    return Figure(
        name=f"extremes-{arm}",
        title=f"Spectra of the extreme epochs{which}",
        panels=tuple(panels),
        columns=len(panels),
        wide=True,
        shows="The spectra of lowest (blue) and highest velocity (red) over each other, "
        "about strong lines, each divided by a smooth curve along its upper envelope.",
        good="Of a single-lined binary: the same lines, moved. Lines that split are those "
        "of two stars; lines that change their depth or shape are those of a pulsator or "
        "of spots.",
        here=f"Here: {nights[0]} and {nights[1]}, "
        f"{significant(float(velocity[both[1]] - velocity[both[0]]), 3)} km/s apart.",
    )


def _line_panel(
    line: NamedLine,
    shift: float,
    grid: Array,
    curves: Sequence[Array],
    names: list[str],
) -> Panel:
    """Both epochs about a line, which the star's velocity shifts; ``names``: or none."""
    center = line.middle * shift
    reach = center * (_HALF_KMS / C_KMS) + np.ptp(line.waves) / 2
    near = np.abs(grid - center) < reach
    marks = [
        Line(grid[near], curve[near], color, name, width=1.3)
        for curve, color, name in zip(curves, _EPOCHS, names or ("", ""), strict=True)
    ]
    return Panel(
        Axis("vacuum wavelength (Å)"),
        _flux_axis(curves[0][near], curves[1][near]),
        tuple(marks),
        title=line.name,
    )


def _flux_axis(one: Array, other: Array) -> Axis:
    """Room for lines, in emission too, but not for what one of the two alone has."""
    both = np.stack([one, other])
    low, high = np.nanmin(both), np.nanmax(np.min(both, axis=0), initial=1.0)
    return Axis(
        "flux over continuum",
        low=float(min(max(low, -0.2), 0.8) - 0.05),
        high=float(max(1.15, 1.08 * high)),
    )


def _quiet(
    spectra: Spectra, usable: np.ndarray, grid: Array, velocity: Array
) -> np.ndarray:
    """The spectra in order of velocity, without the noisy ones at both ends."""
    order = usable[np.argsort(velocity[usable], kind="stable")]

    def noisy(i: int) -> bool:
        return not robust_width(normalized(spectra, i, grid)) < _NOISY

    low, high = 0, len(order)
    while low < high and noisy(int(order[low])):
        low += 1
    while high > low and noisy(int(order[high - 1])):
        high -= 1
    return order[low:high]


def _of_spectra(facts: Facts, visits: pl.DataFrame, rows: pl.DataFrame) -> Array:
    """The velocity of each spectrum as the page shows it, NaN where there is none."""
    shown = visits.filter("measured")
    table = shown.select(
        "visit_id", pl.Series("_v", shown_velocity(facts, shown), dtype=pl.Float64)
    )
    return _joined(rows, table)


def _absolute(facts: Facts, visits: pl.DataFrame, rows: pl.DataFrame) -> Array:
    """The velocity of the star in the frame of each spectrum, as well as it is known.

    Absolute velocities where there are some, else the shown ones; observatory's where the
    spectra are. The mean where one is missing, zero where all are.
    """
    star = visits["star_id"][0]
    table = facts.absolute.filter("measured", pl.col("star_id") == star)
    if not len(table):
        table = visits.filter("measured")
    value = pl.coalesce(pl.col("rv_obs").fill_nan(None), pl.col("value"))
    found = _joined(rows, table.select("visit_id", value.alias("_v")))
    known = found[np.isfinite(found)]
    return np.where(np.isfinite(found), found, known.mean() if known.size else 0.0)


def _joined(rows: pl.DataFrame, table: pl.DataFrame) -> Array:
    table = table.unique("visit_id", keep="first", maintain_order=True)
    joined = rows.select("visit_id").join(
        table, on="visit_id", how="left", maintain_order="left"
    )
    return joined["_v"].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _night(visits: pl.DataFrame, rows: pl.DataFrame, place: int) -> str:
    found = visits.filter(pl.col("visit_id") == rows["visit_id"][place])
    if not len(found):
        return "an exposure"
    night, bjd = found["night"][0], found["bjd"][0]
    if isinstance(night, int | float):
        return calendar_date(night)
    if bjd is None or not np.isfinite(bjd):
        return "an exposure"
    return calendar_date(bjd - 2_400_000.5)


def line_strength(
    facts: Facts,
    visits: pl.DataFrame,
    rows: pl.DataFrame,
    spectra: Spectra,
    period: float,
) -> Figure | Missing | None:
    """Equivalent width of H alpha against time and phase; None where it is not covered."""
    wave = spectra.wave_2d
    covers = (wave.min(axis=1) < H_ALPHA - 26) & (wave.max(axis=1) > H_ALPHA + 26)
    here = np.flatnonzero(covers & (spectra.ivar > 0).any(axis=1))
    if not here.size:
        return None
    picked = rows[here.tolist()]
    title = "H \N{GREEK SMALL LETTER ALPHA}: equivalent width"
    found = equivalent_widths(spectra[here], _absolute(facts, visits, picked))
    table = picked.select("visit_id").with_columns(
        width=pl.Series(found.width), error=pl.Series(found.error)
    )
    seen = visits.select("visit_id", "bjd", "place", "arm").unique(
        "visit_id", keep="first", maintain_order=True
    )
    table = table.join(seen, "visit_id", "inner", maintain_order="left").filter(
        pl.col("width").is_finite()
    )
    if not len(table):
        reason = "The line or the continuum beside it has gaps in every spectrum."
        return Missing("h-alpha", title, reason)
    width, error = table["width"].to_numpy(), table["error"].to_numpy()
    weight = error**-2
    chi2 = float(np.sum(weight * (width - weight @ width / weight.sum()) ** 2))
    return Figure(
        name="h-alpha",
        title=title,
        panels=_against_both(
            table, "width", "error", "equivalent width (Å)", facts.arms, period
        ),
        columns=2,
        wide=True,
        shows="Equivalent width of H alpha within 10 Å of the line in the star's frame, "
        "absorption positive, with the error of the noise and of the continuum (a "
        "straight line through 10 to 25 Å on both sides).",
        good="The same in all spectra: a change tells of activity, of gas between two "
        "stars, or of a temperature that changes.",
        here=f"Here: {counted(len(table), 'spectrum', 'spectra')}, "
        f"{significant(width.mean())} Å on average; chi² about the mean "
        f"{chi2:.1f} for {len(width) - 1} degrees of freedom.",
    )


def temperatures(facts: Facts, star_id: str, period: float) -> Figure | None:
    """Temperature of each spectrum against time and phase; None where there are none."""
    labels = facts.labels
    if not len(labels):
        return None
    labels = labels.filter(
        pl.col("star_id") == star_id, "teff_trusted", pl.col("teff_err") > 0
    )
    if "bjd" not in labels.columns or len(labels) < 2:
        return None
    labels = labels.with_columns(place=pl.lit(None, dtype=pl.Int64))
    values, errors = labels["teff"].to_numpy(), labels["teff_err"].to_numpy()
    weight = errors**-2
    chi2 = float(np.sum(weight * (values - weight @ values / weight.sum()) ** 2))
    arms = tuple(sorted(set(labels["arm"].to_list())))
    return Figure(
        name="temperature",
        title="Temperature",
        panels=_against_both(
            labels, "teff", "teff_err", "effective temperature (K)", arms, period
        ),
        columns=2,
        wide=True,
        shows="Effective temperature as fitted to each exposure.",
        good="Level for a binary; a pulsator is hottest at about its smallest size, and "
        "its temperature follows the phase of its velocity.",
        here=f"Here: {counted(len(labels), 'fit')}, chi² about the mean {chi2:.1f} for "
        f"{len(values) - 1} degrees of freedom.",
    )


def _against_both(
    table: pl.DataFrame,
    column: str,
    error: str,
    label: str,
    arms: tuple[str, ...],
    period: float,
) -> tuple[Panel, ...]:
    """Panels of a quantity against time, and against phase where there is a period."""
    time = time_axis(table)
    against_time, against_phase = [], []
    bjd = table["bjd"].to_numpy()
    for arm in arms:
        chosen = (table["arm"].fill_null("all") == arm).to_numpy()
        if not chosen.any():
            continue
        y, dy = table[column].to_numpy()[chosen], table[error].to_numpy()[chosen]
        color, name = arm_color(arm, arms), arm_title(arm) if len(arms) > 1 else ""
        at = time.of(table)[chosen]
        against_time.append(Points(at, y, color, name, error=dy, size=6))
        phase = (bjd[chosen] / period) % 1
        against_phase.append(twice(phase, y, dy, color=color))
    panels = [Panel(Axis(time.label), Axis(label), tuple(against_time))]
    if time.known and np.isfinite(period) and period > 0:
        panels.append(
            Panel(
                PHASE,
                Axis(label),
                tuple(against_phase),
                title=f"Folded, period {period:.6g} d",
            )
        )
    return tuple(panels)
