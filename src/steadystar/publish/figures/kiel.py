"""The Kiel diagram: gravity over temperature, colored by metallicity.

Zong et al. (2020), figure 6: the metal-poor stars are drawn last.
"""

__all__ = ["CROWD", "metallicity_range", "star_kiel"]

import numpy as np
import polars as pl

from steadystar.publish.facts import Facts
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.label_facts import label_axis, star_error
from steadystar.publish.numbers import (
    Array,
    counted,
    median,
    percent,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Cells,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Shaded,
)

_TITLE = "Kiel diagram"
CROWD = 5000
"""Stars above which single ones hide each other: numbers and medians of cells follow."""
_DWARF = 3.8
_Error = tuple[tuple[float, float], str, str]
"""Of temperature and of gravity; the color, and what it is the error of."""


def star_kiel(facts: Facts, options: ReportOptions) -> Figure | Missing | None:
    """Stars over temperature and gravity; None where no label of a star is known."""
    stars = facts.stars
    if not {"teff", "logg"} <= set(stars.columns):
        return None
    stars = stars.filter(pl.col("teff").is_finite(), pl.col("logg").is_finite())
    if not len(stars):
        return Missing(
            "kiel", _TITLE, "No star has both a temperature and a surface gravity."
        )
    limits = _limits(stars)
    feh = (
        stars["feh"]
        if "feh" in stars.columns
        else pl.Series("feh", [np.nan] * len(stars))
    )
    colored = bool(feh.is_finite().any())
    crowd = min(CROWD, options.aggregate_above)
    errors = _typical(facts, stars)
    cross = _cross(stars, limits, errors)
    panels = _panels(stars, limits, crowd, cross, colored=colored)
    dwarfs = int((stars["logg"] >= _DWARF).sum())
    here = (
        f"Here: {counted(len(stars), 'star')} from {_kelvin(stars['teff'].min())} to "
        f"{_kelvin(stars['teff'].max())}, {percent(dwarfs, len(stars))} with log g above "
        f"{_DWARF}"
    )
    if colored:
        here += f"; median [Fe/H] {significant(median(feh), 2)}"
    if errors:
        said = [f"{e[0]:.0f} K and {e[1]:.2g} dex of a {what}" for e, _, what in errors]
        here += f"; typical (median) errors, drawn as crosses: {', '.join(said)}"
    return Figure(
        name="kiel",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=len(panels) > 1,
        shows="Surface gravity against effective temperature, hot stars on the left and "
        "giants at the top"
        + (", colored by [Fe/H], metal-poor stars drawn last" if colored and len(panels) == 1 else "")
        + ("; on the right the median [Fe/H] of each cell" if len(panels) > 1 else "")
        + " (Zong et al. 2020, figure 6).",
        good="A main sequence that is narrow below, and a giant branch that rises to the "
        "right and lies farther left for metal-poor stars. Stars between or beyond, or "
        "on straight edges, are suspect: edges are those of the models.",
        here=here + ".",
    )  # fmt: skip


def _kelvin(value) -> str:
    return f"{value:,.0f} K"


def _limits(stars: pl.DataFrame) -> tuple[float, float, float, float]:
    """Ranges that hold all but a few stars in 1000, with some room."""
    out = []
    for name, room in (("teff", 0.04), ("logg", 0.06)):
        values = stars[name].to_numpy()
        share = 0.001 if len(values) > 1000 else 0.0
        low, high = np.quantile(values, [share, 1 - share])
        gap = room * (high - low) + (50.0 if name == "teff" else 0.1)
        out += [float(low - gap), float(high + gap)]
    return out[0], out[1], out[2], out[3]


def _axes(limits: tuple[float, float, float, float]) -> tuple[Axis, Axis]:
    return (
        Axis(label_axis("teff").label, low=limits[0], high=limits[1], reverse=True),
        Axis(label_axis("logg").label, low=limits[2], high=limits[3], reverse=True),
    )


