"""Tables of numbers in text: CSV, ECSV, columns apart by spaces, with or without names.

Comment lines of the form ``# KEY = value`` or ``# key: value`` become a header. Column
names come from a heading, or from the last comment line if it has as many words as
there are columns; units from ``name [unit]``, ``name (unit)`` or an ECSV heading.
"""

__all__ = ["TextTable", "parse_text"]

import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_MAX_TEXT, _MAX_COLUMNS = 32_000_000, 1000
"""Characters and columns: a million pixels fit, the memory of a laptop is not at risk."""
_COMMENT = re.compile(r"\s*(?:#|%|!|//)+\s?(.*)")
_FACT = re.compile(r"[-{\s]*([A-Za-z][\w.\- ]{0,40}?)\s*[:=]\s*(.*?)[}\s]*")
_ECSV_COLUMN = re.compile(r"- \{.*?name: '?([^,'}]+)'?.*?(?:unit: '?([^,'}]+)'?.*)?\}")
_NAME = re.compile(r"\s*\"?([^\[(\"]*?)\"?\s*(?:[\[(]([^\])]*)[\])]\s*)?\"?")
_DELIMITERS = (",", ";", "\t", "|", None)


@dataclass(frozen=True)
class TextTable:
    """Columns of numbers (NaN where there was none) and what the comments said.

    Keys are upper case. ``named`` is false if the columns have no names of their own.
    ``odd_lines`` are the numbers of lines with more or fewer fields than the others,
    which are not in the columns.
    """

    columns: dict[str, NDArray[np.float64]]
    named: bool
    units: dict[str, str] = field(default_factory=dict)
    header: dict[str, str] = field(default_factory=dict)
    odd_lines: tuple[int, ...] = ()


def parse_text(content: str, *, cut: bool = False) -> TextTable | None:
    """Read a table; None if the text is none.

    ``cut`` says that the text ends anywhere, so that its last line means nothing.
    """
    if len(content) > _MAX_TEXT:
        return None
    comments, lines, numbers = [], [], []
    for number, line in enumerate(content.splitlines(), start=1):
        comment = _COMMENT.fullmatch(line)
        if comment:
            comments.append(comment[1])
        elif line.strip():
            lines.append(line)
            numbers.append(number)
    if cut:
        lines = lines[:-1] or lines
    if not lines:
        return None
    delimiter = _delimiter(lines[len(lines) // 2])
    if len(_split(lines[len(lines) // 2], delimiter)) > _MAX_COLUMNS:
        return None
    rows = [_split(line, delimiter) for line in lines]
    width = len(rows[len(rows) // 2])
    names, units, from_comment = _names(rows[0], comments, width, delimiter)
    first = 1 if names and not from_comment else 0
    odd = [
        number for number, row in zip(numbers, rows, strict=False) if len(row) != width
    ]
    values = _numbers([row for row in rows[first:] if len(row) == width], width)
    # A text in which every other line is odd is no table.
    if values is None or len(odd) > 0.1 * len(rows) + 1:
        return None
    labels = names or [f"COL{index}" for index in range(1, width + 1)]
    columns: dict[str, NDArray[np.float64]] = {}
    for label, column in zip(labels, values, strict=True):
        if np.isfinite(column).any():
            columns.setdefault(label, column)
    if len(columns) < 2:
        return None
    header, ecsv_units = _facts(comments)
    return TextTable(columns, bool(names), ecsv_units | units, header, tuple(odd))


def _delimiter(line: str) -> str | None:
    return next(d for d in _DELIMITERS if d is None or d in line)


def _split(line: str, delimiter: str | None) -> list[str]:
    fields = line.strip(" \r\n").split(delimiter)
    return [item.strip() for item in fields]


def _names(
    first: list[str], comments: list[str], width: int, delimiter: str | None
) -> tuple[list[str], dict[str, str], bool]:
    """Return names and units of the columns, and whether a comment line had them."""
    if any(item and np.isnan(_float(item)) and not _missing(item) for item in first):
        heading, from_comment = first, False
    else:
        words = _split(comments[-1], delimiter) if comments else []
        if len(words) != width and comments:
            words = comments[-1].split()
        if len(words) != width or any(np.isfinite(_float(word)) for word in words):
            return [], {}, False
        heading, from_comment = words, True
    if len(heading) != width:
        return [], {}, False
    names, units = [], {}
    for index, word in enumerate(heading, start=1):
        match = _NAME.fullmatch(word)
        name = (match[1] if match else word).strip().upper() or f"COL{index}"
        names.append(name)
        if match and match[2]:
            units[name] = match[2].strip()
    return names, units, from_comment


def _numbers(rows: list[list[str]], width: int) -> list[NDArray[np.float64]] | None:
    if not rows:
        return None
    try:
        return list(np.array(rows, dtype=np.float64).T.copy())
    except ValueError:
        # A field that is no number.
        cells = [[_float(item) for item in row] for row in rows]
        return list(np.array(cells, dtype=np.float64).reshape(-1, width).T.copy())


def _float(item: str) -> float:
    try:
        return float(item)
    except ValueError:
        return float("nan")


def _missing(item: str) -> bool:
    return item.casefold() in ("nan", "null", "none", "--", "na", "n/a", "masked")


def _facts(comments: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    header: dict[str, str] = {}
    units: dict[str, str] = {}
    for line in comments:
        column = _ECSV_COLUMN.match(line)
        if column:
            if column[2]:
                units[column[1].strip().upper()] = column[2].strip()
            continue
        fact = _FACT.fullmatch(line)
        if fact and fact[2]:
            header.setdefault(fact[1].upper(), fact[2].strip("'\" "))
    return header, units
