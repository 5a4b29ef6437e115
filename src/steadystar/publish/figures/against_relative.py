"""Absolute against relative velocities of the same spectra: do they agree?"""

__all__ = ["against_relative", "differences"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts, usable
from steadystar.publish.figures.errors import FEWEST, share_per_unit, unit_normal
from steadystar.publish.numbers import MINUS, counted, finite, ms, percent, robust_width
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Missing,
    Panel,
    Steps,
    arm_color,
    arm_title,
)

_TITLE = "Absolute against relative velocities"
_KEYS = ("star_id", "arm", "_zero")


def differences(facts: Facts) -> pl.DataFrame:
    """Absolute less relative velocity of every spectrum that has both.

    Columns ``visit_id, star_id, arm``, ``difference`` (km/s, about the weighted mean of
    the star, which takes the zero of its relative velocities out) and ``pull``, the same
    in units of what both errors together lead to expect. Spectra that serve as a
    reference are left out (their relative velocity is zero by definition), and stars
    with one such spectrum.
    """
    drawn = ("visit_id", "star_id", "arm", "value", "error", "measured", "status")
    visits = facts.visits.select(*drawn, "reference_visit_id", "reference")
    relative = usable(visits).filter(~pl.col("reference"))
    both = relative.select(
        *("visit_id", "star_id", "arm", "value", "error"),
        pl.col("reference_visit_id").fill_null("").alias("_zero"),
    ).join(
        usable(facts.absolute.select(drawn))
        .select("visit_id", "arm", "value", "error")
        .unique(["visit_id", "arm"], keep="first", maintain_order=True),
        on=["visit_id", "arm"],
        suffix="_absolute",
        maintain_order="left",
    )
    both = both.with_columns(
        (pl.col("value_absolute") - pl.col("value")).alias("difference"),
        (pl.col("error_absolute") ** 2 + pl.col("error") ** 2).alias("_variance"),
    ).filter(pl.col("_variance").is_finite() & (pl.col("_variance") > 0))
    weight = 1 / pl.col("_variance")
    total = weight.sum().over(_KEYS)
    mean = (weight * pl.col("difference")).sum().over(_KEYS) / total
    expected = pl.col("_variance") - 1 / total
    # Where one velocity is almost the mean itself, nothing is left to compare.
    clear = (pl.len().over(_KEYS) >= 2) & (expected > 1e-3 * pl.col("_variance"))
    return (
        both.with_columns((pl.col("difference") - mean).alias("difference"), expected.alias("_expected"), clear.alias("_clear"))
        .filter("_clear")
        .select(
            *("visit_id", "star_id", "arm", "difference"),
            (pl.col("difference") / pl.col("_expected").sqrt()).alias("pull"),
        )
    )  # fmt: skip


def against_relative(facts: Facts) -> Figure | Missing:
    """The differences as a histogram in units of the errors, all arms in one panel."""
    rows = differences(facts)
    edges = np.linspace(-5, 5, 51)
    marks: list[Steps | Line] = []
    sentences = []
    for arm in facts.arms:
        part = rows.filter(pl.col("arm") == arm)
        pull = finite(part["pull"])
        if pull.size < FEWEST:
            continue
        marks.append(
            share_per_unit(
                pull, edges, arm_color(arm, facts.arms), arm_title(arm) or "all arms"
            )
        )
        beyond = int((np.abs(pull) > 5).sum())
        sentences.append(
            f"{arm_title(arm) or 'all arms'}: robust scatter "
            f"{ms(robust_width(part['difference']))}, {robust_width(pull):.2f} in units "
            f"of the errors, over {counted(pull.size, 'spectrum', 'spectra')}, "
            f"{percent(beyond, pull.size) if beyond else 'none'} of them beyond five"
        )
    if not marks:
        return Missing(
            "against-relative",
            _TITLE,
            f"In no arm {FEWEST} spectra have both velocities with errors, in stars "
            "with at least two.",
        )
    panel = Panel(
        Axis(f"(absolute {MINUS} relative) / error", low=-5, high=5),
        Axis("share per unit"),
        (*marks, unit_normal()),
    )
    return Figure(
        name="against-relative",
        title=_TITLE,
        panels=(panel,),
        shows="Every spectrum has two velocities: against templates of all types, and "
        "against the star's own other spectra. The difference of the two, about its "
        "mean for each star, in units of both errors together.",
        good="Narrower than the unit normal, because both come from the same photons. "
        "Broader, or with wings: one of the two errs.",
        here="Here: " + "; ".join(sentences) + ".",
    )
