"""Over-luminous stars, and what pairs do to magnitudes.

Counterparts of figures 9 and 10 of Xiang et al. (2021), and RUWE (section 6).
"""

__all__ = ["composite_test", "excess_of_good", "ruwe_of_pairs"]

import numpy as np

from steadystar.publish.hot_inputs import GOOD_PARALLAX, GOOD_SNR, HotFacts, values
from steadystar.publish.numbers import (
    MINUS,
    Array,
    binned_medians,
    counted,
    percent,
    robust_width,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Band,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Shaded,
    Steps,
)

_FEWEST = 5
_SIGMAS = np.linspace(-6, 12, 73)
_BRIGHT = 0.0
"""M_Ks that parts early from late B stars."""
_WOBBLE = 1.4
"""RUWE above which an astrometric solution is doubtful (Lindegren 2018)."""


def excess_of_good(facts: HotFacts) -> Figure | Missing:
    """snr_dparallax of stars with good parallaxes and spectra, bright and faint."""
    title = "Excess of the parallax, where parallaxes are good"
    excess = facts["snr_dparallax"]
    good = np.isfinite(excess) & (facts.parallax_snr > GOOD_PARALLAX)
    good &= ~(facts["snr_g"] < GOOD_SNR)
    m_ks = facts["m_ks"]
    if max((good & (m_ks < _BRIGHT)).sum(), (good & (m_ks >= _BRIGHT)).sum()) < _FEWEST:
        reason = (
            f"Fewer than {_FEWEST} stars, bright or faint, have a parallax above "
            f"{GOOD_PARALLAX:.0f} times its error and a spectrum of S/N above "
            f"{GOOD_SNR:.0f}."
        )
        return Missing("hot-excess", title, reason)
    panels, said = [], []
    for rows, name in (
        (good & (m_ks < _BRIGHT), "brighter than M_Ks = 0"),
        (good & (m_ks >= _BRIGHT), "fainter"),
    ):
        if rows.sum() < _FEWEST:
            continue
        inside = np.clip(excess[rows], _SIGMAS[0], _SIGMAS[-1])
        counts, _ = np.histogram(inside, _SIGMAS)
        x = np.linspace(-6, 6, 201)
        bell = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        bell = bell * rows.sum() * (_SIGMAS[1] - _SIGMAS[0])
        heights = np.where(counts > 0, counts, 0.5).astype(float)
        top = float(max(counts.max(), bell.max())) * 1.5
        marks = (
            Steps(_SIGMAS, heights, "blue", "stars", floor=0.5),
            Line(x, np.maximum(bell, 0.5), "ink", "if all were single", dash="dash"),
            Line(np.full(2, 2.0), np.array([0.5, top]), "red", "2 sigma", dash="dot"),
        )
        axes = Axis("snr_dparallax"), Axis("stars", log=True, low=0.5, high=top)
        panels.append(Panel(*axes, marks, title=name[0].upper() + name[1:]))
        number, beyond = int(rows.sum()), int((excess[rows] > 2).sum())
        said.append(
            f"{counted(number, 'star')} {name}, {percent(beyond, number)} above 2 sigma "
            f"({percent(int((excess[rows] < -2).sum()), number)} below {MINUS}2)"
        )
    return Figure(
        "hot-excess",
        title,
        tuple(panels),
        shows=f"Stars with parallaxes above {GOOD_PARALLAX:.0f} times their errors and "
        f"S/N above {GOOD_SNR:.0f}; numbers on a logarithmic scale. Xiang et al. 2021, "
        "figure 10.",
        good="The Gaussian on the left, and a tail on the right: pairs. Chance alone puts "
        "2.3% beyond 2 sigma on either side; more of them on the left mean that errors "
        "are too small for some stars.",
        here="Here: " + "; ".join(said) + ".",
        columns=2,
        wide=True,
    )


def ruwe_of_pairs(facts: HotFacts) -> Figure | Missing:
    """RUWE of over-luminous stars and of the others."""
    title = "RUWE of over-luminous stars"
    ruwe, flag = facts["ruwe"], facts["binary_flag"]
    edges = np.geomspace(0.7, 10, 46)
    marks: list[Mark] = []
    said = []
    for value, color, label in ((0, "blue", "others"), (1, "red", "over-luminous")):
        known = ruwe[(flag == value) & (ruwe > 0)]
        if len(known) < _FEWEST:
            continue
        counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
        marks.append(Steps(edges, 100 * counts / len(known), color, label))
        far = int((known > _WOBBLE).sum())
        said.append(
            f"{counted(len(known), 'star')} {'not ' * (value == 0)}over-luminous: median "
            f"{significant(float(np.median(known)), 3)}, {percent(far, len(known))} above "
            f"{_WOBBLE}"
        )
    if not said:
        reason = f"Fewer than {_FEWEST} stars have both a flag and a RUWE."
        return Missing("hot-ruwe", title, reason)
    panel = Panel(
        Axis("RUWE", log=True, low=0.7, high=10), Axis("share (%)"), tuple(marks)
    )
    return Figure(
        "hot-ruwe",
        title,
        (panel,),
        shows="Gaia's renormalized unit weight error: near 1 where one star moves as one. "
        "Shares of each kind (Xiang et al. 2021, section 6).",
        good="Both alike, near 1: two equal stars do not move their common light, so that "
        "this way finds pairs that astrometry does not.",
        here="Here: " + "; ".join(said) + ".",
    )


