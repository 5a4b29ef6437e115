"""Emission lines: who has them, by how much, and where the line is drawn.

Counterpart of figure 3 of Xiang et al. (2021).
"""

__all__ = ["emission_excess", "emission_shares", "threshold_of"]

from itertools import pairwise

import numpy as np

from steadystar.publish.hot_inputs import HotFacts, names_of, values
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    MINUS,
    Array,
    counted,
    log_edges,
    percent,
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
CROWD = 3000
"""Points above which a panel shows their number in each cell."""
_STEP = np.linspace(-8, 16, 97)


def threshold_of(facts: HotFacts) -> float:
    """Return the threshold of ``em_snr`` that was used, NaN if nobody says."""
    said = facts.part("emission").get("threshold")
    return float(said) if isinstance(said, int | float) else float("nan")


def emission_excess(facts: HotFacts, options: ReportOptions) -> Figure | Missing:
    """Excess at H alpha against chi2 there, and its distribution about the threshold."""
    title = "Excess of H alpha over the reconstruction"
    table = facts.spectra
    snr, chi2 = values(table, "em_snr"), values(table, "em_chi2")
    flag = values(table, "em_flag")
    if np.isfinite(snr).sum() < _FEWEST:
        reason = f"H alpha was compared with a reconstruction in fewer than {_FEWEST} spectra."
        return Missing("hot-emission", title, reason)
    threshold = threshold_of(facts)
    # The excess has both signs and a long tail: all of it is kept in sight.
    both = np.isfinite(snr) & np.isfinite(chi2) & (chi2 > 0)
    panels = [_against_chi2(facts, _squeezed(snr), chi2, flag, both, threshold)]
    panels.append(_histogram(snr, flag, threshold))
    found, judged = int((flag == 1).sum()), int((flag >= 0).sum())
    share = facts.part("emission").get("false_positives")
    chance = ""
    if isinstance(share, float):
        chance = (
            f" The threshold is set so that {percent(share, 1)} of those without are among "
            f"them by chance, here some {share * (judged - found):.0f}."
        )
    limit = f" above {significant(threshold)} sigma" if np.isfinite(threshold) else ""
    return Figure(
        "hot-emission",
        title,
        tuple(panels),
        shows="On the left each spectrum by its excess of flux at H alpha, in units of "
        "its error (scale of an inverse hyperbolic sine), and by chi2 a pixel there; gray ones were set "
        "aside as broken. On the right the distribution of the excess. Xiang et al. "
        "2021, figure 3.",
        good="A core about zero (a little above, where the larger of several windows is "
        "taken), and a branch to the upper right: emission "
        "lines. A large chi2 without an excess is a broken spectrum.",
        here=f"Here: {counted(found, 'spectrum', 'spectra')} of {judged:,} "
        f"({percent(found, judged)}) have emission{limit}.{chance}",
        columns=2,
        wide=True,
    )


_TICKS = (-300, -100, -30, -10, -3, 0, 3, 10, 30, 100, 300, 1000)


def _squeezed(excess):
    """Linear within 3 sigma or so, logarithmic beyond."""
    return np.arcsinh(np.asarray(excess) / 3)


