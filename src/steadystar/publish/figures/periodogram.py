"""The periodogram of one star, with what the sampling does to it.

Peaks of the table of periods are numbered; an alias is named by the peak that it copies.
"""

__all__ = ["periodogram_figure", "periodogram_items"]

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from steadystar.infer.period_options import PeriodOptions
from steadystar.infer.periodogram import Periodogram, periodogram
from steadystar.publish.figures.section import Item
from steadystar.publish.figures.variable_lists import peak_listing
from steadystar.publish.measured import chance, is_known
from steadystar.publish.numbers import Array, counted, significant
from steadystar.publish.plot import Axis, Figure, Line, Mark, Panel, Points, Words
from steadystar.publish.variable_facts import Evidence

_CELLS = 1200
_FINE = 1500
_NAMED = 8


def periodogram_items(evidence: Evidence, options: PeriodOptions) -> tuple[Item, ...]:
    """Return the periodogram of a star that was searched for periods, and its peaks."""
    if not len(evidence.periods):
        return ()
    visits = evidence.visits
    time = visits["bjd"].to_numpy()
    # Fine where few frequencies make the curve. Chances are in the table of peaks
    # already: no noise has to be drawn.
    fine = _FINE * options.min_period / max(float(np.ptp(time)), 1e-6)
    found = periodogram(
        time,
        visits["rv"].to_numpy(),
        visits["rv_err"].to_numpy(),
        replace(
            options,
            draws=0,
            oversampling=int(np.clip(fine, options.oversampling, 30)),
        ),
        zero=visits["zero"].to_numpy(),
    )
    return periodogram_figure(found, evidence.periods), peak_listing(evidence.periods)


def periodogram_figure(found: Periodogram, peaks: pl.DataFrame) -> Figure:
    """Power against period with its jackknife error, and the window function below.

    Arguments:
        found: of the star's velocities.
        peaks: the star's rows of the table of periods.
    """
    period = 1 / found.frequency[::-1]
    curves = [getattr(found, n)[::-1] for n in ("power", "low", "high", "window")]
    high = _envelope(period, curves[0], curves)
    low_x, high_x = float(period.min()), float(period.max())
    x = Axis("period (d)", log=True, low=low_x, high=high_x)
    band: list[Mark] = [Line(high[0], high[1], "blue", "power", width=1.2)]
    if np.isfinite(high[2]).any():
        band = [
            Line(high[0], high[2], "orange", "± jackknife error", width=0.8),
            Line(high[0], high[3], "orange", width=0.8),
            *band,
        ]
    window = _envelope(period, curves[3], curves)
    top = max(1.0, float(np.nanmax(high[3], initial=0.0)))
    upper = Panel(
        x, Axis("power", low=0, high=1.18 * top), (*band, *_numbered(peaks)), tall=1.0
    )
    lower = Panel(
        x,
        Axis("window", low=0, high=1.05),
        (Line(window[0], window[4], "muted"),),
        tall=0.6,
    )
    return Figure(
        name="periodogram",
        title="Periodogram",
        panels=(upper, lower),
        wide=True,
        shows="Share of chi² that a sine with a free mean explains, for every period; that "
        "share plus and minus its standard error, from leaving out one visit or night at "
        "a time (jackknife error); the peaks, numbered by height; and below the power "
        "of the times of observation themselves. Where the window is high, a period has "
        "copies (aliases), in brackets by the peak that they copy.",
        good="One peak that stands clear of all others by more than their jackknife "
        "errors, and copies where the window says so.",
        here=_here(peaks),
    )


def _envelope(period: Array, leading: Array, curves: Sequence[Array]) -> list[Array]:
    """Period and curves, in each of many cells where the leading one is highest."""
    if len(period) <= _CELLS:
        return [period, *curves]
    edges = np.geomspace(period[0], period[-1], _CELLS + 1)
    cell = np.clip(np.searchsorted(edges, period, "right") - 1, 0, _CELLS - 1)
    order = np.lexsort((np.nan_to_num(leading, nan=-1.0), cell))
    last = np.flatnonzero(np.diff(cell[order], append=-1))
    top = order[last]
    return [period[top], *(curve[top] for curve in curves)]


def _numbered(peaks: pl.DataFrame) -> list[Mark]:
    peaks = peaks.filter(
        pl.col("period").is_finite(), pl.col("power").is_finite()
    ).head(_NAMED)
    if not len(peaks):
        return []
    period, power = peaks["period"].to_numpy(), peaks["power"].to_numpy()
    texts = [
        f"{rank}" if alias is None else f"({alias})"
        for rank, alias in peaks.select("rank", "alias_of").iter_rows()
    ]
    hover = [
        f"peak {row['rank']}: {row['period']:.6g} d" + (f", {row['alias']}" if row["alias"] else "")
        for row in peaks.iter_rows(named=True)
    ]  # fmt: skip
    return [
        Points(period, power, "ink", symbol="open", size=7, hover=hover),
        Words(period, power + 0.07 * max(1.0, float(power.max())), texts),
    ]


def _here(peaks: pl.DataFrame) -> str:
    if not len(peaks):
        return "Here: no peak was listed."
    first = peaks.row(0, named=True)
    seen = f"a chance of {chance(first['fap'])}"
    if not is_known(first["fap"]):
        seen = "of unknown chance"
    own = int(peaks["alias_of"].is_null().sum())
    copies = len(peaks) - own
    return (
        f"Here: the highest peak is at {significant(first['period'], 6)} d, {seen} in "
        f"noise; {counted(own, 'peak')} that {'is' if own == 1 else 'are'} no alias, "
        f"{counted(copies, 'alias', 'aliases')}."
    )
