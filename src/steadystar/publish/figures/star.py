"""The figures of one star's page: its velocities and its spectra."""

__all__ = ["star_figures"]

import numpy as np
import polars as pl
from numpy.polynomial import legendre

from steadystar.data.spectra import Spectra
from steadystar.data.status import FATAL
from steadystar.publish.facts import Facts
from steadystar.publish.figures.timeline import (
    arm_points,
    shown_velocity,
    time_axis,
    velocity_label,
)
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import (
    Array,
    calendar_date,
    counted,
    finite,
    kms,
    robust_width,
)
from steadystar.publish.plot import (
    Axis,
    Band,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    arm_color,
)

_MOST_PIXELS = 2000
_STEP = 0.6
"""Vertical distance of two spectra, in units of the continuum."""
_CEILING = 1.8
_NOISIEST = 0.5
"""Robust scatter of a normalized spectrum from which on it only hides the others."""


def star_figures(
    facts: Facts, inputs: ReportInputs, star_id: str, options: ReportOptions
) -> list[Figure | Missing]:
    """Make the figures of one star: velocities first, then spectra arm by arm."""
    visits = facts.visits.filter(pl.col("star_id") == star_id)
    made: list[Figure | Missing] = [_velocities(facts, inputs, visits, star_id)]
    try:
        found = inputs.spectra(star_id) if inputs.spectra else None
    except (ValueError, OSError) as error:
        # One damaged file of spectra does not take the report away.
        return [*made, Missing("spectra", "Spectra", f"They cannot be read: {error}")]
    if found is None:
        reason = (
            "The run kept no spectra of this star."
            if inputs.spectra
            else "This run started from a table of velocities: there are no spectra."
        )
        return [*made, Missing("spectra", "Spectra", reason)]
    rows, spectra = found
    for arm in facts.arms:
        here = np.flatnonzero((rows["arm"].fill_null("all") == arm).to_numpy())
        if here.size:
            picked = rows[here.tolist()]
            made.append(
                _spectra(facts, inputs, visits, picked, spectra[here], arm, options)
            )
    return made


def _velocities(
    facts: Facts, inputs: ReportInputs, visits: pl.DataFrame, star_id: str
) -> Figure | Missing:
    title = "Velocities"
    rows = visits.filter("measured")
    if not len(rows):
        return Missing(
            "velocities", title, "No spectrum of this star gave a velocity; see below."
        )
    time = time_axis(rows)
    label = velocity_label(facts)
    true = _truth(facts, inputs, rows)
    marks: list[Mark] = [*arm_points(facts, rows, time, labels=True, size=6)]
    if true is not None:
        # Below the velocities: where they agree, it is these that are looked for.
        marks.insert(0, _true_points(time.of(rows), true, "true"))
    panels = [Panel(Axis(time.label), Axis(label), tuple(marks), title="Against time")]
    order = rows["bjd"].rank("dense").cast(pl.Float64).to_numpy()
    if time.known and len(np.unique(order)) > 2:
        panels.append(_in_order(facts, rows, order, label, true))
    folded = _folded(facts, rows, star_id, label)
    if folded:
        panels.append(folded)
    scatter = finite(rows["after"])
    spread = float(np.std(scatter)) if scatter.size else None
    return Figure(
        name="velocities",
        title=title,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="Calibrated velocities with their errors, against time and in the order "
        "of the exposures (which shows the inside of a night). Open symbols carry a "
        "warning, spelled out in the table below."
        + (" Crosses are the simulated truth." if true is not None else ""),
        good="The arms follow each other; a steady star stays level within its errors.",
        here=f"Here: {counted(len(rows), 'velocity', 'velocities')}"
        + (f", {kms(spread)} rms about the mean." if spread is not None else "."),
    )


