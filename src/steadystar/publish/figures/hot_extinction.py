"""Reddening: how much, where, and whether neighbors agree.

No map of the dust in space is at hand, against which figure 4 of Xiang et al. (2021) holds
its reddening. Its counterpart here needs none: stars near each other in space are behind
the same dust.
"""

__all__ = ["neighbors_agree", "reddening", "reddening_sky"]

from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from scipy.spatial import KDTree

from steadystar.data.match import unit_vectors
from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.figures.kiel import median_cells
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.numbers import (
    Array,
    binned_medians,
    counted,
    log_edges,
    percent,
    robust_width,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Cells,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Shaded,
    Steps,
)

_FEWEST = 5
_FEW_PAIRS = 20
_DEGREES, _RATIO = 0.5, 0.15
"""Neighbors: so near on the sky (deg), and in the logarithm of the distance."""


def reddening(facts: HotFacts) -> Figure | Missing:
    """Histogram of E(B-V), and E(B-V) against distance."""
    title = "Reddening"
    ebv = facts["ebv"]
    known = ebv[np.isfinite(ebv)]
    if len(known) < _FEWEST:
        reason = f"Fewer than {_FEWEST} stars have a reddening: give colors and labels."
        return Missing("hot-reddening", title, reason)
    low, high = np.quantile(known, [0.001, 0.999])
    edges = np.linspace(min(low, -0.05), max(high, 0.3), 51)
    counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), edges)
    panels = [
        Panel(
            Axis("E(B-V) (mag)"),
            Axis("stars"),
            (Steps(edges, counts.astype(float), "orange"),),
        )
    ]
    dis = facts["dis"] / 1000
    both = np.isfinite(ebv) & (dis > 0)
    if both.sum() >= _FEWEST:
        panels.append(_with_distance(facts, dis, ebv, both, edges))
    negative = int((known < -2 * _typical(facts)).sum())
    return Figure(
        "hot-reddening",
        title,
        tuple(panels),
        shows="How much redder stars are than their labels say, and how that grows with "
        "distance (posterior's mode); red: medians.",
        good="No more stars below zero than errors allow; a steady rise with distance, "
        "flatter where the line of sight has left the dust.",
        here=f"Here: {counted(len(known), 'star')}, median {significant(np.median(known), 2)} "
        f"mag, error {significant(_typical(facts), 2)} mag in the median; "
        f"{counted(negative, 'star')} ({percent(negative, len(known))}) below zero by more "
        "than two such errors.",
        columns=2,
        wide=True,
    )


def _typical(facts: HotFacts) -> float:
    error = facts["ebv_err"]
    known = error[np.isfinite(error)]
    return float(np.median(known)) if known.size else 0.0


def _with_distance(facts: HotFacts, dis, ebv, both, edges: Array) -> Panel:
    x, y = dis[both], ebv[both]
    hover = facts.ids[both].tolist() if both.sum() <= CROWD else ()
    grid = (log_edges(x, 80, 0.001), np.linspace(edges[0], edges[-1], 61))
    marks: list[Mark] = [
        scatter_or_density(
            *(x, y, CROWD), color="orange", hover=hover, edges=grid, unit="stars"
        )
    ]
    middle, value, _ = binned_medians(x, y, log_edges(x, 16), 10)
    if len(middle):
        marks.append(Line(middle, value, "red", "median", width=2))
    return Panel(
        Axis("distance (kpc)", log=True, low=grid[0][0], high=grid[0][-1]),
        Axis("E(B-V) (mag)", low=edges[0], high=edges[-1]),
        tuple(marks),
    )


def reddening_sky(facts: HotFacts) -> Figure | Missing:
    """Reddening over Galactic longitude and latitude."""
    title = "Reddening on the sky"
    ra, dec, ebv = facts["ra"], facts["dec"], facts["ebv"]
    good = np.isfinite(ra) & (np.abs(dec) <= 90) & np.isfinite(ebv)
    if not good.any():
        reason = "No star has both a position and a reddening."
        return Missing("hot-reddening-sky", title, reason)
    sky: Any = SkyCoord(ra[good], dec[good], unit="deg").galactic
    l, b, z = sky.l.deg, sky.b.deg, ebv[good]
    # Cut where no stars are, so that the survey is in one piece.
    counts, at = np.histogram(l, np.linspace(0, 360, 37))
    cut = float(at[int(np.argmin(counts + np.roll(counts, 1) + np.roll(counts, -1)))])
    l = (l - cut) % 360 + cut
    low, high = (float(v) for v in np.quantile(z, [0.02, 0.98]))
    high = max(high, low + 0.05)
    span = (float(l.min() - 1), float(l.max() + 1))
    reach = float(np.quantile(np.abs(b), 0.995)) + 1
    if len(z) > CROWD:
        edges = (np.linspace(*span, 121), np.linspace(-reach, reach, 41))
        cells = median_cells(l, b, z, edges)
        mark: Mark = Cells(*edges, cells, "E(B-V)", low, high)
    else:
        hover = facts.ids[good].tolist()
        mark = Shaded(l, b, z, "E(B-V)", low, high, hover=hover)
    first = 30 * np.ceil(span[0] / 30)
    ticks = tuple((float(v), f"{v % 360:g}") for v in np.arange(first, span[1], 30))
    panel = Panel(
        Axis("Galactic longitude (deg)", low=span[0], high=span[1], reverse=True, ticks=ticks or None),
        Axis("Galactic latitude (deg)", low=-reach, high=reach),
        (mark,),
        tall=0.8,
    )  # fmt: skip
    near = np.abs(b) < 3
    here = f"Here: {counted(len(z), 'star')}"
    if near.any() and (~near).any():
        here += (
            f"; within 3 degrees of the plane {significant(np.median(z[near]), 2)} mag in "
            f"the median, beyond {significant(np.median(z[~near]), 2)} mag"
        )
    return Figure(
        "hot-reddening-sky",
        title,
        (panel,),
        shows="Reddening by position"
        + (", medians of cells." if len(z) > CROWD else ", a point a star."),
        good="Clouds: neighbors alike, more at low latitudes. Edges that follow plates of "
        "the survey are errors of its labels.",
        here=here + ".",
        wide=True,
    )


