"""Distances and over-luminous stars: how good, how many, where, and which."""

__all__ = ["distance_items"]

import numpy as np
import polars as pl

from steadystar.infer.distance import Distances
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    binned_medians,
    counted,
    finite,
    log_edges,
    percent,
    probability,
    robust_width,
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
_GOOD_PARALLAX = 5.0
_SIGMAS = np.linspace(-6, 6, 49)
_PAIR = float(np.sqrt(2))


def distance_items(
    found: Distances, options: ReportOptions
) -> list[Figure | Missing | Listing]:
    """Return everything that the page of distances shows, in order."""
    return [
        _errors(found, options),
        _both_ways(found, options),
        _excess(found),
        _probabilities(found),
        _map(found, options),
        _brightest(found, options),
        _statuses(found),
    ]


def _columns(found: Distances, *names: str) -> tuple[Array, ...]:
    return tuple(found.table[name].to_numpy() for name in names)


def _ids(found: Distances) -> list[str]:
    ids = found.table["star_id"].cast(pl.String, strict=False)
    return ids.fill_null(DASH).to_list()


def _errors(found: Distances, options: ReportOptions) -> Figure | Missing:
    title = "Error of the distance"
    dis, low, high = _columns(found, "dis", "dis_low", "dis_high")
    with np.errstate(invalid="ignore", divide="ignore"):
        error = (high - low) / 2 / dis
        alone = found.data.error * dis / 1000
    good = np.isfinite(error) & (error > 0)
    if good.sum() < _FEWEST:
        return Missing("distances-errors", title, f"Fewer than {_FEWEST} distances.")
    x, y = dis[good] / 1000, error[good]
    edges = (log_edges(x, 80), log_edges(y, 60))
    ids = np.array(_ids(found), object)[good].tolist()
    marks: list[Mark] = [
        scatter_or_density(
            *(x, y, options.aggregate_above),
            color="blue",
            label="each star",
            hover=ids,
            edges=edges,
        )
    ]
    bins = log_edges(x, 14)
    ours = binned_medians(x, y, bins, _FEWEST)
    marks.append(Line(ours[0], ours[1], "ink", "median"))
    known = good & np.isfinite(alone)
    theirs = binned_medians(dis[known] / 1000, alone[known], bins, _FEWEST)
    if len(theirs[0]):
        marks.append(Line(*theirs[:2], "red", "median, parallax alone", dash="dash"))
    far = known & (dis > 3000)
    ratio = np.median(error[far]) / np.median(alone[far]) if far.any() else np.nan
    beyond = (
        f" Beyond 3 kpc ({counted(int(far.sum()), 'star')}) it is "
        f"{significant(ratio, 2)} of the error of the parallax alone."
        if np.isfinite(ratio)
        else ""
    )
    return Figure(
        "distances-errors",
        title,
        (
            Panel(
                Axis("distance (kpc)", log=True),
                Axis("relative error", log=True),
                tuple(marks),
            ),
        ),
        shows="Half of the range from the 16th to the 84th percentile, over the distance. "
        "Dashed: what the parallax alone would give there, its error times the distance.",
        good="Near stars follow their parallaxes. Beyond, the error stays at that of the "
        "magnitude, 0.46 times its error in mag, while parallaxes fail.",
        here=f"Here: {significant(100 * float(np.median(y)), 2)}% in the median.{beyond}",
        wide=True,
    )


