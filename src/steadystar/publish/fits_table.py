"""A table as a FITS binary table that any reader understands.

Each column carries its unit (TUNITn), its UCD (TUCDn) and its meaning (TCOMMn, both as
TOPCAT reads them). The standard has gaps, and they are bridged so that common readers
still see what is missing:

* integers: nulls are a number that the column does not hold, announced by TNULLn;
* booleans without nulls are logicals; with nulls they are 16-bit integers, 1 and 0, with
  TNULLn, because most readers take an undefined logical for False;
* floats: NaN; text: an empty text;
* the standard allows printable ASCII only, and some readers fail on a single other byte:
  the other characters are written as ``\\xNN``, ``\\uNNNN`` or ``\\UNNNNNNNN``, and
  TXTESCn says so for the columns concerned (whose backslashes are doubled);
* text longer than 4096 characters is cut, and the header counts how many were.
"""

__all__ = ["LONGEST_TEXT", "fits_bytes"]

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from steadystar.publish.plain import PlainColumn, explained, labels

LONGEST_TEXT = 4096
"""Characters of text that a FITS cell may hold; every row of a column is as wide as the
longest, so that one absurd value would otherwise multiply the file."""

_MOST_COLUMNS = 999
_NULL_BOOLEAN = -1


def fits_bytes(
    columns: list[PlainColumn], name: str, provenance: Mapping[str, str]
) -> bytes:
    """Return the FITS file of one table called ``name``; the same bytes every time.

    ``provenance`` goes into PROV1, PROV2, ... as ``key: value``.

    Raises:
        ValueError: there are more columns than FITS can number.
    """
    if len(columns) > _MOST_COLUMNS:
        raise ValueError(
            f"The table has {len(columns)} columns, but FITS numbers 999 at most: "
            "leave some out, or write Parquet or VOTable."
        )
    cards: list[tuple[str, str | bool, str]] = []
    made = []
    for number, (column, label) in enumerate(
        zip(columns, labels(columns), strict=True), 1
    ):
        made.append(_column(column, label, number, cards))
    table = fits.BinTableHDU.from_columns(made)
    table.header["EXTNAME"] = printable(name)
    for key, value, comment in cards:
        table.header[key] = (value, comment) if comment else value
    for number, (key, value) in enumerate(provenance.items(), 1):
        table.header[f"PROV{number}"] = printable(f"{key}: {value}")
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    return out.getvalue()


def printable(text: str) -> str:
    """Return ``text`` with everything but printable ASCII written as an escape."""
    return "".join(
        character
        if " " <= character <= "~"
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _column(
    column: PlainColumn,
    label: str,
    number: int,
    cards: list[tuple[str, str | bool, str]],
) -> fits.Column:
    """Make the FITS column; what else the header must say is added to ``cards``."""
    meaning = explained(column, label)
    null: int | None = None
    values: NDArray = column.values
    if column.kind == "text":
        values, remark = _text_cells(column, number, cards)
        meaning = f"{meaning} {remark}".strip()
        form = f"{max(1, values.dtype.itemsize)}A"
    elif column.kind == "float":
        form = "E" if values.dtype == np.float32 else "D"
    elif column.kind == "int":
        form = "K"
        if column.null.any():
            null = _unused(values[~column.null])
            values = np.where(column.null, null, values)
    elif column.null.any():
        form, null = "I", _NULL_BOOLEAN
        values = np.where(column.null, null, values).astype(np.int16)
        meaning = f"{meaning} (1 true, 0 false)".strip()
    else:
        form = "L"
    if column.ucd:
        cards.append((f"TUCD{number}", column.ucd, ""))
    if meaning:
        cards.append((f"TCOMM{number}", printable(meaning), ""))
    return fits.Column(
        name=label, format=form, unit=column.unit or None, null=null, array=values
    )


def _text_cells(
    column: PlainColumn, number: int, cards: list[tuple[str, str | bool, str]]
) -> tuple[NDArray[Any], str]:
    texts = column.values.tolist()
    long = sum(len(text) > LONGEST_TEXT for text in texts)
    texts = [text[:LONGEST_TEXT] for text in texts]
    if any(printable(text) != text for text in texts):
        texts = [printable(text.replace("\\", "\\\\")) for text in texts]
        cards.append((f"TXTESC{number}", True, "beyond ASCII: backslash escapes"))
    remark = f"({long} values cut to {LONGEST_TEXT} characters)" if long else ""
    cells = np.array([text.encode("ascii") for text in texts], dtype=np.bytes_)
    return cells if cells.size else np.zeros(0, "S1"), remark


def _unused(values: NDArray[np.int64]) -> int:
    """Return the most negative integer that ``values`` do not hold."""
    candidate = int(np.iinfo(np.int64).min)
    taken = set(values.tolist())
    while candidate in taken:
        candidate += 1
    return candidate