def _in_order(
    facts: Facts, rows: pl.DataFrame, order: Array, label: str, true: Array | None
) -> Panel:
    marks: list[Mark] = []
    for arm in facts.arms:
        chosen = (rows["arm"] == arm).to_numpy()
        if chosen.any():
            part = rows.filter(pl.Series(chosen))
            marks.append(
                Points(
                    order[chosen],
                    shown_velocity(facts, part),
                    arm_color(arm, facts.arms),
                    error=part["error"].to_numpy(),
                    hover=[e or "" for e in part["exposure"].to_list()],
                    size=6,
                )
            )
    if true is not None:
        marks.insert(0, _true_points(order, true))
    return Panel(
        Axis("exposure, in order of time"), Axis(label), tuple(marks), "In order"
    )


def _true_points(x: Array, true: Array, label: str = "") -> Points:
    return Points(x, true, "ink", label, symbol="cross", size=7, opacity=0.6)


def _folded(facts: Facts, rows: pl.DataFrame, star_id: str, label: str) -> Panel | None:
    stars = facts.stars
    if "period" not in stars.columns:
        return None
    found = finite(stars.filter(pl.col("star_id") == star_id)["period"])
    if not found.size or found[0] <= 0:
        return None
    period = float(found[0])
    marks: list[Mark] = []
    for arm in facts.arms:
        part = rows.filter((pl.col("arm") == arm) & pl.col("bjd").is_finite())
        if len(part):
            phase = (part["bjd"].to_numpy() / period) % 1
            marks.append(
                Points(
                    np.concatenate([phase, phase + 1]),
                    np.tile(shown_velocity(facts, part), 2),
                    arm_color(arm, facts.arms),
                    error=np.tile(part["error"].to_numpy(), 2),
                    size=6,
                )
            )
    return Panel(
        Axis("phase"), Axis(label), tuple(marks), title=f"Folded, period {period:.6g} d"
    )


def _truth(facts: Facts, inputs: ReportInputs, rows: pl.DataFrame) -> Array | None:
    known = (inputs.truth or {}).get("visits")
    if known is None or not {"visit_id", "rv_true"} <= set(known.columns):
        return None
    known = known.select("visit_id", "rv_true").unique("visit_id")
    joined = rows.select("visit_id", "arm", "error").join(
        known, on="visit_id", how="left", maintain_order="left"
    )
    if facts.relative:
        # About the same mean as the velocities beside it.
        weight = (
            pl.when(pl.col("error") > 0).then(pl.col("error") ** -2).otherwise(1e-9)
        )
        total = (pl.col("rv_true") * weight).sum().over("arm")
        mean = total / weight.sum().over("arm")
        joined = joined.with_columns(pl.col("rv_true") - mean)
    true = joined["rv_true"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return true if np.isfinite(true).any() else None


def _spectra(
    facts: Facts,
    inputs: ReportInputs,
    visits: pl.DataFrame,
    rows: pl.DataFrame,
    spectra: Spectra,
    arm: str,
    options: ReportOptions,
) -> Figure | Missing:
    name = f"spectra-{arm}"
    title = f"Spectra, {arm} arm" if arm != "all" else "Spectra"
    status = rows.select("visit_id").join(
        visits.select("visit_id", "status", "bjd", "night", "exposure").unique(
            "visit_id"
        ),
        on="visit_id",
        how="left",
        maintain_order="left",
    )
    usable = np.flatnonzero((spectra.ivar > 0).any(axis=1))
    times = status["bjd"].fill_null(np.nan).to_numpy()[usable]
    usable = usable[np.argsort(times, kind="stable")]
    if not usable.size:
        return Missing(name, title, "No spectrum of this arm has a usable pixel.")
    every = -(-usable.size // options.exposures_per_star)
    grid = _display_grid(spectra, usable)
    curves = {int(i): _normalized(spectra, int(i), grid) for i in usable[::every]}
    drawn = [i for i, flux in curves.items() if robust_width(flux) < _NOISIEST]
    if not drawn:
        return Missing(name, title, "Every spectrum of this arm is mostly noise.")
    marks: list[Mark] = []
    window = inputs.windows.get(arm)
    if window:
        marks.append(Band(*window, along="x"))
    ticks: list[tuple[float, str]] = []
    of_night: dict[str, int] = {}
    for level, index in enumerate(drawn):
        facts_of = status.row(index, named=True)
        flux = curves[index]
        bad = bool((facts_of["status"] or 0) & int(FATAL))
        shift = _STEP * level
        marks.append(
            Line(
                grid,
                np.minimum(flux, _CEILING) + shift,
                "muted" if bad else arm_color(arm, facts.arms),
                width=1.0,
                hover=f"exposure {facts_of['exposure'] or index + 1}",
            )
        )
        night = _when(facts_of, level)
        of_night[night] = of_night.get(night, 0) + 1
        ticks.append((1.0 + shift, f"{night} #{of_night[night]}"))
    top = 1.0 + _STEP * (len(drawn) - 1) + 0.5
    lost = int(
        ((status["status"].fill_null(0).to_numpy()[drawn] & int(FATAL)) != 0).sum()
    )
    here = f"Here: {counted(len(drawn), 'exposure')}"
    if every > 1:
        here += f", one in {every} of {usable.size}"
    if len(drawn) < len(curves):
        here += (
            f"; {counted(len(curves) - len(drawn), 'exposure')} of mostly noise "
            "(scatter over half of the continuum) not drawn"
        )
    if lost:
        here += f"; {counted(lost, 'exposure')} without a velocity in gray"
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(
                Axis("vacuum wavelength (Å)", low=float(grid[0]), high=float(grid[-1])),
                Axis("", low=0.1, high=top, ticks=tuple(ticks)),
                tuple(marks),
                tall=float(np.clip(0.35 + 0.13 * len(drawn), 0.6, 3.0)),
            ),
        ),
        wide=True,
        shows="Each exposure divided by a smooth curve along its upper envelope and "
        f"shifted up by {_STEP} for each exposure, the earliest at the bottom; values "
        f"above {_CEILING} are cut."
        + (" The shaded range is where the velocity is measured." if window else ""),
        good="The same lines in every exposure, moving together; no steps, no spikes "
        "in the measuring range.",
        here=here + ".",
    )


