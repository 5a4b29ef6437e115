"""How near the photon limit? Efficiency by star, against S/N and type.

The efficiency is the photon limit over the scatter that a star's visits really have
(Saydjari et al. 2025, figures 8 to 10, there over the Kiel diagram): 100% where photon
noise is all that is left.
"""

__all__ = ["efficiency", "kiel_diagram", "star_efficiencies"]

import numpy as np
import polars as pl

from steadystar.calibrate.visitsums import Groups
from steadystar.infer.scatter import jackknife_scatter
from steadystar.publish.facts import Facts, arms_of, usable
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.numbers import (
    Array,
    binned_medians,
    counted,
    finite,
    log_edges,
    median,
    ms,
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
    arm_color,
    arm_title,
)

_EFFICIENCY = "How near the photon limit"
_KIEL = "Efficiency by type of star"
_FEWEST_STARS = 5
_MOST_SINGLE_STARS = 500
_CLASSES = ((0.0, 25.0, "red"), (25.0, 50.0, "orange"), (50.0, 75.0, "sky"), (75.0, np.inf, "blue"))  # fmt: skip
_CELL_TEFF, _CELL_LOGG = 200.0, 0.2


def star_efficiencies(facts: Facts) -> pl.DataFrame:
    """The efficiency of each constant star in each arm.

    Columns ``star_id, arm, n`` (velocities, three or more), ``snr`` (median), ``limit``
    (root mean square of ``rv_limit``) and ``scatter`` (standard deviation of the
    calibrated velocities, bias taken out by jackknife), km/s, and ``efficiency``, percent.
    """
    limit = pl.col("rv_limit")
    drawn = ("star_id", "arm", "snr", "rv_limit", "value", "steady")
    absolute = facts.absolute.select(*drawn, "measured", "status")
    rows = usable(absolute).filter("steady", limit.is_finite() & (limit > 0))
    stars = rows.group_by("star_id", "arm", maintain_order=True).agg(
        pl.len().alias("n"),
        pl.col("snr").filter(pl.col("snr").is_finite()).median().alias("snr"),
        (limit**2).mean().sqrt().alias("limit"),
    )
    number = stars.select("star_id", "arm", pl.int_range(pl.len()).alias("_star"))
    star = rows.join(number, on=["star_id", "arm"], how="left", maintain_order="left")
    scatter, _ = jackknife_scatter(
        rows["value"].to_numpy(), Groups.of_stars(star["_star"].to_numpy())
    )
    known = pl.col("scatter").is_finite() & (pl.col("scatter") > 0)
    return (
        stars.with_columns(pl.Series("scatter", scatter, dtype=pl.Float64))
        .filter(known)
        .with_columns((100 * pl.col("limit") / pl.col("scatter")).alias("efficiency"))
    )


def efficiency(facts: Facts, options: ReportOptions) -> Figure | Missing:
    """Photon limit over scatter of the constant stars against S/N, a panel an arm."""
    stars = star_efficiencies(facts).filter(pl.col("snr") > 0)
    if not len(stars):
        return Missing(
            "efficiency",
            _EFFICIENCY,
            "No constant star has three absolute velocities with a photon limit and a "
            "signal-to-noise ratio.",
        )
    panels, sentences = [], []
    reach = finite(stars["efficiency"])
    low = min(50.0, 0.9 * float(np.quantile(reach, 0.01)))
    high = max(200.0, 1.1 * float(np.quantile(reach, 0.99)))
    for arm in arms_of(facts.absolute):
        part = stars.filter(pl.col("arm") == arm)
        if not len(part):
            continue
        panels.append(_efficiency_panel(facts, part, arm, (low, high), options))
        sentences.append(
            f"{arm_title(arm) or 'all arms'}: median efficiency "
            f"{median(part['efficiency']):.0f}% over {counted(len(part), 'constant star')} "
            f"(median photon limit {ms(median(part['limit']))})"
        )
    return Figure(
        name="efficiency",
        title=_EFFICIENCY,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="Each point is a constant star: the smallest scatter that photon noise "
        "allows its absolute velocities, over the scatter that they have after "
        "calibration (the bias of few visits taken out by jackknife). 100%, dashed, is "
        "perfect. Diamonds: median in a range of S/N, with its error.",
        good="Medians near 100% at every S/N. Where they fall towards high S/N something "
        "other than photons limits the bright stars. Single points may lie above "
        "100%: from nine visits a star's own scatter is known to a quarter.",
        here="Here: " + "; ".join(sentences) + f". {facts.steady_words}",
    )


