"""A section of the first page."""

__all__ = ["Item", "Section", "present"]

from dataclasses import dataclass

from steadystar.publish.lists import Listing
from steadystar.publish.plot import Figure, Missing

Item = Figure | Missing | Listing


@dataclass(frozen=True)
class Section:
    """A heading, a lead, and what stands under it, in order."""

    name: str
    title: str
    lead: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def present(*items: Item | None) -> tuple[Item, ...]:
    """Return the items that there are."""
    return tuple(item for item in items if item is not None)
