"""What a simulation allows to ask: was the truth recovered?"""

__all__ = [
    "classification",
    "recovery_rms",
    "velocity_residuals",
    "zero_point_recovery",
]

from collections.abc import Mapping

import numpy as np
import polars as pl

from steadystar.data.match import nearest
from steadystar.publish.facts import Facts
from steadystar.publish.figures.errors import FEWEST, share_per_unit, unit_normal
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import (
    MINUS,
    counted,
    finite,
    kms,
    log_edges,
    percent,
    robust_width,
    scatter_or_density,
    uniform_edges,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Missing,
    Panel,
    Points,
    Steps,
    arm_color,
    arm_title,
)

MANY = 100
"""Constant stars from which on a zero point should be excellent."""


def zero_point_recovery(facts: Facts, inputs: ReportInputs) -> list[Figure | Missing]:
    """Recovered against true zero points, one figure a family."""
    truth = (inputs.truth or {}).get("offsets")
    if truth is None:
        return []
    made = []
    for family, table in sorted(inputs.offsets.items()):
        figure = _recovery(facts, family, table, truth)
        if figure:
            made.append(figure)
    return made


def recovery_rms(inputs: ReportInputs) -> float:
    """Root mean square miss of all zero points (km/s), NaN if no truth is known."""
    truth = (inputs.truth or {}).get("offsets")
    misses = [
        (rows["offset"] - rows["offset_true"]).to_numpy()
        for family, table in inputs.offsets.items()
        if truth is not None
        and (rows := joined_truth(family, table, truth)) is not None
    ]
    if not misses:
        return float("nan")
    return float(np.sqrt(np.mean(np.concatenate(misses) ** 2)))


def joined_truth(
    family: str, table: pl.DataFrame, truth: pl.DataFrame
) -> pl.DataFrame | None:
    """Offsets beside their truth, both about the mean of their connected set."""
    columns = family.split("+")
    if "family" in truth.columns:
        truth = truth.filter(pl.col("family") == family)
    true = "offset_true" if "offset_true" in truth.columns else "offset"
    if true not in truth.columns:
        return None
    if not set(columns) <= set(truth.columns) or not set(columns) <= set(table.columns):
        return None
    keys = [pl.col(name).cast(pl.String) for name in columns]
    right = truth.select(*keys, pl.col(true).alias("offset_true")).unique(columns)
    gauge = ["component"] if "component" in table.columns else []
    rows = (
        table.with_columns(*keys)
        .join(right, on=columns, how="inner", maintain_order="left")
        .filter(pl.col("offset").is_finite() & pl.col("offset_true").is_finite())
    )
    if not len(rows):
        return None
    if "arm" in columns:
        gauge.append("arm")

    def about(name: str) -> pl.Expr:
        mean = pl.col(name).mean()
        return (pl.col(name) - (mean.over(gauge) if gauge else mean)).alias(name)

    return rows.with_columns(about("offset"), about("offset_true"))


