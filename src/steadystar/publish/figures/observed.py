"""What was observed: where, when, how well, how often."""

__all__ = ["observed"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.figures.sky import star_positions
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    calendar_date,
    counted,
    counts_axis,
    finite,
    log_edges,
    median,
)
from steadystar.publish.plot import (
    Axis,
    Bars,
    Figure,
    Missing,
    Panel,
    Steps,
    arm_color,
    arm_title,
)

_TITLE = "Stars, nights, signal and repeats"


def observed(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Positions of the stars, spectra by night, S/N by arm and visits by star."""
    if not len(facts.visits):
        return Missing("observed", _TITLE, "The table of velocities has no rows.")
    candidates = (
        star_positions(facts, options),
        _nights(facts),
        _snr(facts),
        _repeats(facts),
    )
    panels = tuple(panel for panel in candidates if panel is not None)
    if not panels:
        return Missing(
            "observed",
            _TITLE,
            "The table has neither positions, nights nor signal-to-noise ratios.",
        )
    per_star = facts.stars["n_measured"]
    snr = median(facts.visits["snr"])
    here = (
        f"Here: {counted(len(facts.visits), 'spectrum', 'spectra')} of "
        f"{counted(len(facts.stars), 'star')}; the typical (median) star has "
        f"{counted(int(median(per_star)), 'velocity', 'velocities')}"
    )
    here += f", the typical spectrum S/N {snr:.3g}." if np.isfinite(snr) else "."
    return Figure(
        name="observed",
        title=_TITLE,
        panels=panels,
        columns=2,
        wide=True,
        shows="Where the stars are, how many spectra each night gave (gray: those "
        "without a velocity), how good they are, and how often each star was measured.",
        good="Steady stars calibrate an exposure only if many of them share it and "
        "come back in others: look for fields full of stars with many velocities each.",
        here=here,
    )


def _nights(facts: Facts) -> Panel | None:
    night = facts.visits.select(
        pl.coalesce(
            pl.col("night").cast(pl.Float64, strict=False),
            # A night without a number: the day on which its exposures fall.
            (pl.col("bjd").fill_nan(None) - 2_400_001).floor(),
        ).alias("night"),
        "measured",
    ).drop_nulls("night")
    if not len(night):
        return None
    counts = (
        night.group_by("night")
        .agg(pl.len().alias("all"), pl.col("measured").sum())
        .sort("night")
    )
    dates = [calendar_date(value) for value in counts["night"].to_list()]
    at = np.arange(1.0, len(counts) + 1)
    every = -(-len(dates) // 6)
    total, good = counts["all"].to_numpy(), counts["measured"].to_numpy()
    hover = [
        f"{day}: {n} spectra, {m} with a velocity"
        for day, n, m in zip(dates, total, good, strict=True)
    ]
    marks: tuple = (
        Bars(at, total.astype(float), "muted", "all", hover=hover),
        Bars(at, good.astype(float), "ink", "with a velocity", hover=hover),
    )
    return Panel(
        Axis(
            "night",
            ticks=tuple(
                (float(i + 1), day) for i, day in enumerate(dates) if i % every == 0
            ),
        ),
        # Room above the bars for the legend.
        Axis("spectra", low=0, high=1.25 * float(total.max())),
        marks,
        title=f"Spectra in each of {counted(len(counts), 'night')}",
    )


def _snr(facts: Facts) -> Panel | None:
    positive = facts.visits.select("arm", "snr")
    positive = positive.filter(pl.col("snr").is_finite() & (pl.col("snr") > 0))
    if not len(positive):
        return None
    lowest = 0.5
    edges = log_edges(np.maximum(positive["snr"].to_numpy(), lowest), share=0.001)
    marks = []
    for arm in facts.arms:
        values = finite(positive.filter(pl.col("arm") == arm)["snr"])
        heights, _ = np.histogram(np.maximum(values, edges[0]), edges)
        marks.append(
            Steps(
                edges, heights.astype(float), arm_color(arm, facts.arms), arm_title(arm)
            )
        )
    return Panel(
        Axis("S/N per pixel", log=True),
        counts_axis("spectra", max(float(mark.heights.max()) for mark in marks)),
        tuple(marks),
        title="Signal to noise",
    )


def _repeats(facts: Facts) -> Panel | None:
    repeats = finite(facts.stars["n_measured"])
    if not repeats.size:
        return None
    high = int(repeats.max())
    step = max(1, high // 40)
    edges = np.arange(-0.5, high + step + 0.5, step)
    heights, _ = np.histogram(repeats, edges)
    return Panel(
        Axis("velocities of a star, all arms"),
        counts_axis("stars", float(heights.max())),
        (Steps(edges, heights.astype(float), "ink"),),
        title="Repeats",
    )
