"""FITS files byte by byte: cards, headers, compressed files.

A FITS library costs many times the spectrum in a small file, and some write dates and
names of machines. What is written here depends on nothing but what it is given.
"""

__all__ = ["BLOCK", "card", "gzipped", "header"]

import zlib
from collections.abc import Iterable
from typing import Any

BLOCK = 2880
"""Headers and data fill whole blocks of so many bytes."""


def gzipped(content: bytes) -> bytes:
    """Compress without a file name and with a modification time of zero."""
    # Noise does not compress: level 1 is as small as level 9 to a few percent.
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    return squeeze.compress(content) + squeeze.flush()


def card(key: str, value: Any, comment: str = "") -> str:
    """Return one card of 80 characters; a COMMENT has no value."""
    if key == "COMMENT":
        return f"COMMENT {value}".ljust(80)
    match value:
        case bool():
            text = f"{'T' if value else 'F':>20}"
        case int():
            text = f"{value:>20d}"
        case float():
            text = f"{value:>20.9G}" if "." in f"{value:.9G}" else f"{value:>20.1f}"
        case _:
            text = f"'{_quoted(str(value)):<8}'"
    return f"{key:<8}= {text} / {comment}"[:80].ljust(80)


def _quoted(text: str) -> str:
    """Double the quotes of ``text`` and cut it to what fits on a card."""
    text = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    while len(quoted := text.replace("'", "''")) > 68:
        text = text[:-1]
    return quoted


def header(cards: Iterable[str]) -> bytes:
    """Return cards as a header, with END and filled with blanks."""
    text = "".join(cards) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")
