"""How velocities compare with standards: against velocity, type and time, by group."""

__all__ = ["standards_items"]

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import rankdata

from steadystar.calibrate.standards import StandardsTie
from steadystar.publish.lists import Listing
from steadystar.publish.numbers import (
    DASH,
    MINUS,
    Array,
    counted,
    finite,
    ms,
    robust_width,
    significant,
)
from steadystar.publish.plot import (
    Axis,
    Color,
    Figure,
    Line,
    Missing,
    Panel,
    Points,
    Steps,
)

_COLORS: tuple[Color, ...] = ("blue", "red", "green", "orange", "purple", "sky")
_MOST_GROUPS = 6
_LISTED = 200
_DIFFERENCE = f"velocity {MINUS} standard (km/s)"
_FEWEST = 5


@dataclass(frozen=True)
class _Group:
    """One group that is drawn: its name, color, offset and matches that are used."""

    name: str
    color: Color
    offset: float
    rows: pl.DataFrame


def standards_items(tie: StandardsTie) -> list[Figure | Missing | Listing]:
    """Return everything that the page of a comparison shows, in order."""
    groups = _groups(tie)
    return [
        _group_listing(tie),
        _by_group(tie),
        _against(
            tie, groups, "velocity", "rv_standard", "velocity of the standard (km/s)"
        ),
        _spread(tie, groups),
        _against(
            tie, groups, "temperature", "teff", "effective temperature (K)", flip=True
        ),
        _against(tie, groups, "color", "color", "color (mag)"),
        _against(
            tie, groups, "time", "bjd", "mean time of the visits (year)", year=True
        ),
        _outlier_listing(tie),
        _left_listing(tie),
    ]


def _groups(tie: StandardsTie) -> list[_Group]:
    """Return the groups with the most standards, those that have a color of their own."""
    number = tie.groups["n_standards"].to_numpy()
    chosen = sorted(np.argsort(-number, kind="stable")[:_MOST_GROUPS].tolist())
    used = tie.matches.filter("used")
    out = []
    for place, row in enumerate(i for i in chosen if number[i] > 0):
        rows = used
        if tie.by:
            rows = used.join(
                tie.groups[row].select(tie.by), on=tie.by, maintain_order="left"
            )
        offset = float(tie.groups["offset"][row])
        out.append(_Group(tie.name(row), _COLORS[place], offset, rows))
    return out


def _reach(tie: StandardsTie, groups: list[_Group]) -> tuple[float, float]:
    """Limits of the differences that hold all groups; far outliers may lie beyond."""
    width = np.nanmax([0.05, *(robust_width(g.rows["difference"]) for g in groups)])
    offsets = [g.offset for g in groups]
    return min(offsets) - 6 * float(width), max(offsets) + 6 * float(width)


def _against(
    tie: StandardsTie,
    groups: list[_Group],
    what: str,
    column: str,
    label: str,
    *,
    flip: bool = False,
    year: bool = False,
) -> Figure | Missing:
    title = f"Against {what}"
    name = f"standards-{what}"
    low, high = _reach(tie, groups)
    marks: list[Points | Line] = []
    slopes, beyond = [], 0
    every = [_x(g.rows, column, year) for g in groups]
    known = np.concatenate([x[np.isfinite(x)] for x in every] or [np.zeros(0)])
    if len(known) < 2 or np.ptp(known) == 0:
        source = (
            "neither table gives it" if not len(known) else "it is the same for all"
        )
        return Missing(name, title, f"The {what} of the standards: {source}.")
    ends = np.array([known.min(), known.max()])
    for group, x in zip(groups, every, strict=True):
        y = group.rows["difference"].to_numpy()
        good = np.isfinite(x)
        beyond += int((good & ((y < low) | (y > high))).sum())
        marks.append(
            Points(
                x[good],
                y[good],
                group.color,
                group.name,
                error=group.rows["difference_err"].to_numpy()[good],
                hover=_hover(group.rows.filter(pl.Series(good))),
            )
        )
        marks.append(Line(ends, np.full(2, group.offset), group.color, dash="dash"))
        slope = _trend(x[good], y[good] - group.offset)
        if slope is not None:
            slopes.append(f"{group.name} {slope}")
    trend = "; ".join(slopes) if slopes else "too few standards to tell"
    hidden = (
        f" {counted(beyond, 'difference')} lie outside the panel." if beyond else ""
    )
    panel = Panel(
        Axis(label, reverse=flip, ticks=_years(ends) if year else None),
        Axis(_DIFFERENCE, low=low, high=high),
        tuple(marks),
    )
    return Figure(
        name,
        title,
        (panel,),
        shows=f"Each standard once a group: mean velocity less that of the list, against "
        f"{label.partition(' (')[0]}. Dashed: the offset that is taken off.",
        good="Points level about their line. A trend means that the offset is not one "
        "number: it would leave velocities wrong for stars of other kinds.",
        here=f"Here: rank correlation, and its significance: {trend}.{hidden}",
        wide=True,
    )


