"""Figures for a paper: PNG and PDF, drawn with matplotlib in one style.

The style is ``paper.mplstyle``; the colors are those of Okabe and Ito (2008, "Color
universal design"), which people with the common color deficiencies can tell apart.
Equal figures give equal bytes: no dates and no program names are written.
"""

__all__ = ["COLORS", "draw"]

import io
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from steadystar.publish.plot import (
    Axis,
    Band,
    Bars,
    Cells,
    Density,
    Figure,
    Heat,
    Line,
    Mark,
    Matrix,
    Panel,
    Points,
    Shaded,
    Steps,
    Violins,
    Words,
)
from steadystar.publish.web_values import DIVERGING, SEQUENTIAL, SHADES

COLORS = {
    "ink": "#222222",
    "muted": "#8a8a8a",
    "blue": "#0072B2",
    "red": "#D55E00",
    "green": "#009E73",
    "orange": "#E69F00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
}

_STYLE = Path(__file__).with_name("paper.mplstyle")
_COLUMN, _PAGE = 3.5, 7.1
"""Widths of a column and of a page in inches."""

_MARKERS = {"circle": "o", "open": "o", "diamond": "D", "cross": "x", "square": "s"}
_DASHES = {"solid": "-", "dash": "--", "dot": ":"}


def draw(figure: Figure, dpi: int) -> dict[str, bytes]:
    """Return the figure as ``{"png": bytes, "pdf": bytes}``."""
    with mpl.rc_context(fname=_STYLE):
        canvas = _compose(figure)
        canvas.set_dpi(dpi)
        png, pdf = io.BytesIO(), io.BytesIO()
        FigureCanvasAgg(canvas).print_png(png, metadata={"Software": None})
        # The layout was found for the PNG and holds for the PDF.
        canvas.set_layout_engine("none")
        FigureCanvasPdf(canvas).print_pdf(
            pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None}
        )
    return {"png": png.getvalue(), "pdf": pdf.getvalue()}


@cache
def _charmap() -> frozenset[int]:
    path = font_manager.findfont("DejaVu Sans")
    return frozenset(font_manager.get_font(path).get_charmap())


def _drawable(text: str, longest: int = 60) -> str:
    """Shorten text, and replace the characters that the font does not have."""
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(c if ord(c) in _charmap() and c.isprintable() else "�" for c in text)