def _both_ways(found: Distances, options: ReportOptions) -> Figure | Missing:
    title = "Distance from magnitude and from parallax"
    data = found.data
    with np.errstate(invalid="ignore", divide="ignore"):
        good = data.parallax / data.error > _GOOD_PARALLAX
    good &= np.isfinite(data.modulus)
    if good.sum() < _FEWEST:
        return Missing(
            "distances-both",
            title,
            f"Fewer than {_FEWEST} stars have a magnitude and a parallax above "
            f"{_GOOD_PARALLAX:.0f} times its error.",
        )
    x, y = 1 / data.parallax[good], 10 ** (data.modulus[good] / 5 - 2)
    ends = np.array([min(x.min(), y.min()), max(x.max(), y.max())])
    ids = np.array(_ids(found), object)[good].tolist()
    marks = (
        scatter_or_density(
            *(x, y, options.aggregate_above),
            color="blue",
            hover=ids,
            edges=(log_edges(x, 80), log_edges(y, 60)),
        ),
        Line(ends, ends, "ink", "equal"),
        Line(ends, ends / _PAIR, "red", "two equal stars", dash="dash"),
    )
    off = 5 * np.log10(y / x)
    middle = significant(float(np.median(off)), 2)
    return Figure(
        "distances-both",
        title,
        (
            Panel(
                Axis("1 / parallax (kpc)", log=True),
                Axis("from the magnitude, if single (kpc)", log=True),
                marks,
            ),
        ),
        shows=f"Stars with parallaxes above {_GOOD_PARALLAX:.0f} times their errors. Two "
        "equal stars seem nearer by their magnitude, by the root of two.",
        good="Points about the line of equality, with a few pairs below. A shift of all of "
        "them is one of the scale of magnitudes, or of the parallaxes' zero.",
        here=f"Here: {counted(len(x), 'star')}; moduli differ by {middle} mag in the "
        f"median, with a width of {significant(robust_width(off), 2)} mag (quartiles).",
        wide=True,
    )


def _excess(found: Distances) -> Figure | Missing:
    title = "Spectroscopic minus measured parallax"
    excess = finite(found.table["snr_dparallax"])
    if len(excess) < _FEWEST:
        reason = f"Fewer than {_FEWEST} stars have both magnitude and parallax."
        return Missing("distances-excess", title, reason)
    counts, _ = np.histogram(excess, _SIGMAS)
    x = np.linspace(-6, 6, 241)
    width = _SIGMAS[1] - _SIGMAS[0]
    bell = len(excess) * width * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    flagged = int((found.table["binary_flag"] == 1).sum())
    beyond = int(((excess < -6) | (excess > 6)).sum())
    chance = 0.0228 * len(excess)
    panel = Panel(
        Axis("snr_dparallax"),
        Axis("stars"),
        (
            Steps(_SIGMAS, counts.astype(float), "blue", "all stars"),
            Line(x, bell, "ink", "if all were single", dash="dash"),
            Line(np.full(2, 2.0), np.array([0, bell.max()]), "red", "2 sigma", "dot"),
        ),
    )
    return Figure(
        "distances-excess",
        title,
        (panel,),
        shows="By how many standard deviations the parallax is smaller than the magnitude "
        "has it. Dashed: a Gaussian of width 1, of as many stars.",
        good="The Gaussian, and a tail on the right: over-luminous stars. A wider core "
        "means that errors are too small; a shift, that a zero point is wrong.",
        here=f"Here: width {significant(robust_width(excess), 3)} (quartiles), median "
        f"{significant(float(np.median(excess)), 2)}; {flagged:,} beyond 2 sigma where "
        f"chance alone makes {chance:.0f}; {counted(beyond, 'star')} beyond the panel.",
    )


def _probabilities(found: Distances) -> Figure | Missing:
    title = "Probability of being a pair"
    p = finite(found.table["p_binary"])
    if len(p) < _FEWEST:
        reason = f"Fewer than {_FEWEST} stars have both magnitude and parallax."
        return Missing("distances-pairs", title, reason)
    edges = np.linspace(0, 1, 41)
    counts, _ = np.histogram(p, edges)
    heights = np.where(counts > 0, counts, 0.5).astype(float)
    panel = Panel(
        Axis("p_binary", low=0, high=1),
        Axis("stars", log=True, low=0.5),
        (Steps(edges, heights, "purple", floor=0.5),),
    )
    mixture = found.mixture
    return Figure(
        "distances-pairs",
        title,
        (panel,),
        shows="How likely each star is an unresolved pair, given how common pairs are in "
        "this table.",
        good="Most stars near the share of pairs: their parallaxes tell little. Few, with "
        "good parallaxes, near 1. The sum is the expected number of pairs.",
        here=f"Here: {percent(mixture.fraction, 1)} pairs (± "
        f"{percent(mixture.fraction_err, 1)}), from {counted(mixture.n_stars, 'row')}; "
        f"{counted(int((p > 0.5).sum()), 'star')} above one half; expected pairs "
        f"{p.sum():.0f}.",
    )