def _x(rows: pl.DataFrame, column: str, year: bool) -> Array:
    value = rows[column].to_numpy()
    return 2000 + (value - 2_451_545.0) / 365.25 if year else value


def _years(ends: Array) -> tuple[tuple[float, str], ...]:
    """Return ticks at round years, without the commas of thousands."""
    span = float(np.ptp(ends))
    step = next(
        (n for n in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5) if span / n < 8), 10
    )
    places = range(int(np.ceil(ends[0] / step)), int(ends[1] / step) + 1)
    return tuple((n * step, f"{n * step:.6g}") for n in places)


def _trend(x: Array, y: Array) -> str | None:
    """Say how the ranks of both correlate (Spearman), and at how many sigma."""
    if len(x) < 10 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Equal values, as temperatures in steps of a grid, share their rank.
    correlation = float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])
    sigma = correlation * np.sqrt(len(x) - 1)
    text = f"{correlation:+.2f} ({abs(sigma):.1f} sigma)"
    return text.replace("-", MINUS)


def _hover(rows: pl.DataFrame) -> list[str]:
    return [
        f"{row['standard_id'] or row['star_id']}: {ms(row['difference'])}, "
        f"{counted(row['n_visits'], 'visit')}"
        for row in rows.iter_rows(named=True)
    ]


def _spread(tie: StandardsTie, groups: list[_Group]) -> Figure | Missing:
    """Histogram of the differences about the offsets of their groups."""
    title = "Scatter about the offset"
    used = tie.matches.filter("used")
    residual = finite(used["residual"])
    width = robust_width(residual)
    if len(residual) < _FEWEST or not width > 0:
        reason = f"Fewer than {_FEWEST} standards, or no scatter: no histogram."
        return Missing("standards-scatter", title, reason)
    edges = np.linspace(-6 * width, 6 * width, 49)
    counts, _ = np.histogram(residual, edges)
    beyond = len(residual) - int(counts.sum())
    x = np.linspace(edges[0], edges[-1], 200)
    step = edges[1] - edges[0]
    bell = len(residual) * step / (width * np.sqrt(2 * np.pi))
    bell = bell * np.exp(-0.5 * (x / width) ** 2)
    panel = Panel(
        Axis(f"velocity {MINUS} standard {MINUS} offset (km/s)"),
        Axis("standards"),
        (
            Steps(edges, counts.astype(float), "blue", "all groups"),
            Line(x, bell, "ink", f"Gaussian, {ms(width)}", dash="dash"),
        ),
    )
    formal = float(np.sqrt(np.mean(finite(used["difference_err"]) ** 2)))
    return Figure(
        "standards-scatter",
        title,
        (panel,),
        shows="Differences about the offset of their group, and the Gaussian that has the "
        "same quartiles (width: interquartile range over 1.349).",
        good="One narrow peak, as wide as the errors of both velocities. Wider: templates "
        "that do not fit every type alike, or standards that are none.",
        here=f"Here: {ms(width)} wide, where the errors of both velocities make "
        f"{ms(formal)} (rms); {counted(beyond, 'standard')} beyond six widths.",
    )


