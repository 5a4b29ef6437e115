"""Results for a simulated survey, held against what was put in."""

__all__ = ["truth_items"]

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.figures.section import Item
from steadystar.publish.hot_inputs import GOOD_PARALLAX, HotFacts, values
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    MINUS,
    Array,
    binned_medians,
    percent,
    robust_width,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (  # fmt: skip
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
_TWIN = 0.6
"""mag. Pairs that are brighter by more are nearly equal."""
_PULLS = np.linspace(-5, 5, 41)


@dataclass(frozen=True, eq=False)
class _Truth:
    """The truth of each star, aligned with `HotFacts.stars`; NaN where unknown."""

    m_ks: Array
    scatter: float
    distance: Array
    ebv: Array
    double: Array
    delta: Array
    emission: Array
    strength: Array
    unit: str


def truth_items(facts: HotFacts) -> list[Item]:
    """Everything about the truth; nothing where there is none."""
    if facts.inputs.truth is None:
        return []
    truth = _aligned(facts, facts.inputs.truth)
    if truth is None:
        reason = (
            "The truth has neither specid nor star_id in common with the table, so that "
            "its rows cannot be found."
        )
        return [Missing("hot-truth", "Held against the truth", reason)]
    return [
        _numbers(facts, truth),
        _magnitudes(facts, truth),
        _pulls(facts, truth),
        _emission(facts, truth),
        _pairs(facts, truth),
    ]


def _aligned(facts: HotFacts, table: pl.DataFrame) -> _Truth | None:
    for key in ("specid", "star_id", "gaia_id"):
        if key not in table.columns or not len(table):
            continue
        unique = table.with_columns(pl.col(key).cast(pl.String, strict=False))
        unique = unique.filter(pl.col(key).is_not_null()).unique(key, keep="first")
        place = pl.DataFrame({key: unique[key], "_at": np.arange(len(unique))})
        at = facts.stars.select(key).join(
            place, on=key, how="left", maintain_order="left"
        )
        if at["_at"].is_not_null().any():
            return _read(unique, at["_at"].fill_null(-1).to_numpy())
    return None


def _read(table: pl.DataFrame, at: np.ndarray) -> _Truth:
    def column(name: str) -> Array:
        # A star without truth has -1: the last, which is NaN.
        return np.append(values(table, name), np.nan)[at]

    names = table.columns
    double = (
        column("double") if "double" in names else np.isfinite(column("m_ks_2")) * 1.0
    )
    double = np.where(at < 0, np.nan, double)
    strong = "emission_snr" in names
    width = np.append(values(table, "emission_ew"), np.nan)[at]
    off = values(table, "m_ks") - values(table, "m_ks_mean")
    return _Truth(
        column("m_ks"),
        float(np.nanstd(off)) if np.isfinite(off).any() else float("nan"),
        column("distance_pc"),
        column("ebv"),
        double,
        column("delta_mag"),
        np.where(np.isfinite(width), width > 0, np.nan),
        column("emission_snr") if strong else width,
        "significance (sigma)" if strong else "equivalent width (Å)",
    )


def _numbers(facts: HotFacts, truth: _Truth) -> Listing:
    rows = [
        *_magnitude_numbers(facts, truth),
        *_distance_numbers(facts, truth),
        *_emission_numbers(facts, truth),
        *_pair_numbers(facts, truth),
    ]
    return Listing(
        "hot-truth-numbers",
        "In numbers",
        ("what", "value", "stars"),
        tuple(rows),
        note="" if rows else "The truth holds nothing to compare with.",
        numeric=frozenset({1, 2}),
    )


def _magnitude_numbers(facts: HotFacts, truth: _Truth):
    off, rows = facts["m_ks"] - truth.m_ks, []
    error, snr = facts["m_ks_err"], facts["snr_g"]
    quiet = np.isfinite(off) & (truth.double != 1) & ~facts.emission
    for chosen, name in (
        (np.isfinite(off), "all stars"),
        (quiet, "single stars without emission"),
        (quiet & (snr > 80) & (snr < 125), "those with S/N 80 to 125"),
        (np.isfinite(off) & facts.emission, "stars with emission"),
        (np.isfinite(off) & (truth.double == 1), "pairs, against the brighter star"),
    ):
        if chosen.sum() >= _FEWEST:
            text = f"{_signed(np.median(off[chosen]))}; {significant(robust_width(off[chosen]), 3)} mag"
            rows.append((f"M_Ks, median and width: {name}", text, f"{chosen.sum():,}"))
    chosen = quiet & (error > 0)
    if chosen.sum() >= _FEWEST:
        width = robust_width(off[chosen] / error[chosen])
        rows.append(("M_Ks, width of pulls: single stars without emission", significant(width, 3), f"{chosen.sum():,}"))  # fmt: skip
    if np.isfinite(truth.scatter):
        rows.append(("scatter of M_Ks that no spectrum shows, as simulated", f"{truth.scatter:.3f} mag", f"{len(off):,}"))  # fmt: skip
    return rows


def _distance_numbers(facts: HotFacts, truth: _Truth):
    low, high, dis = facts["dis_low"], facts["dis_high"], facts["dis"]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(truth.distance)
    inside = (truth.distance >= low) & (truth.distance <= high)
    rows = []
    for chosen, name in (
        (known & (truth.double == 0), "single stars"),
        (known & (truth.double == 1), "pairs"),
        (known, "all"),
    ):
        number = int(chosen.sum())
        if number >= _FEWEST:
            share = percent(int((chosen & inside).sum()), number)
            rows.append((f"68% intervals of distance hold the truth: {name}", share, f"{number:,}"))  # fmt: skip
    far = known & (truth.distance > 3000) & (dis > 0)
    if far.sum() >= _FEWEST:
        ours = np.abs(dis[far] / truth.distance[far] - 1)
        parallax = facts.parallax[far]
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.abs(1000 / parallax / truth.distance[far] - 1)
        alone = np.where(parallax > 0, alone, np.inf)
        has = np.isfinite(parallax)
        text = f"{100 * np.median(ours):.1f}%"
        if has.any():
            other = float(np.median(alone[has]))
            text += f"; {100 * other:.1f}%" if np.isfinite(other) else "; no limit"
        rows.append(("median miss of the distance beyond 3 kpc; of 1/parallax", text, f"{far.sum():,}"))  # fmt: skip
    return rows


def _emission_numbers(facts: HotFacts, truth: _Truth):
    flag, rows = facts["em_flag"], []
    judged = (flag >= 0) & np.isfinite(truth.emission)
    without = judged & (truth.emission == 0)
    if without.sum() >= _FEWEST:
        share = percent(int((flag[without] == 1).sum()), int(without.sum()))
        rows.append(("stars without emission called emitters", share, f"{without.sum():,}"))  # fmt: skip
    clear = judged & (truth.emission == 1)
    if truth.unit.startswith("significance"):
        clear &= truth.strength > 4
        name = "emission above 4 sigma found"
    else:
        name = "emission found, of any strength"
    if clear.sum() >= _FEWEST:
        share = percent(int((flag[clear] == 1).sum()), int(clear.sum()))
        rows.append((name, share, f"{clear.sum():,}"))
    return rows


def _pair_numbers(facts: HotFacts, truth: _Truth):
    flag, rows = facts["binary_flag"], []
    good = (flag >= 0) & (facts.parallax_snr > GOOD_PARALLAX)
    twins = good & (truth.double == 1) & (truth.delta > _TWIN)
    single = good & (truth.double == 0)
    for chosen, name in (
        (
            twins,
            f"nearly equal pairs (brighter by {_TWIN} mag) flagged, good parallaxes",
        ),
        (single, "single stars flagged, good parallaxes"),
    ):
        if chosen.sum() >= _FEWEST:
            share = percent(int((flag[chosen] == 1).sum()), int(chosen.sum()))
            rows.append((name, share, f"{chosen.sum():,}"))
    p = facts["p_binary"]
    known = np.isfinite(p) & np.isfinite(truth.double)
    if known.any():
        text = f"{p[known].sum():.0f}; {truth.double[known].sum():.0f}"
        rows.append(("pairs expected by p_binary; pairs there are", text, f"{known.sum():,}"))  # fmt: skip
    return rows


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


def _magnitudes(facts: HotFacts, truth: _Truth) -> Figure | Missing:
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
    return Figure(
        "hot-truth-magnitudes",
        title,
        tuple(panels),
        shows="Single stars; red: medians with errors.",
        good="Medians at zero along all three axes. A slope against the true M_Ks alone is "
        "to be expected at the ends, where scatter leads only inward.",
        here=f"Here: {int(good.sum()):,} stars, median {_signed(np.median(off[good]))} mag, "
        f"width {significant(robust_width(off[good]), 3)} mag (quartiles).",
        columns=3,
        wide=True,
    )


def _pulls(facts: HotFacts, truth: _Truth) -> Figure | Missing:
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


def _emission(facts: HotFacts, truth: _Truth) -> Figure | Missing:
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


def _pairs(facts: HotFacts, truth: _Truth) -> Figure | Missing:
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
        marks.append(Points(*made.T[:2], "purple", "stars", error=made.T[2], size=7))
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