def _when(row: dict, level: int) -> str:
    night = row["night"]
    if isinstance(night, int | float):
        return calendar_date(night)
    if row["bjd"] is not None and np.isfinite(row["bjd"]):
        return calendar_date(np.floor(row["bjd"] - 2_400_001 + 0.5))
    return str(row["exposure"] or level + 1)


def _display_grid(spectra: Spectra, drawn: np.ndarray) -> Array:
    """Uniform wavelengths for the screen, no finer than the pixels."""
    wave = spectra.wave_2d[drawn]
    used = np.where(spectra.ivar[drawn] > 0, wave, np.nan)
    low, high = float(np.nanmin(used)), float(np.nanmax(used))
    native = float(np.median(np.diff(wave, axis=1))) if wave.shape[1] > 1 else 1.0
    size = int(np.clip((high - low) / max(native, 1e-6), 2, _MOST_PIXELS))
    return np.linspace(low, high, size)


def _normalized(spectra: Spectra, index: int, grid: Array) -> Array:
    """One spectrum over its upper envelope, averaged into the cells of the grid.

    The envelope is a fourth-order polynomial with residuals above +3 and below -1.5
    standard deviations left out: good enough for the eye, not used for measuring.
    """
    wave, flux = spectra.wave_2d[index], spectra.flux[index].astype(float)
    good = spectra.ivar[index] > 0
    x = (wave - grid[0]) / (grid[-1] - grid[0]) * 2 - 1
    keep = good & (np.abs(x) <= 1)
    order = min(4, max(0, int(keep.sum()) // 50))
    level = np.full(flux.shape, np.nan)
    for _ in range(6):
        if keep.sum() <= order:
            break
        level = legendre.legval(x, legendre.legfit(x[keep], flux[keep], order))
        residual = flux - level
        spread = float(np.std(residual[keep]))
        keep = good & (np.abs(x) <= 1)
        keep &= (residual <= 3 * spread) & (residual >= -1.5 * spread)
    step = grid[1] - grid[0]
    cell = np.floor((wave - grid[0]) / step + 0.5).astype(np.int64)
    inside = good & (cell >= 0) & (cell < grid.size) & (level > 0)
    total = np.bincount(cell[inside], (flux[inside] / level[inside]), grid.size)
    number = np.bincount(cell[inside], minlength=grid.size)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
