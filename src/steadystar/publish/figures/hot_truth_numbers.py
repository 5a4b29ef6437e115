"""Results for a simulated survey, held against what was put in: in numbers."""

__all__ = ["Truth", "aligned_truth", "truth_numbers"]

from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.publish.hot_inputs import GOOD_PARALLAX, HotFacts, values
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    MINUS,
    Array,
    percent,
    robust_width,
    significant,
)

_FEWEST = 5
_TWIN = 0.6
"""mag. Pairs that are brighter by more are nearly equal."""


@dataclass(frozen=True, eq=False)
class Truth:
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


def aligned_truth(facts: HotFacts, table: pl.DataFrame) -> Truth | None:
    """Find the truth of each star, by spectrum or star; None if none is found."""
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


def _read(table: pl.DataFrame, at: np.ndarray) -> Truth:
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
    off = column("m_ks") - column("m_ks_mean")
    return Truth(
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


def truth_numbers(facts: HotFacts, truth: Truth) -> Listing:
    """M_Ks, distances, emission and pairs, a row a number."""
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


def _magnitude_numbers(facts: HotFacts, truth: Truth):
    off, rows = facts["m_ks"] - truth.m_ks, []
    error, snr = facts["m_ks_err"], facts["snr_g"]
    quiet = np.isfinite(off) & (truth.double != 1) & ~facts.emission
    for chosen, name in (
        (np.isfinite(off), "all stars"),
        (quiet, "single stars without emission"),
        *_apart(facts, quiet),
        (
            quiet & (snr > 80) & (snr < 125),
            "single stars without emission, S/N 80 to 125",
        ),
        (np.isfinite(off) & facts.emission, "stars with emission"),
        (np.isfinite(off) & (truth.double == 1), "pairs, against the brighter star"),
    ):
        if chosen.sum() >= _FEWEST:
            text = f"{_signed(np.median(off[chosen]))}; {significant(robust_width(off[chosen]), 3)} mag"
            rows.append((f"M_Ks, median and width: {name}", text, f"{chosen.sum():,}"))
    for chosen, name in (
        (quiet & (error > 0), "single stars without emission"),
        *_apart(facts, quiet & (error > 0)),
    ):
        if chosen.sum() < _FEWEST:
            continue
        width = robust_width(off[chosen] / error[chosen])
        rows.append((f"M_Ks, width of pulls: {name}", significant(width, 3), f"{chosen.sum():,}"))  # fmt: skip
    if np.isfinite(truth.scatter):
        rows.append(("scatter of M_Ks that no spectrum shows, as simulated", f"{truth.scatter:.3f} mag", f"{len(off):,}"))  # fmt: skip
    return rows


def _apart(facts: HotFacts, rows: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """Those that taught the network and those that did not, where that is known."""
    if not facts.held_out:
        return []
    return [
        (rows & facts.judge, "of these, those that did not teach the network"),
        (rows & ~facts.judge, "of these, those that may have taught it"),
    ]


def _distance_numbers(facts: HotFacts, truth: Truth):
    low, high, dis = facts["dis_low"], facts["dis_high"], facts["dis"]
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(truth.distance)
    inside = (truth.distance >= low) & (truth.distance <= high)
    rows = []
    for chosen, name in (
        (known & (truth.double == 0), "single stars"),
        (known & (truth.double == 1), "pairs"),
        (known, "all"),
        *_apart(facts, known),
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


def _emission_numbers(facts: HotFacts, truth: Truth):
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


def _pair_numbers(facts: HotFacts, truth: Truth):
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
