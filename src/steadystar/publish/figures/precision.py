"""How well a velocity repeats: against S/N, and with the same fiber.

Saydjari et al. (2025), figures 2 and 5. The scatter of a star is the standard
deviation of its visits, freed of its bias by the jackknife (their equations 7 to 10);
stars with three visits or more count. Whoever keeps the fiber is free of what differs
between fibers: this is what calibration of fibers can reach at best.
"""

__all__ = ["MOST_PANELS", "precision_by_snr", "settings", "star_scatters"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from steadystar.calibrate.visitsums import Groups
from steadystar.infer.scatter import jackknife_scatter
from steadystar.publish.facts import Facts, usable
from steadystar.publish.numbers import (
    binned_medians,
    counted,
    finite,
    log_edges,
    median,
    ms,
    positive,
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
_FEWEST = 20
"""Values in a bin below which its median or width means little."""
MOST_PANELS = 6
_MOST_STARS = 2000
_BRIGHT = (120.0, 450.0)
"""S/N at which Saydjari et al. (2025) read off the floor."""
_BEFORE, _AFTER, _SAME = "as measured", "calibrated", "same fiber only"


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
    return sorted(named, key=lambda one: -len(one[1]))[:MOST_PANELS]


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


def precision_by_snr(facts: Facts) -> Figure | Missing:
    """Scatter of constant stars against S/N: before, after, and in one fiber only."""
    drawn = ("star_id", "arm", "telescope", "unit", "fiber", "snr", "correction", "raw")
    visits = facts.visits.select(*drawn, "value", "steady", "measured", "status")
    rows = usable(visits).filter("steady")
    lit = rows.filter(positive("snr"))
    if not len(lit):
        reason = "No constant star has a signal-to-noise ratio."
        return Missing("precision", _PRECISION, reason)
    changed = np.any(finite(lit["correction"]) != 0)
    panels, sentences = [], []
    for name, part in settings(lit):
        curves = _curves(part, changed=bool(changed))
        if len(curves[-1].stars) < _FEWEST and len(curves[0].stars) < _FEWEST:
            continue
        panels.append(_snr_panel(curves, name))
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
        "three visits or more) against its S/N; dots are calibrated, lines are medians, before and after "
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
    curves.append(
        _Curve(_after(changed=changed), "green", star_scatters(rows, (), "value"))
    )
    if rows["fiber"].is_not_null().any():
        fiber = star_scatters(rows, ("unit", "fiber"), "value")
        # Where every star keeps its fiber this is the line before once more.
        if len(fiber) >= _FEWEST and _roam(rows):
            curves.append(_Curve(_SAME, "purple", fiber))
    return curves


def _after(*, changed: bool) -> str:
    return _AFTER if changed else _BEFORE


def _roam(rows: pl.DataFrame) -> bool:
    fibers = rows.drop_nulls("fiber").group_by("star_id", "arm").agg(
        pl.struct("unit", "fiber").n_unique().alias("n")
    )  # fmt: skip
    return bool((fibers["n"] > 1).any())


def _snr_panel(curves: list[_Curve], name: str) -> Panel:
    after = next(c for c in curves if c.color == "green").stars
    every = pl.concat([c.stars for c in curves])
    x_edges = log_edges(every["snr"].to_numpy(), 80)
    y_edges = log_edges(every["s"].to_numpy(), 60, share=0.005)
    inside = after.filter(pl.col("s").is_between(y_edges[0], y_edges[-1]))
    # The lines say how dense the cloud is; more points would only hide them.
    inside = inside[:: -(-len(inside) // _MOST_STARS)] if len(inside) else inside
    cloud = Points(
        inside["snr"].to_numpy(),
        inside["s"].to_numpy(),
        "muted",
        hover=inside["star_id"].to_list(),
        size=3,
        opacity=0.5,
    )
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
    return f"{name + ', ' if name else ''}median {where}: {', '.join(said)}"
