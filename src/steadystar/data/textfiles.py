"""Tables that are text: CSV and its relatives.

A column is numbers only if every entry is one, so a name such as ``0042`` or an
identifier too long for an integer stays text. Every row must have as many entries as
the header: a line that was cut off is an error, never a row of nulls.
"""

__all__ = ["parse_text"]

import csv
import io
import re

import numpy as np
import polars as pl

_NULLS = ["", "null", "NULL", "None", "NA", "N/A", "--"]
_WHOLE, _FLOAT, _CLAIM = 1, 2, 3
_CELLS = 4_000_000
_BLANK_OR_COMMENT = re.compile(rb"^[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)", re.MULTILINE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def parse_text(content: bytes) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Turn the bytes of a text table into a data frame and notes.

    Raises:
        ValueError: it is no text, or rows and header disagree; the message says where.
    """
    notes: list[str] = []
    content = _as_utf8(content, notes)
    if content.lstrip()[:1] in (b"<", b"{"):
        raise ValueError("it is HTML, XML or JSON text, not a table")
    header, body = _split_header(content)
    separator = _separator(header)
    if separator == " ":
        header, body = (
            b"\t".join(header.split()),
            re.sub(rb"(?m)^[ \t]+|[ \t]+(?=\r?$)", b"", body),
        )
        body, separator = re.sub(rb"[ \t]+", b"\t", body), "\t"
    names = _names(next(csv.reader([header.decode()], delimiter=separator)), notes)
    _check_widths(body, separator, len(names))
    if body:
        frame = pl.read_csv(
            io.BytesIO(body),
            has_header=False,
            separator=separator,
            schema=dict.fromkeys(names, pl.String),
            truncate_ragged_lines=False,
        )
    else:
        frame = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return _typed(frame), tuple(notes)


def _as_utf8(content: bytes, notes: list[str]) -> bytes:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16").encode()
    content = content.removeprefix(b"\xef\xbb\xbf")
    if _CONTROL.search(content):
        raise ValueError("its format is unknown: neither a known table format nor text")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        notes.append("The text is not UTF-8; it was read as Latin-1.")
        content = content.decode("latin-1").encode()
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _split_header(content: bytes) -> tuple[bytes, bytes]:
    """Return the header line and the rows.

    A first line such as ``# a,b,c`` is the header if the row below it has as many
    entries and holds a number; otherwise it is a comment like any other.
    """
    first, _, rest = content.lstrip(b"\n").partition(b"\n")
    rows = _BLANK_OR_COMMENT.sub(b"", rest)
    if first.startswith(b"#"):
        bare, below = first.lstrip(b"# \t"), rows.partition(b"\n")[0]
        separator = _separator(bare).encode().strip() or None
        alike = len(bare.split(separator)) == len(below.split(separator))
        if alike and _holds_a_number(below):
            return bare, rows
        first, _, rows = rows.partition(b"\n")
    if not first.strip():
        raise ValueError("it has no header line with the names of its columns")
    return first, rows


def _holds_a_number(row: bytes) -> bool:
    for word in re.split(rb"[\s,;|]+", row.strip()):
        try:
            float(word)
        except ValueError:
            continue
        return True
    return False


def _separator(header: bytes) -> str:
    for candidate in ",;\t|":
        if candidate.encode() in header:
            return candidate
    return " " if len(header.split()) > 1 else ","


def _names(words: list[str], notes: list[str]) -> list[str]:
    names: dict[str, None] = {}
    for i, word in enumerate(words):
        name = word.strip() or f"column_{i + 1}"
        if name in names:
            number = 2
            while f"{name}_{number}" in names:
                number += 1
            notes.append(
                f"Column {name} occurs twice; the second is {name}_{number} here."
            )
            name = f"{name}_{number}"
        names[name] = None
    return list(names)


def _check_widths(body: bytes, separator: str, width: int) -> None:
    """Refuse rows that are shorter or longer than the header."""
    if b'"' in body:
        rows = csv.reader(io.StringIO(body.decode(), newline=""), delimiter=separator)
        counts = np.fromiter((len(row) for row in rows), np.int64)
    else:
        if body and not body.endswith(b"\n"):
            body += b"\n"
        characters = np.frombuffer(body, np.uint8)
        ends = np.flatnonzero(characters == ord("\n"))
        marks = np.flatnonzero(characters == ord(separator))
        counts = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
    wrong = np.flatnonzero(counts != width)
    if len(wrong):
        raise ValueError(
            f"row {wrong[0] + 1} below the header has {counts[wrong[0]]} entries where "
            f"the header has {width}"
        )


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Give every column of text the narrowest type that loses nothing.

    Many columns are looked at as one long one: there may be 100 000 of them.
    """
    if not len(frame):
        return frame
    at_once = max(1, _CELLS // len(frame))
    columns = frame.get_columns()
    return pl.DataFrame(
        [
            typed
            for start in range(0, len(columns), at_once)
            for typed in _narrowest(columns[start : start + at_once])
        ]
    )


def _narrowest(columns: list[pl.Series]) -> list[pl.Series]:
    rows = len(columns[0])
    words = pl.concat(columns).str.strip_chars()
    words = pl.select(pl.when(~words.is_in(_NULLS)).then(words)).to_series().rechunk()
    numbers = words.cast(pl.Float64, strict=False)
    whole = words.cast(pl.Int64, strict=False)
    lower = words.str.to_lowercase()

    def each(claim: pl.Series, default: bool) -> np.ndarray:
        """A claim on every word; ``default`` where there is none: (column, row)."""
        return claim.fill_null(default).to_numpy().reshape(-1, rows)

    missing = each(words.is_null(), True)
    filled = ~missing.all(axis=1)
    number = (each(numbers.is_null(), True) == missing).all(axis=1) & filled
    digits = each(words.str.contains(r"^[+-]?\d+$"), True).all(axis=1) & filled
    padded = each(words.str.contains(r"^[+-]?0\d"), False).any(axis=1)
    integer = digits & (each(whole.is_null(), True) == missing).all(axis=1) & ~padded
    claim = each(lower.is_in(["true", "false"]), True).all(axis=1) & filled
    kinds = np.select([integer, number & ~digits, claim], [_WHOLE, _FLOAT, _CLAIM], 0)
    made = {0: words, _WHOLE: whole, _FLOAT: numbers, _CLAIM: lower == "true"}
    return [
        made[int(kind)].slice(i * rows, rows).alias(column.name)
        for i, (column, kind) in enumerate(zip(columns, kinds, strict=True))
    ]