def composite_test(facts: HotFacts) -> Figure | Missing:
    """What the model says of the sum of two spectra, less what it says of the first."""
    title = "Pairs made of two spectra"
    table = facts.inputs.composites
    if table is None:
        return Missing("hot-composites", title, "The run made no composite spectra.")
    off = values(table, "m_ks_pair") - values(table, "m_ks_1")
    ratio, teff = values(table, "flux_ratio"), values(table, "teff_1")
    good = np.isfinite(off) & (ratio > 0)
    if good.sum() < _FEWEST:
        reason = f"Fewer than {_FEWEST} composite spectra have a magnitude."
        return Missing("hot-composites", title, reason)
    x, y = ratio[good], off[good]
    edges = np.geomspace(max(x.min(), 1e-4), max(x.max(), 1.0) * 1.01, 12)
    middle, value, error = binned_medians(x, y, edges, 8)
    reach = float(np.clip(np.quantile(np.abs(y), 0.995) * 1.2, 0.4, 3))
    y_axis = Axis("M_Ks of the sum - of the first (mag)", low=-reach, high=reach)
    marks: list[Mark] = [
        Band(-0.2, 0.2, along="y", color="green"),
        _shaded(x, y, teff[good] / 1000),
    ]
    if len(middle):
        marks.append(Points(middle, value, "ink", "median", error=error, size=7))
    panels = [
        Panel(
            Axis("light of the second / first", log=True, low=edges[0], high=edges[-1]),
            y_axis,
            tuple(marks),
            title="Color: temperature of the first",
        )
    ]
    m_1 = values(table, "m_ks_1")[good]
    cool = values(table, "teff_2")[good]
    marks = [
        Band(-0.2, 0.2, along="y", color="green"),
        _shaded(m_1, y, cool / 1000),
    ]
    axis = Axis("M_Ks of the first alone (mag)", reverse=True)
    panels.append(
        Panel(axis, y_axis, tuple(marks), title="Color: temperature of the second")
    )
    return Figure(
        "hot-composites",
        title,
        tuple(panels),
        shows="Spectra of two single stars, summed as if at one distance, and given to "
        "the model as one. Shown is by how much M_Ks is fainter than that of the first "
        "star alone; green: within 0.2 mag. Xiang et al. 2021, figure 9.",
        good="Zero for equal stars, whose sum looks like one of them, and for faint "
        "companions. Positive values make pairs easier to find, negative ones harder: "
        "late B stars with cool companions are a known case.",
        here=_composites_said(x, y, teff[good], cool),
        columns=2,
        wide=True,
    )


def _shaded(x: Array, y: Array, z: Array) -> Mark:
    known = z[np.isfinite(z)]
    if not known.size:
        return Points(x, y, "blue")
    low, high = (float(v) for v in np.quantile(known, [0.02, 0.98]))
    return Shaded(x, y, z, "1000 K", low, max(high, low + 0.1))


def _composites_said(ratio: Array, off: Array, hot: Array, cool: Array) -> str:
    said = []
    for rows, name in (
        (ratio > 0.8, "nearly equal pairs"),
        ((ratio >= 0.1) & (ratio <= 0.8), "pairs between"),
        (ratio < 0.1, "very unequal ones"),
    ):
        if rows.sum() >= _FEWEST:
            near = int((np.abs(off[rows]) <= 0.2).sum())
            said.append(
                f"{name} ({int(rows.sum()):,}) {significant(float(np.median(off[rows])), 2)} "
                f"mag in the median, width {significant(robust_width(off[rows]), 2)}, "
                f"{percent(near, int(rows.sum()))} within 0.2 mag"
            )
    late = (hot < 14_000) & (cool < 8000)
    caveat = ""
    if late.sum() >= _FEWEST:
        bright = int((off[late] < -0.2).sum())
        caveat = (
            f" Of {int(late.sum()):,} late B stars (below 14,000 K) with companions cooler "
            f"than 8,000 K, {percent(bright, int(late.sum()))} seem brighter by more than "
            "0.2 mag."
        )
    return f"Here: {'; '.join(said)}.{caveat}" if said else f"Here: {len(off)} pairs."
