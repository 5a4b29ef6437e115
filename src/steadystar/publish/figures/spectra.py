"""The spectra of one star in one arm, above each other in order of time."""

__all__ = ["NOISIEST", "display_grid", "normalized", "stacked_spectra"]

import numpy as np
import polars as pl
from numpy.polynomial import legendre

from steadystar.data.spectra import Spectra
from steadystar.data.status import FATAL
from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import Array, calendar_date, counted, robust_width
from steadystar.publish.plot import (
    Axis,
    Band,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    arm_color,
)

_MOST_PIXELS = 2000
_STEP = 0.6
"""Vertical distance of two spectra, in units of the continuum."""
_CEILING = 1.8
NOISIEST = 0.5
"""Robust scatter of a normalized spectrum from which on it only hides the others."""


def stacked_spectra(
    facts: Facts,
    inputs: ReportInputs,
    visits: pl.DataFrame,
    rows: pl.DataFrame,
    spectra: Spectra,
    arm: str,
    options: ReportOptions,
) -> Figure | Missing:
    """Draw the spectra of a star in ``arm``; ``rows`` are those of ``spectra``.

    ``visits`` say what was measured in them.
    """
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
    grid = display_grid(spectra, usable)
    curves = {int(i): normalized(spectra, int(i), grid) for i in usable[::every]}
    drawn = [i for i, flux in curves.items() if robust_width(flux) < NOISIEST]
    if not drawn:
        return Missing(name, title, "Every spectrum of this arm is mostly noise.")
    shown = status[drawn]
    lost = (shown["status"].fill_null(0).to_numpy() & int(FATAL)) != 0
    window = inputs.windows.get(arm)
    lines, ticks = _stack(
        grid, [curves[i] for i in drawn], shown, lost, arm_color(arm, facts.arms)
    )
    bands: list[Mark] = [Band(*window, along="x")] if window else []
    top = 1.0 + _STEP * (len(drawn) - 1) + 0.5
    return Figure(
        name=name,
        title=title,
        panels=(
            Panel(
                Axis("vacuum wavelength (Å)", low=float(grid[0]), high=float(grid[-1])),
                Axis("", low=0.1, high=top, ticks=ticks),
                (*bands, *lines),
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
        here=_sentence(len(drawn), len(curves), usable.size, every, int(lost.sum())),
    )


def _stack(
    grid: Array, curves: list[Array], shown: pl.DataFrame, lost: np.ndarray, color: str
) -> tuple[list[Mark], tuple[tuple[float, str], ...]]:
    """One line a spectrum, each above the one before, and their names on the axis."""
    marks: list[Mark] = []
    ticks: list[tuple[float, str]] = []
    of_night: dict[str, int] = {}
    for level, row in enumerate(shown.iter_rows(named=True)):
        shift = _STEP * level
        marks.append(
            Line(
                grid,
                np.minimum(curves[level], _CEILING) + shift,
                "muted" if lost[level] else color,
                width=1.0,
                hover=f"exposure {row['exposure'] or level + 1}",
            )
        )
        night = _when(row, level)
        of_night[night] = of_night.get(night, 0) + 1
        ticks.append((1.0 + shift, f"{night} #{of_night[night]}"))
    return marks, tuple(ticks)


def _sentence(drawn: int, tried: int, usable: int, every: int, lost: int) -> str:
    here = f"Here: {counted(drawn, 'exposure')}"
    if every > 1:
        here += f", one in {every} of {usable}"
    if drawn < tried:
        here += (
            f"; {counted(tried - drawn, 'exposure')} of mostly noise "
            "(scatter over half of the continuum) not drawn"
        )
    if lost:
        here += f"; {counted(lost, 'exposure')} without a velocity in gray"
    return here + "."


def _when(row: dict, level: int) -> str:
    night = row["night"]
    if isinstance(night, int | float):
        return calendar_date(night)
    if row["bjd"] is not None and np.isfinite(row["bjd"]):
        return calendar_date(np.floor(row["bjd"] - 2_400_001 + 0.5))
    return str(row["exposure"] or level + 1)


def display_grid(spectra: Spectra, drawn: np.ndarray) -> Array:
    """Uniform wavelengths for the screen, no finer than the pixels."""
    wave = spectra.wave_2d[drawn]
    used = np.where(spectra.ivar[drawn] > 0, wave, np.nan)
    low, high = float(np.nanmin(used)), float(np.nanmax(used))
    native = float(np.median(np.diff(wave, axis=1))) if wave.shape[1] > 1 else 1.0
    size = int(np.clip((high - low) / max(native, 1e-6), 2, _MOST_PIXELS))
    return np.linspace(low, high, size)


def normalized(spectra: Spectra, index: int, grid: Array) -> Array:
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
