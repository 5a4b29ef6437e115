"""How bright the targets are, and which of them were observed (Zong et al. 2020, fig. 1)."""

__all__ = ["magnitude_columns", "magnitudes"]

import re
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.match import RADIUS_ARCSEC, nearest
from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportInputs
from steadystar.publish.numbers import Array, counted, finite, median, percent
from steadystar.publish.plot import Axis, Figure, Line, Missing, Panel, Steps

_TITLE = "Magnitudes of the targets, and of those observed"
_BIN = 0.5
"""mag, as published."""
_GOOD_SNR = 10.0
"""S/N of the spectrum that makes a target count as well observed, as published."""
_MOST_PANELS = 4
_FEWEST = 5
"""Targets in a bin below which a share of them means little."""
_RANGE = (-5.0, 40.0)
"""Magnitudes beyond are placeholders."""
_WORDS = re.compile(r"(^|_)(mag|mags)(_|\d|$)|mag$|^mag", re.IGNORECASE)
_NOT = re.compile(r"err|error|sigma|std|flag|_n_obs|ebv|snr|limit", re.IGNORECASE)
_BANDS = set("UBVRIJHKugrizyGW") | {"Kp", "kepmag", "Tmag", "BP", "RP", "W1", "W2", "Ks"}  # fmt: skip


def magnitude_columns(targets: pl.DataFrame) -> list[str]:
    """Return the columns that look like magnitudes: by name, and by being numbers."""
    return [
        name
        for name, kind in targets.schema.items()
        if kind.is_numeric()
        and (name in _BANDS or _WORDS.search(name))
        and not _NOT.search(name)
    ]


