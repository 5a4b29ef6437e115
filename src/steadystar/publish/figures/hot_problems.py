"""What came in, what was set aside, and why."""

__all__ = ["coverage", "problem_listing", "used"]

import numpy as np
import polars as pl

from steadystar.data.hot_columns import HOT_BANDS
from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    counted,
    finite,
    percent,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import Axis, Figure, Missing, Panel, Steps

_MOST = 30


def used(facts: HotFacts) -> Listing:
    """How many stars have what."""
    stars = len(facts.stars)
    rows = [
        ("spectra", f"{len(facts.spectra):,}", DASH),
        ("stars (the best spectrum of each)", f"{stars:,}", "100%" if stars else DASH),
    ]
    more = values_count(facts, "uniqflag", lambda v: v == 2)
    rows.append(
        ("stars with more than one spectrum", f"{more:,}", percent(more, stars))
    )
    for name, what in (
        ("teff", "with labels (Teff)"),
        ("m_ks", "with M_Ks from the spectrum"),
        ("parallax", "with a parallax"),
        *((band, f"with {meaning}") for band, (_, meaning) in HOT_BANDS.items()),
        ("ebv", "with a reddening"),
        ("m_ks_geo", "with M_Ks from the parallax"),
        ("dis", "with a distance"),
    ):
        number = int(np.isfinite(facts[name]).sum())
        rows.append((what, f"{number:,}", percent(number, stars)))
    faint = int((facts["m_ks"] > 2).sum())
    rows.append(("with M_Ks fainter than 2", f"{faint:,}", percent(faint, stars)))
    note = ""
    if faint:
        note = (
            f"{counted(faint, 'star')} with M_Ks fainter than 2: subdwarfs and white "
            "dwarfs are not in the model, so that these magnitudes are not to be trusted."
        )
    return Listing(
        "hot-used",
        "What there is",
        ("", "number", "of the stars"),
        tuple(rows),
        note=note,
        numeric=frozenset({1, 2}),
    )


def values_count(facts: HotFacts, name: str, test) -> int:
    """Number of spectra whose column passes a test."""
    return int(test(facts.spectra[name].fill_null(-1).to_numpy()).sum())


def problem_listing(facts: HotFacts) -> Listing:
    """Remarks, a sentence each, most frequent first; whatever numbers are in them."""
    remarks = facts.spectra.select(
        pl.col("problems").fill_null("").alias("text"),
        pl.coalesce("specid", pl.lit(DASH)).alias("specid"),
    ).filter(pl.col("text").str.strip_chars() != "")
    # A point within a number ends no sentence.
    said = remarks.with_columns(
        pl.col("text").str.replace_all(r"([.!?])\s+", "$1\n").str.split("\n")
    ).explode("text")
    said = said.with_columns(
        pl.col("text").str.replace_all(r"\d+(\.\d+)?", "N").alias("kind")
    ).filter(pl.col("text") != "")
    counts = said.group_by("kind").agg(
        pl.len(), pl.col("text").first(), pl.col("specid").first()
    )
    counts = counts.sort(["len", "kind"], descending=[True, False])
    rows = tuple(
        (one["text"], f"{one['len']:,}", one["specid"])
        for one in counts.head(_MOST).iter_rows(named=True)
    )
    note = (
        f"{counted(len(remarks), 'spectrum', 'spectra')} of {len(facts.spectra):,} "
        f"({percent(len(remarks), len(facts.spectra))}) carry a remark; they keep their rows. "
        "Each sentence counts by itself, whatever the numbers in it."
        if rows
        else "Nothing: no spectrum carries a remark."
    )
    if len(counts) > len(rows):
        note += f" The {len(rows)} most frequent of {len(counts):,} kinds are listed."
    return Listing(
        "hot-problems",
        "What is wrong, in words",
        ("remark (as of the first such spectrum)", "spectra", "the first"),
        rows,
        note=note,
        numeric=frozenset({1}),
        wordy=frozenset({0, 2}),
    )


def coverage(facts: HotFacts) -> Figure | Missing:
    """S/N of the spectra, and the stars' temperatures and gravities."""
    title = "Spectra and stars"
    panels = []
    snr = finite(facts.spectra["snr_g"])
    snr = snr[snr > 0]
    said = []
    if len(snr) > 1 and snr.max() > snr.min():
        edges = np.geomspace(max(snr.min(), 1), max(snr.max(), 2) * 1.01, 41)
        counts, _ = np.histogram(snr, edges)
        marks = (Steps(edges, counts.astype(float), "blue"),)
        panels.append(Panel(Axis("S/N per pixel", log=True), Axis("spectra"), marks))
        said.append(f"median S/N {significant(float(np.median(snr)), 3)}")
    teff, logg = facts["teff"] / 1000, facts["logg"]
    good = np.isfinite(teff) & np.isfinite(logg)
    if good.sum() > 1:
        hover = facts.ids[good].tolist() if good.sum() <= CROWD else ()
        points = scatter_or_density(
            *(teff[good], logg[good], CROWD), color="blue", hover=hover, unit="stars"
        )
        axes = Axis("Teff (1000 K)", reverse=True), Axis("log g", reverse=True)
        panels.append(Panel(*axes, (points,)))
        low, high = np.quantile(teff[good], [0.01, 0.99])
        said.append(
            f"temperatures {low:.1f} to {high:.1f} thousand K (98% of the stars)"
        )
    if not panels:
        reason = "Neither S/N nor labels are known of two stars."
        return Missing("hot-coverage", title, reason)
    return Figure(
        "hot-coverage",
        title,
        tuple(panels),
        shows="Signal-to-noise ratio of all spectra, and the stars by their labels.",
        good="S/N above 50 for most: below, noise is the larger part of the error of M_Ks. "
        "Stars that fill the main sequence, without edges or gaps.",
        here=f"Here: {'; '.join(said)}.",
        columns=2,
        wide=True,
    )
