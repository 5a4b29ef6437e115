"""The report of ``steadystar hot``: emission, dust, magnitudes, pairs, distances, maps.

One page with a counterpart of each figure of Xiang et al. (2021), and what the paper does
not show. Each section says first in words, with numbers, what one sees.
"""

__all__ = ["HotReportInputs", "write_hot_report"]

from pathlib import Path

from steadystar.publish.figures.section import Item
from steadystar.publish.hot_headlines import hot_headlines, hot_opening
from steadystar.publish.hot_inputs import HotReportInputs, gather_hot
from steadystar.publish.hot_sections import hot_sections
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.writer import Writer, page_item, write_assets

_FOR_PAPER = frozenset(
    (
        *("hot-emission", "hot-neighbors", "hot-reddening-sky", "hot-magnitudes"),
        *("hot-labels", "hot-gravity", "hot-corner", "hot-pulls", "hot-excess"),
        *("hot-composites", "hot-object", "distances-errors", "distances-map"),
    )
)
"""Figures that are also written as PNG and PDF; others would take long and much space."""


def _drawn(item: Item, options: ReportOptions) -> bool:
    return options.paper_figures and item.name in _FOR_PAPER


def write_hot_report(
    directory: Path | str,
    inputs: HotReportInputs,
    options: ReportOptions | None = None,
) -> Path:
    """Write ``index.html`` and what it needs into ``directory``; return its path.

    Columns may be missing or empty: what cannot be drawn says why. Files of an earlier
    report there that this one does not have are removed.
    """
    options = options or ReportOptions()
    directory = Path(directory)
    facts = gather_hot(inputs)
    writer = Writer(directory, options)
    write_assets(writer)
    writer.page(
        "index.html",
        "sections.html.j2",
        command="hot",
        title=inputs.title,
        opening=hot_opening(facts),
        headlines=hot_headlines(facts),
        sections=[
            {
                "name": section.name,
                "title": section.title,
                "lead": section.lead,
                "notes": section.notes,
                "items": [
                    page_item(writer, item, draw=_drawn(item, options))
                    for item in section.items
                ],
            }
            for section in hot_sections(facts, options)
        ],
    )
    writer.finish()
    return directory / "index.html"