def _map(found: Distances, options: ReportOptions) -> Figure | Missing:
    title = "Map of the Galactic plane"
    x, y = _columns(found, "x", "y")
    good = np.isfinite(x) & np.isfinite(y)
    if not good.any():
        reason = "No star has a position and a distance: give ra and dec for a map."
        return Missing("distances-map", title, reason)
    sun = found.sun_x
    # The far 1% would make all others a dot.
    reach = 1.1 * float(np.quantile(np.hypot(x[good] - sun, y[good]), 0.99)) + 0.05
    edges = (
        np.linspace(sun - reach, sun + reach, 101),
        np.linspace(-reach, reach, 101),
    )
    inside = good & (np.abs(x - sun) < reach) & (np.abs(y) < reach)
    beyond = int(good.sum() - inside.sum())
    marks = [
        scatter_or_density(
            *(x[inside], y[inside], options.aggregate_above),
            color="blue",
            hover=np.array(_ids(found), object)[inside].tolist(),
            edges=edges,
        ),
        Points(np.array([sun]), np.zeros(1), "orange", "Sun", symbol="diamond", size=9),
    ]
    panel = Panel(
        Axis("x (kpc)", low=sun - reach, high=sun + reach),
        Axis("y (kpc)", low=-reach, high=reach),
        tuple(marks),
        equal=True,
    )
    return Figure(
        "distances-map",
        title,
        (panel,),
        shows="The plane seen from the north Galactic pole: the center is at (0, 0), "
        "rotation goes toward positive y.",
        good="Structure that is across the line of sight. Fingers that point at the Sun "
        "are errors of distances.",
        here=f"Here: {counted(int(good.sum()), 'star')}, {counted(beyond, 'star')} of them "
        "beyond the panel.",
    )


def _brightest(found: Distances, options: ReportOptions) -> Listing:
    chosen = found.table.with_row_index("_row").filter(pl.col("binary_flag") == 1)
    chosen = chosen.sort("snr_dparallax", descending=True)
    rows = []
    for row in chosen.head(options.listed_rows).iter_rows(named=True):
        parallax = found.data.parallax[row["_row"]]
        excess = (
            found.data.modulus[row["_row"]] - 10 + 5 * np.log10(max(parallax, 1e-9))
        )
        rows.append(
            (
                str(row["star_id"] if row["star_id"] is not None else DASH),
                significant(row["snr_dparallax"], 3),
                probability(row["p_binary"]),
                f"{-excess:.2f}".replace("-", MINUS) if parallax > 0 else DASH,
                f"{parallax:.3f} ± {found.data.error[row['_row']]:.3f}".replace(
                    "-", MINUS
                ),
                significant(row["dis"], 4),
                row["distance_status"] or DASH,
            )
        )
    more = (
        f" The first {len(rows)} of {len(chosen):,}." if len(chosen) > len(rows) else ""
    )
    note = (
        "Brighter than their magnitudes by more than the parallax allows. Pairs reach "
        f"0.75 mag, noise more.{more}"
        if rows
        else "No star is over-luminous."
    )
    return Listing(
        "distances-brightest",
        "The most over-luminous stars",
        (
            *("star", "sigma", "probability of a pair", "too bright by (mag)"),
            *("parallax (mas)", "distance (pc)", "remarks"),
        ),
        tuple(rows),
        note=note,
        numeric=frozenset(range(1, 6)),
        wordy=frozenset({6}),
        sortable=True,
    )


def _statuses(found: Distances) -> Listing:
    said = found.table.filter(pl.col("distance_status") != "")
    counts = said["distance_status"].value_counts(sort=True)
    counts = counts.sort(["count", "distance_status"], descending=[True, False])
    rows = tuple((text, f"{n:,}") for text, n in counts.head(30).iter_rows())
    return Listing(
        "distances-statuses",
        "What is missing or doubtful",
        ("in words", "stars"),
        rows,
        note="These stars keep their rows."
        if rows
        else "Nothing: all have everything.",
        numeric=frozenset({1}),
        wordy=frozenset({0}),
    )