def neighbors_agree(facts: HotFacts) -> Figure | Missing:
    """Differences of E(B-V) between each star and the one nearest to it in space."""
    title = "Reddening of neighbors"
    ra, dec, dis = facts["ra"], facts["dec"], facts["dis"]
    rows = np.flatnonzero(
        np.isfinite(ra) & (np.abs(dec) <= 90) & (dis > 0) & np.isfinite(facts["ebv"])
    )
    pairs = _nearest(ra[rows], dec[rows], dis[rows])
    if len(pairs) < _FEW_PAIRS:
        reason = (
            f"Fewer than {_FEW_PAIRS} stars have another within {_DEGREES} degrees and "
            f"{100 * _RATIO:.0f}% of their distance."
        )
        return Missing("hot-neighbors", title, reason)
    one, two = rows[pairs[:, 0]], rows[pairs[:, 1]]
    off = facts["ebv"][one] - facts["ebv"][two]
    error = np.hypot(facts["ebv_err"][one], facts["ebv_err"][two])
    reach = float(np.clip(1.3 * np.quantile(np.abs(off), 0.98), 0.2, 3.0))
    edges = np.linspace(-reach, reach, 51)
    marks: list[Mark] = []
    said = []
    for chosen, color, label in (
        (~facts.emission[one] & ~facts.emission[two], "blue", "without emission"),
        (facts.emission[one], "red", "with emission"),
    ):
        if chosen.sum() < _FEW_PAIRS / 2:
            continue
        counts, _ = np.histogram(off[chosen], edges)
        marks.append(Steps(edges, counts / chosen.sum(), color, label))
        apart = int((np.abs(off[chosen]) > 0.1).sum())
        said.append(
            f"{counted(int(chosen.sum()), 'star')} {label} differ with a width of "
            f"{significant(robust_width(off[chosen]), 2)} mag (quartiles), "
            f"{percent(apart, int(chosen.sum()))} by more than 0.1 mag, median "
            f"{significant(np.median(off[chosen]), 2)}"
        )
    if not marks:
        return Missing("hot-neighbors", title, "Too few neighbors of either kind.")
    usual = np.nanmedian(error) if np.isfinite(error).any() else np.nan
    return Figure(
        "hot-neighbors",
        title,
        (
            Panel(
                Axis("E(B-V) less that of the neighbor (mag)"),
                Axis("share of the stars"),
                tuple(marks),
            ),
        ),
        shows=f"Each star and the one nearest in space (within {_DEGREES} degrees and "
        f"{100 * _RATIO:.0f}% in distance), which lies behind nearly the same dust. It "
        "stands for figure 4 of Xiang et al. 2021, which needs a map of the dust.",
        good="A narrow peak at zero, as wide as errors and small clouds make it. Stars "
        "with emission may lie to the right: their disks redden them.",
        here="Here: " + "; ".join(said) + (
            f". Errors alone would give {significant(usual, 2)} mag."
            if np.isfinite(usual) else "."
        ),
    )  # fmt: skip


def _nearest(ra: Array, dec: Array, dis: Array) -> np.ndarray:
    """Pairs ``(pair, 2)``: each star and its nearest, where that is near enough."""
    if len(ra) < 2:
        return np.zeros((0, 2), int)
    sky = unit_vectors(ra, dec) / np.radians(_DEGREES)
    space = np.column_stack([sky, np.log(dis) / _RATIO])
    gap, other = (np.asarray(v) for v in KDTree(space).query(space, k=2))
    # Two spectra of one place are one star under two names.
    near = (gap[:, 1] < 1) & (gap[:, 1] > 1e-3)
    return np.column_stack([np.flatnonzero(near), other[near, 1]])
