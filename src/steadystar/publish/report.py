"""A report that an astronomer understands who never saw the program.

`write_report` writes ``index.html`` with everything beside it that it needs (``assets``,
``figures``, ``stars``): it can be zipped, mailed and opened from a disk, and asks the
network for nothing. The same inputs give the same bytes.

Every text that came from a file is escaped (jinja2's autoescape; `web.escape` for
plotly's labels; ``\\u003c`` in embedded data), file names are made by `safe_name`, and a
Content-Security-Policy forbids scripts other than the two beside the page.
"""

__all__ = ["ReportInputs", "ReportOptions", "write_report", "write_star"]

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from steadystar.publish.facts import Facts, gather
from steadystar.publish.figures import Section, overview_sections, star_figures
from steadystar.publish.figures.timeline import (
    arm_points,
    time_axis,
    velocity_label,
)
from steadystar.publish.files import safe_name
from steadystar.publish.headlines import headlines, opening, star_facts
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.lists import glossary, summary_listing
from steadystar.publish.plot import Axis, Panel
from steadystar.publish.star_lists import star_listing, visit_listing
from steadystar.publish.variable_facts import page_order
from steadystar.publish.web import panel_spec, spec_json
from steadystar.publish.writer import Writer, page_item, write_assets


def write_report(
    directory: Path | str, inputs: ReportInputs, options: ReportOptions | None = None
) -> Path:
    """Write the report into ``directory`` and return the path of its first page.

    Files of an earlier report there that this one does not have are removed; other
    files are left alone.

    Raises:
        ValueError: a column of a table is of the wrong kind; the message names it.
    """
    options = options or ReportOptions()
    directory = Path(directory)
    facts = gather(inputs)
    writer = Writer(directory, options)
    chosen = page_order(facts, inputs)[: options.star_pages]
    pages = {star: f"stars/{safe_name(star)}.html" for star in chosen}
    if not inputs.compared and "star_id" in inputs.velocities.columns:
        # All else is in the facts: a large survey need not be there twice.
        mine = pl.col("star_id").cast(pl.String).is_in(chosen)
        inputs = replace(inputs, velocities=inputs.velocities.filter(mine))
    write_assets(writer)
    sections = overview_sections(facts, inputs, options, pages)
    _write_index(writer, facts, inputs, sections, pages)
    for place in range(len(chosen)):
        write_star(writer, facts, inputs, chosen, pages, place)
    writer.finish()
    return directory / "index.html"


def _write_index(
    writer: Writer,
    facts: Facts,
    inputs: ReportInputs,
    sections: list[Section],
    pages: dict[str, str],
) -> None:
    draw = writer.options.paper_figures
    listed = star_listing(facts, pages)
    writer.page(
        "index.html",
        "index.html.j2",
        title=inputs.title,
        opening=opening(facts, inputs),
        headlines=headlines(facts, inputs),
        sections=[
            {
                "name": section.name,
                "title": section.title,
                "lead": section.lead,
                "notes": section.notes,
                "items": [page_item(writer, item, draw=draw) for item in section.items],
            }
            for section in sections
        ],
        explorer=_explorer(facts, pages),
        has_spectra=inputs.spectra is not None,
        stars=listed,
        summary=summary_listing(inputs.summary),
        glossary=glossary(facts),
    )


def _explorer(facts: Facts, pages: dict[str, str]) -> dict[str, Any] | None:
    """The velocities of every star that has a page, to be chosen from a list."""
    entries = []
    for star, page in pages.items():
        visits = facts.visits.filter(pl.col("star_id") == star)
        rows = visits.filter("measured")
        if not len(rows):
            continue
        time = time_axis(rows)
        panel = Panel(
            Axis(time.label),
            Axis(velocity_label(facts)),
            tuple(arm_points(facts, rows, time, labels=True, size=6)),
        )
        entries.append({"star": star, "page": page, "spec": panel_spec(panel)})
    if not entries:
        return None
    return {
        "stars": [entry["star"] for entry in entries],
        "data": Markup(
            spec_json([{"page": e["page"], "spec": e["spec"]} for e in entries])
        ),
    }


def write_star(
    writer: Writer,
    facts: Facts,
    inputs: ReportInputs,
    chosen: list[str],
    pages: dict[str, str],
    place: int,
) -> None:
    """Write the page of the star at ``place`` among the ``chosen`` ones."""
    star, options = chosen[place], writer.options
    draw = options.paper_figures and place < options.star_paper_figures
    stem = f"{safe_name(star)}-"
    visits = facts.visits.filter(pl.col("star_id") == star)
    beside = None
    if facts.both:
        beside = facts.absolute.filter(pl.col("star_id") == star)
    row = facts.stars.filter(pl.col("star_id") == star).row(0, named=True)
    before, after = chosen[place - 1], chosen[(place + 1) % len(chosen)]
    writer.page(
        pages[star],
        "star.html.j2",
        title=inputs.title,
        star=star,
        facts=star_facts(facts, row),
        items=[
            page_item(writer, item, stem, draw=draw)
            for item in star_figures(facts, inputs, star, options)
        ],
        visits=visit_listing(visits, beside),
        before=(before, pages[before]),
        after=(after, pages[after]),
    )
