"""Figures for the page: each panel as the data and layout that plotly.js draws.

Colors are written as ``var(--name)``, the page's own style variables; the page's script
puts their values in, so that a figure follows the light or dark background. Text that
came from a file is escaped here, because plotly reads a small HTML in its labels.
"""

__all__ = ["COLORS", "escape", "panel_spec", "spec_json"]

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from steadystar.publish.plot import (
    Axis,
    Band,
    Bars,
    Density,
    Heat,
    Line,
    Mark,
    Matrix,
    Panel,
    Points,
    Steps,
    Violins,
)

COLORS = {
    "ink": "var(--ink)",
    "muted": "var(--muted)",
    "blue": "var(--blue)",
    "red": "var(--red)",
    "green": "var(--green)",
    "orange": "var(--orange)",
    "purple": "var(--purple)",
    "sky": "var(--sky)",
}

_SYMBOLS = {
    "circle": "circle",
    "open": "circle-open",
    "diamond": "diamond",
    "cross": "x",
    "square": "square",
}

DIVERGING = (
    (0.0, "#2166ac"),
    (0.25, "#92c5de"),
    (0.5, "#f7f7f7"),
    (0.75, "#f4a582"),
    (1.0, "#b2182b"),
)
"""ColorBrewer's RdBu, which remains readable with the common color deficiencies."""


SEQUENTIAL = (
    (0.0, "#d9ecef"),
    (0.25, "#8fc7cf"),
    (0.5, "#3f95ab"),
    (0.75, "#1a5f86"),
    (1.0, "#0b2a4f"),
)
"""From light to dark blue: more is darker."""


def escape(text: str) -> str:
    """Make text safe for plotly's labels: no markup, no template, at most 120 signs."""
    if len(text) > 120:
        text = text[:119] + "…"
    clean = "".join(c if c.isprintable() else "�" for c in text)
    return (
        clean.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("%{", "% {")
    )


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
        layout |= _matrix_axes(matrix, panel)
        shapes += _matrix_lines(matrix)
    if shapes:
        layout["shapes"] = shapes
    return {"data": data, "layout": layout}


def _numbers(values: Any, *, wide: bool = False) -> dict[str, str]:
    """Numbers in plotly's base64 form: 4 bytes each, 8 where ``wide`` (times).

    Infinities, and what 4 bytes cannot hold, become NaN, which plotly leaves out.
    """
    array = np.asarray(values, np.float64)
    array = np.where(np.abs(array) < 1e38, array, np.nan)
    array = array.astype("<f8" if wide else "<f4")
    spec = {
        "dtype": "f8" if wide else "f4",
        "bdata": base64.b64encode(array.tobytes()).decode("ascii"),
    }
    if array.ndim > 1:
        spec["shape"] = ", ".join(str(size) for size in array.shape)
    return spec


def _positions(x: np.ndarray) -> dict[str, Any]:
    """Horizontal positions; a long uniform grid needs only its start and step."""
    steps = np.diff(x)
    if len(x) > 100 and np.allclose(steps, steps[0], rtol=1e-6):
        return {"x0": float(x[0]), "dx": float(steps.mean())}
    return {"x": _numbers(x, wide=True)}


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
        spec["dtick"] = "D2"
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
        return [_matrix(mark)]
    if isinstance(mark, Density):
        return [_density(mark)]
    if isinstance(mark, Violins):
        return _violins(mark)
    return []


def _named(trace: dict[str, Any], label: str) -> dict[str, Any]:
    return {**trace, "name": escape(label), "showlegend": bool(label)}


def _hover(trace: dict[str, Any], texts: Sequence[str], form: str) -> dict[str, Any]:
    if texts:
        return {
            **trace,
            "hovertext": [escape(text) for text in texts],
            "hovertemplate": "%{hovertext}<br>" + form + "<extra></extra>",
        }
    return {**trace, "hovertemplate": form + "<extra></extra>"}


