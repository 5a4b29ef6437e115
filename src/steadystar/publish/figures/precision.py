"""How well a velocity repeats: against S/N, with the same fiber, and in the course of time.

Saydjari et al. (2025), figures 2, 5 and 6. The scatter of a star is the standard
deviation of its visits, freed of its bias by the jackknife (their equations 7 to 10);
stars with three visits or more count. Whoever keeps the fiber is free of what differs
between fibers: this is what calibration of fibers can reach at best.
"""

__all__ = ["precision_by_run", "precision_by_snr", "settings", "star_scatters"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.calibrate.visitsums import Groups
from steadystar.infer.scatter import jackknife_scatter
from steadystar.publish.facts import Facts, usable
from steadystar.publish.figures.timeline import TimeAxis, time_axis
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    Array,
    binned_medians,
    calendar_date,
    counted,
    finite,
    log_edges,
    median,
    ms,
    robust_width,
    scatter_or_density,
)
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    arm_title,
)

_PRECISION = "How well velocities repeat"
_RUNS = "How well velocities repeat, in the course of time"
_FEWEST = 20
"""Values in a bin below which its median or width means little."""
_MOST_PANELS = 6
_BRIGHT = (120.0, 450.0)
"""S/N at which Saydjari et al. (2025) read off the floor."""
_MOST_RUNS = 48
_MJD = 2_400_000.5
_BEFORE, _AFTER, _SAME = "as measured", "calibrated", "calibrated, same fiber only"


