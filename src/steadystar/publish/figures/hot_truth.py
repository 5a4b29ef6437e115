"""Results for a simulated survey, held against what was put in."""

__all__ = ["truth_items"]

from itertools import pairwise

import numpy as np

from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.figures.hot_truth_numbers import (
    Truth,
    aligned_truth,
    truth_numbers,
)
from steadystar.publish.figures.section import Item
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.numbers import (
    MINUS,
    Array,
    binned_medians,
    percent,
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
)

_FEWEST = 5
_PULLS = np.linspace(-5, 5, 41)


def truth_items(facts: HotFacts) -> list[Item]:
    """Everything about the truth; nothing where there is none."""
    if facts.inputs.truth is None:
        return []
    truth = aligned_truth(facts, facts.inputs.truth)
    if truth is None:
        reason = (
            "The truth has neither specid nor star_id in common with the table, so that "
            "its rows cannot be found."
        )
        return [Missing("hot-truth", "Held against the truth", reason)]
    return [
        truth_numbers(facts, truth),
        _magnitudes(facts, truth),
        _pulls(facts, truth),
        _emission(facts, truth),
        _pairs(facts, truth),
    ]


def _magnitudes(facts: HotFacts, truth: Truth) -> Figure | Missing:
    title = "M_Ks against the truth"
    off = facts["m_ks"] - truth.m_ks
    good = np.isfinite(off) & (truth.double != 1)
    if good.sum() < _FEWEST:
        return Missing("hot-truth-magnitudes", title, "Too few single stars have M_Ks.")
    panels = []
    for x, axis in (
        (truth.m_ks, Axis("true M_Ks (mag)", reverse=True)),
        (facts["teff"] / 1000, Axis("Teff (1000 K)")),
        (facts["snr_g"], Axis("S/N per pixel", log=True)),
    ):
        rows = good & np.isfinite(x) & ((x > 0) | (not axis.log))
        if rows.sum() < _FEWEST:
            continue
        bins = np.unique(np.quantile(x[rows], np.linspace(0, 1, 13)))
        middle, value, error = binned_medians(x[rows], off[rows], bins, _FEWEST)
        y = np.clip(off[rows], -1.5, 1.5)
        edges = np.linspace(x[rows].min(), x[rows].max() + 1e-9, 61)
        if axis.log:
            edges = np.geomspace(x[rows].min(), x[rows].max() * 1.001, 61)
        marks: list[Mark] = [
            scatter_or_density(
                *(x[rows], y, CROWD),
                color="blue",
                edges=(edges, np.linspace(-1.5, 1.5, 61)),
                unit="stars",
            ),
            Line(edges[[0, -1]], np.zeros(2), "ink", dash="dot"),
        ]
        if len(middle):
            marks.append(Points(middle, value, "red", "median", error=error, size=7))
        y_axis = Axis("M_Ks - truth (mag)", low=-1.5, high=1.5)
        panels.append(Panel(axis, y_axis, tuple(marks), tall=1.3))
    shift = f"{np.median(off[good]):+.3f}".replace("-", MINUS)
    return Figure(
        "hot-truth-magnitudes",
        title,
        tuple(panels),
        shows="Single stars; red: medians with errors.",
        good="Medians at zero along all three axes. A slope against the true M_Ks alone is "
        "to be expected at the ends, where scatter leads only inward.",
        here=f"Here: {int(good.sum()):,} stars, median {shift} mag, "
        f"width {significant(robust_width(off[good]), 3)} mag (quartiles).",
        columns=3,
        wide=True,
    )


def _pulls(facts: HotFacts, truth: Truth) -> Figure | Missing:
    title = "Errors against the truth"
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.log10(np.where(truth.distance > 0, truth.distance, np.nan))
    panels, said = [], []
    for name, off, error in (
        ("M_Ks", facts["m_ks"] - truth.m_ks, facts["m_ks_err"]),
        ("log distance", facts["logdis"] - far, facts["logdis_err"]),
        ("E(B-V)", facts["ebv"] - truth.ebv, facts["ebv_err"]),
    ):
        rows = np.isfinite(off) & (error > 0)
        marks: list[Mark] = []
        widths = []
        for chosen, color, label in (
            (rows & (truth.double == 0), "blue", "single"),
            (rows & (truth.double == 1), "red", "pairs"),
        ):
            if chosen.sum() < _FEWEST:
                continue
            pull = off[chosen] / error[chosen]
            counts, _ = np.histogram(np.clip(pull, -5, 5), _PULLS)
            marks.append(Steps(_PULLS, counts / chosen.sum(), color, label))
            widths.append(f"{label} {significant(robust_width(pull), 3)}")
        if not marks:
            continue
        x = np.linspace(-5, 5, 201)
        bell = 0.25 * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        marks.append(Line(x, bell, "ink", "Gaussian", dash="dash"))
        axes = Axis(f"({name} - truth) / error"), Axis("share of the stars")
        panels.append(Panel(*axes, tuple(marks), tall=1.2))
        said.append(f"{name} {', '.join(widths)}")
    if not panels:
        return Missing(
            "hot-truth-pulls", title, "Nothing has both a truth and an error."
        )
    return Figure(
        "hot-truth-pulls",
        title,
        tuple(panels),
        shows="How far results are from the truth, in units of their errors.",
        good="Gaussians of width 1 about zero, for pairs as well: then the distances allow "
        "for what pairs are.",
        here=f"Here, widths from the quartiles: {'; '.join(said)}.",
        columns=3,
        wide=True,
    )


