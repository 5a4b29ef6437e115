"""Do labels have zero points as velocities have? Their scatter with and without them.

Zong et al. (2020), appendix B and figure A2: there the difference was negligible. What
is fitted to noise takes some of it away in the very spectra that it was fitted to; what
counts is found in stars that had no part in the fit (`calibrate.label_zeropoints`).
"""

__all__ = ["label_zeropoint_figure"]

from collections.abc import Mapping

import numpy as np
import polars as pl

from steadystar.calibrate.label_zeropoints import LabelZeroPoints
from steadystar.publish.facts import Facts
from steadystar.publish.figures.errors import FEWEST
from steadystar.publish.figures.label_errors import widths_by_snr
from steadystar.publish.label_facts import SHORT, label_axis, repeats
from steadystar.publish.numbers import Array, finite, log_edges, robust_width
from steadystar.publish.plot import (
    Axis,
    Figure,
    Line,
    Mark,
    Missing,
    Panel,
    Points,
    Steps,
)

_TITLE = "Zero points of the labels themselves"
_SIDES = (("before", "orange", "as measured"), ("after", "green", "corrected"))


def label_zeropoint_figure(
    facts: Facts, found: Mapping[str, LabelZeroPoints]
) -> Figure | Missing | None:
    """Deviations from the star's mean before and after, and their width against S/N.

    ``found``: zero points by label; None is returned where nobody looked for them.
    """
    if not found:
        return None
    panels, said = [], []
    for name, result in found.items():
        sides = {
            "before": repeats(facts.labels, name),
            "after": repeats(result.apply(facts.labels), name),
        }
        if len(sides["before"]) < FEWEST:
            continue
        panels += [_histogram(name, sides), _by_snr(name, sides, result.laws)]
        said.append(result.sentence.replace("+-", "±"))
    if not panels:
        return Missing(
            "label-zeropoints", _TITLE, f"No label has {FEWEST} repeats in an arm."
        )
    return Figure(
        name="label-zeropoints",
        title=_TITLE,
        panels=tuple(panels),
        columns=2,
        wide=True,
        shows="Labels of single spectra less the mean of their star, as measured (orange) "
        "and after zero points were taken off them as they are off velocities (green); "
        "and the width of both against S/N (Zong et al. 2020, figure A2). Diamonds: the "
        "law of the width for stars that had no part in the fit, which corrections that "
        "only follow the noise do not help.",
        good="Both alike: labels have no zero points, and need no correction, which is "
        "what was published. Where green is narrower, for the diamonds too, something "
        "moves the labels of all stars of an exposure together: moonlight, the flat "
        "field, the line spread.",
        here=f"Here: {' '.join(said)}",
    )


def _histogram(name: str, sides: Mapping[str, pl.DataFrame]) -> Panel:
    reach = 5 * max(robust_width(sides["before"]["deviation"]), 1e-9)
    edges = np.linspace(-reach, reach, 51)
    marks = []
    for side, color, label in _SIDES:
        heights, _ = np.histogram(finite(sides[side]["deviation"]), edges)
        marks.append(
            Steps(edges, heights.astype(float), color, label, filled=side == "before")
        )
    return Panel(
        Axis(label_axis(name, "deviation of").label, low=-reach, high=reach),
        Axis("spectra"),
        tuple(marks),
        title=SHORT[name],
    )


def _by_snr(name: str, sides: Mapping[str, pl.DataFrame], laws: pl.DataFrame) -> Panel:
    edges = log_edges(sides["before"]["snr"].to_numpy(), share=0.002)
    marks: list[Mark] = []
    heights: list[Array] = []
    for side, color, _ in _SIDES:
        rows = sides[side]
        snr, deviation = rows["snr"].to_numpy(), rows["deviation"].to_numpy()
        at, width, error, _ = widths_by_snr(snr, deviation)
        marks += [
            Line(at, width, color),
            Points(at, width, color, error=error, size=5),
        ]
        heights.append(width)
        x, law, law_err = (laws[c].to_numpy() for c in ("snr", side, f"{side}_err"))
        inside = (x >= edges[0]) & (x <= edges[-1])
        if inside.any():
            held = "law, no part in the fit" if side == "after" else ""
            marks.append(
                Points(
                    x[inside], law[inside], color, held, law_err[inside],
                    symbol="diamond", size=9, opacity=1.0,
                )
            )  # fmt: skip
            heights.append(law[inside])
    every = finite(np.concatenate(heights))
    top = 1.15 * float(every.max()) if every.size else 1.0
    return Panel(
        Axis("S/N per pixel", log=True, low=float(edges[0]), high=float(edges[-1])),
        Axis(label_axis(name, "scatter of").label, low=0, high=top),
        tuple(marks),
        title="Width by S/N",
    )
