"""Figures for the page: each panel as the data and layout that plotly.js draws.

Colors are written as ``var(--name)``, the page's own style variables; the page's script
puts their values in, so that a figure follows the light or dark background. Text that
came from a file is escaped here, because plotly reads a small HTML in its labels.
"""

__all__ = ["COLORS", "escape", "panel_spec", "spec_json"]

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from steadystar.publish.plot import (
    Axis,
    Band,
    Bars,
    Cells,
    Density,
    Heat,
    Line,
    Mark,
    Matrix,
    Panel,
    Points,
    Shaded,
    Steps,
    Violins,
)
from steadystar.publish.web_matrix import matrix_axes, matrix_lines, matrix_trace
from steadystar.publish.web_shades import cells_trace, shaded_trace, word_annotations
from steadystar.publish.web_values import COLORS, DIVERGING, escape, numbers

_SYMBOLS = {
    "circle": "circle",
    "open": "circle-open",
    "diamond": "diamond",
    "cross": "x",
    "square": "square",
}


def spec_json(spec: Any) -> str:
    """Return JSON that can stand inside a script element of a page."""
    text = json.dumps(spec, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def panel_spec(panel: Panel) -> dict[str, Any]:
    """Return ``{"data", "layout"}`` of one panel."""
    data: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    for mark in panel.marks:
        if isinstance(mark, Band):
            shapes.append(_band(mark))
        else:
            data.extend(_traces(mark))
    heat = next((m for m in panel.marks if isinstance(m, Heat)), None)
    layout: dict[str, Any] = {
        "xaxis": _axis(panel.x),
        "yaxis": _heat_rows(heat, panel.y.label) if heat else _axis(panel.y),
        "showlegend": any(trace.get("showlegend") for trace in data),
    }
    matrix = next((m for m in panel.marks if isinstance(m, Matrix)), None)
    if matrix:
        layout |= matrix_axes(matrix, panel)
        shapes += matrix_lines(matrix)
    if shapes:
        layout["shapes"] = shapes
    words = word_annotations(panel)
    if words:
        layout["annotations"] = words
    if panel.equal:
        layout["xaxis"] |= {"constrain": "domain"}
        layout["yaxis"] |= {"constrain": "domain", "scaleanchor": "x"}
    return {"data": data, "layout": layout}


def _positions(x: np.ndarray) -> dict[str, Any]:
    """Horizontal positions; a long uniform grid needs only its start and step."""
    steps = np.diff(x)
    if len(x) > 100 and np.allclose(steps, steps[0], rtol=1e-6):
        return {"x0": float(x[0]), "dx": float(steps.mean())}
    return {"x": numbers(x, wide=True)}


def _axis(axis: Axis) -> dict[str, Any]:
    spec: dict[str, Any] = {"title": {"text": escape(axis.label)}}
    if axis.log:
        spec["type"] = "log"
    else:
        spec["type"] = "linear"
    if axis.low is not None and axis.high is not None:
        limits = [axis.low, axis.high]
        if axis.log:
            limits = [float(np.log10(limit)) for limit in limits]
        spec["range"] = limits[::-1] if axis.reverse else limits
    elif axis.reverse:
        spec["autorange"] = "reversed"
    if axis.ticks is not None:
        spec["tickmode"] = "array"
        spec["tickvals"] = [float(position) for position, _ in axis.ticks]
        spec["ticktext"] = [escape(text) for _, text in axis.ticks]
    elif axis.log:
        # Ticks at 1, 2 and 5; at every digit where that would leave one or none, and at
        # powers of ten where it would be a crowd.
        low, high = axis.low or 1.0, axis.high or 10.0
        spec["dtick"] = "D1" if high <= 5 * low else "D2" if high < 200 * low else 1
        spec["tickformat"] = "~g"
    return spec


def _heat_rows(heat: Heat, label: str) -> dict[str, Any]:
    count = len(heat.rows)
    return {
        "type": "linear",
        "tickmode": "array",
        "tickvals": list(range(1, count + 1)),
        "ticktext": [escape(row) for row in heat.rows],
        "range": [count + 0.5, 0.5],
        "title": {"text": escape(label)},
    }


def _band(mark: Band) -> dict[str, Any]:
    across = "y" if mark.along == "x" else "x"
    return {
        "type": "rect",
        f"{mark.along}0": mark.low,
        f"{mark.along}1": mark.high,
        f"{across}0": 0,
        f"{across}1": 1,
        f"{across}ref": "paper",
        "fillcolor": COLORS[mark.color],
        "opacity": 0.15,
        "line": {"width": 0},
        "layer": "below",
    }


def _traces(mark: Mark) -> list[dict[str, Any]]:
    if isinstance(mark, Points):
        return [_points(mark)]
    if isinstance(mark, Line):
        return [_line(mark)]
    if isinstance(mark, Steps):
        return [_steps(mark)]
    if isinstance(mark, Bars):
        return [_bars(mark)]
    if isinstance(mark, Heat):
        return [_heat(mark)]
    if isinstance(mark, Matrix):
        return [matrix_trace(mark)]
    if isinstance(mark, Density):
        return [_density(mark)]
    if isinstance(mark, Violins):
        return _violins(mark)
    if isinstance(mark, Shaded):
        return [shaded_trace(mark)]
    if isinstance(mark, Cells):
        return [cells_trace(mark)]
    return []


def _named(trace: dict[str, Any], label: str) -> dict[str, Any]:
    return {**trace, "name": escape(label), "showlegend": bool(label)}


def _hover(trace: dict[str, Any], texts: Sequence[str], form: str) -> dict[str, Any]:
    if texts:
        return {
            **trace,
            "hovertext": [escape(text) for text in texts],
            "hovertemplate": "%{hovertext}"
            + ("<br>" * bool(form) + form)
            + "<extra></extra>",
        }
    if not form:
        return {**trace, "hoverinfo": "skip"}
    return {**trace, "hovertemplate": form + "<extra></extra>"}


def _points(mark: Points) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(mark.x, wide=True),
        "y": numbers(mark.y),
        "marker": {
            "color": COLORS[mark.color],
            "size": mark.size,
            "symbol": _SYMBOLS[mark.symbol],
            "opacity": mark.opacity,
        },
    }
    form = "" if mark.bare else "%{x:.7~g}, %{y:.4~g}"
    if mark.error is not None:
        trace["error_y"] = {
            "type": "data",
            "array": numbers(mark.error),
            "color": COLORS[mark.color],
            "thickness": 1,
            "width": 0,
        }
        form += " ± %{error_y.array:.3~g}"
    return _hover(_named(trace, mark.label), mark.hover, form)


