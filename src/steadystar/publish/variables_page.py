"""The pages of ``steadystar variables`` and ``orbits``, in the dress of the report.

A first page with the candidates and what they were chosen by, and a page for each of the
stars of most interest, as in the report of a run.
"""

__all__ = ["write_variables_page"]

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from steadystar.data import schema
from steadystar.publish.facts import Facts, gather
from steadystar.publish.figures.section import Section
from steadystar.publish.figures.variable_section import orbit_section, variable_section
from steadystar.publish.files import safe_name
from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportInputs, ReportOptions
from steadystar.publish.numbers import counted
from steadystar.publish.report import write_star
from steadystar.publish.star_lists import star_listing
from steadystar.publish.variable_facts import judged_stars, page_order
from steadystar.publish.writer import Writer, page_item, write_assets


def write_variables_page(
    directory: Path | str,
    inputs: ReportInputs,
    options: ReportOptions | None = None,
    *,
    command: Literal["variables", "orbits"] = "variables",
    notes: Sequence[str] = (),
    first: Sequence[str] = (),
) -> Path:
    """Write ``index.html`` and the stars' pages into ``directory``; return its path.

    Arguments:
        directory: what only an earlier page there had is removed.
        inputs: velocities, and the tables of variables, periods and orbits.
        options: how much goes into it.
        command: which one made it.
        notes: sentences for people.
        first: stars that get a page before all others.
    """
    options = options or ReportOptions()
    facts = gather(inputs)
    writer = Writer(Path(directory), options)
    order = page_order(facts, inputs)
    known = set(order)
    order = list(dict.fromkeys([*(s for s in first if s in known), *order]))
    chosen = order[: options.star_pages]
    pages = {star: f"stars/{safe_name(star)}.html" for star in chosen}
    write_assets(writer)
    writer.page(
        "index.html",
        "sections.html.j2",
        command=command,
        title=inputs.title,
        opening=_opening(facts, inputs),
        headlines=_headlines(inputs),
        sections=[
            {
                "name": section.name,
                "title": section.title,
                "lead": section.lead,
                "notes": section.notes,
                "items": [
                    page_item(writer, item, draw=options.paper_figures)
                    for item in section.items
                ],
            }
            for section in _sections(facts, inputs, options, pages, command, notes)
        ],
    )
    for place in range(len(chosen)):
        write_star(writer, facts, inputs, chosen, pages, place)
    writer.finish()
    return Path(directory) / "index.html"


def _sections(
    facts: Facts,
    inputs: ReportInputs,
    options: ReportOptions,
    pages: dict[str, str],
    command: str,
    notes: Sequence[str],
) -> list[Section]:
    made = [
        variable_section(inputs, options, pages),
        orbit_section(inputs, options, pages),
    ]
    if command == "orbits":
        made = made[::-1]
    sections = [section for section in made if section is not None]
    listed = star_listing(facts, pages)
    lead = "Velocities, and what was found of each star, on a page of its own."
    sections.append(Section("stars", "Stars", lead, (listed,)))
    if notes:
        lead = "What was noticed on the way."
        sections.append(Section("notes", "Notes", lead, (), tuple(notes)))
    return sections


def _opening(facts: Facts, inputs: ReportInputs) -> str:
    table = judged_stars(inputs)
    several = int((table["dof"].fill_null(0) > 0).sum())
    found = int(table["variable"].sum() or 0)
    text = (
        f"{counted(len(table), 'star').capitalize()} in "
        f"{counted(len(facts.visits), 'visit')}; {several:,} have visits that can be "
        f"compared, and {found:,} of these vary."
    )
    orbits = inputs.orbits
    if orbits is not None and len(orbits):
        orbits = schema.conform(orbits, "orbits")
        known = orbits.filter(pl.col("n_samples") > 0)
        good = int((orbits["orbit_status"] == "good").sum())
        text += (
            f" Orbits were looked for of {counted(len(orbits), 'star')}: {len(known):,} "
            f"have samples of possible orbits, and {good:,} a good orbit."
        )
    return text


def _headlines(inputs: ReportInputs) -> list[Headline]:
    table = judged_stars(inputs)
    made = [
        Headline(f"{len(table):,}", "stars"),
        Headline(f"{int(table['variable'].sum() or 0):,}", "variable"),
        Headline(f"{int(table['constant'].sum() or 0):,}", "constant"),
    ]
    for kind in ("single-lined binary", "double-lined binary", "likely pulsator"):
        number = int((table["class"] == kind).sum() or 0)
        if number:
            made.append(
                Headline(f"{number:,}", f"{kind.replace('binary', 'binarie')}s")
            )
    massive = int(table["massive_companion"].sum() or 0)
    if inputs.orbits is not None:
        made.append(Headline(f"{massive:,}", "with a massive unseen companion"))
    moon = int((table["n_moonlight"].fill_null(0) > 0).sum())
    if moon:
        made.append(Headline(f"{moon:,}", "with moonlight in a spectrum"))
    return made