def _against_chi2(
    facts: HotFacts, place: Array, chi2: Array, flag: Array, both, threshold: float
) -> Panel:
    ids = names_of(facts.spectra)
    marks: list[Mark] = []
    floor, top = np.quantile(chi2[both], [0.0005, 1.0]) if both.any() else (0.5, 10.0)
    for value, color, label in (
        (0, "blue", "none"),
        (1, "red", "emission"),
        (-1, "muted", "broken, or unknown"),
    ):
        rows = both & (flag == value)
        if not rows.any():
            continue
        hover = ids[rows].tolist() if rows.sum() <= CROWD else ()
        mark = scatter_or_density(
            *(
                place[rows],
                np.maximum(chi2[rows], floor),
                CROWD if value == 0 else 10**6,
            ),
            color=color,
            label=label,
            hover=hover,
            edges=(
                np.linspace(place[rows].min() - 0.05, place[rows].max() + 0.05, 81),
                log_edges(np.maximum(chi2[rows], floor), 60),
            ),
            size=3.5,
            unit="without",
        )
        marks.append(mark)
    if np.isfinite(threshold):
        x = np.full(2, _squeezed(threshold))
        marks.append(Line(x, np.array([floor, top]), "ink", "threshold", dash="dash"))
    ends = place[both] if both.any() else np.zeros(1)
    ticks = tuple(
        (float(_squeezed(t)), f"{t:g}".replace("-", MINUS))
        for t in _TICKS
        if ends.min() - 0.5 <= _squeezed(t) <= ends.max() + 0.5
    )
    return Panel(
        Axis("excess at H alpha (sigma)", ticks=ticks),
        Axis("chi2 a pixel at H alpha", log=True, low=0.9 * floor, high=1.2 * top),
        tuple(marks),
    )


def _histogram(snr: Array, flag: Array, threshold: float) -> Panel:
    inside = np.isfinite(snr)
    marks: list[Mark] = []
    top = 1.0
    for rows, color, label in (
        (inside & (flag == 0), "blue", "none"),
        (inside & (flag == 1), "red", "emission"),
    ):
        clipped = np.clip(snr[rows], _STEP[0] + 1e-6, _STEP[-1] - 1e-6)
        counts, _ = np.histogram(clipped, _STEP)
        top = max(top, float(counts.max()))
        heights = np.where(counts > 0, counts, 0.5).astype(float)
        marks.append(Steps(_STEP, heights, color, label, floor=0.5))
    if np.isfinite(threshold):
        marks.append(
            Line(np.full(2, threshold), np.array([0.5, top]), "ink", "", dash="dash")
        )
    return Panel(
        Axis("excess at H alpha (sigma); all beyond 16 in the last bin"),
        Axis("spectra", log=True, low=0.5, high=2 * top),
        tuple(marks),
    )


def emission_shares(facts: HotFacts) -> Figure | Missing:
    """Share of stars with emission by temperature and by S/N."""
    title = "Who has emission"
    flag = facts["em_flag"]
    panels = []
    for name, label, edges in (
        ("teff", "Teff (K)", np.array([7, 9, 10, 12, 14, 17, 20, 25, 30, 45]) * 1e3),
        (
            "snr_g",
            "S/N per pixel",
            np.array([5, 20, 30, 40, 60, 80, 120, 180, 300, 1e3]),
        ),
    ):
        x = facts[name]
        made = []
        for low, high in pairwise(edges):
            rows = (x >= low) & (x < high) & (flag >= 0)
            if rows.sum() >= _FEWEST:
                share = float((flag[rows] == 1).mean())
                error = np.sqrt(max(share * (1 - share), 1 / rows.sum()) / rows.sum())
                made.append((np.median(x[rows]), 100 * share, 100 * error))
        if made:
            at, share, error = np.array(made).T
            panels.append(
                Panel(
                    Axis(label, log=name == "snr_g"),
                    Axis("share with emission (%)", low=0, high=float((share + error).max()) * 1.15 + 1),
                    (
                        Points(at, share, "red", error=error, size=7),
                        Line(at, share, "red", width=1),
                    ),
                )
            )  # fmt: skip
    if not panels:
        reason = "No bin of temperature or S/N has five stars whose H alpha was judged."
        return Missing("hot-emission-shares", title, reason)
    judged, found = int((flag >= 0).sum()), int((flag == 1).sum())
    return Figure(
        "hot-emission-shares",
        title,
        tuple(panels),
        shows="Share of the stars with emission at H alpha, by temperature and by S/N of "
        "the best spectrum; errors are binomial.",
        good="Most among early B stars. A share that grows with S/N says that faint "
        "emission is missed in poor spectra; one that falls, that noise is taken for it.",
        here=f"Here: {counted(found, 'star')} of {judged:,} ({percent(found, judged)}).",
        columns=2,
        wide=True,
    )