def _line(mark: Line) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        **_positions(mark.x),
        "y": numbers(mark.y),
        "line": {"color": COLORS[mark.color], "dash": mark.dash, "width": mark.width},
    }
    trace = _named(trace, mark.label)
    if mark.hover:
        return {**trace, "hovertemplate": escape(mark.hover) + "<extra></extra>"}
    return {**trace, "hoverinfo": "skip"}


def _steps(mark: Steps) -> dict[str, Any]:
    edges = np.asarray(mark.edges, float)
    # A step line drawn through every corner: two points an edge.
    x = np.repeat(edges, 2)
    floor = [float(mark.floor)]
    heights = np.maximum(mark.heights, mark.floor)
    y = np.concatenate([floor, np.repeat(heights, 2), floor])
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x, wide=True),
        "y": numbers(y),
        "line": {"color": COLORS[mark.color], "width": 1.4},
        "hovertemplate": "%{x:.4~g}: %{y:.4~g}<extra></extra>",
    }
    if mark.filled:
        trace["fill"] = "tozeroy"
        trace["fillcolor"] = f"fade({COLORS[mark.color]})"
    return _named(trace, mark.label)


def _bars(mark: Bars) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "bar",
        "x": numbers(mark.x, wide=True),
        "y": numbers(mark.heights),
        "marker": {"color": COLORS[mark.color], "opacity": 0.8},
    }
    return _hover(_named(trace, mark.label), mark.hover, "%{y:.6~g}")


def _heat(mark: Heat) -> dict[str, Any]:
    rows, columns = mark.z.shape
    finite = np.abs(mark.z[np.isfinite(mark.z)])
    limit = float(np.percentile(finite, 99)) if finite.size else 1.0
    limit = max(limit, 1e-6)
    names = mark.column_names or [str(i) for i in range(1, columns + 1)]
    counts = mark.counts
    texts = [
        [
            escape(f"{mark.rows[i]}, {names[j]}")
            + (f"<br>{counts[i, j]} constant stars" if counts is not None else "")
            for j in range(columns)
        ]
        for i in range(rows)
    ]
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": numbers(np.arange(1, columns + 1)),
        "y": numbers(np.arange(1, rows + 1)),
        "z": numbers(mark.z),
        "zmin": -limit,
        "zmax": limit,
        "colorscale": [list(stop) for stop in DIVERGING],
        "colorbar": {"title": {"text": escape(mark.unit), "side": "top"}},
        "hovertext": texts,
        "hovertemplate": "%{hovertext}<br>%{z:.3f}<extra></extra>",
        "xgap": 1 if columns <= 100 else 0,
        "ygap": 1 if rows <= 60 else 0,
    }
    if counts is not None and mark.roomy:
        known = np.isfinite(mark.z)
        trace["text"] = [
            [str(counts[i, j]) if known[i, j] else "" for j in range(columns)]
            for i in range(rows)
        ]
        trace["texttemplate"] = "%{text}"
    return trace


def _density(mark: Density) -> dict[str, Any]:
    counts = np.where(mark.counts > 0, mark.counts, np.nan).astype(float)
    top = float(np.log10(max(np.nanmax(counts, initial=1.0), 1.0)))
    ticks = list(range(int(np.floor(top)) + 1))
    return {
        "type": "heatmap",
        "x": numbers(mark.x_edges, wide=True),
        "y": numbers(mark.y_edges),
        "z": numbers(np.log10(counts)),
        "customdata": numbers(counts),
        "colorscale": "Cividis",
        "reversescale": True,
        "zmin": 0,
        "zmax": max(top, 0.5),
        "colorbar": {
            "title": {"text": escape(mark.unit), "side": "top"},
            "thickness": 14,
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"{10**tick:,}" for tick in ticks],
        },
        "hovertemplate": "%{x:.4~g}, %{y:.4~g}: %{customdata:.6~g}<extra></extra>",
    }


def _violins(mark: Violins) -> list[dict[str, Any]]:
    gap = np.array([np.nan])
    x = np.concatenate([part for xs, _ in mark.outlines for part in (xs, gap)] or [gap])
    y = np.concatenate([part for _, ys in mark.outlines for part in (ys, gap)] or [gap])
    body = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x, wide=True),
        "y": numbers(y),
        "fill": "toself",
        "fillcolor": f"fade({COLORS[mark.color]})",
        "line": {"color": COLORS[mark.color], "width": 1},
        "hoverinfo": "skip",
    }
    means = Points(
        mark.positions,
        mark.means,
        color=mark.color,
        hover=mark.hover,
        size=5,
        opacity=1,
    )
    return [_named(body, mark.label), _points(means)]