def _panels(
    stars: pl.DataFrame,
    limits: tuple[float, float, float, float],
    crowd: int,
    cross: list[Mark],
    *,
    colored: bool,
) -> list[Panel]:
    axes = _axes(limits)
    teff, logg = stars["teff"].to_numpy(), stars["logg"].to_numpy()
    if len(stars) <= crowd:
        cloud: list[Mark] = []
        known = stars.filter(pl.col("feh").is_finite()) if colored else stars.head(0)
        rest = stars.filter(~pl.col("feh").is_finite()) if colored else stars
        if len(rest):
            label = "no [Fe/H]" if colored else ""
            cloud.append(
                Points(rest["teff"].to_numpy(), rest["logg"].to_numpy(), "muted", label, hover=rest["star_id"].to_list(), size=4)
            )  # fmt: skip
        if len(known):
            # The metal-poor are few: drawn last, they are seen.
            known = known.sort("feh", descending=True)
            feh = known["feh"].to_numpy()
            cloud.append(
                Shaded(
                    known["teff"].to_numpy(),
                    known["logg"].to_numpy(),
                    feh,
                    "[Fe/H]",
                    *metallicity_range(feh),
                    hover=known["star_id"].to_list(),
                    size=6 if len(known) < 1000 else 4,
                )
            )
        return [Panel(*axes, (*cloud, *cross), tall=1.2)]
    edges = np.linspace(*limits[:2], 91), np.linspace(*limits[2:], 71)
    counts = scatter_or_density(teff, logg, 0, color="ink", edges=edges, unit="stars")
    panels = [Panel(*axes, (counts, *cross), title="Stars in each cell", tall=1.2)]
    if colored:
        cells = median_cells(teff, logg, stars["feh"].to_numpy(), edges)
        low, high = metallicity_range(stars["feh"].to_numpy())
        panels.append(
            Panel(*axes, (Cells(*edges, cells, "[Fe/H]", low, high),), title="Median [Fe/H]", tall=1.2)
        )  # fmt: skip
    return panels


def metallicity_range(feh: Array) -> tuple[float, float]:
    """Ends of the color bar: most of the stars, at least half a dex."""
    known = feh[np.isfinite(feh)]
    low, high = np.quantile(known, [0.02, 0.98])
    middle, half = (low + high) / 2, max((high - low) / 2, 0.25)
    return float(np.round(middle - half, 1)), float(np.round(middle + half, 1))


def median_cells(x: Array, y: Array, z: Array, edges: tuple[Array, Array]) -> Array:
    """Median of ``z`` in each cell, ``(y bin, x bin)``, NaN where there is none."""
    columns, rows = len(edges[0]) - 1, len(edges[1]) - 1
    i, j = (np.searchsorted(e, v, side="right") - 1 for e, v in zip(edges, (x, y), strict=True))  # fmt: skip
    inside = (i >= 0) & (i < columns) & (j >= 0) & (j < rows) & np.isfinite(z)
    table = pl.DataFrame({"cell": (j * columns + i)[inside], "z": z[inside]})
    medians = table.group_by("cell").agg(pl.col("z").median())
    out = np.full(columns * rows, np.nan)
    out[medians["cell"].to_numpy()] = medians["z"].to_numpy()
    return out.reshape(rows, columns)


def _typical(facts: Facts, stars: pl.DataFrame) -> list[_Error]:
    """Median errors of temperature and gravity of a spectrum and of a star."""
    spectra = facts.labels.filter("counts")
    found: list[_Error] = []
    for table, color, what in ((spectra, "muted", "spectrum"), (stars, "ink", "star")):
        teff, logg = star_error(table, "teff"), star_error(table, "logg")
        if teff and logg:
            error = median(table[teff]), median(table[logg])
            if all(np.isfinite(one) and one > 0 for one in error):
                found.append((error, color, what))
    return found


def _cross(
    stars: pl.DataFrame, limits: tuple[float, float, float, float], errors: list[_Error]
) -> list[Mark]:
    """The typical errors as crosses, in the corner with the fewest stars."""
    if not errors:
        return []
    teff, logg = stars["teff"].to_numpy(), stars["logg"].to_numpy()
    x0, x1, y0, y1 = limits
    corners = []
    for right in (False, True):
        for top in (False, True):
            x = x1 - 0.12 * (x1 - x0) if right else x0 + 0.12 * (x1 - x0)
            y = y1 - 0.12 * (y1 - y0) if top else y0 + 0.12 * (y1 - y0)
            near = np.abs(teff - x) < 0.15 * (x1 - x0)
            near &= np.abs(logg - y) < 0.15 * (y1 - y0)
            corners.append((int(near.sum()), x, y))
    _, x, y = min(corners)
    nan = np.nan
    return [
        Line(
            np.array([x - teff_err, x + teff_err, nan, x, x]),
            np.array([y, y, nan, y - logg_err, y + logg_err]),
            color,
            f"typical error of a {what}",
            width=2,
        )
        for (teff_err, logg_err), color, what in errors
    ]