def _compose(figure: Figure) -> Canvas:
    columns = min(figure.columns, len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    width = _PAGE if figure.wide else _COLUMN
    heights = [
        max(panel.tall for panel in figure.panels[row * columns : (row + 1) * columns])
        for row in range(rows)
    ]
    # Small multiples are flatter than they are wide; a single panel is 4 by 3.
    shape = 0.42 if columns == 1 and figure.wide else 0.75 if columns < 3 else 0.8
    unit = width / columns * shape
    canvas = Canvas(figsize=(width, max(1.2, unit * sum(heights))))
    grid = canvas.subplots(
        rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for place, axes in enumerate(grid.flat):
        if place < len(figure.panels):
            _panel(canvas, axes, figure.panels[place])
        else:
            axes.set_axis_off()
    return canvas


def _panel(canvas: Canvas, axes: Axes, panel: Panel) -> None:
    for mark in panel.marks:
        _mark(canvas, axes, mark)
    if panel.title:
        axes.set_title(_drawable(panel.title, 44))
    _scale(axes, "x", panel.x)
    _scale(axes, "y", panel.y)
    if panel.equal:
        axes.set_aspect("equal", adjustable="box")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best")


def _scale(axes: Axes, which: str, axis: Axis) -> None:
    side = axes.xaxis if which == "x" else axes.yaxis
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    if axis.label:
        side.set_label_text(_drawable(axis.label, 80))
    if axis.log:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        side.set_minor_formatter(NullFormatter())
    if axis.low is not None and axis.high is not None:
        limits(axis.low, axis.high)
    if axis.ticks is not None:
        side.set_ticks(
            [position for position, _ in axis.ticks],
            [_drawable(text, 24) for _, text in axis.ticks],
        )
    if axis.reverse:
        side.set_inverted(True)


def _mark(canvas: Canvas, axes: Axes, mark: Mark) -> None:
    if isinstance(mark, Heat):
        _heat(canvas, axes, mark)
    elif isinstance(mark, Matrix):
        _matrix(canvas, axes, mark)
    elif isinstance(mark, Density):
        _density(canvas, axes, mark)
    elif isinstance(mark, Violins):
        _violins(axes, mark)
    elif isinstance(mark, Band):
        span = axes.axvspan if mark.along == "x" else axes.axhspan
        span(mark.low, mark.high, color=COLORS[mark.color], alpha=0.15, lw=0, zorder=0)
    elif isinstance(mark, Points):
        _points(axes, mark)
    elif isinstance(mark, Shaded | Cells):
        _shades(canvas, axes, mark)
    elif isinstance(mark, Words):
        _words(axes, mark)
    else:
        _strokes(axes, mark)


def _label(text: str) -> dict[str, Any]:
    return {"label": _drawable(text, 40)} if text else {}


def _points(axes: Axes, mark: Points) -> None:
    color = COLORS[mark.color]
    finite = np.isfinite(mark.x) & np.isfinite(mark.y)
    error = None
    if mark.error is not None:
        good = np.isfinite(mark.error) & (mark.error >= 0)
        error = np.where(good, mark.error, 0.0)[finite]
    axes.errorbar(
        np.asarray(mark.x)[finite],
        np.asarray(mark.y)[finite],
        yerr=error,
        fmt=_MARKERS[mark.symbol],
        color=color,
        mfc="white" if mark.symbol == "open" else color,
        ms=mark.size * 0.5,
        mew=0.6 if mark.symbol in ("open", "cross") else 0,
        elinewidth=0.6,
        alpha=mark.opacity,
        rasterized=finite.sum() > 2000,
        **_label(mark.label),
    )


def _shades(canvas: Canvas, axes: Axes, mark: Shaded | Cells) -> None:
    colors = LinearSegmentedColormap.from_list("shades", list(SHADES))
    norm = Normalize(mark.low, mark.high)
    if isinstance(mark, Shaded):
        known = np.isfinite(mark.x) & np.isfinite(mark.y) & np.isfinite(mark.z)
        image = axes.scatter(
            mark.x[known],
            mark.y[known],
            c=mark.z[known],
            cmap=colors,
            norm=norm,
            s=(0.5 * mark.size) ** 2,
            marker=_MARKERS[mark.symbol],
            alpha=mark.opacity,
            linewidths=0,
            rasterized=known.sum() > 2000,
        )
    else:
        image = axes.pcolormesh(
            mark.x_edges,
            mark.y_edges,
            np.ma.masked_invalid(mark.z),
            cmap=colors,
            norm=norm,
            rasterized=True,
        )
    bar = canvas.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label(_drawable(mark.unit))


def _words(axes: Axes, mark: Words) -> None:
    for x, y, text in zip(mark.x, mark.y, mark.texts, strict=True):
        axes.text(
            x,
            y,
            _drawable(text, 24),
            color=COLORS[mark.color],
            fontsize=6,
            ha="center",
            va="top" if mark.upright else "center",
            rotation=90 if mark.upright else 0,
            clip_on=True,
        )


def _strokes(axes: Axes, mark: Line | Steps | Bars) -> None:
    color = COLORS[mark.color]
    if isinstance(mark, Line):
        axes.plot(
            mark.x,
            mark.y,
            _DASHES[mark.dash],
            color=color,
            lw=mark.width * 0.7,
            scaley=not _is_guide(mark),
            **_label(mark.label),
        )
    elif isinstance(mark, Steps):
        axes.stairs(
            mark.heights,
            mark.edges,
            color=color,
            lw=1,
            fill=False,
            baseline=mark.floor,
            **_label(mark.label),
        )
        if mark.filled:
            axes.stairs(
                mark.heights,
                mark.edges,
                color=color,
                alpha=0.2,
                fill=True,
                baseline=mark.floor,
            )
    else:
        step = np.diff(np.sort(mark.x)).min(initial=1.0)
        axes.bar(
            mark.x,
            mark.heights,
            width=0.8 * max(step, 1e-9),
            color=color,
            alpha=0.8,
            **_label(mark.label),
        )


def _is_guide(mark: Line) -> bool:
    return mark.dash != "solid"


def _heat(canvas: Canvas, axes: Axes, mark: Heat) -> None:
    rows, columns = mark.z.shape
    finite = np.abs(mark.z[np.isfinite(mark.z)])
    limit = max(float(np.percentile(finite, 99)) if finite.size else 1.0, 1e-6)
    colors = LinearSegmentedColormap.from_list("diverging", list(DIVERGING))
    axes.grid(visible=False)
    axes.set_facecolor("0.85")
    image = axes.pcolormesh(
        np.arange(columns + 1) + 0.5,
        np.arange(rows + 1) + 0.5,
        np.ma.masked_invalid(mark.z),
        cmap=colors,
        vmin=-limit,
        vmax=limit,
        rasterized=True,
    )
    if mark.counts is not None and mark.roomy:
        for (i, j), count in np.ndenumerate(mark.counts):
            if np.isfinite(mark.z[i, j]):
                shade = "white" if abs(mark.z[i, j]) > 0.7 * limit else "0.25"
                axes.text(
                    j + 1, i + 1, str(count), ha="center", va="center", fontsize=4.5,
                    color=shade,
                )  # fmt: skip
    axes.set_ylim(rows + 0.5, 0.5)
    # At most 24 names down the side stay legible.
    every = -(-rows // 24)
    axes.set_yticks(
        np.arange(1, rows + 1, every), [_drawable(r, 24) for r in mark.rows[::every]]
    )
    bar = canvas.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label(_drawable(mark.unit))


def _matrix(canvas: Canvas, axes: Axes, mark: Matrix) -> None:
    edges = np.arange(len(mark.names) + 1) + 0.5
    scale, norm = DIVERGING, Normalize(-mark.reach, mark.reach)
    if mark.counts:
        scale, norm = SEQUENTIAL, LogNorm(1, mark.reach)
    colors = LinearSegmentedColormap.from_list("matrix", list(scale))
    shown = np.ma.masked_invalid(np.where(mark.z > 0, mark.z, np.nan))
    image = axes.pcolormesh(
        edges, edges, shown if mark.counts else np.ma.masked_invalid(mark.z),
        cmap=colors, norm=norm, rasterized=True,
    )  # fmt: skip
    axes.grid(visible=False)
    for start in mark.starts:
        axes.axhline(start + 0.5, color=COLORS["muted"], lw=0.4)
        axes.axvline(start + 0.5, color=COLORS["muted"], lw=0.4)
    every = -(-len(mark.names) // 12)
    names = [_drawable(name, 18) for name in mark.names[::every]]
    axes.set_yticks(np.arange(1, len(mark.names) + 1, every), names)
    axes.set_xticks([])
    axes.set_ylim(len(mark.names) + 0.5, 0.5)
    bar = canvas.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label(_drawable(mark.unit))
    if mark.counts:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _density(canvas: Canvas, axes: Axes, mark: Density) -> None:
    counts = np.ma.masked_less(mark.counts, 1)
    image = axes.pcolormesh(
        mark.x_edges,
        mark.y_edges,
        counts,
        cmap="cividis_r",
        norm=LogNorm(1, max(10, int(mark.counts.max(initial=1)))),
        rasterized=True,
    )
    bar = canvas.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label(_drawable(mark.unit))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _violins(axes: Axes, mark: Violins) -> None:
    color = COLORS[mark.color]
    for number, (x, y) in enumerate(mark.outlines):
        label = _label(mark.label) if number == 0 else {}
        axes.fill(x, y, fc=color, alpha=0.25, lw=0)
        axes.plot(x, y, color=color, lw=0.5, **label)
    axes.plot(mark.positions, mark.means, "o", color=color, ms=2)
