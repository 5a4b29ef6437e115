"""What a figure is, said once: panels, axes and marks, without a drawing library.

A figure of the report is drawn twice: interactive for the page (`web`) and as PNG and
PDF for a paper (`paper`). Both draw the same `Figure`, so they cannot disagree. Colors
are roles (``"blue"``, ``"before"``), which each of the two turns into a color that
suits its background.

Every figure explains itself in three sentences: what it shows, what good looks like,
and what this one shows. A figure that has no data is a `Missing` with the reason.
"""

__all__ = [
    "PHASE",
    "Axis",
    "Band",
    "Bars",
    "Cells",
    "Density",
    "Figure",
    "Heat",
    "Line",
    "Mark",
    "Matrix",
    "Missing",
    "Panel",
    "Points",
    "Shaded",
    "Steps",
    "Violins",
    "Words",
    "arm_color",
    "arm_title",
    "twice",
]

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Real = int | float
Color = str
"""One of the roles in `web.COLORS` and `paper.COLORS`."""


@dataclass(frozen=True)
class Axis:
    """One axis: its label with unit, its scale, and its range if it is not the data's.

    ``ticks`` are positions with texts, for axes that count things; empty for none.
    """

    label: str = ""
    log: bool = False
    low: Real | None = None
    high: Real | None = None
    ticks: tuple[tuple[Real, str], ...] | None = None
    reverse: bool = False


PHASE = Axis("phase", low=0, high=2)
"""Two cycles, so that none of its parts is at an edge."""


@dataclass(frozen=True)
class Points:
    """Points, with error bars and a text for each if given.

    ``bare``: the position itself means nothing to people, as on a map, and is not told.
    """

    x: Array
    y: Array
    color: Color = "ink"
    label: str = ""
    error: Array | None = None
    hover: Sequence[str] = ()
    symbol: Literal["circle", "open", "diamond", "cross", "square"] = "circle"
    size: Real = 5
    opacity: Real = 0.85
    bare: bool = False


@dataclass(frozen=True)
class Shaded:
    """Points whose color says a third quantity, ``z``, beside a bar with its ``unit``.

    Colors run from ``low`` to ``high``; what lies beyond has the color of the end.
    """

    x: Array
    y: Array
    z: Array
    unit: str
    low: Real
    high: Real
    hover: Sequence[str] = ()
    symbol: Literal["circle", "square"] = "circle"
    size: Real = 5
    opacity: Real = 0.85
    bare: bool = False


@dataclass(frozen=True)
class Cells:
    """A value in each cell of a grid: ``z`` of shape ``(y bin, x bin)``, NaN if none.

    Colors as those of `Shaded`.
    """

    x_edges: Array
    y_edges: Array
    z: Array
    unit: str
    low: Real
    high: Real


@dataclass(frozen=True)
class Words:
    """Short texts in the panel, centered at ``x, y``; ``upright`` ones hang from there."""

    x: Array
    y: Array
    texts: Sequence[str]
    color: Color = "ink"
    upright: bool = False


@dataclass(frozen=True)
class Line:
    """A line through points; NaN interrupts it."""

    x: Array
    y: Array
    color: Color = "ink"
    label: str = ""
    dash: Literal["solid", "dash", "dot"] = "solid"
    width: Real = 1.4
    hover: str = ""


@dataclass(frozen=True)
class Steps:
    """A histogram: ``heights`` of shape ``(bin,)`` between ``edges`` ``(bin + 1,)``.

    It stands on ``floor``, which is not zero where the axis is logarithmic.
    """

    edges: Array
    heights: Array
    color: Color = "ink"
    label: str = ""
    filled: bool = True
    floor: Real = 0


@dataclass(frozen=True)
class Bars:
    """Bars at ``x``, one a category."""

    x: Array
    heights: Array
    color: Color = "ink"
    label: str = ""
    hover: Sequence[str] = ()


