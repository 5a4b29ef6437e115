"""How one quantity of two catalogs compares: one to one, residuals, their distribution.

The counterparts of figures 9 to 13 of Zong et al. (2020), for any two catalogs.
"""

__all__ = ["axis_label", "plus_minus", "quantity_figures", "with_unit"]

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binned_statistic_2d

from steadystar.infer.comparison import Comparison
from steadystar.infer.residuals import Residuals
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    counted,
    percent,
    probability,
    scatter_or_density,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Band,
    Cells,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Shaded,
    Steps,
)

_LABELS = {
    "rv": "radial velocity",
    "teff": "effective temperature",
    "logg": "log g",
    "feh": "[Fe/H]",
    "vsini": "v sin i",
}
_Range = tuple[float, float]
_REACH, _FEWEST = 6.0, 5
_HIDDEN = 0.001
"""Share of values at each end that need not be in the panel."""
_MOST_MARKED = 2000


@dataclass(frozen=True)
class _Seen:
    """What is drawn of one quantity: the stars used, and those set aside."""

    quantity: str
    stats: Residuals
    used: pl.DataFrame
    aside: pl.DataFrame
    names: tuple[str, str]
    color: str
    crowd: int

    def of(self, column: str) -> Array:
        """A column of the stars used."""
        name = column if column == "third" else f"{self.quantity}_{column}"
        return self.used[name].to_numpy()

    def hover(self, rows: pl.DataFrame) -> list[str]:
        """What is said of each star under the cursor."""
        return [
            f"{a or DASH} / {b or DASH}"
            for a, b in rows.select("star_id_a", "star_id_b").iter_rows()
        ]

    @property
    def reach(self) -> tuple[float, float]:
        """Limits of the differences that are drawn."""
        s = self.stats
        wide = np.nanmax([s.scatter, s.width, 1e-6 * max(abs(s.bias), 1e-6)])
        if s.polynomial is not None and s.polynomial.significant:
            wide = max(wide, 2 * s.polynomial.rms)
        return s.bias - _REACH * float(wide), s.bias + _REACH * float(wide)


def quantity_figures(
    comparison: Comparison, quantity: str, crowd: int = 20_000
) -> list[Figure | Missing]:
    """Return the figures of one quantity; above ``crowd`` stars, how many in each cell."""
    used = comparison.matches.filter(f"{quantity}_used")
    aside = comparison.matches.filter(
        ~pl.col(f"{quantity}_used") & pl.col(f"{quantity}_difference").is_finite()
    )
    names = (f"A ({comparison.names[0]})", f"B ({comparison.names[1]})")
    color = comparison.options.color or ""
    stats = comparison.statistics[quantity]
    seen = _Seen(quantity, stats, used, aside, names, color, crowd)
    figures = [_one_to_one(seen), _distribution(seen)]
    if "third" in used.columns:
        figures.append(_against_third(seen, comparison.bins))
    return figures


def axis_label(quantity: str, unit: str) -> str:
    """Return the name of a quantity with its unit, for an axis."""
    name = _LABELS.get(quantity, quantity)
    return f"{name} ({unit})" if unit else name


def with_unit(value: float, unit: str) -> str:
    """Write a number with three digits that matter, and its unit."""
    text = significant(value, 3)
    return text if text == DASH or not unit else f"{text} {unit}"


def plus_minus(value: float, error: float, unit: str = "") -> str:
    """Write a value with as many digits as its error has two of."""
    if not np.isfinite(value):
        return DASH
    if not (np.isfinite(error) and error > 0):
        return with_unit(value, unit)
    places = int(np.clip(1 - np.floor(np.log10(error)), 0, 9))
    text = f"{value:,.{places}f} ± {error:,.{places}f}"
    return (f"{text} {unit}" if unit else text).replace("-", MINUS)


def _range(*values: Array) -> tuple[float, float]:
    every = np.concatenate(values)
    share = _HIDDEN if len(every) > 500 else 0.0
    low, high = np.quantile(every, [share, 1 - share])
    gap = 0.04 * (high - low) or max(abs(low) * 0.01, 0.5)
    return float(low - gap), float(high + gap)


