"""Files of a report below one directory: pages from templates, figures, assets."""

__all__ = ["Writer", "page_item", "write_assets"]

import json
from importlib.metadata import version
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from steadystar.publish import paper
from steadystar.publish.files import slug, write_bytes
from steadystar.publish.inputs import ReportOptions
from steadystar.publish.lists import Listing
from steadystar.publish.plot import Figure, Missing
from steadystar.publish.web import panel_spec, spec_json

_PAGES = Path(__file__).with_name("pages")
_MANIFEST = "files.json"


class Writer:
    """Writes files below one directory and remembers which."""

    def __init__(self, directory: Path, options: ReportOptions) -> None:
        self.directory, self.options = directory, options
        self.written: set[str] = set()
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_PAGES),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def file(self, name: str, content: bytes) -> None:
        """Write one file, by its name below the directory."""
        write_bytes(self.directory / name, content)
        self.written.add(name)

    def page(self, name: str, template: str, **values: Any) -> None:
        """Fill a template and write it."""
        root = "../" * name.count("/")
        text = self.templates.get_template(template).render(
            root=root, version=version("steadystar"), **values
        )
        self.file(name, text.encode("utf-8"))

    def finish(self) -> None:
        """Remove what only an earlier report wrote, and note what this one did."""
        for name in self._earlier() - self.written:
            (self.directory / name).unlink(missing_ok=True)
        listing = json.dumps(sorted(self.written), indent=0)
        write_bytes(self.directory / _MANIFEST, listing.encode("utf-8"))

    def _earlier(self) -> set[str]:
        path = self.directory / _MANIFEST
        try:
            names = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return set()
        # Only what this module can have written: a folder of its own and a plain name.
        folders = {"stars", "figures", "assets"}
        return {
            name
            for name in names
            if isinstance(name, str)
            and len(parts := name.split("/")) == 2
            and parts[0] in folders
            and parts[1] not in ("", ".", "..")
            and "\\" not in name
        }


def write_assets(writer: Writer) -> None:
    """Write style, script and drawing library beside the page."""
    for name in ("report.css", "report.js"):
        writer.file(f"assets/{name}", (_PAGES / "assets" / name).read_bytes())
    library = package_files("plotly") / "package_data" / "plotly.min.js"
    writer.file("assets/plotly.min.js", library.read_bytes())


def _figure(
    writer: Writer, figure: Figure, prefix: str, *, draw: bool
) -> dict[str, Any]:
    """Everything that the template needs of one figure; its images are written."""
    name = slug(f"{prefix}{figure.name}")
    if draw:
        for suffix, content in paper.draw(figure, writer.options.dpi).items():
            writer.file(f"figures/{name}.{suffix}", content)
    return {
        "kind": "figure",
        "id": name,
        "figure": figure,
        "drawn": draw,
        "columns": min(figure.columns, len(figure.panels), 3),
        # The data are JSON in a script element of a type that no browser runs.
        "data": Markup(spec_json([panel_spec(panel) for panel in figure.panels])),
    }


def page_item(
    writer: Writer, item: Figure | Missing | Listing, prefix: str = "", *, draw: bool
) -> dict[str, Any]:
    """Return what the template needs of one item; images are written."""
    if isinstance(item, Figure):
        return _figure(writer, item, prefix, draw=draw)
    if isinstance(item, Missing):
        return {"kind": "missing", "missing": item}
    return {"kind": "listing", "listing": item}