def _emission(facts: HotFacts, truth: Truth) -> Figure | Missing:
    title = "Emission found"
    flag = facts["em_flag"]
    rows = (flag >= 0) & (truth.emission == 1) & (truth.strength > 0)
    if rows.sum() < 2 * _FEWEST:
        reason = "Fewer than ten stars with emission were judged."
        return Missing("hot-truth-emission", title, reason)
    strength = truth.strength[rows]
    edges = np.unique(np.quantile(strength, np.linspace(0, 1, 13)))
    made = _shares(strength, flag[rows] == 1, edges)
    without = (flag >= 0) & (truth.emission == 0)
    false = 100 * float((flag[without] == 1).mean()) if without.any() else np.nan
    marks: list[Mark] = []
    if len(made):
        x, y, error = made.T
        marks.append(Points(x, 100 * y, "red", "found", error=100 * error, size=7))
        marks.append(Line(x, 100 * y, "red", width=1))
    if np.isfinite(false):
        ends = np.array([strength.min(), strength.max()])
        label = "called so without emission"
        marks.append(Line(ends, np.full(2, false), "ink", label, dash="dash"))
    found = int((flag[rows] == 1).sum())
    return Figure(
        "hot-truth-emission",
        title,
        (
            Panel(
                Axis(f"true {truth.unit} of H alpha", log=True),
                Axis("share flagged (%)", low=0, high=105),
                tuple(marks),
            ),
        ),
        shows="Share of the stars with emission that are flagged, by how strong it truly "
        "is; dashed: of the stars without.",
        good="All above some 4 sigma, few of those without.",
        here=f"Here: {found:,} of {int(rows.sum()):,} emitters found "
        f"({percent(found, int(rows.sum()))})"
        + (
            f", and {significant(false, 2)}% of the others."
            if np.isfinite(false)
            else "."
        ),
    )


def _shares(x: Array, yes: np.ndarray, edges: Array) -> Array:
    """Rows of median ``x``, share of ``yes`` and its error, a bin each."""
    made = []
    for low, high in pairwise(edges):
        inside = (x >= low) & ((x < high) | (high == edges[-1]) & (x <= high))
        if inside.sum() >= _FEWEST:
            share = float(yes[inside].mean())
            # At 0 and 1 the error of one star more.
            least = 1 / (inside.sum() + 2)
            error = np.sqrt(max(share * (1 - share), least) / inside.sum())
            made.append((float(np.median(x[inside])), share, error))
    return np.array(made).reshape(-1, 3)


def _pairs(facts: HotFacts, truth: Truth) -> Figure | Missing:
    title = "Are probabilities of pairs right?"
    p = facts["p_binary"]
    rows = np.isfinite(p) & np.isfinite(truth.double)
    if rows.sum() < 20:
        reason = "Fewer than 20 stars have a probability and a truth."
        return Missing("hot-truth-pairs", title, reason)
    edges = np.array([0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95, 1.0])
    made = _shares(p[rows], truth.double[rows] == 1, edges)
    ends = np.array([0.0, 1.0])
    marks: list[Mark] = [Line(ends, ends, "ink", "right", dash="dash")]
    if len(made):
        x, y, error = made.T
        marks.append(Points(x, y, "purple", "stars", error=error, size=7))
    off = np.abs(made.T[1] - made.T[0]) / made.T[2] if len(made) else np.zeros(1)
    return Figure(
        "hot-truth-pairs",
        title,
        (
            Panel(
                Axis("p_binary", low=-0.02, high=1.02),
                Axis("share that are pairs", low=-0.02, high=1.05),
                tuple(marks),
            ),
        ),
        shows="Stars in bins of p_binary, and which share of them truly are pairs. Pairs "
        "with faint companions count, though their light hardly shows.",
        good="Points on the line: of the stars with p = 0.8, 80% are pairs.",
        here=f"Here: {int(rows.sum()):,} stars, {int((truth.double[rows] == 1).sum()):,} "
        f"pairs; bins are off the line by {significant(float(np.median(off)), 2)} of their "
        "errors in the median.",
    )