def _title(seen: _Seen) -> str:
    name = _LABELS.get(seen.quantity, seen.quantity)
    return name[:1].upper() + name[1:]


def _one_to_one(seen: _Seen) -> Figure | Missing:
    stats, name = seen.stats, f"compare-{seen.quantity}"
    title = f"{_title(seen)}: A against B"
    if stats.n < 2:
        return Missing(name, title, "One star cannot be drawn: see the table.")
    label = axis_label(seen.quantity, stats.unit)
    low, high = _range(seen.of("a"), seen.of("b"))
    ends = np.array([low, high])
    lines: list[Mark] = [Line(ends, ends, "ink", "A = B", dash="dash")]
    if stats.line is not None:
        text = f"line, slope {plus_minus(stats.line.slope, stats.line.slope_err)}"
        lines.append(Line(ends, stats.line.at(ends), "orange", text, width=1.8))
    top = Panel(
        Axis(f"{label}, {seen.names[1]}", low=low, high=high),
        Axis(f"{label}, {seen.names[0]}", low=low, high=high),
        (*_cloud(seen, "b", "a", (low, high), (low, high)), *lines),
        tall=1.3,
    )
    return Figure(
        name,
        title,
        (top, _residual_panel(seen, (low, high))),
        shows="Above, every star in both tables, and a line fitted after clipping; below, "
        "A less B. Shaded: bias and scatter, after clipping; red: outliers.",
        good="Points along the dashed line, a level cloud of differences about zero, no "
        "wider than the errors of both. A slope that is not one, or a curve, says that the "
        "scales differ.",
        here=_here(seen),
    )


def _residual_panel(seen: _Seen, across: tuple[float, float]) -> Panel:
    stats = seen.stats
    low, high = seen.reach
    ends = np.array(across)
    marks: list[Mark] = [
        *_cloud(seen, "common", "difference", across, (low, high)),
        Band(
            stats.bias - stats.scatter,
            stats.bias + stats.scatter,
            "y",
            "blue",
        ),
        Line(ends, np.full(2, stats.bias), "blue", "bias", width=1.8),
        Line(ends, np.zeros(2), "ink", dash="dash"),
    ]
    if stats.polynomial is not None and stats.polynomial.significant:
        x = np.linspace(
            max(across[0], stats.polynomial.low),
            min(across[1], stats.polynomial.high),
            121,
        )
        curve = stats.polynomial.at(x)
        marks.append(Line(x, curve, "ink", "fourth order", width=2.2))
    where = {"a": seen.names[0], "b": seen.names[1]}
    unit = f" ({stats.unit})" if stats.unit else ""
    name = _LABELS.get(seen.quantity, seen.quantity)
    return Panel(
        Axis(f"{name}{unit}, mean of both", low=across[0], high=across[1])
        if not where.get(_against(seen))
        else Axis(
            f"{name}{unit}, {where[_against(seen)]}", low=across[0], high=across[1]
        ),
        Axis(f"A {MINUS} B{unit}", low=low, high=high),
        tuple(marks),
        tall=0.8,
    )


def _against(seen: _Seen) -> str:
    """Say against what the differences are drawn."""
    for side in "ab":
        if np.array_equal(seen.of("common"), seen.of(side)):
            return side
    return "mean"


def _cloud(seen: _Seen, x: str, y: str, x_range: _Range, y_range: _Range) -> list[Mark]:
    """All stars: points, colored by a third quantity where there is one; or cells."""
    first, second = seen.of(x), seen.of(y)
    marks: list[Mark] = []
    edges = np.linspace(*x_range, 91), np.linspace(*y_range, 61)
    crowded = len(first) > seen.crowd
    third = seen.of("third") if "third" in seen.used.columns else None
    if third is not None and np.isfinite(third).any():
        low, high = _color_range(third)
        if crowded:
            z = _cells(first, second, third, edges)
            marks.append(Cells(*edges, z, seen.color, low, high))
        else:
            known = np.isfinite(third)
            # Those with the most are drawn last: they are the fewest.
            order = np.argsort(np.where(known, third, -np.inf), kind="stable")
            order = order[known[order]]
            rest = np.flatnonzero(~known)
            marks += [
                Points(
                    first[rest],
                    second[rest],
                    "muted",
                    f"no {seen.color}" if len(rest) else "",
                    size=4,
                    opacity=0.5,
                ),
                Shaded(
                    first[order],
                    second[order],
                    third[order],
                    seen.color,
                    low,
                    high,
                    hover=seen.hover(seen.used[order]),
                    size=5,
                ),
            ]
    else:
        marks.append(
            scatter_or_density(
                first,
                second,
                seen.crowd,
                color="blue",
                hover=[] if crowded else seen.hover(seen.used),
                edges=edges,
            )
        )
    marks += _marked(seen, x, y)
    return marks


