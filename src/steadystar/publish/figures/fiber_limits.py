"""The photon limit in each fiber: which of them see the stars less sharply?"""

__all__ = ["fiber_limits", "limit_by_fiber"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts, arms_of
from steadystar.publish.figures.fibers import unit_order
from steadystar.publish.numbers import (
    Array,
    counted,
    median,
    positive,
    robust_width,
    significant,
)
from steadystar.publish.plot import Axis, Band, Figure, Mark, Panel, Points, arm_color

_FIBERS = "Photon limit in each fiber"
_FEWEST_FIBERS = 10
_MOST_UNITS = 16
_OUTLYING = 5.0
"""Robust standard deviations beyond which a fiber is named."""


def limit_by_fiber(facts: Facts) -> list[Figure]:
    """Photon limit at S/N 1 by fiber, one figure an arm; nothing for a few fibers."""
    drawn = ("star_id", "arm", "unit", "fiber", "snr", "rv_limit")
    rows = (
        facts.absolute.select(drawn)
        .filter(
            (pl.col("rv_limit") > 0) & positive("snr") & pl.col("fiber").is_not_null()
        )
        .with_columns(pl.col("fiber").cast(pl.Float64, strict=False))
    )
    rows = rows.filter(pl.col("fiber").is_finite(), pl.col("rv_limit").is_finite())
    if rows["fiber"].n_unique() <= _FEWEST_FIBERS:
        return []
    made = []
    for arm in arms_of(rows):
        fibers = fiber_limits(rows.filter(pl.col("arm") == arm))
        if len(fibers) > _FEWEST_FIBERS:
            made.append(_fiber_figure(facts, fibers, arm))
    return made


def fiber_limits(rows: pl.DataFrame) -> pl.DataFrame:
    """Median of ``rv_limit * snr`` in each fiber, and which fibers stand out.

    Columns ``unit, fiber, level`` (km/s), ``n`` (spectra), ``n_stars`` and ``off``: how
    far the logarithm of the level lies from the median of all fibers, in units of the
    robust scatter of the fibers.
    """
    fibers = (
        rows.group_by("unit", "fiber")
        .agg(
            (pl.col("rv_limit") * pl.col("snr")).median().alias("level"),
            pl.len().alias("n"),
            pl.col("star_id").n_unique().alias("n_stars"),
        )
        .sort("unit", "fiber")
    )
    logs = np.log(fibers["level"].to_numpy())
    width = robust_width(logs)
    off = (logs - np.median(logs)) / width if width > 0 else np.zeros(logs.size)
    return fibers.with_columns(pl.Series("off", off, dtype=pl.Float64))


def _fiber_figure(facts: Facts, fibers: pl.DataFrame, arm: str) -> Figure:
    level = fibers["level"].to_numpy()
    middle, width = median(level), robust_width(np.log(level))
    band = middle * np.exp(np.array([-1, 1]) * _OUTLYING * width)
    low = 0.9 * min(float(level.min()), float(band[0]))
    high = 1.1 * max(float(level.max()), float(band[1]))
    sizes = fibers.group_by("unit").len().sort("len", "unit", descending=[True, False])
    units = sizes["unit"].to_list()[:_MOST_UNITS]
    panels = [
        _fiber_panel(facts, fibers, unit, arm, band, (low, high))
        for unit in sorted(units, key=unit_order)
    ]
    wild = fibers.filter(pl.col("off").abs() > _OUTLYING)
    wild = wild.sort(pl.col("off").abs(), descending=True)
    here = (
        f"Here: {counted(len(fibers), 'fiber')}, median {significant(middle, 3)} km/s at "
        f"S/N 1, with a robust scatter of {100 * width:.0f}%. "
    )
    here += _named_fibers(wild, middle)
    if len(sizes) > len(units):
        here += f" The {len(units)} spectrographs with the most fibers are drawn."
    return Figure(
        name=f"fiber-limits-{arm}",
        title=f"{_FIBERS}, {arm} arm" if arm != "all" else _FIBERS,
        panels=tuple(panels),
        columns=min(2, len(panels)),
        wide=True,
        shows="Photon limit times S/N, the median of each fiber's spectra: what the "
        "velocity error would be at S/N 1. The band reaches five robust standard "
        "deviations to either side; fibers beyond it are open symbols.",
        good="All fibers within the band. One above it blurs the lines (a wide line "
        "spread function), or its stars have few lines: hot, fast or metal-poor ones.",
        here=here,
    )


def _named_fibers(wild: pl.DataFrame, middle: float) -> str:
    if not len(wild):
        return "None stands out."
    named = [
        f"fiber {row['fiber']:g}{' of ' if row['unit'] else ''}{row['unit']} "
        f"({row['level'] / middle:.2g} times the median, {counted(row['n_stars'], 'star')})"
        for row in wild.head(5).iter_rows(named=True)
    ]
    more = f" and {len(wild) - 5} more" if len(wild) > 5 else ""
    verb = "stands" if len(wild) == 1 else "stand"
    return f"{counted(len(wild), 'fiber').capitalize()} {verb} out: {', '.join(named)}{more}."


def _fiber_panel(
    facts: Facts,
    fibers: pl.DataFrame,
    unit: str,
    arm: str,
    band: Array,
    reach: tuple[float, float],
) -> Panel:
    part = fibers.filter(pl.col("unit") == unit)
    marks: list[Mark] = [Band(float(band[0]), float(band[1]), "y")]
    for symbol, chosen in (
        ("circle", part.filter(pl.col("off").abs() <= _OUTLYING)),
        ("open", part.filter(pl.col("off").abs() > _OUTLYING)),
    ):
        if len(chosen):
            marks.append(
                Points(
                    chosen["fiber"].to_numpy(),
                    chosen["level"].to_numpy(),
                    arm_color(arm, facts.arms),
                    hover=[
                        f"fiber {fiber:g}: {counted(n, 'spectrum', 'spectra')} of "
                        f"{counted(stars, 'star')}"
                        for fiber, n, stars in chosen.select(
                            "fiber", "n", "n_stars"
                        ).iter_rows()
                    ],
                    symbol=symbol,  # pyright: ignore[reportArgumentType]
                    size=5,
                )
            )
    return Panel(
        Axis("fiber"),
        Axis("limit at S/N 1 (km/s)", log=True, low=reach[0], high=reach[1]),
        tuple(marks),
        title=unit,
        tall=0.9,
    )
