"""A table as a VOTable: units, UCDs and meanings in its fields, provenance as INFO.

Cells are written in the BINARY2 serialization, which flags every null (also of booleans,
integers and text, though some readers take a null text for an empty one) and takes any
character.
"""

__all__ = ["astropy_header", "votable_bytes", "votable_header"]

import io
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io.votable import from_table
from astropy.io.votable.converters import get_converter
from astropy.io.votable.tree import CooSys, Info, VOTableFile
from astropy.table import MaskedColumn, Table
from astropy.table.meta import get_yaml_from_table

from steadystar.publish.plain import PlainColumn, explained, labels

_POSITIONS = ("pos.eq.ra", "pos.eq.dec")


def votable_bytes(
    columns: list[PlainColumn], name: str, provenance: Mapping[str, str]
) -> bytes:
    """Return the VOTable of one table called ``name``; the same bytes every time."""
    out = io.BytesIO()
    document = _document(columns, labels(columns), name, provenance)
    document.to_xml(out, tabledata_format="binary2")
    return out.getvalue()


def votable_header(
    columns: list[PlainColumn], name: str, provenance: Mapping[str, str]
) -> str:
    """Return the VOTable of a table without its rows, to stand in a Parquet file.

    TOPCAT and astropy (``format="parquet.votable"``) take units and meanings from it. The
    fields are called as the columns are.
    """
    document = _document(columns, labels(columns), name, provenance)
    inner = next(iter(document.iter_tables()))
    for field, column in zip(inner.fields, columns, strict=True):
        field.name = _legal(column.name)
        if column.kind == "text":
            field.arraysize = "*"
            field.converter = get_converter(field)
    out = io.BytesIO()
    document.to_xml(out, tabledata_format="tabledata")
    text = out.getvalue().decode("utf-8")
    return re.sub(r"\s*<DATA>.*</DATA>", "", text, flags=re.DOTALL)


def astropy_header(columns: list[PlainColumn]) -> str:
    """Return units and meanings in the words that astropy's reader of Parquet looks for."""
    table = Table(
        [_column(column, column.name) for column in columns],
        names=[column.name for column in columns],
    )
    return "\n".join(get_yaml_from_table(table))


def _document(
    columns: list[PlainColumn],
    names: list[str],
    name: str,
    provenance: Mapping[str, str],
) -> VOTableFile:
    table = Table(
        [_column(column, name) for column, name in zip(columns, names, strict=True)],
        names=names,
    )
    document = from_table(table, table_id="table")
    resource = document.resources[0]
    resource.infos.extend(
        Info(ID=f"info_{number}", name=_legal(key), value=_legal(value))
        for number, (key, value) in enumerate(provenance.items(), 1)
    )
    inner = next(iter(document.iter_tables()))
    inner.name = _legal(name)
    for field, column in zip(inner.fields, columns, strict=True):
        if column.kind == "bool":
            # Left alone, these would be arrays of single bits.
            field.datatype = "boolean"
            field.converter = get_converter(field)
        elif column.kind == "text":
            inner.array.mask[field.ID] = column.null
        if column.ucd.startswith(_POSITIONS):
            field.ref = "icrs"
    if any(field.ref for field in inner.fields):
        resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    return document


def _column(column: PlainColumn, label: str) -> MaskedColumn:
    values = column.values
    if column.kind == "text":
        texts = [_two_bytes(text) for text in values]
        values = np.array(texts, dtype=object if texts else "U1")
    masked: Any = MaskedColumn(
        values,
        # NaN is the null of floats; texts are masked once the table is made.
        mask=column.null if column.kind in ("int", "bool") else False,
        unit=column.unit or None,
        description=_legal(explained(column, label)) or None,
    )
    if column.ucd:
        masked.meta["ucd"] = column.ucd
    return masked


def _two_bytes(text: str) -> str:
    """Escape characters beyond U+FFFF: a VOTable's unicodeChar has two bytes."""
    if text.isascii():
        return text
    return "".join(c if c <= "\uffff" else f"\\U{ord(c):08x}" for c in text)


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