def _marked(seen: _Seen, x: str, y: str) -> list[Mark]:
    """Outliers in red, and stars that were set aside, in gray; a sample of many."""
    q = seen.quantity
    out: list[Mark] = []
    far = seen.used.filter(f"{q}_outlier")
    marked: tuple[tuple[pl.DataFrame, str, str, Any], ...] = (
        (seen.aside, "muted", "set aside", "cross"),
        (far, "red", "outlier", "open"),
    )
    for rows, color, label, symbol in marked:
        if not len(rows) or (color == "muted" and len(seen.used) > seen.crowd):
            continue
        rows = rows[:: -(-len(rows) // _MOST_MARKED)]
        across = rows[f"{q}_{x}"].to_numpy()
        if x == "common" and color == "muted":
            across = (rows[f"{q}_a"] + rows[f"{q}_b"]).to_numpy() / 2
        out.append(
            Points(
                across,
                rows[f"{q}_{y}"].to_numpy(),
                color,
                label,
                hover=seen.hover(rows),
                symbol=symbol,
                size=6,
                opacity=0.8 if color == "red" else 0.5,
            )
        )
    return out


def _cells(x: Array, y: Array, z: Array, edges) -> Array:
    good = np.isfinite(x) & np.isfinite(y) & np.isfinite(z)
    bins: Any = list(edges)
    found = binned_statistic_2d(x[good], y[good], z[good], "median", bins=bins)
    return np.asarray(found.statistic).T


def _color_range(third: Array) -> tuple[float, float]:
    low, high = np.nanquantile(third, [0.02, 0.98])
    return (float(low), float(high)) if high > low else (float(low) - 1, float(low) + 1)


def _here(seen: _Seen) -> str:
    stats, unit = seen.stats, seen.stats.unit
    text = (
        f"Here: {counted(stats.n, 'star')}, bias "
        f"{plus_minus(stats.bias, stats.bias_err, unit)}, scatter "
        f"{plus_minus(stats.scatter, stats.scatter_err, unit)}"
    )
    if np.isfinite(stats.error_both):
        text += (
            f", where the errors of both predict {with_unit(stats.error_both, unit)}"
        )
    text += f"; {counted(stats.n_outliers, 'outlier')} ({percent(stats.n_outliers, stats.n)})."
    low, high = seen.reach
    difference = seen.of("difference")
    if beyond := int(((difference < low) | (difference > high)).sum()):
        text += f" {counted(beyond, 'difference')} lie outside the lower panel."
    poly = stats.polynomial
    if poly is not None and poly.significant:
        text += (
            f" The differences have structure of {with_unit(poly.rms, unit)} rms "
            f"(probability by chance {probability(poly.p_value)})."
        )
    elif poly is not None:
        chance = probability(poly.p_value)
        text += f" No structure is seen (probability by chance {chance})."
    return text


def _distribution(seen: _Seen) -> Figure | Missing:
    """Histogram of the differences, the Gaussian with wings, and what errors predict."""
    stats, unit = seen.stats, seen.stats.unit
    name = f"compare-{seen.quantity}-histogram"
    title = f"{_title(seen)}: distribution of the differences"
    core = stats.core
    width = core.sigma if np.isfinite(core.sigma) and core.sigma > 0 else stats.width
    if stats.n < _FEWEST or not width > 0:
        return Missing(name, title, f"Fewer than {_FEWEST} stars, or no scatter.")
    center = core.mu if np.isfinite(core.mu) else stats.median
    edges = np.linspace(center - _REACH * width, center + _REACH * width, 61)
    difference = seen.of("difference")
    counts, _ = np.histogram(difference, edges)
    beyond = len(difference) - int(counts.sum())
    x = np.linspace(edges[0], edges[-1], 241)
    area = len(difference) * (edges[1] - edges[0])
    marks: list[Mark] = [Steps(edges, counts.astype(float), "blue", f"A {MINUS} B")]
    text = "Here: too few stars to fit a Gaussian."
    if np.isfinite(core.sigma) and core.sigma > 0:
        marks.append(Line(x, area * core.density(x), "ink", "core and wings"))
        text = (
            f"Here: mean {plus_minus(core.mu, core.mu_err, unit)}, standard deviation "
            f"{plus_minus(core.sigma, core.sigma_err, unit)}; "
            f"{percent(core.wing_share, 1) if core.wing_share > 0 else 'nothing'} is in "
            "wings."
        )
    if np.isfinite(stats.error_both) and stats.error_both > 0:
        pull = (x - center) / stats.error_both
        bell = area * np.exp(-0.5 * pull**2) / (stats.error_both * np.sqrt(2 * np.pi))
        marks.append(Line(x, bell, "orange", "as errors predict", dash="dot"))
    unit_text = f" ({unit})" if unit else ""
    return Figure(
        name,
        title,
        (Panel(Axis(f"A {MINUS} B{unit_text}"), Axis("stars"), tuple(marks)),),
        shows="Differences of all stars used, and a Gaussian fitted by likelihood together "
        "with wide wings, so that binaries and blunders do not widen it. Dotted: a "
        "Gaussian as wide as the median error of both.",
        good="One peak at zero, as narrow as the errors predict.",
        here=f"{text} {counted(beyond, 'star')} beyond six standard deviations.",
    )


def _against_third(seen: _Seen, bins: pl.DataFrame) -> Figure | Missing:
    """Differences against the third quantity, and their medians in parts of it."""
    stats, unit = seen.stats, seen.stats.unit
    name = f"compare-{seen.quantity}-color"
    title = f"{_title(seen)}: differences against {seen.color}"
    third, difference = seen.of("third"), seen.of("difference")
    known = np.isfinite(third)
    if known.sum() < _FEWEST or not np.ptp(third[known]) > 0:
        return Missing(
            name, title, f"Too few stars have {seen.color}, or all the same."
        )
    low, high = seen.reach
    edges = np.linspace(*_range(third[known]), 91), np.linspace(low, high, 61)
    marks: list[Mark] = [
        scatter_or_density(
            third,
            difference,
            seen.crowd,
            color="blue",
            hover=[] if len(third) > seen.crowd else seen.hover(seen.used),
            edges=edges,
        ),
        Line(edges[0][[0, -1]], np.zeros(2), "ink", dash="dash"),
    ]
    mine = bins.filter(pl.col("quantity") == seen.quantity)
    if len(mine):
        middle = [
            float(np.median(third[known & (third >= low_) & (third <= high_)]))
            for low_, high_ in mine.select("low", "high").iter_rows()
        ]
        error = 1.2533 * mine["scatter"].to_numpy() / np.sqrt(mine["n"].to_numpy())
        medians = mine["bias"].to_numpy()
        marks.append(
            Points(np.array(middle), medians, "orange", "medians", error=error, size=8)
        )
    unit_text = f" ({unit})" if unit else ""
    parts = ""
    if len(mine):
        first, last = mine.row(0, named=True), mine.row(-1, named=True)
        parts = (
            f" In the fifth with the least, the median is "
            f"{with_unit(first['bias'], unit)} and the scatter "
            f"{with_unit(first['scatter'], unit)}; in that with the most, "
            f"{with_unit(last['bias'], unit)} and {with_unit(last['scatter'], unit)}."
        )
    return Figure(
        name,
        title,
        (
            Panel(
                Axis(seen.color, low=float(edges[0][0]), high=float(edges[0][-1])),
                Axis(f"A {MINUS} B{unit_text}", low=low, high=high),
                tuple(marks),
            ),
        ),
        shows=f"A less B against {seen.color}; medians in five parts of equal number.",
        good="Level medians: the third quantity has nothing to do with the differences.",
        here=f"Here: rank correlation {significant(stats.color_rank, 2)}, probability by "
        f"chance {probability(stats.color_p)}.{parts}",
    )
