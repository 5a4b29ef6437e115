"""How well labels repeat: uncertainty against S/N, its law, and pulls.

Zong et al. (2020), figure 8 and table 4: deviations of single spectra from the mean of
their star, the law ``a x^b + c`` of their width, and the published law beside it.
"""

__all__ = [
    "Repeats",
    "label_laws_figure",
    "label_pulls",
    "label_repeats",
    "law_listing",
    "laws_of",
    "widths_by_snr",
]

from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.calibrate import label_errors
from steadystar.calibrate.label_laws import LabelLaws, fit_label_laws
from steadystar.calibrate.laws import ZONG_2020, UncertaintyLaw
from steadystar.data.schema import LABEL_NAMES
from steadystar.publish.facts import Facts, arms_of
from steadystar.publish.figures.errors import FEWEST, share_per_unit, unit_normal
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.label_facts import SHORT, label_axis, label_names, repeats
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    counted,
    finite,
    log_edges,
    median,
    robust_width,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
    arm_color,
    arm_title,
)

_REPEATS = "How labels repeat, against signal to noise"
_LAWS = "Uncertainty of the labels, and its law"
_PULLS = "Are the error bars of the labels right?"
_LEVELS = (10.0, 20.0, 50.0)
"""S/N of table 4."""
_MOST_FITTED = 100_000
"""Fits from which a law is found here; a run that fitted it from all brings it along."""
_MOST_BINS = 14
_CROWD = 4000
"""Points above which their number in each cell says more."""


@dataclass(frozen=True)
class Repeats:
    """The repeats of one label in one arm, and the law of their width if there is one."""

    label: str
    arm: str
    rows: pl.DataFrame
    law: UncertaintyLaw | None


def laws_of(facts: Facts, inputs: ReportInputs) -> list[Repeats]:
    """Return the repeats of every label and arm, the fullest arm of a label first."""
    found = {name: repeats(facts.labels, name) for name in label_names(facts.labels)}
    found = {name: rows for name, rows in found.items() if len(rows)}
    if not found:
        return []
    laws = inputs.label_laws or _fitted(facts, list(found))
    groups = []
    for name, rows in found.items():
        parts = [
            Repeats(name, arm, part, _law(laws, name, part))
            for arm in arms_of(rows)
            for part in [rows.filter(pl.col("arm") == arm)]
        ]
        groups += sorted(parts, key=lambda one: -len(one.rows))
    return groups


def _fitted(facts: Facts, names: list[str]) -> LabelLaws:
    """Laws for each arm, from all fits or from whole stars of so many."""
    rows = facts.labels
    if len(rows) > _MOST_FITTED:
        keep = int(np.ceil(len(rows) / _MOST_FITTED))
        stars = rows["star_id"].unique(maintain_order=True)[::keep]
        rows = rows.filter(pl.col("star_id").is_in(stars.implode()))
    return fit_label_laws(rows, names=names)


def _law(laws: LabelLaws, name: str, rows: pl.DataFrame) -> UncertaintyLaw | None:
    """The law of the group of rows to which most of these belong; None if none has one."""
    found = laws.laws.get(name)
    if found is None:
        return None
    if not found.by:
        return found.laws[0]
    if not set(found.by) <= set(rows.columns):
        return None
    usual = rows.group_by(found.by).len().sort("len", *found.by, descending=[True, *[False] * len(found.by)])  # fmt: skip
    wanted = usual.select(pl.col(*found.by).cast(pl.String)).row(0)
    known = found.groups.select(pl.col(*found.by).cast(pl.String)).rows()
    return found.laws[known.index(wanted)] if wanted in known else None


def label_repeats(
    facts: Facts, groups: list[Repeats], options: ReportOptions
) -> Figure | Missing:
    """Deviations from the star's mean against S/N, with the law; a panel a label."""
    panels, said = [], []
    for name in label_names(facts.labels):
        own = [group for group in groups if group.label == name and len(group.rows)]
        if not own:
            continue
        # The arm that repeats most speaks for the label; the laws show all of them.
        group = own[0]
        panels.append(_repeat_panel(facts, group, options))
        wide = robust_width(group.rows["deviation"])
        said.append(
            f"{SHORT[name]} {significant(wide, 2)} {_unit(name)} over "
            f"{counted(len(group.rows), 'spectrum', 'spectra')}"
        )
    if not panels:
        return Missing(
            "label-repeats",
            _REPEATS,
            "No star has two spectra in the same arm with labels that are trusted.",
        )
    return Figure(
        name="label-repeats",
        title=_REPEATS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="Each point is a spectrum: its label less the mean of its star (weights "
        "S/N², widened by the root of n/(n-1) for being part of that mean), against "
        "its S/N. Lines: plus and minus the fitted law; dots with bars: the width in a "
        "range of S/N (Zong et al. 2020, figure 8).",
        good="A funnel that closes towards high S/N. Points far outside are stars that "
        "vary, double stars, or fits gone astray.",
        here=f"Here: robust width of all deviations {'; '.join(said)}.",
    )


