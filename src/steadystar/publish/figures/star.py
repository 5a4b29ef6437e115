"""The figures of one star's page: velocities, period and orbit, and its spectra.

What is drawn of periods, orbits and lines is in other modules; here is their order.
"""

__all__ = ["star_figures"]

import numpy as np
import polars as pl

from steadystar.data.spectra import Spectra
from steadystar.publish.facts import Facts
from steadystar.publish.figures.findings import findings
from steadystar.publish.figures.orbit_star import (
    folded_orbits,
    period_posterior,
    wilson_plot,
)
from steadystar.publish.figures.periodogram import periodogram_items
from steadystar.publish.figures.section import Item, present
from steadystar.publish.figures.spectra import stacked_spectra
from steadystar.publish.figures.taken_apart import taken_apart_figure
from steadystar.publish.figures.timeline import (
    arm_points,
    shown_velocity,
    time_axis,
    velocity_label,
)
from steadystar.publish.figures.variable_star import (
    extreme_spectra,
    line_strength,
    temperatures,
)
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import (
    Array,
    counted,
    finite,
    kms,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Mark,
    Missing,
    Panel,
    Points,
    arm_color,
)
from steadystar.publish.variable_facts import Evidence, evidence_of


def star_figures(
    facts: Facts, inputs: ReportInputs, star_id: str, options: ReportOptions
) -> list[Item]:
    """Make the figures of one star: velocities, what makes them change, then spectra."""
    visits = facts.visits.filter(pl.col("star_id") == star_id)
    evidence = evidence_of(inputs, star_id)
    made: list[Item] = [_velocities(facts, inputs, visits, star_id)]
    made += _changes(facts, inputs, evidence)
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
    made += _lines(facts, visits, rows, spectra, evidence)
    for arm in facts.arms:
        here = np.flatnonzero((rows["arm"].fill_null("all") == arm).to_numpy())
        if here.size:
            picked = rows[here.tolist()]
            made.append(
                stacked_spectra(
                    facts, inputs, visits, picked, spectra[here], arm, options
                )
            )
    absolute = facts.absolute.filter(pl.col("star_id") == star_id)
    for arm in facts.arms:
        figure = taken_apart_figure(facts, inputs, absolute, rows, spectra, arm)
        made += [figure] if figure else []
    return made


def _changes(
    facts: Facts, inputs: ReportInputs, evidence: Evidence
) -> tuple[Item, ...]:
    """Verdict, period and orbit, where somebody looked for them."""
    if not (len(evidence.periods) or evidence.orbit):
        return present(findings(evidence))
    return present(
        findings(evidence),
        folded_orbits(evidence, facts.arms),
        period_posterior(evidence),
        wilson_plot(evidence, facts.arms),
        *periodogram_items(evidence, inputs.period_options),
        temperatures(facts, evidence.star_id, evidence.period),
    )


def _lines(
    facts: Facts,
    visits: pl.DataFrame,
    rows: pl.DataFrame,
    spectra: Spectra,
    evidence: Evidence,
) -> tuple[Item, ...]:
    """What the spectra show beside the velocity, of stars that vary or may."""
    seen = evidence.verdict.get("variable") or evidence.verdict.get("double_lined")
    if not (len(evidence.periods) or evidence.orbit or seen):
        return ()
    extremes = []
    for arm in facts.arms:
        here = np.flatnonzero((rows["arm"].fill_null("all") == arm).to_numpy())
        if here.size:
            picked = rows[here.tolist()]
            extremes.append(extreme_spectra(facts, visits, picked, spectra[here], arm))
    strength = line_strength(facts, visits, rows, spectra, evidence.period)
    return present(*extremes, strength)


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
