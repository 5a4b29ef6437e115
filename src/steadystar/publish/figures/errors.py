"""Are the errors right? Error against S/N (Xiong et al. 2021, figure 4), and pulls."""

__all__ = [
    "FEWEST",
    "error_against_snr",
    "pulls",
    "share_per_unit",
    "unit_normal",
]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    MINUS,
    Array,
    counted,
    finite,
    log_edges,
    median,
    positive,
    robust_width,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Band,
    Figure,
    Line,
    Missing,
    Panel,
    Points,
    Steps,
    arm_color,
    arm_title,
)

_ERRORS = "Error against signal to noise"
_PULLS = "Are the error bars right?"
_MOST_BINS = 12
FEWEST = 20
"""Pulls in a bin below which its width means little (its own error is 16%)."""


def error_against_snr(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Errors of the velocities against S/N, a panel an arm, both axes logarithmic."""
    # What the measurement itself claims, before the error of a zero point is added.
    claimed = (
        pl.when(pl.col("raw_error").is_finite()).then("raw_error").otherwise("error")
    )
    drawn = ("star_id", "arm", "snr", "raw_error", "error")
    good = facts.columns_measured(*drawn).with_columns(claimed.alias("claimed"))
    good = good.filter(
        positive("snr") & pl.col("claimed").is_finite() & (pl.col("claimed") > 0)
    )
    if not len(good):
        return Missing(
            "errors", _ERRORS, "No velocity has both an error and a signal-to-noise."
        )
    x_edges = log_edges(good["snr"].to_numpy(), 80)
    y_edges = log_edges(good["claimed"].to_numpy(), 60)
    panels, sentences = [], []
    for arm in facts.arms:
        rows = good.filter(pl.col("arm") == arm)
        if not len(rows):
            continue
        snr, error = rows["snr"].to_numpy(), rows["claimed"].to_numpy()
        cloud = scatter_or_density(
            snr,
            error,
            options.aggregate_above,
            color=arm_color(arm, facts.arms),
            hover=rows["star_id"],
            edges=(x_edges, y_edges),
        )
        level = median(snr * error)
        ends = x_edges[[0, -1]]
        slope = Line(
            ends, level / ends, "ink", f"{level:.2g} km/s / (S/N)", dash="dash"
        )
        panels.append(
            Panel(
                Axis("S/N per pixel", log=True, low=x_edges[0], high=x_edges[-1]),
                Axis(
                    "error (km/s)",
                    log=True,
                    low=y_edges[0] / 1.1,
                    high=y_edges[-1] * 1.1,
                ),
                (cloud, slope),
                title=arm_title(arm),
            )
        )
        sentences.append(
            f"{arm_title(arm) or 'all arms'}: median error "
            f"{significant(median(error), 2)} km/s at "
            f"median S/N {median(snr):.3g}{_final(rows, error)}"
        )
    return Figure(
        name="errors",
        title=_ERRORS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="The error of every measurement against the S/N of its spectrum "
        "(Xiong et al. 2021, figure 4); the dashed line falls as 1/(S/N), as errors do "
        "that come from photon noise alone. In the end an error is scaled to what "
        "constant stars show, and contains that of the zero point.",
        good="The cloud follows the slope, and levels off at most where the noise is no "
        "longer the limit. Stripes above it are stars with broad lines, few lines, or "
        "the lines of two stars.",
        here="Here: " + "; ".join(sentences) + ".",
    )


def _final(rows: pl.DataFrame, claimed: Array) -> str:
    """Say what the error became: rescaled, and with that of the zero point."""
    final = significant(median(rows["error"]), 2)
    return (
        "" if final == significant(median(claimed), 2) else f", {final} km/s in the end"
    )


def pulls(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Velocities of constant stars about their mean, in units of their errors."""
    rows = facts.columns_measured("arm", "snr", "pull", "pull_given")
    rows = rows.filter(pl.col("pull").is_finite())
    if len(rows) < FEWEST:
        return Missing(
            "pulls",
            _PULLS,
            f"Only {counted(len(rows), 'velocity', 'velocities')} of constant stars "
            f"with an error and at least one repeat: {FEWEST} are needed.",
        )
    edges = np.linspace(-5, 5, 51)
    histogram = []
    for arm in facts.arms:
        values = finite(rows.filter(pl.col("arm") == arm)["pull"])
        if values.size >= FEWEST:
            histogram.append(
                share_per_unit(
                    values, edges, arm_color(arm, facts.arms), arm_title(arm)
                )
            )
    if not histogram:
        histogram.append(share_per_unit(finite(rows["pull"]), edges, "ink", "all arms"))
    overall = robust_width(rows["pull"])
    shape = Panel(
        Axis(f"(velocity {MINUS} star's mean) / error", low=-5, high=5),
        Axis("share per unit"),
        (*histogram, unit_normal()),
        title="All S/N",
    )
    widths = _widths(facts, rows)
    panels = (shape, widths) if widths else (shape,)
    return Figure(
        name="pulls",
        title=_PULLS,
        panels=panels,
        columns=2,
        wide=len(panels) > 1,
        shows="How far the velocities of constant stars lie from the mean of their star, "
        "in units of their errors, against the unit normal; and the width of that "
        "distribution (interquartile range / 1.349) by S/N.",
        good="Width 1 at every S/N: the error bars mean what they say. Above 1 they "
        "are too small, below 1 too large.",
        here=f"Here: width {significant(overall)} over "
        f"{counted(len(rows), 'velocity', 'velocities')}{_as_given(rows, overall)}. "
        f"{facts.steady_words}",
    )


def _as_given(rows: pl.DataFrame, overall: float) -> str:
    """Say how wide the pulls are with errors that were not scaled to these very stars."""
    given = robust_width(rows["pull_given"])
    if not np.isfinite(given) or significant(given, 2) == significant(overall, 2):
        return ""
    return (
        f", after the errors were scaled to make it so; with the errors as measured "
        f"{significant(given)}"
    )


def unit_normal() -> Line:
    """The distribution that pulls should have."""
    at = np.linspace(-5, 5, 201)
    return Line(at, np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi), "ink", "unit normal")