def settings(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Split visits by telescope and arm, where there are several; the fullest first."""
    keys = [c for c in ("telescope", "arm") if rows[c].n_unique() > 1]
    if not keys:
        return [("", rows)]
    parts = rows.partition_by(keys, maintain_order=True, as_dict=True)
    named = []
    for values, part in parts.items():
        texts = dict(zip(keys, values, strict=True))
        arm = str(texts.get("arm", ""))
        words = [f"telescope {texts['telescope']}"] if "telescope" in texts else []
        words += [arm_title(arm) or "both arms"] if "arm" in texts else []
        named.append((", ".join(words), part))
    return sorted(named, key=lambda one: -len(one[1]))[:_MOST_PANELS]


def star_scatters(rows: pl.DataFrame, by: Sequence[str], value: str) -> pl.DataFrame:
    """Jackknife scatter ``s`` of the visits of each star, and ``snr``, ``star_id``.

    ``by``: columns beside the star whose visits are held together, as the fiber. Only
    groups of three visits or more have one.
    """
    keys = ["star_id", "arm", *by]
    rows = rows.filter(pl.all_horizontal(pl.col(k).is_not_null() for k in keys))
    rows = rows.filter(pl.col(value).is_finite())
    number = rows.select(pl.struct(keys).rank("dense")).to_series().cast(pl.Int64)
    groups = Groups.of_stars(number.to_numpy() - 1)
    scatter, _ = jackknife_scatter(rows[value].to_numpy(), groups)
    seen = rows.with_columns(_number=number - 1).group_by("_number").agg(
        pl.col("star_id").first(), pl.col("snr").median()
    )  # fmt: skip
    return (
        seen.sort("_number")
        .with_columns(s=pl.Series(scatter)[seen.sort("_number")["_number"]])
        .filter(pl.col("s").is_finite() & (pl.col("s") > 0))
        .drop("_number")
    )


@dataclass(frozen=True)
class _Curve:
    label: str
    color: str
    stars: pl.DataFrame

    @property
    def floor(self) -> tuple[float, int]:
        """Median scatter of bright stars, and how many there are."""
        bright = self.stars.filter(pl.col("snr").is_between(*_BRIGHT))
        return median(bright["s"]), len(bright)


def precision_by_snr(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Scatter of constant stars against S/N: before, after, and in one fiber only."""
    rows = usable(facts.visits).filter("steady")
    lit = rows.filter(pl.col("snr") > 0)
    if not len(lit):
        reason = "No constant star has a signal-to-noise ratio."
        return Missing("precision", _PRECISION, reason)
    changed = np.any(finite(lit["correction"]) != 0)
    panels, sentences = [], []
    for name, part in settings(lit):
        curves = _curves(part, changed=bool(changed))
        if len(curves[-1].stars) < _FEWEST and len(curves[0].stars) < _FEWEST:
            continue
        panels.append(_snr_panel(curves, name, options))
        sentences.append(_floors(curves, name))
    if not panels:
        reason = (
            f"Fewer than {_FEWEST} constant stars have three velocities or more, of "
            "which a scatter could be told."
        )
        return Missing("precision", _PRECISION, reason)
    fiber = any(
        _SAME in m.label for p in panels for m in p.marks if isinstance(m, Line)
    )
    return Figure(
        name="precision",
        title=_PRECISION,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="The standard deviation of the repeats of each constant star (by jackknife, "
        "three visits or more) against its S/N; lines are medians, before and after "
        "calibration"
        + (", and after it for visits with the same fiber only" if fiber else "")
        + " (Saydjari et al. 2025, figures 2 and 5).",
        good="The calibrated line lies below the measured one and comes near that of a "
        "single fiber, which no offset between fibers can touch; where lines level off, "
        "what remains is the star or the instrument, not photon noise.",
        here=f"Here: {'; '.join(sentences)}. {facts.steady_words}",
    )  # fmt: skip


def _curves(rows: pl.DataFrame, *, changed: bool) -> list[_Curve]:
    curves = []
    if changed and rows["raw"].is_finite().any():
        curves.append(_Curve(_BEFORE, "orange", star_scatters(rows, (), "raw")))
    curves.append(_Curve(_AFTER, "green", star_scatters(rows, (), "value")))
    if rows["fiber"].is_not_null().any():
        fiber = star_scatters(rows, ("unit", "fiber"), "value")
        # Where every star keeps its fiber this is the line before once more.
        if len(fiber) >= _FEWEST and _roam(rows):
            curves.append(_Curve(_SAME, "purple", fiber))
    return curves


def _roam(rows: pl.DataFrame) -> bool:
    fibers = rows.drop_nulls("fiber").group_by("star_id", "arm").agg(
        pl.struct("unit", "fiber").n_unique().alias("n")
    )  # fmt: skip
    return bool((fibers["n"] > 1).any())


def _snr_panel(curves: list[_Curve], name: str, options: ReportOptions) -> Panel:
    after = next(c for c in curves if c.label == _AFTER).stars
    every = pl.concat([c.stars for c in curves])
    x_edges = log_edges(every["snr"].to_numpy(), 80)
    y_edges = log_edges(every["s"].to_numpy(), 60, share=0.005)
    snr, s = after["snr"].to_numpy(), after["s"].to_numpy()
    inside = (s > y_edges[0]) & (s < y_edges[-1])
    cloud = scatter_or_density(
        snr[inside],
        s[inside],
        min(options.aggregate_above, 4000),
        color="muted",
        hover=[star for star, keep in zip(after["star_id"], inside, strict=True) if keep],
        edges=(x_edges, y_edges),
        size=3,
    )  # fmt: skip
    marks: list[Mark] = [cloud]
    for curve in curves:
        marks += _median_line(curve)
    return Panel(
        Axis("median S/N per pixel", log=True, low=float(x_edges[0]), high=float(x_edges[-1])),
        Axis("scatter of a star (km/s)", log=True, low=float(y_edges[0]), high=float(y_edges[-1])),
        tuple(marks),
        title=name,
        tall=1.1,
    )  # fmt: skip


def _median_line(curve: _Curve) -> list[Mark]:
    snr, s = curve.stars["snr"].to_numpy(), curve.stars["s"].to_numpy()
    bins = int(np.clip(len(snr) // (2 * _FEWEST), 1, 14))
    edges = log_edges(snr, bins)
    x, y, error = binned_medians(snr, s, edges, _FEWEST)
    if not x.size:
        return []
    return [
        Line(x, y, curve.color, curve.label, width=2),
        Points(x, y, curve.color, error=error, size=6, opacity=1.0,
               hover=[curve.label] * x.size),
    ]  # fmt: skip


def _floors(curves: list[_Curve], name: str) -> str:
    """Say the medians of bright stars, or of all where too few are bright."""
    bright = all(curve.floor[1] >= _FEWEST for curve in curves)
    said = []
    for curve in curves:
        value = curve.floor[0] if bright else median(curve.stars["s"])
        number = curve.floor[1] if bright else len(curve.stars)
        said.append(f"{ms(value)} {curve.label} ({counted(number, 'star')})")
    where = f"at S/N {_BRIGHT[0]:g} to {_BRIGHT[1]:g}" if bright else "at all S/N"
    if len(curves) == 3 and not bright:
        said[-1] = said[-1].replace(" star)", " pair of star and fiber)")
        said[-1] = said[-1].replace(" stars)", " pairs of star and fiber)")
    return f"{name + ', ' if name else ''}median {where} {', '.join(said)}"


def precision_by_run(facts: Facts) -> Figure | Missing:
    """Scatter and mean deviation of constant stars in each night, month or year."""
    rows = usable(facts.visits).filter("steady", pl.col("after").is_finite())
    rows = rows.with_columns(_time=_times(rows)).filter(pl.col("_time").is_finite())
    if not len(rows):
        reason = "No velocity of a constant star with a repeat has a date."
        return Missing("runs", _RUNS, reason)
    word, width = _run_width(rows["_time"].to_numpy())
    rows = _normalized(rows).with_columns(
        _run=((pl.col("_time") - 0.5) / width).floor() if width < 100 else
        (pl.col("_time") / width).floor()
    )  # fmt: skip
    middle = median(rows["snr"])
    selected = rows.filter(pl.col("snr") >= middle) if np.isfinite(middle) else rows
    changed = bool(np.any(finite(rows["correction"]) != 0))
    time = time_axis(selected.select(pl.col("_time").alias("bjd")))
    panels, widths = [], []
    for name, part in settings(selected)[: _MOST_PANELS // 2]:
        runs = _runs(part, changed=changed)
        if len(runs) < 2:
            continue
        panels += _run_panels(runs, name, time, changed=changed)
        widths.append(runs)
    if not panels:
        reason = (
            f"Only one {word} holds {_FEWEST} velocities of constant stars with repeats."
            if selected["_run"].n_unique() > 1
            else f"All was observed within one {word}."
        )
        return Missing("runs", _RUNS, reason)
    every = pl.concat(widths)
    best, worst = (every.sort("after")[i].row(0, named=True) for i in (0, -1))
    half = f", those with S/N {middle:.3g} or more" if np.isfinite(middle) else ""
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
        here=f"Here: {counted(len(every), word)} with {_FEWEST} velocities or more; the "
        f"scatter lies between {ms(best['after'])} ({best['date']}) and "
        f"{ms(worst['after'])} ({worst['date']}), the medians stray by "
        f"{ms(float(finite(every['mean_after']).std()))}"
        + (
            f" (as measured {ms(float(finite(every['mean_before']).std()))})."
            if changed
            else "."
        ),
    )


def _times(rows: pl.DataFrame) -> pl.Series:
    night = rows["night"].cast(pl.Float64, strict=False) + _MJD + 0.5
    bjd = rows["bjd"].fill_nan(None)
    chosen = bjd if bjd.is_not_null().any() else night
    return chosen.fill_null(float("nan")).rename("_time")


def _run_width(time: Array) -> tuple[str, float]:
    """The shortest of night, month and year that gives few enough runs."""
    for word, width in (("night", 1.0), ("month", 30.4375)):
        if np.unique(np.floor((time - 0.5) / width)).size <= _MOST_RUNS:
            return word, width
    return "year", 365.25


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
    schema = (
        "run",
        "time",
        "n",
        "date",
        "before",
        "mean_before",
        "after",
        "mean_after",
    )
    frame = (
        pl.DataFrame(found)
        if found
        else pl.DataFrame(schema=dict.fromkeys(schema, pl.Float64))
    )
    return frame.sort("time")  # fmt: skip


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
