"""FITS, as far as spectra need it: bytes in, headers and arrays out.

A FITS file is a chain of units of 2880-byte blocks: cards of 80 characters up to
``END``, then as many bytes as the cards say. A million small files spend their time in
a general library's bookkeeping for each of those units, and a damaged card takes such
a library to places that its authors never saw. Here every number of a header is
checked against the bytes that are there before it is used, and a unit that makes no
sense ends the chain with a sentence about it.

Read are images and binary tables with columns of fixed length, scaled or not; not
compressed images, variable-length columns, random groups. Reference: FITS Standard
4.0 (2018), sections 3, 4, 5 and 7.3.
"""

__all__ = ["DamagedFits", "Header", "Unit", "parse"]

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Header = Mapping[str, str | int | float | bool]
"""Keywords and values; of a keyword that is repeated the first, without comments."""

_BLOCK, _CARD = 2880, 80
_MAX_CARDS, _MAX_UNITS, _MAX_EMPTY = 36_000, 1000, 1_000_000
_IMAGE_DTYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_INTEGERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8"}
_FLOATS = {"E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"}
_TABLE_DTYPES = {"L": "S1"} | _INTEGERS | _FLOATS
_DESCRIPTOR = {"P": 8, "Q": 16}
_TFORM = re.compile(r"\s*(\d{0,9})([LXBIJKAEDCMPQ])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([EDed][+-]?\d{1,4})?")


class DamagedFits(ValueError):
    """A unit whose header and data do not fit each other; the message says how."""