def share_per_unit(values: Array, edges: Array, color: str, label: str) -> Steps:
    """A histogram of uniform bins, normalized to an integral of 1."""
    counts, _ = np.histogram(values, edges)
    share = counts / (values.size * (edges[1] - edges[0]))
    return Steps(edges, share, color, label, filled=False)


def _widths(facts: Facts, rows: pl.DataFrame) -> Panel | None:
    """Width of the pulls in bins of S/N; open symbols: with the errors as given."""
    lit = rows.filter(positive("snr"))
    if not len(lit):
        return None
    number = int(np.clip(len(lit) // (5 * FEWEST * len(facts.arms)), 2, _MOST_BINS))
    edges = log_edges(lit["snr"].to_numpy(), number, share=0.002)
    rescaled = bool(_as_given(lit, robust_width(lit["pull"])))
    points = []
    for arm in facts.arms:
        of_arm = lit.filter(pl.col("arm") == arm)
        if rescaled:
            points += _width_points(of_arm, "pull_given", edges, facts, arm)
        points += _width_points(of_arm, "pull", edges, facts, arm)
    if not points:
        return None
    top = max(1.6, *(1.1 * float(np.max(p.y)) for p in points))
    return Panel(
        Axis("S/N per pixel", log=True, low=float(edges[0]), high=float(edges[-1])),
        Axis("width of the pulls", low=0, high=min(top, 5.0)),
        (Band(0.9, 1.1, "y", label="within 10%"), *points),
        title="By S/N (band: within 10% of 1"
        + ("; open: errors as given)" if rescaled else ")"),
    )


def _width_points(
    rows: pl.DataFrame, column: str, edges: Array, facts: Facts, arm: str
) -> list[Points]:
    snr, pull = rows["snr"].to_numpy(), rows[column].to_numpy()
    place = np.searchsorted(edges, snr, side="right")
    x, width, error, hover = [], [], [], []
    for i in range(1, len(edges)):
        inside = finite(pull[place == i])
        if inside.size < FEWEST:
            continue
        x.append(median(snr[place == i]))
        width.append(robust_width(inside))
        # The quartiles of n Gaussian values give sigma to 1.17 sigma / sqrt(n).
        error.append(1.17 * width[-1] / np.sqrt(inside.size))
        hover.append(f"{arm}: {inside.size} velocities")
    if not x:
        return []
    given = column == "pull_given"
    return [
        Points(
            np.array(x),
            np.array(width),
            arm_color(arm, facts.arms),
            "" if given else arm_title(arm),
            error=np.array(error),
            hover=[f"{text}, errors as given" for text in hover] if given else hover,
            symbol="open" if given else "circle",
            size=7,
        )
    ]
