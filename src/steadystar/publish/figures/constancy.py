"""What calibration gained: constant stars before and after, and who varies.

Xiong et al. (2021), figure 5 (scatter of constant stars).
"""

__all__ = ["before_and_after", "variability"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    counted,
    finite,
    kms,
    log_edges,
    median,
    scatter_or_density,
)
from steadystar.publish.plot import (
    Axis,
    Density,
    Figure,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
    arm_title,
)

_GAIN = "Constant stars before and after calibration"


def before_and_after(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Scatter of each constant star with and without the zero points, per arm."""
    drawn = ("star_id", "arm", "snr", "correction", "steady", "before", "after")
    rows = facts.columns_measured(*drawn).filter(
        pl.col("steady") & pl.col("before").is_finite() & pl.col("after").is_finite()
    )
    stars = (
        rows.group_by("star_id", "arm", maintain_order=True)
        .agg(
            pl.col("before").std().alias("before"),
            pl.col("after").std().alias("after"),
            pl.col("snr").median().alias("snr"),
            pl.len().alias("n"),
        )
        .filter(pl.col("n") >= 2)
    )
    changed = finite(rows["correction"])
    if not len(stars) or not np.any(changed != 0):
        return Missing(
            "constancy",
            _GAIN,
            "No constant star has two velocities to compare."
            if not len(stars)
            else "No velocity was corrected: there is no before and after.",
        )
    panels, sentences = [], []
    for arm in facts.arms:
        of_arm = stars.filter(pl.col("arm") == arm)
        if not len(of_arm):
            continue
        panels += [_gain_histogram(of_arm, arm), _gain_by_snr(of_arm, arm, options)]
        old, new = median(of_arm["before"]), median(of_arm["after"])
        sentences.append(
            f"{arm_title(arm) or 'all arms'}: median {kms(old)} before, {kms(new)} after, over "
            f"{counted(len(of_arm), 'star')}"
        )
    return Figure(
        name="constancy",
        title=_GAIN,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="The standard deviation of the velocities of each constant star as "
        "measured (orange) and calibrated (green), and both against S/N "
        "(Xiong et al. 2021, figure 5).",
        good="Calibrated scatter well below the measured one, and falling with S/N as "
        "the errors do.",
        here="Here: " + "; ".join(sentences) + f". {facts.steady_words}",
    )


def _gain_histogram(stars: pl.DataFrame, arm: str) -> Panel:
    both = np.concatenate([finite(stars["before"]), finite(stars["after"])])
    # Before and after differ by a factor, and a few stars by another: a linear axis
    # would squeeze the one or cut the other.
    edges = log_edges(both, int(np.clip(1.5 * np.sqrt(both.size), 10, 50)))
    marks = []
    for column, color, label in (
        ("before", "orange", "as measured"),
        ("after", "green", "calibrated"),
    ):
        heights, _ = np.histogram(finite(stars[column]), edges)
        marks.append(Steps(edges, heights.astype(float), color, label))
    return Panel(
        Axis(
            "scatter of a star (km/s)",
            log=True,
            low=float(edges[0]),
            high=float(edges[-1]),
        ),
        Axis("constant stars"),
        tuple(marks),
        title=arm_title(arm),
    )


def _gain_by_snr(stars: pl.DataFrame, arm: str, options: ReportOptions) -> Panel:
    positive = stars.filter(
        (pl.col("snr") > 0) & (pl.col("before") > 0) & (pl.col("after") > 0)
    )
    snr = positive["snr"].to_numpy()
    names = positive["star_id"].to_list()
    scatters = np.concatenate([finite(positive["before"]), finite(positive["after"])])
    y_edges = log_edges(scatters, 60, share=0.001)
    x_edges = log_edges(snr, 80)
    marks: list[Mark] = []
    few = 2 * len(positive) <= options.aggregate_above
    for column, color, label in (
        ("before", "orange", "as measured"),
        ("after", "green", "calibrated"),
    ):
        if column == "before" and not few:
            continue
        marks.append(
            scatter_or_density(
                snr,
                positive[column].to_numpy(),
                options.aggregate_above // 2,
                color=color,
                label=label,
                hover=names,
                edges=(x_edges, y_edges),
            )
        )
    title = arm_title(arm) if few else f"{arm_title(arm)} calibrated".strip()
    return Panel(
        Axis("median S/N per pixel", log=True),
        Axis(
            "scatter of a star (km/s)",
            log=True,
            low=float(y_edges[0]),
            high=float(y_edges[-1]),
        ),
        tuple(marks),
        title=title,
    )


def variability(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Scatter of every star against S/N, by class, and the probabilities."""
    title = "Which stars vary"
    stars = facts.stars.filter(
        pl.col("scatter_after").is_not_null() & (pl.col("scatter_after") > 0)
    )
    if not len(stars):
        return Missing(
            "variability", title, "No star has two velocities, so none can be compared."
        )
    panels: list[Panel] = [_scatter_panel(stars, options)]
    probability = finite(stars["p_constant"])
    if probability.size:
        edges = np.linspace(0, 1, 26)
        heights, _ = np.histogram(probability, edges)
        panels.append(
            Panel(
                Axis("probability of being constant", low=0, high=1),
                Axis("stars"),
                (Steps(edges, heights.astype(float), "ink"),),
                title="How sure it is",
            )
        )
    constant = int(stars["constant"].fill_null(False).sum())
    variable = int(stars["variable"].fill_null(False).sum())
    # A star can be both: constant by odds, variable by the false-discovery rate.
    neither = ~(stars["constant"].fill_null(False) | stars["variable"].fill_null(False))
    classified = stars["constant"].is_not_null().any()
    here = (
        f"Here: {counted(constant, 'constant star')}, {variable} variable, "
        f"{int(neither.sum())} uncertain."
        if classified
        else f"Here: {counted(len(stars), 'star')}, none of them classified."
    )
    return Figure(
        name="variability",
        title=title,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="The scatter of every star's calibrated velocities against its S/N, by "
        "class; and how sure the classification is.",
        good="Constant stars form a band that falls with S/N; variable ones stand above "
        "it; few probabilities lie between 0 and 1.",
        here=here,
    )


def _scatter_panel(stars: pl.DataFrame, options: ReportOptions) -> Panel:
    y = Axis("scatter of a star (km/s)", log=True)
    positive = stars.filter(pl.col("snr") > 0)
    on_snr = len(positive) > 0
    x = Axis("median S/N per pixel", log=True) if on_snr else Axis("velocities")
    used = positive if on_snr else stars
    column = "snr" if on_snr else "n_visits"
    if len(used) > options.aggregate_above:
        values, scatter = finite(used[column]), used["scatter_after"].to_numpy()
        edges = log_edges(values, 80), log_edges(scatter, 60)
        marks: list[Mark] = [
            scatter_or_density(
                used[column].to_numpy().astype(float),
                scatter,
                options.aggregate_above,
                color="ink",
                edges=edges,
            )
        ]
        unit = [mark for mark in marks if isinstance(mark, Density)]
        return Panel(x, y, tuple(unit or marks), title="All stars")
    kind = (
        pl.when(pl.col("variable").fill_null(False))
        .then(pl.lit("variable"))
        .when(pl.col("constant").fill_null(False))
        .then(pl.lit("constant"))
        .otherwise(pl.lit("uncertain"))
    )
    used = used.with_columns(kind.alias("_kind"))
    marks = []
    for name, color in (("constant", "green"), ("uncertain", "muted"), ("variable", "orange")):  # fmt: skip
        part = used.filter(pl.col("_kind") == name)
        if len(part):
            marks.append(
                Points(
                    part[column].to_numpy().astype(float),
                    part["scatter_after"].to_numpy(),
                    color,
                    name,
                    hover=part["star_id"].to_list(),
                    opacity=0.7,
                )
            )
    return Panel(x, y, tuple(marks), title="Every star")