@dataclass(frozen=True)
class Unit:
    """One header with its data (an HDU). ``name`` is its EXTNAME, empty if it has none."""

    name: str
    header: Header
    data: memoryview

    @property
    def is_table(self) -> bool:
        """Whether the data are a binary table (and not a compressed image)."""
        return _text(self.header, "XTENSION") == "BINTABLE" and not self.header.get(
            "ZIMAGE"
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """Lengths of the axes of an image, NAXIS1 first; none if it is no image."""
        if _text(self.header, "XTENSION", "IMAGE") != "IMAGE":
            return ()
        return _axes(self.header)

    @cached_property
    def columns(self) -> dict[str, tuple[str, int, int, int]]:
        """Columns of a table by name in upper case: kind, repeat, offset and number.

        Raises:
            DamagedFits: the columns' formats do not add up to the length of a row.
        """
        columns: dict[str, tuple[str, int, int, int]] = {}
        offset = 0
        count = _integer(self.header, "TFIELDS")
        if not 0 <= count <= 999:
            raise DamagedFits(f"the table claims {count} columns")
        for number in range(1, count + 1):
            form = _TFORM.match(_text(self.header, f"TFORM{number}"))
            if form is None:
                raise DamagedFits(f"the format of column {number} is missing or wrong")
            repeat, kind = int(form[1] or 1), form[2]
            name = _text(self.header, f"TTYPE{number}").strip().upper()
            columns.setdefault(name or f"COL{number}", (kind, repeat, offset, number))
            offset += _width(kind, repeat)
        if offset != _integer(self.header, "NAXIS1"):
            raise DamagedFits(
                f"its columns take {offset} bytes but a row has "
                f"{self.header.get('NAXIS1')}"
            )
        return columns

    def column(self, name: str) -> NDArray:
        """Return a column, ``(row,)`` or ``(row, repeat)``, in native byte order.

        Scaled columns (TSCAL, TZERO) come as float64, flags (L) as booleans, texts as
        bytes.

        Raises:
            DamagedFits: there is no such column, its kind is not supported, or the
                table is damaged.
        """
        try:
            kind, repeat, offset, number = self.columns[name]
        except KeyError:
            raise DamagedFits(f"there is no column {name}") from None
        if kind not in _TABLE_DTYPES and kind != "A":
            raise DamagedFits(f"column {name} has the unsupported format {kind}")
        if repeat == 0:
            raise DamagedFits(f"column {name} is empty")
        rows, width = _integer(self.header, "NAXIS2"), _integer(self.header, "NAXIS1")
        if rows < 1:
            raise DamagedFits(f"it claims {rows} rows")
        if rows * width > len(self.data):
            raise DamagedFits(f"it holds fewer than its {rows} rows")
        dtype = np.dtype(f"S{repeat}" if kind == "A" else _TABLE_DTYPES[kind])
        shape = (rows,) if kind == "A" or repeat == 1 else (rows, repeat)
        strides = (width, dtype.itemsize)[: len(shape)]
        values = np.ndarray(shape, dtype, self.data, offset, strides)
        if kind == "L":
            return values == b"T"
        if kind == "A":
            return values.copy()
        scale = _number(self.header, f"TSCAL{number}", 1.0)
        zero = _number(self.header, f"TZERO{number}", 0.0)
        if (scale, zero) != (1.0, 0.0):
            return _scaled(values, scale, zero)
        return values.astype(dtype.newbyteorder("="))

    def image(self) -> NDArray:
        """Return an image, last axis first as NumPy has it, in native byte order.

        Raises:
            DamagedFits: the unit is no image, or a number in its header is wrong.
        """
        shape = self.axes[::-1]
        if not shape or 0 in shape:
            raise DamagedFits("it is no image, or an empty one")
        dtype = np.dtype(_IMAGE_DTYPES[_integer(self.header, "BITPIX")])
        values = np.frombuffer(self.data, dtype, int(np.prod(shape))).reshape(shape)
        scale = _number(self.header, "BSCALE", 1.0)
        zero = _number(self.header, "BZERO", 0.0)
        blank = self.header.get("BLANK")
        if dtype.kind != "f" and isinstance(blank, int):
            return np.where(values == blank, np.nan, _scaled(values, scale, zero))
        if (scale, zero) != (1.0, 0.0):
            return _scaled(values, scale, zero)
        return values.astype(dtype.newbyteorder("="))


def parse(content: bytes) -> tuple[list[Unit], str]:
    """Split a file into its units, and say why that ended early (empty if it did not).

    Never raises: what makes no sense ends the chain.
    """
    units: list[Unit] = []
    position = 0
    view = memoryview(content)
    while position < len(content):
        if len(units) == _MAX_UNITS:
            return units, f"it has more than {_MAX_UNITS} extensions"
        rest = content[position : position + _BLOCK]
        if units and not rest.strip(b"\0 "):
            # Some writers pad the file; nothing but padding may follow.
            padding = not content[position:].strip(b"\0 ")
            return units, "" if padding else f"byte {position} begins no extension"
        try:
            header, start = _header(content, position, first=not units)
            size = _data_size(header)
        except DamagedFits as error:
            return units, f"{_where(units)}: {error}"
        if start + size > len(content):
            missing = start + size - len(content)
            why = f"{_where(units, header)} is cut off, {missing} bytes are missing"
            return units, why
        units.append(Unit(_name(header), header, view[start : start + size]))
        position = start + -(-size // _BLOCK) * _BLOCK
    if len(content) % _BLOCK:
        return units, "it ends within a block, and what followed is missing"
    return units, "" if units else "it is empty"


def _where(units: list[Unit], header: Header | None = None) -> str:
    name = _name(header) if header else ""
    return f"extension {name or len(units)}" if units else "the primary header"


def _name(header: Header) -> str:
    return _text(header, "EXTNAME").strip()


def _header(content: bytes, position: int, *, first: bool) -> tuple[Header, int]:
    """Read cards from ``position``; return them and where the data begin."""
    expected = b"SIMPLE  =" if first else b"XTENSION="
    if content[position : position + 9] != expected:
        raise DamagedFits(f"byte {position} does not begin with {expected.decode()}")
    stop = min(len(content), position + _MAX_CARDS * _CARD)
    text = content[position:stop].decode("latin-1")
    cards: list[str] = []
    for at in range(0, len(text) - _CARD + 1, _CARD):
        card = text[at : at + _CARD]
        if card.startswith("END") and card[3:8].isspace():
            start = position + -(-(at + _CARD) // _BLOCK) * _BLOCK
            return _values(cards), start
        cards.append(card)
    raise DamagedFits("the header has no END")


def _values(cards: list[str]) -> dict[str, str | int | float | bool]:
    values: dict[str, str | int | float | bool] = {}
    last = ""
    for card in cards:
        key = card[:8].rstrip()
        if card[8:10] == "= ":
            body = card[10:]
        elif key == "HIERARCH" and "=" in card:
            key, body = card[8:].split("=", 1)
            key = key.strip()
        elif key == "CONTINUE" and last:
            more = _value(card[8:])
            text = values[last]
            if isinstance(text, str) and isinstance(more, str) and text.endswith("&"):
                values[last] = text[:-1] + more
            continue
        else:
            last = ""
            continue
        last = ""
        value = _value(body)
        if value is not None and key not in values:
            values[key] = value
            last = key
    return values


def _value(body: str) -> str | int | float | bool | None:
    """Read what stands after the equals sign; None if it is empty or no value."""
    body = body.lstrip()
    if body.startswith("'"):
        end = 1
        while (end := body.find("'", end)) >= 0 and body[end + 1 : end + 2] == "'":
            end += 2
        text = body[1:] if end < 0 else body[1:end]
        return text.replace("''", "'").rstrip()
    token = body.split("/", 1)[0].strip()
    if token in ("T", "F"):
        return token == "T"
    if _NUMBER.fullmatch(token) is None:
        return None
    try:
        return int(token)
    except ValueError:
        return float(token.upper().replace("D", "E"))


def _axes(header: Header) -> tuple[int, ...]:
    count = _integer(header, "NAXIS")
    if not 0 <= count <= 999:
        raise DamagedFits(f"NAXIS is {count}")
    axes = tuple(_integer(header, f"NAXIS{axis}") for axis in range(1, count + 1))
    if any(length < 0 for length in axes):
        raise DamagedFits("an axis has a negative length")
    return axes


def _data_size(header: Header) -> int:
    bits = _integer(header, "BITPIX")
    if bits not in _IMAGE_DTYPES:
        raise DamagedFits(f"BITPIX is {bits}")
    axes = _axes(header)
    if not axes:
        return 0
    if axes[0] == 0 and header.get("GROUPS") is True:
        raise DamagedFits("random groups are not supported")
    elements = 1
    for length in axes:
        elements *= length
    if elements == 0 and max(axes) > _MAX_EMPTY:
        raise DamagedFits(f"it claims an empty array of {max(axes)} rows")
    groups, extra = _integer(header, "GCOUNT", 1), _integer(header, "PCOUNT", 0)
    if groups < 1 or extra < 0:
        raise DamagedFits(f"GCOUNT is {groups} and PCOUNT {extra}")
    return abs(bits) // 8 * groups * (extra + elements)


def _width(kind: str, repeat: int) -> int:
    if kind == "X":
        return -(-repeat // 8)
    if kind == "A":
        return repeat
    return repeat * (_DESCRIPTOR.get(kind) or np.dtype(_TABLE_DTYPES[kind]).itemsize)


def _scaled(values: NDArray, scale: float, zero: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(np.float64) * scale + zero


def _text(header: Header, key: str, default: str = "") -> str:
    value = header.get(key, default)
    return value if isinstance(value, str) else default


def _number(header: Header, key: str, default: float) -> float:
    value = header.get(key, default)
    return float(value) if isinstance(value, int | float) else default


def _integer(header: Header, key: str, default: int | None = None) -> int:
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise DamagedFits(f"{key} is {'missing' if value is None else repr(value)}")
    return value