def _repeat_panel(facts: Facts, group: Repeats, options: ReportOptions) -> Panel:
    snr = group.rows["snr"].to_numpy()
    deviation = group.rows["deviation"].to_numpy()
    edges = log_edges(snr, 80, share=0.0005)
    reach = 1.15 * float(np.quantile(np.abs(deviation), 0.995)) or 1.0
    inside = np.abs(deviation) <= reach
    color = arm_color(group.arm, arms_of(facts.labels))
    cloud = scatter_or_density(
        snr[inside],
        deviation[inside],
        min(options.aggregate_above, _CROWD),
        color=color,
        edges=(edges, np.linspace(-reach, reach, 61)),
        size=3,
        unit="spectra",
    )
    marks: list[Mark] = [cloud]
    if group.law:
        x = np.geomspace(edges[0], edges[-1], 80)
        width = group.law.apply(x)
        marks += [
            Line(x, width, "green", "fitted law", width=2),
            Line(x, -width, "green", width=2),
        ]
    at, width, _, number = widths_by_snr(snr, deviation)
    if at.size:
        hover = [f"width of {int(n)} spectra" for n in number]
        zero = np.zeros(at.size)
        marks.append(Points(at, zero, "red", error=width, hover=hover, opacity=1.0))
    return Panel(
        Axis("S/N per pixel", log=True, low=float(edges[0]), high=float(edges[-1])),
        Axis(label_axis(group.label, f"spectrum {MINUS} mean of").label, low=-reach, high=reach),
        tuple(marks),
        title=", ".join(filter(None, (SHORT[group.label], arm_title(group.arm)))),
    )  # fmt: skip