def _efficiency_panel(
    facts: Facts,
    stars: pl.DataFrame,
    arm: str,
    reach: tuple[float, float],
    options: ReportOptions,
) -> Panel:
    snr, value = stars["snr"].to_numpy(), stars["efficiency"].to_numpy()
    edges = log_edges(snr, 80), np.geomspace(*reach, 61)
    x, middle, error = binned_medians(snr, value, _bins(snr), _FEWEST_STARS)
    marks: list[Mark] = [
        scatter_or_density(
            snr,
            value,
            options.aggregate_above,
            color=arm_color(arm, facts.arms),
            label="a star",
            hover=stars["star_id"].to_list(),
            edges=edges,
        ),
        Line(log_edges(snr)[[0, -1]], np.full(2, 100.0), "ink", dash="dash"),
    ]
    if x.size:
        marks.append(
            Points(x, middle, "ink", "median", error, symbol="diamond", size=8)
        )
    return Panel(
        Axis("median S/N per pixel", log=True),
        Axis("photon limit / scatter (%)", log=True, low=reach[0], high=reach[1]),
        tuple(marks),
        title=arm_title(arm),
    )


def _bins(snr: Array) -> Array:
    return log_edges(snr, int(np.clip(snr.size // 12, 1, 8)))


def kiel_diagram(facts: Facts) -> Figure | None:
    """Efficiency over temperature and gravity; None where no labels are known."""
    labels = _labels(facts)
    if labels is None:
        return None
    stars = star_efficiencies(facts).join(
        labels, on="star_id", how="inner", maintain_order="left"
    )
    stars = stars.filter(pl.col("teff").is_finite() & pl.col("logg").is_finite())
    panels = []
    for arm in arms_of(facts.absolute):
        part = stars.filter(pl.col("arm") == arm)
        if len(part):
            panels.append(_kiel_panel(part, arm))
    if not panels:
        return None
    dwarfs = stars.filter(pl.col("logg") >= 3.8)["efficiency"]
    giants = stars.filter(pl.col("logg") < 3.8)["efficiency"]
    parts = [
        f"{median(part):.0f}% for {counted(len(part), one)}"
        for part, one in ((dwarfs, "dwarf"), (giants, "giant"))
        if len(part)
    ]
    cells = (
        f"Each square is the median of the stars within {_CELL_TEFF:.0f} K and "
        f"{_CELL_LOGG} dex."
        if len(stars) > _MOST_SINGLE_STARS
        else "Each point is a star."
    )
    return Figure(
        name="efficiency-kiel",
        title=_KIEL,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="Photon limit over scatter of the constant stars against temperature and "
        f"surface gravity, hot stars on the left and giants at the top. {cells}",
        good="High efficiencies everywhere. A region of low ones holds stars that the "
        "templates do not describe, or that are not as constant as they seem.",
        here="Here: median efficiency " + ", ".join(parts) + " (log g above or below "
        "3.8), stars counted once an arm.",
    )


def _labels(facts: Facts) -> pl.DataFrame | None:
    """Temperature and gravity of each star; None where they are not known."""
    if not {"teff", "logg"} <= set(facts.stars.columns):
        return None
    return facts.stars.select("star_id", "teff", "logg")


def _kiel_panel(stars: pl.DataFrame, arm: str) -> Panel:
    crowded = len(stars) > _MOST_SINGLE_STARS
    if crowded:
        cell = [
            (((pl.col(name) / size).floor() + 0.5) * size).alias(name)
            for name, size in (("teff", _CELL_TEFF), ("logg", _CELL_LOGG))
        ]
        stars = (
            stars.with_columns(cell)
            .group_by("teff", "logg", maintain_order=True)
            .agg(pl.col("efficiency").median(), pl.len().alias("n"))
            .filter(pl.col("n") >= _FEWEST_STARS)
        )
    marks: list[Mark] = []
    for low, high, color in _CLASSES:
        inside = (pl.col("efficiency") >= low) & (pl.col("efficiency") < high)
        part = stars.filter(inside)
        if not len(part):
            continue
        names = [f"{n} stars" for n in part["n"]] if crowded else part["star_id"]
        marks.append(
            Points(
                part["teff"].to_numpy(),
                part["logg"].to_numpy(),
                color,
                f"{low:.0f} to {high:.0f}%" if high < 1e3 else f"over {low:.0f}%",
                hover=list(names),
                symbol="square" if crowded else "circle",
                size=6,
            )
        )
    return Panel(
        Axis("effective temperature (K)", reverse=True),
        Axis("surface gravity log g (cgs)", reverse=True),
        tuple(marks),
        title=arm_title(arm),
    )
