"""The parameters of the stars and their errors, as histograms.

Zong et al. (2020), figure 7; fast stars are those of their section 3.1.
"""

__all__ = [
    "error_histograms",
    "fast_listing",
    "label_histograms",
    "label_status_listing",
]

import numpy as np
import polars as pl

from steadystar.data.schema import LABEL_NAMES
from steadystar.data.status import SENTENCES, Status
from steadystar.publish.facts import Facts, arms_of
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.label_facts import SHORT, label_axis, label_names, star_error
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    MINUS,
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
    Figure,
    Missing,
    Panel,
    Steps,
    arm_color,
    arm_title,
)

_PARAMETERS = "Parameters of the stars"
_ERRORS = "Errors of the parameters"
_FAST = 300.0
"""km/s, from which on Zong et al. (2020) call a star a candidate for high velocity."""
_BINS = {"teff": 200.0, "logg": 0.2, "feh": 0.1, "vsini": 5.0, "rv": 20.0}
"""As published; finer where the values span few of them, coarser where very many."""
_MANY = 20_000
"""Values from which on a few in a thousand may lie beyond the panel."""


def label_histograms(facts: Facts) -> Figure | Missing:
    """Each label, and the velocity, of stars and of their single spectra."""
    panels, medians = [], []
    for name in (*LABEL_NAMES, "rv"):
        stars, spectra = _values(facts, name)
        if stars.size or spectra.size:
            panels.append(_panel(name, stars, spectra))
            medians.append(_median(name, stars if stars.size else spectra))
    if not label_names(facts.stars) and not label_names(facts.labels):
        return Missing("parameters", _PARAMETERS, "No label could be measured.")
    both = any(len(panel.marks) > 1 for panel in panels)
    here = f"Here: medians {', '.join(medians)}"
    edge = _flagged(facts, Status.LABEL_EDGE)
    if edge:
        here += (
            f". {counted(edge, 'fit lies', 'fits lie')} on the edge of the models and "
            "do not enter"
        )
    return Figure(
        name="parameters",
        title=_PARAMETERS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="How many stars have which parameters"
        + (" (filled), and how many of their single spectra (outline, scaled to the same area)" if both else "")
        + " (Zong et al. 2020, figure 7).",
        good="Two humps in temperature and gravity, of the giants and of the main "
        "sequence; one in [Fe/H], a little below solar. A wall or a spike is an edge of "
        "the models, or a habit of the fit.",
        here=here + ".",
    )  # fmt: skip


def _values(facts: Facts, name: str) -> tuple[Array, Array]:
    """The values of stars and of the spectra that count."""
    if name == "rv":
        absolute = facts.both or not facts.relative
        return (finite(facts.stars["rv_mean"]) if absolute else np.empty(0)), np.empty(
            0
        )
    rows = facts.labels.filter("counts", f"{name}_trusted")
    stars = finite(facts.stars[name]) if name in facts.stars.columns else np.empty(0)
    return stars, finite(rows[name])


def _panel(name: str, stars: Array, spectra: Array) -> Panel:
    every = np.concatenate([stars, spectra])
    share = 0.001 if every.size > _MANY else 0.0
    low, high = np.quantile(every, [share, 1 - share])
    width = _BINS[name]
    while high - low < 12 * width and width > 1e-3 * _BINS[name]:
        width /= 2
    while high - low > 150 * width:
        width *= 2
    first = np.floor(low / width) * width
    edges = np.arange(first, high + 1.01 * width, width)
    marks = []
    if stars.size:
        heights = np.histogram(stars, edges)[0].astype(float)
        marks.append(Steps(edges, heights, "ink", "stars" if spectra.size else ""))
    if spectra.size and spectra.size != stars.size:
        heights = np.histogram(spectra, edges)[0].astype(float)
        scale = stars.size / spectra.size if stars.size else 1.0
        marks.append(
            Steps(edges, heights * scale, "orange", "single spectra", filled=False)
        )
    axis = Axis("mean velocity (km/s)") if name == "rv" else label_axis(name)
    return Panel(axis, Axis("stars" if stars.size else "spectra"), tuple(marks))


def _median(name: str, values: Array) -> str:
    words = {
        "teff": f"{median(values):,.0f} K",
        "logg": f"log g {median(values):.2f}",
        "feh": f"[Fe/H] {median(values):.2f}",
        "vsini": f"v sin i {median(values):.3g} km/s",
        "rv": f"velocity {median(values):.3g} km/s",
    }
    return words[name].replace("-", MINUS)


def _flagged(facts: Facts, flag: Status) -> int:
    return int(((facts.labels["status"] & int(flag)) != 0).sum())