def widths_by_snr(snr: Array, values: Array) -> tuple[Array, Array, Array, Array]:
    """Median S/N, robust width with its error, and number, in ranges of S/N."""
    number = int(np.clip(snr.size // (3 * FEWEST), 1, _MOST_BINS))
    edges = log_edges(snr, number, share=0.002)
    place = np.searchsorted(edges, snr, side="right")
    found = []
    for i in range(1, len(edges)):
        part = values[place == i]
        if part.size >= FEWEST:
            width = robust_width(part)
            # The quartiles of n Gaussian values give sigma to 1.17 sigma / sqrt(n).
            error = 1.17 * width / np.sqrt(part.size)
            found.append((median(snr[place == i]), width, error, part.size))
    table = np.array(found, dtype=float).reshape(-1, 4)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]


def label_laws_figure(facts: Facts, groups: list[Repeats]) -> Figure | Missing:
    """Error as given, real scatter and laws against S/N, both logarithmic."""
    panels, said = [], []
    for name in label_names(facts.labels):
        own = [group for group in groups if group.label == name]
        panel = _law_panel(facts, name, own)
        if panel is None:
            continue
        panels.append(panel)
        values = [_at_levels(group) for group in own if group.law]
        if values:
            said.append(f"{SHORT[name]} {', '.join(values)}")
    if not panels:
        return Missing(
            "label-laws",
            _LAWS,
            f"No arm has {FEWEST} repeated spectra with trusted labels in a range of S/N.",
        )
    return Figure(
        name="label-laws",
        title=_LAWS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="Dots: how much labels of the same star really scatter from spectrum to "
        "spectrum; thin lines: the median error that the fit gives them; thick lines: "
        "the law a x^b + c of the scatter. Dashed: the law of LAMOST's medium-"
        "resolution survey (Zong et al. 2020, table 4).",
        good="Dots on the thin line of their color: the errors mean what they say. Where "
        "dots lie above it, the errors are too small; below the dashed line the labels "
        "are better than those published.",
        here="Here: "
        + (
            f"at S/N 10, 20 and 50 {'; '.join(said)}"
            if said
            else "no law could be fitted"
        )
        + ".",
    )


def _at_levels(group: Repeats) -> str:
    law = group.law
    assert law is not None
    values = ", ".join(significant(float(v), 2) for v in law.apply(_LEVELS))
    where = f" ({arm_title(group.arm)})" if arm_title(group.arm) else ""
    return f"{values} {_unit(group.label)}{where}"


def _law_panel(facts: Facts, name: str, groups: list[Repeats]) -> Panel | None:
    marks: list[Mark] = []
    heights, spans = [], []
    arms = arms_of(facts.labels)
    for group in groups:
        snr = group.rows["snr"].to_numpy()
        at, width, error, number = widths_by_snr(
            snr, group.rows["deviation"].to_numpy()
        )
        if not at.size:
            continue
        color = arm_color(group.arm, arms)
        edges = log_edges(snr, 20, share=0.002)
        claimed = _median_line(snr, group.rows["error"].to_numpy(), edges)
        marks.append(Line(*claimed, color, width=1))
        if group.law:
            x = np.geomspace(edges[0], edges[-1], 60)
            marks.append(Line(x, group.law.apply(x), color, width=2.4))
        hover = [f"{group.arm}: {int(n)} spectra" for n in number]
        label = arm_title(group.arm) or (
            "all arms" if len(arms) > 1 else "real scatter"
        )
        marks.append(
            Points(at, width, color, label, error, hover, size=7, opacity=1.0)
        )  # fmt: skip
        heights += [width, claimed[1]]
        spans += [edges[0], edges[-1]]
    if not heights:
        return None
    low, high = float(min(spans)), float(max(spans))
    published = ZONG_2020.get(name)
    if published:
        x = np.geomspace(low, high, 60)
        marks.append(
            Line(x, published.apply(x), "ink", "Zong et al. 2020", dash="dash")
        )
        heights.append(published.apply(np.array([low, high])))
    every = finite(np.concatenate(heights))
    every = every[every > 0]
    return Panel(
        Axis("S/N per pixel", log=True, low=low, high=high),
        Axis(
            label_axis(name, "scatter, error of").label,
            log=True,
            low=0.7 * float(every.min()),
            high=1.6 * float(every.max()),
        ),
        tuple(marks),
        title=SHORT[name],
        tall=1.1,
    )


def _median_line(snr: Array, error: Array, edges: Array) -> tuple[Array, Array]:
    place = np.searchsorted(edges, snr, side="right")
    rows = [
        (median(snr[place == i]), median(error[place == i]))
        for i in range(1, len(edges))
        if (place == i).sum() >= 5
    ]
    table = np.array(rows, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def law_listing(groups: list[Repeats]) -> Listing | None:
    """Coefficients and values at S/N 10, 20, 50, as table 4; None where there is no law."""
    if not groups:
        return None
    several = len({group.arm for group in groups}) > 1
    rows = []
    for place, group in enumerate(groups):
        head = (SHORT[group.label], group.arm) if several else (SHORT[group.label],)
        number = f"{len(group.rows):,}"
        if group.law is None:
            rows.append(
                (
                    *head,
                    number,
                    *[DASH] * 6,
                    "no law: too few repeats, or too narrow a range of S/N",
                )
            )
        else:
            rows.append((*head, number, *_numbers(group.law), ""))
        last = all(other.label != group.label for other in groups[place + 1 :])
        published = ZONG_2020.get(group.label)
        if published and last:
            name = (f"{SHORT[group.label]}, published", "blue")[: len(head)]
            rows.append((*name, DASH, *_numbers(published), "Zong et al. 2020, LAMOST"))
    columns = ("label", "arm", "spectra") if several else ("label", "spectra")
    columns = (
        *columns,
        *("a", "b", "c"),
        *(f"at S/N {x:.0f}" for x in _LEVELS),
        "remark",
    )
    first = 2 if several else 1
    return Listing(
        "law-values",
        "The law of uncertainty, a x^b + c with x the S/N",
        columns,
        tuple(rows),
        note="In K, dex and km/s. Values in ranges of S/N that no spectrum has are "
        "extrapolated.",
        numeric=frozenset(range(first, len(columns) - 1)),
        wordy=frozenset({len(columns) - 1}),
    )


def _numbers(law: UncertaintyLaw) -> list[str]:
    cells = []
    for name in ("a", "b", "c"):
        value, error = getattr(law, name), getattr(law, f"{name}_err")
        text = significant(value, 4)
        cells.append(
            f"{text} ± {significant(error, 2)}" if np.isfinite(error) else text
        )
    values, errors = law.apply(_LEVELS), law.error(_LEVELS)
    for value, error in zip(values, errors, strict=True):
        text = significant(float(value), 3)
        known = np.isfinite(error)
        cells.append(f"{text} ± {significant(float(error), 2)}" if known else text)
    return cells


def label_pulls(facts: Facts) -> Figure | Missing:
    """Deviations of repeats in units of their errors, a panel a label."""
    panels, said = [], []
    edges = np.linspace(-5, 5, 51)
    arms = arms_of(facts.labels)
    for name in label_names(facts.labels):
        marks: list[Steps] = []
        every = label_errors.label_pulls(facts.labels, name)
        for arm in arms:
            pull = finite(every.filter(pl.col("arm") == arm)["pull"])
            if pull.size >= FEWEST:
                label = arm_title(arm) or "all arms" * (len(arms) > 1)
                marks.append(share_per_unit(pull, edges, arm_color(arm, arms), label))
                said.append(
                    f"{SHORT[name]}{' ' + label if label else ''} {significant(robust_width(pull))}"
                )
        if marks:
            x = Axis(f"({SHORT[name]} {MINUS} star's mean) / error", low=-5, high=5)
            panels.append(Panel(x, Axis("share per unit"), (*marks, unit_normal())))
    if not panels:
        return Missing(
            "label-pulls",
            _PULLS,
            f"No arm has {FEWEST} repeated spectra with labels and errors.",
        )
    return Figure(
        name="label-pulls",
        title=_PULLS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="How far the labels of single spectra lie from the mean of the other "
        "spectra of their star, in units of the errors of both, against the unit normal. "
        "All stars, also those that vary.",
        good="Width 1: the error bars mean what they say. Above 1 they are too small, "
        "below 1 too large. Repeats share what is wrong with the models: that error "
        "shows only beside other catalogs.",
        here=f"Here: widths {', '.join(said)}.",
    )  # fmt: skip


def _unit(name: str) -> str:
    return LABEL_NAMES[name][0] or "dex"
