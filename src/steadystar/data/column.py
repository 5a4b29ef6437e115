"""What a column of a table is: its name, how it is stored, and what it means."""

__all__ = ["Column"]

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column; units in the form that `astropy.units.Unit` reads."""

    name: str
    dtype: Any
    unit: str
    ucd: str
    meaning: str
    optional: bool = False
    """A table goes without it where nothing was measured that could fill it."""
