"""A map of pairs on the page: light, with the names of rows in the hover text."""

__all__ = ["matrix_axes", "matrix_lines", "matrix_trace"]

from typing import Any

import numpy as np

from steadystar.publish.plot import Matrix, Panel
from steadystar.publish.web_values import (
    COLORS,
    DIVERGING,
    SEQUENTIAL,
    escape,
    numbers,
    whole_numbers,
)

_MOST_LINES = 40


def matrix_trace(mark: Matrix) -> dict[str, Any]:
    """A heat map whose hover text comes from its axes: a text a cell would be heavy."""
    names = _categories(mark)
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "zsmooth": False,
        "colorbar": {"title": {"text": escape(mark.unit), "side": "top"}},
    }
    form = f"%{{y}}<br>%{{x}}<br>%{{{'customdata' if mark.counts else 'z:.3f'}}}"
    trace["hovertemplate"] = f"{form} {escape(mark.unit)}<extra></extra>"
    if not mark.counts:
        limit = mark.reach
        scale = [list(stop) for stop in DIVERGING]
        return trace | {
            "z": numbers(mark.z), "zmin": -limit, "zmax": limit, "colorscale": scale,
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
        "z": whole_numbers(np.round(step), "u1"),
        "customdata": whole_numbers(counts, kind),
        "zmin": 0,
        "zmax": 255,
        "colorscale": [*none, *colors],
    }


def _categories(mark: Matrix) -> list[str]:
    """The names of rows, no two alike: plotly puts equal ones into one place."""
    names: dict[str, None] = {}
    for name in map(escape, mark.names):
        one, copy = name, 1
        while one in names:
            copy += 1
            one = f"{name} ({copy})"
        names[one] = None
    return list(names)


def matrix_axes(mark: Matrix, panel: Panel) -> dict[str, Any]:
    """The axes of the layout: the rows by name, the columns in the same order."""
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
            "ticktext": [escape(name[:18]) for name in mark.names[::every]],
            "autorange": "reversed",
            "title": {"text": escape(panel.y.label)},
        },
    }  # fmt: skip


def matrix_lines(mark: Matrix) -> list[dict[str, Any]]:
    """The lines between sets, unless they would hide what they part."""
    lines = []
    for start in mark.starts if len(mark.starts) <= _MOST_LINES else ():
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