@dataclass(frozen=True)
class Heat:
    """A value for each cell of a grid: ``z`` of shape ``(row, column)``, NaN if none.

    Columns sit at 1, 2, ...; rows carry names, the first at the top. ``counts`` are
    written into the cells where there is room. The colors are symmetric about zero.
    """

    rows: tuple[str, ...]
    z: Array
    unit: str
    counts: NDArray[np.int64] | None = None
    column_names: Sequence[str] = ()

    @property
    def roomy(self) -> bool:
        """Whether the cells have room for a number."""
        return self.z.size <= 400 and self.z.shape[1] <= 40


@dataclass(frozen=True)
class Matrix:
    """A value for each pair of the same things: ``z`` of shape ``(n, n)``, NaN if none.

    ``names`` are those of the rows, and of the columns in the same order. ``counts``:
    the values are numbers of things, zero for none, with colors by their logarithm;
    else colors are symmetric about zero. Lines part the rows before each of ``starts``.
    """

    names: tuple[str, ...]
    z: Array
    unit: str
    counts: bool = False
    starts: tuple[int, ...] = ()

    @property
    def reach(self) -> float:
        """The largest value that has a color of its own."""
        size = np.abs(self.z[np.isfinite(self.z)])
        if self.counts:
            return max(float(size.max(initial=0.0)), 2.0)
        return max(float(np.percentile(size, 99.5)) if size.size else 0.0, 1e-3)


@dataclass(frozen=True)
class Density:
    """How many points fall into each cell: ``counts`` of shape ``(y bin, x bin)``."""

    x_edges: Array
    y_edges: Array
    counts: NDArray[np.int64]
    unit: str = "points"


@dataclass(frozen=True)
class Violins:
    """Distributions beside each other: one a position on the horizontal axis.

    ``outlines`` hold the closed outline of each as ``(x, y)``; ``means`` the mean of
    each (NaN if none).
    """

    positions: Array
    outlines: tuple[tuple[Array, Array], ...]
    means: Array
    color: Color = "ink"
    label: str = ""
    hover: Sequence[str] = ()


@dataclass(frozen=True)
class Band:
    """A shaded range across the whole panel."""

    low: Real
    high: Real
    along: Literal["x", "y"] = "x"
    color: Color = "muted"
    label: str = ""


Mark = (
    Points
    | Shaded
    | Line
    | Steps
    | Bars
    | Heat
    | Matrix
    | Density
    | Cells
    | Violins
    | Band
    | Words
)


@dataclass(frozen=True)
class Panel:
    """Marks in one pair of axes; later marks lie on top. ``tall`` is its share of height.

    ``equal``: a unit is as long on both axes, as on a map.
    """

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""
    tall: Real = 1.0
    equal: bool = False


@dataclass(frozen=True)
class Figure:
    """Panels in ``columns``, and the sentences that explain them.

    ``name`` is unique in a report: it is part of file names and of links. ``wide``
    figures take the full page of a paper, others a column.
    """

    name: str
    title: str
    panels: tuple[Panel, ...]
    shows: str
    good: str
    here: str
    columns: int = 1
    wide: bool = False
    remarks: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Missing:
    """A figure that could not be drawn, and why."""

    name: str
    title: str
    reason: str


_ARM_COLORS = {
    "blue": "blue",
    "red": "red",
    "all": "purple",
    "green": "green",
    "b": "blue",
}
_OTHER_COLORS = ("green", "orange", "sky", "ink")


def arm_color(arm: str, arms: Sequence[str]) -> Color:
    """Return the color of an arm: its own where it is named after one, else by order."""
    if arm in _ARM_COLORS:
        return _ARM_COLORS[arm]
    others = [name for name in arms if name not in _ARM_COLORS]
    place = others.index(arm) if arm in others else 0
    return _OTHER_COLORS[place % len(_OTHER_COLORS)]


def arm_title(arm: str) -> str:
    """Return ``red arm``; nothing where all arms were measured together."""
    return f"{arm} arm" if arm not in ("", "all") else ""


def twice(
    phase: Array, y: Array, error: Array, *, size: Real = 6, **drawn: Any
) -> Points:
    """Return points over the two cycles of `PHASE`; ``drawn``: how, as of `Points`."""
    return Points(
        np.concatenate([phase, phase + 1]),
        np.tile(y, 2),
        error=np.tile(error, 2),
        size=size,
        **drawn,
    )