def _recovery(
    facts: Facts, family: str, table: pl.DataFrame, truth: pl.DataFrame
) -> Figure | None:
    rows = joined_truth(family, table, truth)
    if rows is None:
        return None
    if "arm" not in rows.columns:
        rows = rows.with_columns(pl.lit("all").alias("arm"))
    against, remaining = [], []
    for arm in [*facts.arms, *(a for a in rows["arm"].unique() if a not in facts.arms)]:
        part = rows.filter(pl.col("arm") == arm)
        if not len(part):
            continue
        true = part["offset_true"].to_numpy()
        found = part["offset"].to_numpy()
        error = part["offset_err"].to_numpy() if "offset_err" in part.columns else None
        hover = [
            ", ".join(str(v) for v in row)
            for row in part.select(family.split("+")).iter_rows()
        ]
        color = arm_color(arm, facts.arms)
        name = arm_title(arm)
        against.append(Points(true, found, color, name, error=error, hover=hover))
        remaining.append(
            Points(true, found - true, color, name, error=error, hover=hover)
        )
    ends = np.array([float(rows["offset_true"].min()), float(rows["offset_true"].max())])  # pyright: ignore[reportArgumentType]  # fmt: skip
    miss = (rows["offset"] - rows["offset_true"]).to_numpy()
    here = f"Here: {kms(float(np.sqrt(np.mean(miss**2))))} rms over {counted(len(rows), 'zero point')}"  # fmt: skip
    if "n_constant" in rows.columns:
        rich = miss[(rows["n_constant"].fill_null(0) >= MANY).to_numpy()]
        if rich.size:
            rms = float(np.sqrt(np.mean(rich**2)))
            here += (
                f"; {kms(rms)} rms over the {rich.size} with {MANY} or more constant "
                "stars"
            )
    if "offset_err" in rows.columns:
        pull = robust_width(miss / rows["offset_err"].to_numpy())
        if np.isfinite(pull):
            here += f"; the misses are {pull:.2f} times as large as their errors"
    x = Axis("true zero point (km/s)")
    return Figure(
        name=f"truth-{family}",
        title=f"Zero points recovered: {family.replace('+', ', ')}",
        panels=(
            Panel(x, Axis("recovered (km/s)"), (Line(ends, ends, "muted", dash="dash"), *against)),
            Panel(x, Axis(f"recovered {MINUS} true (km/s)"), (Line(ends, np.zeros(2), "muted", dash="dash"), *remaining)),
        ),
        columns=2,
        wide=True,
        shows="Each zero point that was solved against the one that was simulated, both "
        "about the mean of their connected set (a common constant cannot be known).",
        good="Points on the dashed line; misses as large as the error bars.",
        here=here + ".",
    )  # fmt: skip


def velocity_residuals(
    facts: Facts, inputs: ReportInputs, options: ReportOptions
) -> Figure | Missing | None:
    """Velocities less the truth, about the mean of each star."""
    truth = (inputs.truth or {}).get("visits")
    if truth is None or not {"visit_id", "rv_true"} <= set(truth.columns):
        return None
    title = "Velocities recovered"
    known = truth.select("visit_id", "rv_true").unique("visit_id")
    rows = facts.measured.join(known, on="visit_id", how="inner", maintain_order="left")
    rows = rows.filter(pl.col("rv_true").is_finite())
    if not len(rows):
        return Missing("truth-velocities", title, "No visit is part of the truth.")
    keys = ("star_id", "arm")
    several = pl.len().over(keys) >= 2
    rows = rows.with_columns(
        (pl.col("value") - pl.col("rv_true")).alias("new"),
        (pl.col("raw") - pl.col("rv_true")).alias("old"),
    )
    trust = pl.when(pl.col("error") > 0).then(pl.col("error") ** -2).otherwise(1e-9)
    total = trust.sum().over(keys)
    rows = rows.filter(several).with_columns(
        (pl.col(c) - (pl.col(c) * trust).sum().over(keys) / total).alias(c)
        for c in ("new", "old")
    )
    if not len(rows):
        return Missing(
            "truth-velocities", title, "No star of the truth has two velocities."
        )
    old, new = rows["old"].to_numpy(), rows["new"].to_numpy()
    pull = _true_pulls(rows)
    panels = (
        _residual_histogram(old, new),
        _residual_by_snr(facts, rows, options),
        *_pull_panels(facts, rows.with_columns(pl.Series("pull", pull))),
    )
    width = robust_width(pull)
    errors = (
        f" They miss by {width:.2f} times their errors, with "
        f"{percent(int((np.abs(pull) > 5).sum()), finite(pull).size)} beyond five."
        if np.isfinite(width)
        else ""
    )
    return Figure(
        name="truth-velocities",
        title=title,
        panels=panels,
        columns=len(panels),
        wide=True,
        shows="Velocities of all stars less the simulated truth, about the weighted mean of "
        "each star: as measured (orange) and calibrated (green), the calibrated ones "
        "against S/N, and the same in units of their errors.",
        good="A narrow peak at zero without wings, narrower the higher the S/N, and as "
        "wide as the errors say.",
        here=f"Here: width {kms(robust_width(old))} as measured and "
        f"{kms(robust_width(new))} calibrated, over "
        f"{counted(len(rows), 'velocity', 'velocities')}.{errors}",
    )


def _true_pulls(rows: pl.DataFrame) -> np.ndarray:
    """Misses in units of their expected scatter, about the mean that contains them."""
    return (
        rows.select(
            pl.when(pl.col("expected") > 0)
            .then(pl.col("new") / pl.col("expected"))
            .otherwise(float("nan"))
        )
        .to_series()
        .to_numpy()
    )