def _points(mark: Points) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": _numbers(mark.x, wide=True),
        "y": _numbers(mark.y),
        "marker": {
            "color": COLORS[mark.color],
            "size": mark.size,
            "symbol": _SYMBOLS[mark.symbol],
            "opacity": mark.opacity,
        },
    }
    form = "%{x:.7~g}, %{y:.4~g}"
    if mark.error is not None:
        trace["error_y"] = {
            "type": "data",
            "array": _numbers(mark.error),
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
        "y": _numbers(mark.y),
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
    y = np.concatenate([[0.0], np.repeat(mark.heights, 2), [0.0]])
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": _numbers(x, wide=True),
        "y": _numbers(y),
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
        "x": _numbers(mark.x, wide=True),
        "y": _numbers(mark.heights),
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
        "x": _numbers(np.arange(1, columns + 1)),
        "y": _numbers(np.arange(1, rows + 1)),
        "z": _numbers(mark.z),
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


def _matrix(mark: Matrix) -> dict[str, Any]:
    """A heat map whose hover text comes from its axes: a text a cell would be heavy."""
    names = _categories(mark)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "colorbar": {"title": {"text": escape(mark.unit), "side": "top"}},
    }
    form = f"%{{y}}<br>%{{x}}<br>%{{{'customdata' if mark.counts else 'z:.3f'}}}"
    trace["hovertemplate"] = f"{form} {escape(mark.unit)}<extra></extra>"
    if not mark.counts:
        limit = mark.reach
        scale = [list(stop) for stop in DIVERGING]
        return trace | {
            "z": _numbers(mark.z), "zmin": -limit, "zmax": limit, "colorscale": scale,
        }  # fmt: skip
    # The logarithm in 255 steps; the step below them is for none, and has no color.
    counts, top = np.nan_to_num(mark.z), np.log10(mark.reach)
    step = np.where(counts > 0, 1 + 254 * np.log10(np.maximum(counts, 1)) / top, 0)
    ticks = [t for e in range(7) for t in (10**e, 3 * 10**e) if t <= mark.reach]
    trace["colorbar"] |= {
        "tickmode": "array",
        "tickvals": [float(1 + 254 * np.log10(t) / top) for t in ticks],
        "ticktext": [f"{t:,}" for t in ticks],
    }
    kind = "u2" if counts.max(initial=0) < 2**16 else "u4"
    none = [[0.0, "rgba(0,0,0,0)"], [0.5 / 255, "rgba(0,0,0,0)"]]
    colors = [[0.5 / 255 + (1 - 0.5 / 255) * at, color] for at, color in SEQUENTIAL]
    return trace | {
        "z": _packed(np.round(step), "u1"),
        "customdata": _packed(counts, kind),
        "zmin": 0,
        "zmax": 255,
        "colorscale": [*none, *colors],
    }


def _packed(values: np.ndarray, kind: str) -> dict[str, str]:
    """Whole numbers in plotly's base64 form, of ``kind`` u1, u2 or u4."""
    data = np.ascontiguousarray(values, f"<{kind}").tobytes()
    return {
        "dtype": kind,
        "bdata": base64.b64encode(data).decode("ascii"),
        "shape": ", ".join(str(size) for size in values.shape),
    }


def _categories(mark: Matrix) -> list[str]:
    """The names of rows, no two alike: plotly puts equal ones into one place."""
    seen: dict[str, int] = {}
    names = []
    for name in map(escape, mark.names):
        seen[name] = seen.get(name, 0) + 1
        names.append(f"{name} ({seen[name]})" if seen[name] > 1 else name)
    return names


def _matrix_axes(mark: Matrix, panel: Panel) -> dict[str, Any]:
    names = _categories(mark)
    every = -(-len(names) // 10)
    shared = {"type": "category", "showgrid": False, "tickmode": "array"}
    return {
        "xaxis": {
            **shared, "tickvals": [], "title": {"text": escape(panel.x.label)},
        },
        "yaxis": {
            **shared,
            "tickvals": names[::every],
            "ticktext": [escape(name[:24]) for name in mark.names[::every]],
            "autorange": "reversed",
            "title": {"text": escape(panel.y.label)},
        },
    }  # fmt: skip


def _matrix_lines(mark: Matrix) -> list[dict[str, Any]]:
    lines = []
    for start in mark.starts:
        for along, across in (("x", "y"), ("y", "x")):
            lines.append(
                {
                    "type": "line",
                    f"{along}0": start - 0.5,
                    f"{along}1": start - 0.5,
                    f"{across}0": 0,
                    f"{across}1": 1,
                    f"{across}ref": "paper",
                    "line": {"width": 0.7, "color": COLORS["muted"]},
                }
            )
    return lines


def _density(mark: Density) -> dict[str, Any]:
    counts = np.where(mark.counts > 0, mark.counts, np.nan).astype(float)
    top = float(np.log10(max(np.nanmax(counts, initial=1.0), 1.0)))
    ticks = list(range(int(np.floor(top)) + 1))
    return {
        "type": "heatmap",
        "x": _numbers(mark.x_edges, wide=True),
        "y": _numbers(mark.y_edges),
        "z": _numbers(np.log10(counts)),
        "customdata": _numbers(counts),
        "colorscale": "Cividis",
        "reversescale": True,
        "zmin": 0,
        "zmax": max(top, 0.5),
        "colorbar": {
            "title": {"text": escape(mark.unit), "side": "top"},
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
        "x": _numbers(x, wide=True),
        "y": _numbers(y),
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
