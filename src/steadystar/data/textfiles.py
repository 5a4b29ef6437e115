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
    """Give every column of text the narrowest type that loses nothing."""
    stripped = pl.all().str.strip_chars()
    words = frame.select(pl.when(~stripped.is_in(_NULLS)).then(stripped).name.keep())

    def which(claim: pl.Expr) -> set[str]:
        row = words.select(claim).row(0, named=True)
        return {name for name, holds in row.items() if holds}

    text = pl.all().str
    filled = which(pl.all().is_not_null().any())
    digits = which(text.contains(r"^[+-]?\d+$").all()) & filled
    padded = which(text.contains(r"^[+-]?0\d").any())
    nulls = pl.all().null_count()
    whole = which(pl.all().cast(pl.Int64, strict=False).null_count() == nulls)
    number = which(pl.all().cast(pl.Float64, strict=False).null_count() == nulls)
    claim = which(text.to_lowercase().is_in(["true", "false"]).all()) & filled
    integers = (digits & whole) - padded
    floats = (number & filled) - digits
    return words.select(
        pl.col(name).cast(pl.Int64)
        if name in integers
        else pl.col(name).cast(pl.Float64)
        if name in floats
        else pl.col(name).str.to_lowercase() == "true"
        if name in claim
        else pl.col(name)
        for name in words.columns
    )
