"""A table as a VOTable: units, UCDs and meanings in its fields, provenance as INFO.

Cells are written in the BINARY2 serialization, which keeps every null apart from every
value (also for booleans, integers and empty text) and takes any character.
"""

__all__ = ["votable_bytes"]

import io
from collections.abc import Mapping
from typing import Any

from astropy.io.votable import from_table
from astropy.io.votable.tree import Info
from astropy.table import MaskedColumn, Table

from steadystar.publish.plain import PlainColumn


def votable_bytes(
    columns: list[PlainColumn], name: str, provenance: Mapping[str, str]
) -> bytes:
    """Return the VOTable of one table called ``name``; the same bytes every time."""
    table = Table(
        [_column(column) for column in columns],
        names=[_legal(column.name) for column in columns],
    )
    document = from_table(table, table_id="table")
    document.resources[0].infos.extend(
        Info(name=_legal(key), value=_legal(value)) for key, value in provenance.items()
    )
    inner = next(iter(document.iter_tables()))
    inner.name = _legal(name)
    out = io.BytesIO()
    document.to_xml(out, tabledata_format="binary2")
    return out.getvalue()


def _column(column: PlainColumn) -> MaskedColumn:
    values = column.values
    if column.kind == "text":
        values = values.astype(str) if len(values) else values.astype("U1")
    masked: Any = MaskedColumn(
        values,
        # NaN is the null of floats; a mask would only say it twice.
        mask=False if column.kind == "float" else column.null,
        unit=column.unit or None,
        description=_legal(column.meaning) or None,
    )
    if column.ucd:
        masked.meta["ucd"] = column.ucd
    return masked


def _legal(text: str) -> str:
    """Replace the characters that XML cannot hold even as an entity."""
    return "".join(
        character
        if character in "\t\n"
        or " " <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character >= "\U00010000"
        else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
