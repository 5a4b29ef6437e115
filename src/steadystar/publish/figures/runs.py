"""How well velocities repeat in the course of time (Saydjari et al. 2025, figure 6)."""

__all__ = ["precision_by_run"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts, usable
from steadystar.publish.figures.precision import MOST_PANELS, settings
from steadystar.publish.figures.timeline import TimeAxis, time_axis
from steadystar.publish.numbers import (
    Array,
    calendar_date,
    counted,
    finite,
    median,
    ms,
    positive,
    robust_width,
)
from steadystar.publish.plot import Axis, Figure, Line, Mark, Missing, Panel, Points

_RUNS = "How well velocities repeat, in the course of time"
_BEFORE, _AFTER = "as measured", "calibrated"
_FEWEST = 20
"""Velocities in a run below which their width means little."""
_MOST_RUNS = 48
_MJD = 2_400_000.5


def precision_by_run(facts: Facts) -> Figure | Missing:
    """Scatter and mean deviation of constant stars in each night, month or year."""
    drawn = ("star_id", "arm", "telescope", "night", "bjd", "snr", "correction")
    visits = facts.visits.select(
        *drawn, "before", "after", "steady", "measured", "status"
    )
    rows = usable(visits).filter("steady", pl.col("after").is_finite())
    rows = rows.with_columns(_time=_times(rows)).filter(pl.col("_time").is_finite())
    if not len(rows):
        reason = "No velocity of a constant star with a repeat has a date."
        return Missing("runs", _RUNS, reason)
    word, run = _number_runs(rows["_time"].to_numpy())
    rows = _normalized(rows).with_columns(_run=pl.Series(run))
    middle = median(rows["snr"])
    selected = (
        rows.filter(positive("snr"), pl.col("snr") >= middle)
        if np.isfinite(middle)
        else rows
    )
    changed = bool(np.any(finite(rows["correction"]) != 0))
    time = time_axis(selected.select(pl.col("_time").alias("bjd")))
    panels, said, dates = [], [], set()
    for name, part in settings(selected)[: MOST_PANELS // 2]:
        runs = _runs(part, changed=changed)
        if len(runs) < 2:
            continue
        panels += _run_panels(runs, name, time, changed=changed)
        said.append(_run_sentence(runs, name, changed=changed))
        dates |= set(runs["run"].to_list())
    if not panels:
        reason = (
            f"Only one {word} holds {_FEWEST} velocities of constant stars with repeats."
            if selected["_run"].n_unique() > 1
            else f"All was observed within one {word}."
        )
        return Missing("runs", _RUNS, reason)
    half = f" (those with S/N {middle:.3g} or more)" if np.isfinite(middle) else ""
    return Figure(
        name="runs",
        title=_RUNS,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows=f"Velocities of constant stars{half} about the mean of their star, in each "
        f"{word}: their robust scatter and their median, with errors (Saydjari et al. "
        "2025, figure 6).",
        good="Scatter that stays the same or improves; calibrated medians at zero. A "
        f"{word} that stands out calls for a look at the instrument, or for zero points "
        "that follow time.",
        here=f"Here: {counted(len(dates), word)} with {_FEWEST} velocities or more. "
        + " ".join(said),
    )


def _run_sentence(runs: pl.DataFrame, name: str, *, changed: bool) -> str:
    best, worst = (runs.sort("after").row(i, named=True) for i in (0, -1))
    text = (
        f"{f'{name}: scatter' if name else 'Scatter'} between {ms(best['after'])} "
        f"({best['date']}) and {ms(worst['after'])} ({worst['date']}); medians stray by "
        f"{ms(float(finite(runs['mean_after']).std()))}"
    )
    if changed:
        text += f" (as measured {ms(float(finite(runs['mean_before']).std()))})"
    return f"{text[0].upper()}{text[1:]}."


def _times(rows: pl.DataFrame) -> pl.Series:
    night = rows["night"].cast(pl.Float64, strict=False) + _MJD + 0.5
    bjd = rows["bjd"].fill_nan(None)
    chosen = bjd if bjd.is_not_null().any() else night
    return chosen.fill_null(float("nan")).rename("_time")


def _number_runs(time: Array) -> tuple[str, Array]:
    """Number the nights, months or years of the times: the shortest that are few enough.

    A night ends where the day has its longest gap, wherever on Earth that is.
    """
    hour = np.unique(time % 1.0)
    gaps = np.diff(np.append(hour, hour[0] + 1.0))
    noon = hour[np.argmax(gaps)] + gaps.max() / 2
    for word, width in (("night", 1.0), ("month", 30.4375)):
        run = np.floor((time - noon) / width)
        if np.unique(run).size <= _MOST_RUNS:
            return word, run
    return "year", np.floor((time - noon) / 365.25)


def _normalized(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``_before`` and ``_after``: deviations freed of the mean that contains them."""
    n = pl.len().over("star_id", "arm")
    lifted = pl.when(n > 1).then((n / (n - 1)).sqrt())
    return rows.with_columns(
        (pl.col(name) * lifted).fill_null(float("nan")).alias(f"_{name}")
        for name in ("before", "after")
    )


def _runs(rows: pl.DataFrame, *, changed: bool) -> pl.DataFrame:
    """One row a run with enough velocities, in order of time."""
    found = []
    for (run,), part in rows.group_by("_run", maintain_order=True):
        if len(part) < _FEWEST:
            continue
        time = float(np.mean(part["_time"].to_numpy()))
        row = {"run": run, "time": time, "n": len(part)}
        row["date"] = calendar_date(time - _MJD)
        for name in ("before", "after"):
            width = (
                robust_width(part[f"_{name}"]) if changed or name == "after" else np.nan
            )
            row[name], row[f"mean_{name}"] = width, median(part[name])
        found.append(row)
    return pl.DataFrame(found).sort("time") if found else pl.DataFrame()


def _run_panels(
    runs: pl.DataFrame, name: str, time: TimeAxis, *, changed: bool
) -> list[Panel]:
    x, n = runs["time"].to_numpy() - time.zero, runs["n"].to_numpy()
    hover = [
        f"{date}: {counted(int(k), 'velocity', 'velocities')}"
        for date, k in runs.select("date", "n").iter_rows()
    ]
    scatter: list[Mark] = []
    mean: list[Mark] = [
        Line(np.array([x.min(), x.max()]), np.zeros(2), "muted", dash="dot")
    ]
    for column, color, label in (
        ("before", "orange", _BEFORE),
        ("after", "green", _AFTER),
    ):
        if column == "before" and not changed:
            continue
        width = runs[column].to_numpy()
        # The quartiles of n Gaussian values give sigma to 1.17 sigma / sqrt(n), their
        # median the mean to 1.25 sigma / sqrt(n).
        scatter.append(
            Points(
                x,
                width,
                color,
                label,
                error=1.17 * width / np.sqrt(n),
                hover=hover,
                size=6,
            )
        )
        mean.append(
            Points(
                x,
                runs[f"mean_{column}"].to_numpy(),
                color,
                label,
                error=1.2533 * width / np.sqrt(n),
                hover=hover,
                size=6,
            )
        )
    top = 1.15 * max(float(np.nanmax(p.y)) for p in scatter if isinstance(p, Points))
    where = f"{name}: " if name else ""
    return [
        Panel(Axis(time.label), Axis("scatter (km/s)", low=0, high=top), tuple(scatter),
              title=f"{where}scatter", tall=0.85),
        Panel(Axis(time.label), Axis("median deviation (km/s)"), tuple(mean),
              title=f"{where}median", tall=0.85),
    ]  # fmt: skip