def magnitudes(facts: Facts, inputs: ReportInputs) -> Figure | Missing | None:
    """Histograms of the input catalog, of what was observed and of what has S/N > 10.

    None where no input catalog was given.
    """
    targets = inputs.targets
    if targets is None:
        return None
    names = [n for n in inputs.magnitudes or magnitude_columns(targets) if n in targets.columns]  # fmt: skip
    if not names:
        return Missing(
            "magnitudes",
            _TITLE,
            "The input catalog has no column that looks like a magnitude: name one, as "
            "phot_g_mean_mag.",
        )
    star = _star_of(facts, targets)
    if star is None:
        return Missing(
            "magnitudes",
            _TITLE,
            "The input catalog has neither star_id nor positions (ra, dec in degrees), so "
            "its targets cannot be found among the stars.",
        )
    rows = []
    for name in names:
        mag = targets[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        mag = np.where((mag > _RANGE[0]) & (mag < _RANGE[1]), mag, np.nan)
        if np.isfinite(mag).any():
            rows.append((name, mag))
    if not rows:
        reason = f"No target has a magnitude in {', '.join(names[:5])}."
        return Missing("magnitudes", _TITLE, reason)
    seen = star >= 0
    good = seen & (_best_snr(facts, star) > _GOOD_SNR)
    panels = [
        panel
        for name, mag in rows[:_MOST_PANELS]
        for panel in (_counts(name, mag, seen, good), _shares(name, mag, seen, good))
    ]
    name, mag = rows[0]
    known = np.isfinite(mag)
    here = (
        f"Here: {counted(len(targets), 'target')}, {seen.sum():,} of them observed "
        f"({percent(int(seen.sum()), len(targets))}), {good.sum():,} with a spectrum of "
        f"S/N above {_GOOD_SNR:.0f} ({percent(int(good.sum()), len(targets))}); median "
        f"{name} {median(mag):.4g} of all"
    )
    if (seen & known).any():
        here += f", {median(mag[seen]):.4g} of those observed"
    extra = len(facts.stars) - np.unique(star[seen]).size
    if extra > 0:
        here += (
            f". {counted(extra, 'observed star is', 'observed stars are')} not in it"
        )
    if len(rows) > _MOST_PANELS:
        here += f". Of {len(rows)} magnitudes {_MOST_PANELS} are drawn"
    return Figure(
        name="magnitudes",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="How many targets of the input catalog (gray) have which magnitude, how "
        "many were observed (blue) and how many have a spectrum of S/N above "
        f"{_GOOD_SNR:.0f} (orange), in bins of {_BIN} mag (Zong et al. 2020, figure 1); "
        "beside it the shares.",
        good="The same share at every magnitude, as far as exposures were planned to "
        "reach; where orange falls below blue they were too short.",
        here=here + ".",
    )


def _star_of(facts: Facts, targets: pl.DataFrame) -> NDArray[np.intp] | None:
    """The star of each target, as a row of the stars, -1 if it was not observed."""
    stars = facts.stars
    if "star_id" in targets.columns:
        ids = targets.select(pl.col("star_id").cast(pl.String))
        rows = stars.select("star_id", pl.int_range(pl.len()).alias("_row"))
        found = ids.join(rows, on="star_id", how="left", maintain_order="left")["_row"]
        if found.is_not_null().any() or not {"ra", "dec"} <= set(targets.columns):
            return found.fill_null(-1).to_numpy().astype(np.intp)
    if not {"ra", "dec"} <= set(targets.columns):
        return None

    def numbers(table: pl.DataFrame, name: str) -> Array:
        values = table[name].cast(pl.Float64, strict=False)
        return values.fill_null(np.nan).to_numpy()

    index, _ = nearest(
        numbers(targets, "ra"),
        numbers(targets, "dec"),
        numbers(stars, "ra"),
        numbers(stars, "dec"),
        RADIUS_ARCSEC,
    )
    return index


def _best_snr(facts: Facts, star: NDArray[np.intp]) -> Array:
    """The highest S/N of any spectrum of each target; NaN where none is known."""
    lit = pl.col("snr").filter(pl.col("snr").is_finite())
    best = facts.visits.group_by("star_id").agg(lit.max().alias("best"))
    of_star = facts.stars.select("star_id").join(
        best, on="star_id", how="left", maintain_order="left"
    )
    values = np.append(of_star["best"].fill_null(np.nan).to_numpy(), np.nan)
    # A target without a star has -1: the last one, which is NaN.
    return values[star]


def _edges(mag: Array) -> Array:
    known = finite(mag)
    low, high = np.quantile(known, [0.0005, 0.9995])
    first = np.floor(low / _BIN) * _BIN
    return np.arange(first, max(high, first + _BIN) + 1.01 * _BIN, _BIN)


def _groups(mag, seen, good):
    """All targets, those observed, those observed well, with color and name."""
    return (
        (np.ones(len(mag), bool), "muted", "targets"),
        (seen, "blue", "observed"),
        (good, "orange", f"S/N > {_GOOD_SNR:.0f}"),
    )


def _counts(name: str, mag: Array, seen, good) -> Panel:
    edges = _edges(mag)
    marks = []
    for chosen, color, label in _groups(mag, seen, good):
        heights, _ = np.histogram(mag[chosen & np.isfinite(mag)], edges)
        marks.append(Steps(edges, heights.astype(float), color, label))
    return Panel(Axis(f"{name} (mag)"), Axis("targets"), tuple(marks), title=name)


def _shares(name: str, mag: Array, seen, good) -> Panel:
    edges = _edges(mag)
    known = np.isfinite(mag)
    whole, _ = np.histogram(mag[known], edges)
    middle = (edges[1:] + edges[:-1]) / 2
    marks = []
    for chosen, color, label in _groups(mag, seen, good)[1:]:
        part, _ = np.histogram(mag[chosen & known], edges)
        share = np.where(whole >= _FEWEST, 100 * part / np.maximum(whole, 1), np.nan)
        marks.append(Line(middle, share, color, label, width=2))
    columns: Sequence[Line] = marks
    return Panel(
        Axis(f"{name} (mag)", low=float(edges[0]), high=float(edges[-1])),
        Axis("share of the targets (%)", low=0, high=104),
        tuple(columns),
        title="Share observed",
    )
