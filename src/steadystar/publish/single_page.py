"""A page on its own, in the dress of the report: of a command that answers one question."""

__all__ = ["Page", "write_page"]

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from steadystar.publish.headlines import Headline
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.plot import Figure, Missing
from steadystar.publish.writer import Writer, page_item, write_assets


@dataclass(frozen=True)
class Page:
    """What the page says: the command that made it, headlines, notes, and the rest."""

    command: str
    title: str
    opening: str
    headlines: Sequence[Headline]
    notes: Sequence[str]
    items: Sequence[Figure | Missing | Listing]


def write_page(
    directory: Path | str, page: Page, options: ReportOptions | None = None
) -> Path:
    """Write ``index.html`` into ``directory``, with what it needs, and return its path.

    What only an earlier page there had is removed.
    """
    options = options or ReportOptions()
    writer = Writer(Path(directory), options)
    write_assets(writer)
    draw = options.paper_figures
    writer.page(
        "index.html",
        "single.html.j2",
        command=page.command,
        title=page.title,
        opening=page.opening,
        headlines=page.headlines,
        notes=page.notes,
        content=[page_item(writer, one, draw=draw) for one in page.items],
    )
    writer.finish()
    return Path(directory) / "index.html"