def _by_group(tie: StandardsTie) -> Figure | Missing:
    known = tie.groups.with_row_index("_row").filter(pl.col("n_standards") > 0)
    title = "Offset of every group"
    if len(known) < 2:
        return Missing("standards-groups", title, "There is one group: see the table.")
    at = np.arange(1.0, len(known) + 1)
    names = [tie.name(row) for row in known["_row"].to_list()]
    short = [
        ", ".join(str(v) for v in values) for values in known.select(tie.by).iter_rows()
    ]
    every = -(-len(known) // 12)
    ticks = tuple((float(at[i]), short[i]) for i in range(0, len(known), every))
    hover = [
        f"{name}: {counted(n, 'standard')}"
        for name, n in zip(names, known["n_standards"].to_list(), strict=True)
    ]
    offset, error = known["offset"].to_numpy(), known["offset_err"].to_numpy()
    marks = (
        Points(at, offset, "blue", "median", error=error, hover=hover, size=7),
        Points(
            at + 0.15,
            known["mean"].to_numpy(),
            "orange",
            "weighted mean",
            error=known["mean_err"].to_numpy(),
            symbol="open",
            size=7,
        ),
    )
    panel = Panel(
        Axis(", ".join(tie.by), low=0.4, high=len(known) + 0.75, ticks=ticks),
        Axis(_DIFFERENCE),
        marks,
    )
    spread = float(np.ptp(offset))
    return Figure(
        "standards-groups",
        title,
        (panel,),
        shows="The median difference from the standards in each group, and the mean "
        "weighted by the errors.",
        good="Both agree; groups agree with each other, or differ by what is then taken "
        "off. The mean follows the few standards with the smallest errors.",
        here=f"Here: the offsets of {len(known)} groups span {ms(spread)}.",
    )


def _group_listing(tie: StandardsTie) -> Listing:
    rows = []
    for i, row in enumerate(tie.groups.iter_rows(named=True)):
        rows.append(
            (
                tie.name(i),
                f"{row['n_standards']:,}",
                f"{row['n_visits']:,}",
                _with_error(row["offset"], row["offset_err"]),
                _with_error(row["scatter"], row["scatter_err"]),
                _with_error(row["mean"], row["mean_err"]),
                f"{significant(row['chi2'])} / {row['dof']}",
            )
        )
    return Listing(
        "standards-groups",
        "Offsets from the standards",
        (
            *("group", "standards", "visits", "offset (median)", "scatter"),
            *("weighted mean", "chi2 / dof"),
        ),
        tuple(rows),
        note="Scatter: interquartile range over 1.349. The error of the weighted mean is "
        "as large as chi2 asks for.",
        numeric=frozenset(range(1, 7)),
    )


def _with_error(value: float, error: float) -> str:
    if not np.isfinite(value):
        return DASH
    both = (
        f"{1000 * value:,.0f} ± {1000 * error:,.0f} m/s"
        if np.isfinite(error)
        else ms(value)
    )
    return both.replace("-", MINUS)


def _outlier_listing(tie: StandardsTie) -> Listing:
    far = tie.matches.filter(pl.col("outlier") & pl.col("used"))
    far = far.sort(pl.col("residual").abs(), descending=True)
    return _star_listing(
        tie,
        far,
        "outliers",
        "Standards that disagree",
        "More than five widths from the offset of their group. They count in the median, "
        "which they hardly move; binaries and mistaken identities are among them.",
        "No standard is more than five widths from the offset of its group.",
    )


def _left_listing(tie: StandardsTie) -> Listing:
    return _star_listing(
        tie,
        tie.matches.filter(~pl.col("used")),
        "left-out",
        "Standards that were left out",
        "They do not count in anything.",
        "No standard was left out.",
    )


def _star_listing(
    tie: StandardsTie, rows: pl.DataFrame, name: str, title: str, note: str, none: str
) -> Listing:
    cell: Callable = lambda row: (
        row["standard_id"] or DASH,
        row["star_id"],
        ", ".join(str(row[c]) for c in tie.by) or DASH,
        f"{row['n_visits']:,}",
        f"{row['rv']:.3f}".replace("-", MINUS),
        f"{row['rv_standard']:.3f}".replace("-", MINUS),
        ms(row["difference"]),
        row["reason"] or row["matched"],
    )
    shown = rows.head(_LISTED)
    more = f" The first {_LISTED} of {len(rows)}." if len(rows) > _LISTED else ""
    return Listing(
        f"standards-{name}",
        title,
        (
            *("standard", "star", "group", "visits", "velocity (km/s)"),
            *(
                "standard (km/s)",
                "difference",
                "why" if name == "left-out" else "found by",
            ),
        ),
        tuple(cell(row) for row in shown.iter_rows(named=True)),
        note=note + more if len(rows) else none,
        numeric=frozenset({3, 4, 5, 6}),
        wordy=frozenset({7}),
    )
