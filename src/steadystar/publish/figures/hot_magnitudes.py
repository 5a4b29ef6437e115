"""Magnitudes from spectra against those from parallaxes.

Counterparts of figures 5, 6, 7 and 14 of Xiang et al. (2021).
"""

__all__ = ["against_labels", "flux_weighted_gravity", "magnitudes_compared"]

import numpy as np

from steadystar.models.intrinsic_colors import intrinsic_colors
from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.hot_inputs import GOOD_PARALLAX, HotFacts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    MINUS,
    Array,
    binned_medians,
    counted,
    robust_width,
    scatter_or_density,
    significant,
    uniform_edges,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
)
from steadystar.simulate.hot_relations import bolometric_magnitude

_FEWEST = 5
_TWINS = 2.5 * np.log10(2)
"""By how much two equal stars are brighter than one, mag."""


def _judged(facts: HotFacts) -> tuple[np.ndarray, str]:
    """Stars with good parallaxes that may judge the network, and which these are."""
    rows = facts.geometric & facts.judge
    which = f"parallax above {GOOD_PARALLAX:.0f} times its error"
    if facts.held_out:
        which += ", not used in training"
    return rows, which


def magnitudes_compared(facts: HotFacts, options: ReportOptions) -> Figure | Missing:
    """Spectroscopic against geometric M_Ks, without and with emission (figure 5)."""
    title = "M_Ks from spectra and from parallaxes"
    rows, which = _judged(facts)
    if rows.sum() < _FEWEST:
        reason = f"Fewer than {_FEWEST} stars have M_Ks and a {which}."
        return Missing("hot-magnitudes", title, reason)
    spec, geo = facts["m_ks"], facts["m_ks_geo"]
    low, high = np.nanquantile(np.concatenate([spec[rows], geo[rows]]), [0.002, 0.998])
    low, high = float(low - 0.4), float(high + 0.4)
    line = np.array([low, high])
    panels, said = [], []
    for name, part in (
        ("without emission", rows & ~facts.emission),
        ("with emission", rows & facts.emission),
    ):
        if not part.any():
            continue
        x, y = geo[part], spec[part]
        hover = facts.ids[part].tolist() if part.sum() <= CROWD else ()
        edges = (np.linspace(low, high, 81), np.linspace(low, high, 81))
        marks: list[Mark] = [
            scatter_or_density(*(x, y, CROWD), color="blue", hover=hover, edges=edges),
            Line(line, line, "ink", "equal"),
            Line(line, line + _TWINS, "red", "two equal stars", dash="dash"),
        ]
        panels.append(
            Panel(
                Axis("M_Ks geometric (mag)", low=low, high=high, reverse=True),
                Axis("M_Ks from the spectrum (mag)", low=low, high=high, reverse=True),
                tuple(marks),
                title=name.capitalize(),
                tall=1.4,
                equal=True,
            )
        )
        off = y - x
        said.append(
            f"{counted(len(off), 'star')} {name} differ by {_signed(np.median(off))} mag "
            f"in the median, with a width of {significant(robust_width(off), 2)} mag"
        )
    return Figure(
        "hot-magnitudes",
        title,
        tuple(panels),
        shows=f"Stars with a {which}. A pair of two equal stars is brighter by 0.75 mag "
        "than its spectrum says: dashed. Xiang et al. 2021, figure 5.",
        good="Points about the line of equality over the whole range, and a second, "
        "weaker band of pairs at most as far as the dashed line.",
        here="Here: " + "; ".join(said) + " (quartiles).",
        columns=2,
        wide=True,
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


_LABELS = (
    ("teff", "Teff (1000 K)", 1000.0),
    ("logg", "log g", 1.0),
    ("feh", "[Fe/H]", 1.0),
)


def against_labels(facts: HotFacts, options: ReportOptions) -> Figure | Missing:
    """Spectroscopic minus geometric magnitude against the labels (figure 7)."""
    title = "Difference of magnitudes against labels"
    rows, which = _judged(facts)
    rows &= ~facts.emission & (facts["binary_flag"] != 1)
    off = facts["m_ks"] - facts["m_ks_geo"]
    panels, said = [], []
    for name, label, unit in _LABELS:
        good = rows & np.isfinite(facts[name])
        if good.sum() < _FEWEST:
            continue
        x, y = facts[name][good] / unit, off[good]
        edges = uniform_edges(x, 60, 0.002)
        bins = np.quantile(x, np.linspace(0, 1, int(np.clip(len(x) // 30, 2, 10)) + 1))
        bins = np.unique(np.append(bins[:-1], np.nextafter(bins[-1], np.inf)))
        middle, value, error = binned_medians(x, y, bins, _FEWEST)
        marks: list[Mark] = [
            scatter_or_density(
                *(x, np.clip(y, -1.5, 1.5), CROWD),
                color="blue",
                edges=(edges, np.linspace(-1.5, 1.5, 61)),
            ),
            Line(np.array([edges[0], edges[-1]]), np.zeros(2), "ink", dash="dot"),
        ]
        if len(middle):
            marks.append(Points(middle, value, "red", "median", error=error, size=7))
            worst = value[np.argmax(np.abs(value))]
            said.append(f"{label.split(' (')[0]} {_signed(worst)}")
        panels.append(
            Panel(
                Axis(label, low=float(edges[0]), high=float(edges[-1])),
                Axis("spectrum - geometric (mag)", low=-1.5, high=1.5),
                tuple(marks),
                tall=1.4,
            )
        )
    if not panels:
        reason = f"Fewer than {_FEWEST} single stars have labels, M_Ks and a {which}."
        return Missing("hot-labels", title, reason)
    number = int((rows & np.isfinite(off)).sum())
    worst = f"; medians reach at most (mag): {', '.join(said)}" if said else ""
    return Figure(
        "hot-labels",
        title,
        tuple(panels),
        shows=f"Stars without emission that are not over-luminous, with a {which}; red: "
        "medians of up to ten bins with equally many stars, with errors. Xiang et al. 2021, figure 7.",
        good="Medians near zero everywhere: no trend. Pairs that are left make them "
        "positive by a few hundredths.",
        here=f"Here: {counted(number, 'star')}, median {_signed(np.median(off[rows]))} "
        f"mag{worst}.",
        columns=3,
        wide=True,
    )


def flux_weighted_gravity(facts: HotFacts, options: ReportOptions) -> Figure | Missing:
    """M_bol against log g - 4 log(Teff/10^4) (figures 6 and 14)."""
    title = "Flux-weighted gravity and luminosity"
    teff, logg = facts["teff"], facts["logg"]
    with np.errstate(invalid="ignore", divide="ignore"):
        gravity = logg - 4 * np.log10(np.where(teff > 0, teff, np.nan) / 1e4)
    m_bol = _bolometric(facts)
    good = np.isfinite(gravity) & np.isfinite(m_bol)
    if good.sum() < _FEWEST:
        reason = f"Fewer than {_FEWEST} stars have M_Ks, a temperature and a gravity."
        return Missing("hot-gravity", title, reason)
    ends = np.quantile(gravity[good], [0.002, 0.998])
    ends = ends + np.array([-0.15, 0.15])
    span = np.quantile(m_bol[good], [0.002, 0.998])
    span = span + np.array([-0.6, 0.6])
    marks: list[Mark] = []
    for rows, color, label in (
        (good & ~facts.emission, "blue", "without emission"),
        (good & facts.emission, "red", "with emission"),
    ):
        if rows.any():
            hover = facts.ids[rows].tolist() if rows.sum() <= CROWD else ()
            marks.append(
                scatter_or_density(
                    *(gravity[rows], m_bol[rows], CROWD),
                    color=color,
                    label=label,
                    hover=hover,
                    edges=(
                        np.linspace(ends[0], ends[1], 81),
                        np.linspace(span[0], span[1], 71),
                    ),
                    size=3.5,
                    unit="stars",
                )
            )
    marks += _masses(ends)
    masses = _mass(gravity[good], m_bol[good])
    return Figure(
        "hot-gravity",
        title,
        (
            Panel(
                Axis("log g - 4 log(Teff / 10\u2074 K)", low=ends[0], high=ends[1]),
                Axis("M_bol (mag)", low=span[0], high=span[1], reverse=True),
                tuple(marks),
                tall=1.4,
            ),
        ),
        shows="Bolometric magnitude, from M_Ks of the spectrum and the bolometric "
        "correction, against gravity weighted by flux. Lines: what the gravity equation "
        "gives for three masses. Xiang et al. 2021, figures 6 and 14.",
        good="A narrow relation between the lines, brighter stars heavier. Stars with "
        "emission lie on it too, if both their labels and their M_Ks are right.",
        here=f"Here: {counted(int(good.sum()), 'star')}; the masses that follow are "
        f"{significant(float(np.median(masses)), 2)} solar in the median, "
        f"{significant(float(np.quantile(masses, 0.05)), 2)} to "
        f"{significant(float(np.quantile(masses, 0.95)), 2)} for nine of ten.",
        wide=True,
    )


def _masses(ends: Array) -> list[Line]:
    """Lines of equal mass, of any temperature: M_bol depends on nothing else."""

    def line(mass: float) -> Array:
        return bolometric_magnitude(np.full(2, 1e4), ends, np.full(2, mass))

    return [
        Line(ends, line(3.0), "ink", "3 solar masses", dash="dot"),
        Line(ends, line(8.0), "ink", "8 solar masses", dash="dash"),
        Line(ends, line(20.0), "ink", "20 solar masses"),
    ]


def _mass(gravity: Array, m_bol: Array) -> Array:
    one = bolometric_magnitude(
        np.full(len(gravity), 1e4), gravity, np.ones(len(gravity))
    )
    return 10 ** (0.4 * (one - m_bol))


def _bolometric(facts: HotFacts) -> Array:
    """M_bol of the stars from M_Ks, NaN where the correction is unknown."""
    teff, logg, feh = facts["teff"], facts["logg"], np.nan_to_num(facts["feh"])
    correction = np.full(len(facts.stars), np.nan)
    known = np.isfinite(teff) & np.isfinite(logg) & (teff > 0)
    if known.any():
        correction[known] = intrinsic_colors().bolometric_correction(
            "ks", teff[known], logg[known], feh[known]
        )
    return facts["m_ks"] + correction