def _pull_panels(facts: Facts, rows: pl.DataFrame) -> tuple[Panel, ...]:
    edges = np.linspace(-5, 5, 51)
    marks: list[Steps | Line] = []
    for arm in facts.arms:
        values = finite(rows.filter(pl.col("arm") == arm)["pull"])
        if values.size >= FEWEST:
            color, name = arm_color(arm, facts.arms), arm_title(arm)
            marks.append(share_per_unit(values, edges, color, name))
    if not marks:
        return ()
    axis = Axis(f"(calibrated {MINUS} truth) / error", low=-5, high=5)
    return (Panel(axis, Axis("share per unit"), (*marks, unit_normal())),)


def _residual_histogram(old: np.ndarray, new: np.ndarray) -> Panel:
    edges = uniform_edges(np.concatenate([old, new]), 60, share=0.01)
    marks = []
    for values, color, label in ((old, "orange", "as measured"), (new, "green", "calibrated")):  # fmt: skip
        heights, _ = np.histogram(finite(values), edges)
        marks.append(Steps(edges, heights.astype(float), color, label))
    return Panel(
        Axis(
            f"velocity {MINUS} truth (km/s)", low=float(edges[0]), high=float(edges[-1])
        ),
        Axis("velocities"),
        tuple(marks),
    )


def _residual_by_snr(facts: Facts, rows: pl.DataFrame, options: ReportOptions) -> Panel:
    good = rows.filter((pl.col("snr") > 0) & pl.col("new").is_finite())
    limit = float(np.quantile(np.abs(finite(good["new"])), 0.98)) if len(good) else 1.0
    limit = max(limit, 1e-3)
    edges = log_edges(good["snr"].to_numpy(), 80), np.linspace(-limit, limit, 61)
    if len(good) > options.aggregate_above:
        arms = [("", good)]
    else:
        arms = [(arm, good.filter(pl.col("arm") == arm)) for arm in facts.arms]
    marks = [
        scatter_or_density(
            part["snr"].to_numpy(),
            part["new"].to_numpy(),
            options.aggregate_above,
            color=arm_color(arm, facts.arms) if arm else "ink",
            label=arm_title(arm),
            hover=part["star_id"].to_list(),
            edges=edges,
            size=3.5,
        )
        for arm, part in arms
        if len(part)
    ]
    return Panel(
        Axis("S/N per pixel", log=True),
        Axis(f"calibrated {MINUS} truth (km/s)", low=-limit, high=limit),
        tuple(marks),
    )


def classification(
    facts: Facts, truth: Mapping[str, pl.DataFrame]
) -> dict[str, dict[str, int]] | None:
    """Count stars by what they are and what they were taken for; None if unknown."""
    known = truth.get("stars")
    if known is None or "constant_true" not in known.columns:
        return None
    stars = facts.stars
    if stars["constant"].is_null().all():
        return None
    pairs = _matched(stars, known)
    counts: dict[str, dict[str, int]] = {
        row: {"constant": 0, "uncertain": 0, "variable": 0}
        for row in ("constant", "variable")
    }
    for true, constant, variable in pairs:
        taken = "variable" if variable else "constant" if constant else "uncertain"
        counts["constant" if true else "variable"][taken] += 1
    return counts


def _matched(stars: pl.DataFrame, known: pl.DataFrame) -> list[tuple]:
    if "star_id" not in known.columns:
        known = known.with_columns(pl.lit("").alias("star_id"))
    names = known.select(pl.col("star_id").cast(pl.String), "constant_true")
    by_name = stars.join(names.unique("star_id"), on="star_id", maintain_order="left")
    columns = ["constant_true", "constant", "variable"]
    if len(by_name) >= len(stars) // 2 or not {"ra", "dec"} <= set(known.columns):
        return by_name.select(columns).rows()
    placed = stars.filter(pl.col("ra").is_not_null() & pl.col("dec").is_not_null())
    index, _ = nearest(placed["ra"], placed["dec"], known["ra"], known["dec"])
    true = known["constant_true"].to_list()
    return [
        (true[at], *row)
        for at, row in zip(
            index, placed.select("constant", "variable").rows(), strict=True
        )
        if at >= 0
    ]
