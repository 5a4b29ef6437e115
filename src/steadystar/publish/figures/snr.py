"""How good the spectra are: S/N by arm, and what becomes of the very faint ones.

Zong et al. (2020), figure 4 and section 2.3: shares above S/N 10, 20, 50, 100, and the
20% below 2 of fibers that hardly work, which are carried along here with a status.
"""

__all__ = ["faint_listing", "snr_distribution", "snr_listing"]

import numpy as np
import polars as pl

from steadystar.data.status import SENTENCES
from steadystar.publish.facts import Facts
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    Array,
    counted,
    finite,
    log_edges,
    median,
    percent,
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
    Steps,
    arm_color,
    arm_title,
)

_TITLE = "Signal to noise, and how much of it"
FAINT = 2.0
"""S/N below which Zong et al. (2020) count a spectrum as lost."""
_LEVELS = (10.0, 20.0, 50.0, 100.0)
_LOWEST = 0.5
_POINTS = 200


def snr_distribution(facts: Facts) -> Figure | Missing:
    """Histogram of S/N with a logarithmic count, and the share above each S/N."""
    lit = facts.visits.filter(pl.col("snr").is_finite())
    if not len(lit):
        return Missing("snr", _TITLE, "No spectrum has a signal-to-noise ratio.")
    every = finite(lit["snr"])
    top = float(max(np.quantile(every, 0.999), 4 * _LOWEST))
    bins = log_edges(np.clip(every, _LOWEST, top), 40)
    counts, shares, sentences = [], [], []
    for arm in facts.arms:
        snr = finite(lit.filter(pl.col("arm") == arm)["snr"])
        if not snr.size:
            continue
        color, name = arm_color(arm, facts.arms), arm_title(arm)
        heights, _ = np.histogram(np.clip(snr, bins[0], bins[-1]), bins)
        counts.append(Steps(bins, heights.astype(float), color, name, floor=0.7))
        shares.append(_share_above(snr, bins, color))
        sentences.append(
            f"{name or 'all arms'}: median S/N {median(snr):.3g}, "
            f"{percent(int((snr < FAINT).sum()), snr.size)} below {FAINT:.0f}, "
            f"{percent(int((snr > _LEVELS[0]).sum()), snr.size)} above {_LEVELS[0]:.0f}"
        )
    faint = bool((every < FAINT).any())
    bands: list[Mark] = [Band(float(bins[0]), FAINT)] if faint else []
    x = Axis("S/N per pixel", log=True, low=float(bins[0]), high=float(bins[-1]))
    highest = max(float(mark.heights.max()) for mark in counts)
    panels = (
        Panel(
            x,
            Axis("spectra", log=True, low=0.7, high=2 * highest),
            (*bands, *counts),
            title="Spectra in each range",
        ),
        Panel(
            x,
            Axis("spectra above this S/N (%)", low=0, high=102),
            (*bands, *shares),
            title="Share above a S/N",
        ),
    )
    unknown = len(facts.visits) - len(lit)
    here = "Here: " + "; ".join(sentences)
    if unknown:
        here += f"; {counted(unknown, 'spectrum', 'spectra')} without a S/N not drawn"
    return Figure(
        name="snr",
        title=_TITLE,
        panels=panels,
        columns=2,
        wide=True,
        shows="How many spectra have which S/N, in each arm (counts on a logarithmic "
        "scale; Zong et al. 2020, figure 4), and what share of them lies above a given "
        "S/N."
        + (f" Shaded: S/N below {FAINT:.0f}; what is lower than {_LOWEST:g} stands at the left edge."
        if faint else ""),
        good="One hump, and little below S/N 10. A second hump near zero is fibers that "
        "missed their star or hardly work: LAMOST's medium-resolution survey has about "
        "20% of its spectra there.",
        here=here + ".",
    )  # fmt: skip


def _share_above(snr: Array, edges: Array, color: str) -> Line:
    at = np.geomspace(edges[0], edges[-1], _POINTS)
    above = snr.size - np.searchsorted(np.sort(snr), at, side="right")
    return Line(at, 100 * above / snr.size, color, width=2)


def snr_listing(facts: Facts) -> Listing | None:
    """Numbers and shares above the usual limits, an arm a row."""
    rows = []
    for arm in facts.arms:
        of_arm = facts.visits.select("arm", "snr").filter(pl.col("arm") == arm)
        snr = finite(of_arm["snr"])
        if not snr.size:
            continue
        below = int((snr < FAINT).sum())
        rows.append(
            (
                arm,
                f"{len(of_arm):,}",
                _with_share(below, snr.size),
                *(_with_share(int((snr > level).sum()), snr.size) for level in _LEVELS),
                significant(median(snr)),
                f"{len(of_arm) - snr.size:,}",
            )
        )
    if not rows:
        return None
    return Listing(
        "snr-levels",
        "Spectra by S/N",
        (
            *("arm", "spectra", f"S/N < {FAINT:.0f}"),
            *(f"S/N > {level:.0f}" for level in _LEVELS),
            *("median S/N", "S/N unknown"),
        ),
        tuple(rows),
        numeric=frozenset(range(1, 5 + len(_LEVELS))),
    )


def _with_share(part: int, whole: int) -> str:
    return f"{part:,} ({percent(part, whole)})"


def faint_listing(facts: Facts) -> Listing | None:
    """What is said of the spectra with S/N below 2; None where there are none."""
    faint = facts.visits.filter(pl.col("snr").is_finite(), pl.col("snr") < FAINT)
    if not len(faint):
        return None
    status = faint["status"].to_numpy().astype(np.int64)
    measured = faint["measured"].to_numpy()
    rows = []
    for flag, sentence in SENTENCES.items():
        chosen = (status & int(flag)) != 0
        if chosen.any():
            rows.append((sentence, chosen))
    rows.append(("Nothing to remark.", status == 0))
    dead = faint.filter(pl.col("fiber").is_not_null())
    keys = [k for k in ("unit", "fiber") if dead[k].n_unique() > 1] or ["fiber"]
    worst = (
        dead.group_by(keys)
        .len()
        .sort("len", *keys, descending=[True, *[False] * len(keys)])
    )
    note = (
        f"{counted(len(faint), 'spectrum', 'spectra')} of {len(facts.visits):,} "
        f"({percent(len(faint), len(facts.visits))}) have S/N below {FAINT:.0f}; all "
        "keep their rows. One can carry several remarks."
    )  # fmt: skip
    if len(worst) and worst["len"][0] > 1:
        one = worst.row(0, named=True)
        where = f"{one['unit']}, " if one.get("unit") else ""
        note += f" The fiber with most of them: {where}fiber {one['fiber']} ({one['len']:,})."
    return Listing(
        "faint",
        f"What became of spectra with S/N below {FAINT:.0f}",
        ("remark", "spectra", "of these with a velocity"),
        tuple(
            (text, f"{int(chosen.sum()):,}", f"{int((chosen & measured).sum()):,}")
            for text, chosen in rows
            if chosen.any()
        ),
        note=note,
        numeric=frozenset((1, 2)),
    )
