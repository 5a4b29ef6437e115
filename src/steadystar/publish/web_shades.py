"""On the page: what a third quantity colors, and words in the panel."""

__all__ = ["cells_trace", "shaded_trace", "word_annotations"]

from typing import Any

import numpy as np

from steadystar.publish.plot import Axis, Cells, Panel, Shaded, Words
from steadystar.publish.web_values import COLORS, SHADES, escape, numbers

_SCALE = [list(stop) for stop in SHADES]


def _bar(unit: str) -> dict[str, Any]:
    return {"title": {"text": escape(unit), "side": "top"}, "thickness": 14}


def shaded_trace(mark: Shaded) -> dict[str, Any]:
    """Points with colors from a bar; position and value in the hover text."""
    form = "%{marker.color:.3~g} " + escape(mark.unit)
    if not mark.bare:
        form = "%{x:.5~g}, %{y:.4~g}<br>" + form
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(mark.x, wide=True),
        "y": numbers(mark.y),
        "showlegend": False,
        "marker": {
            "color": numbers(mark.z),
            "cmin": float(mark.low),
            "cmax": float(mark.high),
            "colorscale": _SCALE,
            "colorbar": _bar(mark.unit),
            "size": mark.size,
            "symbol": mark.symbol,
            "opacity": mark.opacity,
        },
    }
    if mark.hover:
        trace["hovertext"] = [escape(text) for text in mark.hover]
        form = "%{hovertext}<br>" + form
    return trace | {"hovertemplate": form + "<extra></extra>"}


def cells_trace(mark: Cells) -> dict[str, Any]:
    """A heat map in the same colors."""
    return {
        "type": "heatmap",
        "x": numbers(mark.x_edges, wide=True),
        "y": numbers(mark.y_edges),
        "z": numbers(mark.z),
        "zmin": float(mark.low),
        "zmax": float(mark.high),
        "colorscale": _SCALE,
        "colorbar": _bar(mark.unit),
        "hovertemplate": "%{x:.4~g}, %{y:.4~g}<br>%{z:.3~g} "
        + escape(mark.unit)
        + "<extra></extra>",
    }


def word_annotations(panel: Panel) -> list[dict[str, Any]]:
    """All words of a panel, as plotly's annotations."""
    return [
        {
            "x": _on(panel.x, x),
            "y": _on(panel.y, y),
            "text": escape(text),
            "showarrow": False,
            "font": {"color": COLORS[mark.color], "size": 10.5},
            "textangle": -90 if mark.upright else 0,
            "yanchor": "top" if mark.upright else "middle",
        }
        for mark in panel.marks
        if isinstance(mark, Words)
        for x, y, text in zip(mark.x, mark.y, mark.texts, strict=True)
    ]


def _on(axis: Axis, value: float) -> float:
    """Where plotly wants an annotation: at the logarithm, on a logarithmic axis."""
    return float(np.log10(value)) if axis.log else float(value)
