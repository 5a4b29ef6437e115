"""Distances: how far the stars are, and where; with the figures of ``distances``.

Counterparts of figures 11 and 12 of Xiang et al. (2021).
"""

__all__ = ["distance_figures", "distance_histogram"]

from dataclasses import replace

import numpy as np
import polars as pl

from steadystar.infer.distance import Distances
from steadystar.infer.distance_inputs import measured
from steadystar.infer.distance_options import DistanceOptions
from steadystar.infer.overluminous import learn_pairs
from steadystar.publish.figures.distances import distance_items
from steadystar.publish.figures.hot_emission import CROWD
from steadystar.publish.figures.section import Item
from steadystar.publish.hot_inputs import HotFacts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import counted, log_edges, percent, significant
from steadystar.publish.plot import Axis, Figure, Missing, Panel, Steps


def distance_figures(facts: HotFacts, options: ReportOptions) -> dict[str, Item]:
    """The items of the page of ``steadystar distances`` for these stars, by name."""
    found = facts.inputs.distances or _as_found(facts)
    few = replace(options, aggregate_above=min(options.aggregate_above, CROWD))
    items = {item.name: item for item in distance_items(found, few)}
    return {name: _taller(item) for name, item in items.items()}


def _taller(item: Item) -> Item:
    """Maps are square: they need more height than other figures."""
    if not isinstance(item, Figure) or not any(p.equal for p in item.panels):
        return item
    return replace(item, panels=tuple(replace(p, tall=1.8) for p in item.panels))


def _as_found(facts: HotFacts) -> Distances:
    """What the catalog says, as `infer_distances` returns it."""
    ratio = facts.part("luminosity").get("a_ks")
    options = DistanceOptions()
    if isinstance(ratio, float) and 0 <= ratio < 2:
        options = DistanceOptions(a_ks_per_ebv=ratio)
    table = facts.stars.with_columns(
        pl.col("problems").fill_null("").alias("distance_status"),
        pl.col("binary_flag").fill_null(-1),
        # Figures compare with numbers: NaN is none there, as it is in Distances.
        *(pl.col(n).fill_null(np.nan) for n in _NUMBERS),
    )
    data = measured(table, options)
    mixture = learn_pairs(data, table["star_id"], options)
    return Distances(table, mixture, data, options.sun_x, ())


_NUMBERS = (
    *("dis", "dis_low", "dis_high", "logdis", "logdis_err", "snr_dparallax"),
    *("p_binary", "x", "y", "z"),
)


def distance_histogram(facts: HotFacts) -> Figure | Missing:
    """How many stars at which distance; from both, and from the parallax alone."""
    title = "Distances of the stars"
    dis = facts["dis"] / 1000
    good = dis > 0
    if not good.any():
        return Missing("hot-distances", title, "No star has a distance.")
    edges = log_edges(dis[good], 40, 0.0005)
    both = good & np.isfinite(facts["m_ks"]) & np.isfinite(facts["ks"])
    marks = []
    for rows, color, label in (
        (good, "muted", "all"),
        (both, "blue", "with M_Ks"),
    ):
        counts, _ = np.histogram(np.clip(dis[rows], edges[0], edges[-1]), edges)
        marks.append(Steps(edges, counts.astype(float), color, label))
    far = [(int((dis[good] > limit).sum()), limit) for limit in (3, 10)]
    low, middle, high = np.quantile(dis[good], [0.05, 0.5, 0.95])
    return Figure(
        "hot-distances",
        title,
        (Panel(Axis("distance (kpc)", log=True), Axis("stars"), tuple(marks)),),
        shows="The mode of each star's posterior. Xiang et al. 2021, figure 11, left.",
        good="As far as the survey's magnitudes reach. A heap at the largest distance "
        "means parallaxes that say nothing.",
        here=f"Here: {counted(int(good.sum()), 'star')}, median {significant(middle, 3)} "
        f"kpc, nine of ten within {significant(low, 2)} to {significant(high, 2)} kpc; "
        + ", ".join(
            f"{number:,} ({percent(number, int(good.sum()))}) beyond {limit} kpc"
            for number, limit in far
        )
        + ".",
    )
