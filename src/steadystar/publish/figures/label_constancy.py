"""Which stars change their labels: scatter between spectra against error, and a list.

Pulsators change their temperature; the chi squared of a label's constancy finds them.
"""

__all__ = ["changing_listing", "label_constancy"]

import numpy as np
import polars as pl

from steadystar.calibrate.label_rows import with_errors_of_repeats
from steadystar.data.schema import LABEL_NAMES
from steadystar.infer.summary import discoveries
from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.label_facts import SHORT, label_names
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    Array,
    counted,
    log_edges,
    median,
    probability,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import Axis, Figure, Line, Mark, Missing, Panel, Points

_TITLE = "Do the labels of a star stay what they are?"
_RATE = 0.01
"""False-discovery rate, as that of variable velocities."""
_FEWEST = 5
_MOST_MARKED = 2000
"""Stars that change, drawn one by one: the surest of them."""


def _judged(facts: Facts, name: str) -> pl.DataFrame:
    """Stars with two spectra or more: scatter, error of one spectrum, p, whether it changes."""
    needed = {f"{name}_{suffix}" for suffix in ("scatter", "chi2", "p_value")}
    rows = with_errors_of_repeats(facts.labels, [name])
    rows = rows.filter("counts", f"{name}_trusted")
    if not needed <= set(facts.stars.columns) or not len(rows):
        return pl.DataFrame()
    typical = rows.group_by("star_id").agg(
        (pl.col(f"{name}_err") ** 2).mean().sqrt().alias("error"), pl.len().alias("n")
    )
    stars = facts.stars.join(
        typical, on="star_id", how="inner", maintain_order="left"
    ).filter(
        pl.col("n") > 1,
        pl.col(f"{name}_scatter").is_finite(),
        pl.col(f"{name}_p_value").is_finite(),
    )
    p_value = stars[f"{name}_p_value"].to_numpy()
    return stars.select(
        "star_id",
        pl.col(name).alias("value"),
        pl.col(f"{name}_scatter").alias("scatter"),
        "error",
        "n",
        pl.col(f"{name}_chi2").alias("chi2"),
        pl.col(f"{name}_p_value").alias("p"),
        pl.Series("changes", discoveries(p_value, _RATE)),
    )


def label_constancy(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Scatter between a star's spectra against the error of one; a panel a label."""
    panels, said = [], []
    for name in label_names(facts.labels):
        stars = _judged(facts, name)
        if len(stars) < _FEWEST:
            continue
        panels.append(_panel(name, stars, options))
        said.append(
            f"{SHORT[name]} changes in {counted(int(stars['changes'].sum()), 'star')} of "
            f"{len(stars):,} (median scatter / error "
            f"{median(stars['scatter'] / stars['error']):.2f})"
        )
    if not panels:
        return Missing(
            "label-constancy",
            _TITLE,
            f"Fewer than {_FEWEST} stars have two spectra with trusted labels, and a "
            "chi squared of their constancy.",
        )
    return Figure(
        name="label-constancy",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="The scatter of a label between the spectra of a star against the error of "
        "one of them, each star a point; on the line they are equal. Orange: stars whose "
        f"label changes, at a false-discovery rate of {_RATE}.",
        good="A cloud about the line (from few spectra a scatter may be small by chance). "
        "Stars far above it pulsate, are double, or their fits disagree. If the whole "
        "cloud lies above, it is the errors that are too small.",
        here=f"Here: {'; '.join(said)}.",
    )


def _panel(name: str, stars: pl.DataFrame, options: ReportOptions) -> Panel:
    stars = stars.filter(pl.col("scatter") > 0, pl.col("error") > 0)
    error, scatter = stars["error"].to_numpy(), stars["scatter"].to_numpy()
    x_edges = log_edges(error, 70, share=0.002)
    low = min(float(np.quantile(scatter, 0.005)), x_edges[0])
    y_edges = np.geomspace(low, 1.1 * max(scatter.max(), x_edges[-1]), 61)
    quiet = ~stars["changes"].to_numpy()
    names = stars["star_id"].to_list()
    marks: list[Mark] = [
        _cloud(error, scatter, quiet, names, options, (x_edges, y_edges))
    ]
    moving = np.flatnonzero(~quiet)
    moving = moving[np.argsort(stars["p"].to_numpy()[moving], kind="stable")]
    moving = moving[:_MOST_MARKED]
    if moving.size:
        marks.append(
            Points(error[moving], scatter[moving], "orange", "changes", hover=[names[i] for i in moving])
        )  # fmt: skip
    ends = x_edges[[0, -1]]
    marks.append(Line(ends, ends, "ink", dash="dash"))
    unit = LABEL_NAMES[name][0] or "dex"
    return Panel(
        Axis(f"error of one spectrum ({unit})", log=True, low=float(x_edges[0]), high=float(x_edges[-1])),
        Axis(f"scatter of a star ({unit})", log=True, low=float(y_edges[0]), high=float(y_edges[-1])),
        tuple(marks),
        title=SHORT[name],
    )  # fmt: skip


def _cloud(error: Array, scatter: Array, quiet, names, options, edges) -> Mark:
    chosen = np.flatnonzero(quiet)
    return scatter_or_density(
        error[chosen],
        scatter[chosen],
        options.aggregate_above,
        color="blue",
        hover=[names[i] for i in chosen]
        if chosen.size <= options.aggregate_above
        else (),
        edges=edges,
        size=4,
        unit="stars",
    )


def changing_listing(facts: Facts, options: ReportOptions) -> Listing | None:
    """The stars whose labels change, the least likely to be chance first."""
    parts = []
    for name in label_names(facts.labels):
        stars = _judged(facts, name)
        if len(stars):
            parts.append(
                stars.filter("changes").with_columns(pl.lit(name).alias("label"))
            )
    found = pl.concat(parts) if parts else pl.DataFrame()
    if not len(found):
        return None
    # Equal p-values of zero are told apart by chi squared.
    order = (pl.col("p"), -pl.col("chi2") / (pl.col("n") - 1), pl.col("star_id"))
    shown = found.sort(*order).head(options.listed_rows)
    rows = tuple(
        (
            row["star_id"],
            SHORT[row["label"]],
            significant(row["value"], 4 if row["label"] == "teff" else 3),
            significant(row["scatter"], 2),
            significant(row["error"], 2),
            f"{row['n']:,}",
            significant(row["chi2"] / (row["n"] - 1), 3),
            probability(row["p"]),
        )
        for row in shown.iter_rows(named=True)
    )
    stars = found["star_id"].n_unique()
    note = f"{counted(len(found), 'label')} of {counted(stars, 'star')}, at a false-discovery rate of {_RATE} for each label."
    if len(shown) < len(found):
        note += f" The first {len(shown):,} are listed; stars.parquet has all p-values."
    return Listing(
        "changing-labels",
        "Stars whose labels change",
        (
            *("star", "label", "mean", "scatter", "error of one", "spectra"),
            *("chi² / dof", "p if constant"),
        ),
        rows,
        note=note + " Click on a heading to sort.",
        numeric=frozenset(range(2, 8)),
        search=len(rows) > 20,
        sortable=True,
    )