def error_histograms(facts: Facts) -> Figure | None:
    """Errors of single spectra by arm, and of the means of stars."""
    names = label_names(facts.labels)
    panels, said = [], []
    for name in names:
        panel = _error_panel(facts, name)
        if panel:
            panels.append(panel)
            one = median(facts.labels.filter(f"{name}_trusted")[f"{name}_err"])
            said.append(_median_error(facts, name, one))
    if not panels:
        return None
    failed = ~facts.labels["counts"] & (_none(facts))
    here = f"Here: median {'; '.join(said)}"
    if failed.any():
        here += (
            f". {int(failed.sum()):,} of {len(facts.labels):,} fits "
            f"({percent(int(failed.sum()), len(facts.labels))}) gave no label that is "
            "trusted, and say why in their status"
        )
    return Figure(
        name="parameter-errors",
        title=_ERRORS,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="The errors of the labels of single spectra, and those of the means of "
        "stars (line), which fall with the number of spectra.",
        good="One hump each; errors of means well to the left of those of single "
        "spectra. A tail to the right is spectra of low S/N, or hot stars with few lines.",
        here=here + ".",
    )


def _none(facts: Facts) -> pl.Series:
    trusted = [pl.col(f"{name}_trusted") for name in LABEL_NAMES]
    return facts.labels.select((~pl.any_horizontal(trusted)).alias("none"))["none"]


def _error_panel(facts: Facts, name: str) -> Panel | None:
    groups: list[tuple[Array, str, str]] = []
    arms = arms_of(facts.labels)
    for arm in arms:
        rows = facts.labels.filter(f"{name}_trusted", pl.col("arm") == arm)
        label = arm_title(arm) or ("all arms at once" if len(arms) > 1 else "spectra")
        groups.append((finite(rows[f"{name}_err"]), arm_color(arm, arms), label))
    if column := star_error(facts.stars, name):
        groups.append((finite(facts.stars[column]), "ink", "means of stars"))
    groups = [(v[v > 0], color, label) for v, color, label in groups if (v > 0).any()]
    if not groups:
        return None
    edges = log_edges(np.concatenate([v for v, _, _ in groups]), 40, share=0.002)
    marks = []
    for values, color, label in groups:
        heights, _ = np.histogram(values, edges)
        marks.append(
            Steps(edges, 100 * heights / values.size, color, label, filled=color != "ink")
        )  # fmt: skip
    axis = label_axis(name, "error of")
    return Panel(
        Axis(axis.label, log=True, low=float(edges[0]), high=float(edges[-1])),
        Axis("share in a bin (%)"),
        tuple(marks),
    )


def _median_error(facts: Facts, name: str, one: float) -> str:
    unit = LABEL_NAMES[name][0] or "dex"
    text = f"{SHORT[name]} {significant(one, 2)} {unit} a spectrum"
    if column := star_error(facts.stars, name):
        text += f", {significant(median(facts.stars[column]), 2)} a star"
    return text


def label_status_listing(facts: Facts) -> Listing | None:
    """How often each flag was set on fits of labels; None without such fits."""
    if not len(facts.labels):
        return None
    status = facts.labels["status"].to_numpy().astype(np.int64)
    none = _none(facts).to_numpy()
    rows = [("Nothing to remark.", status == 0)]
    rows += [(text, (status & int(flag)) != 0) for flag, text in SENTENCES.items()]
    return Listing(
        "label-statuses",
        "What was remarked on the fits of labels",
        ("remark", "fits", "of these without a trusted label"),
        tuple(
            (text, f"{int(chosen.sum()):,}", f"{int((chosen & none).sum()):,}")
            for text, chosen in rows
            if chosen.any()
        ),
        note="A fit can carry several remarks.",
        numeric=frozenset((1, 2)),
    )


def fast_listing(facts: Facts, options: ReportOptions) -> Listing | None:
    """Candidates for high velocity; None where there are none."""
    if facts.relative and not facts.both:
        return None
    fast = facts.stars.filter(
        pl.col("rv_mean").is_finite(), pl.col("rv_mean").abs() > _FAST
    ).sort(pl.col("rv_mean").abs(), descending=True)
    if not len(fast):
        return None
    names = label_names(fast)
    columns = ("star", "velocity (km/s)", "error", "scatter", "spectra", *names)
    rows = tuple(
        (
            row["star_id"],
            f"{row['rv_mean']:.1f}".replace("-", MINUS),
            significant(row["rv_mean_err"], 2),
            significant(row["rv_scatter"], 2),
            f"{row['n_visits']:,}",
            *(significant(row[name], 4 if name == "teff" else 2) for name in names),
        )
        for row in fast.head(options.listed_rows).iter_rows(named=True)
    )
    return Listing(
        "fast-stars",
        "Candidates for high velocity",
        columns,
        rows,
        note=f"{counted(len(fast), 'star')} with a mean velocity beyond {_FAST:.0f} km/s. "
        "One spectrum, or a scatter like the velocity itself, makes it more likely a "
        "mistake.",
        numeric=frozenset(range(1, len(columns))),
        sortable=True,
    )
