"""What a column of a table is: its name, how it is stored, and what it means.

Beside it what columns of several tables have in common.
"""

__all__ = [
    "BOOL",
    "DEC",
    "FLOAT",
    "INT",
    "RA",
    "RV",
    "STAR_ID",
    "STATUS",
    "TEXT",
    "Column",
]

from dataclasses import dataclass
from typing import Any

import polars as pl


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


TEXT, INT, FLOAT, BOOL = pl.String, pl.Int64, pl.Float64, pl.Boolean
RV = "spect.dopplerVeloc"
"""The beginning of the UCD of a velocity."""

STAR_ID = Column(
    "star_id", TEXT, "", "meta.id", "Identifier of the star, shared by its visits"
)
RA = Column("ra", FLOAT, "deg", "pos.eq.ra", "Right ascension, ICRS")
DEC = Column("dec", FLOAT, "deg", "pos.eq.dec", "Declination, ICRS")
STATUS = Column("status", INT, "", "meta.code.qual", "Sum of status flags; 0 is good")
