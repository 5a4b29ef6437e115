"""The formats of tables, told apart by their first bytes, turned into polars.

Each parser takes bytes or a path and returns a `Table`. They raise whatever the
underlying library raises on damage; `steadystar.data.tables` turns that into one
sentence.
"""

__all__ = ["Table", "parse"]

import bz2
import gzip
import io
import lzma
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from astropy.io import fits, votable
from astropy.table import Table as AstropyTable
from astropy.time import Time
from numpy.typing import NDArray

from steadystar.data.textfiles import parse_text


@dataclass(frozen=True)
class Table:
    """A table as it was read, with what a data frame cannot hold."""

    frame: pl.DataFrame
    units: dict[str, str] = field(default_factory=dict)
    """Units by column, as the file spells them, where it gives any."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Text stored in the file beside the table (Parquet only)."""
    notes: tuple[str, ...] = ()
    """Sentences on columns or extensions that were left out, and on guesses."""

    def flat(self) -> "Table":
        """Return the table without columns whose cells hold arrays or structures."""
        schema = self.frame.schema
        nested = [n for n, t in schema.items() if t.is_nested() or t == pl.Object]
        if not nested:
            return self
        said = [
            f"Column {name} was left out: its cells hold arrays or structures."
            for name in nested
        ]
        return replace(self, frame=self.frame.drop(nested), notes=(*self.notes, *said))


_COMPRESSED = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
}


def parse(path: Path, extension: str | int | None) -> Table:
    """Read ``path``; raises what the libraries raise, ValueError if no table."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    for magic, decompress in _COMPRESSED.items():
        if head.startswith(magic):
            content = decompress(path.read_bytes())
            return _parse_open(io.BytesIO(content), content[:4096], extension)
    return _parse_open(path, head, extension)


def _parse_open(
    source: Path | io.BytesIO, head: bytes, extension: str | int | None
) -> Table:
    if head.startswith(b"PAR1"):
        return _parse_parquet(source)
    # Libraries warn about headers that they can repair; what they cannot, they raise.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if head.startswith(b"SIMPLE  ="):
            return _parse_fits(source, extension)
        if b"<VOTABLE" in head.upper():
            read = votable.parse_single_table(source, verify="ignore")
            return _from_astropy(read.to_table())
        content = source.read_bytes() if isinstance(source, Path) else source.getvalue()
        if head.startswith(b"# %ECSV"):
            text = content.decode("utf-8")
            return _from_astropy(AstropyTable.read(text, format="ascii.ecsv"))
    if head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        raise ValueError(
            "it is a ZIP or NumPy file, not a table: write the arrays in it as columns, "
            "as with polars.DataFrame(dict(numpy.load(FILE))).write_csv('table.csv')"
        )
    frame, notes = parse_text(content)
    return Table(frame, notes=notes)


def _parse_parquet(source: Path | io.BytesIO) -> Table:
    # Not `read_table`: where it may use one thread only, a table of 100 000 columns takes
    # all memory.
    with pq.ParquetFile(source) as file:
        table = file.read()
    stored = table.schema.metadata or {}
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    metadata = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in stored.items()
        if key != b"pandas"
    }
    return Table(frame, metadata=metadata)


def _parse_fits(source: Path | io.BytesIO, extension: str | int | None) -> Table:
    with fits.open(source, memmap=isinstance(source, Path)) as hdus:
        tables = [
            hdu
            for hdu in hdus
            if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
            and not isinstance(hdu, fits.CompImageHDU)
        ]
        if extension is not None:
            hdu = hdus[extension]
            if hdu not in tables:
                raise ValueError(f"its extension {extension} is no table")
        elif tables:
            hdu = tables[0]
        else:
            raise ValueError("this FITS file has images only, no table extension")
        build = _Builder()
        others = [str(t.name or "unnamed") for t in tables if t is not hdu]
        if others and extension is None:
            build.notes.append(
                f"Read the first table, {hdu.name or 'unnamed'}; the file has others: "
                f"{', '.join(others)}."
            )
        data: Any = hdu.data
        raw = data.view(np.ndarray)
        for i, (column, name) in enumerate(
            zip(data.columns, raw.dtype.names, strict=True)
        ):
            _add_fits_column(build, column, raw[name], data.field, i)
        return build.table()


def _add_fits_column(build: "_Builder", column, raw: NDArray, field, i: int) -> None:
    ascii_table = isinstance(column.format, str) and column.format[:1] in "AIFED"
    if raw.ndim > 1 or column.format.format in ("P", "Q", "C", "M", "X"):
        build.skip(column.name, "its cells hold arrays or complex numbers")
    elif raw.dtype.kind == "S" and column.format.format == "A":
        build.add(column.name, _text(raw), None, column.unit)
    elif column.format.format == "L":
        letter = raw.view(np.uint8)
        build.add(column.name, letter == ord("T"), letter == 0, column.unit)
    else:
        null = column.null
        if raw.dtype.kind == "S":  # a number in an ASCII table
            words = np.char.strip(raw)
            missing = (words == b"") | (words == str(null).strip().encode())
        elif null is not None and not ascii_table and raw.dtype.kind in "iu":
            missing = raw == int(null)
        else:
            missing = None
        build.add(column.name, np.asarray(field(i)), missing, column.unit)


def _from_astropy(table: AstropyTable) -> Table:
    build = _Builder()
    for name in table.colnames:
        column: Any = table[name]
        if isinstance(column, Time) and column.ndim == 1:
            build.add(name, np.asarray(column.jd), None, "d")
            build.notes.append(
                f"Column {name} is a time: it was read as Julian days "
                f"({column.scale.upper()})."
            )
            continue
        data: Any = getattr(column, "value", column)
        unit = getattr(column, "unit", None)
        mask = np.ma.getmaskarray(data) if np.ma.isMaskedArray(data) else None
        values = np.ma.getdata(data) if mask is not None else np.asarray(data)
        if not _is_plain(values):
            build.skip(name, "its cells hold arrays or objects")
        else:
            if mask is not None and values.dtype.kind == "f":
                values, mask = np.where(mask, np.nan, values), None
            text = values.dtype.kind in "SUO"
            build.add(name, _text(values) if text else values, mask, unit)
    return build.table()


def _is_plain(values: NDArray) -> bool:
    """Whether every cell is one number, truth value or text."""
    if values.ndim == 1 and values.dtype.kind == "O":
        return all(isinstance(v, str | bytes | type(None)) for v in values)
    return values.ndim == 1 and values.dtype.kind in "biufSU"


class _Builder:
    """Collects columns, gives each a name of its own, and remembers what it did."""

    def __init__(self) -> None:
        self.columns: dict[str, pl.Series] = {}
        self.units: dict[str, str] = {}
        self.notes: list[str] = []

    def add(self, name, values, missing: NDArray | None, unit) -> None:
        name = str(name or "").strip() or f"column_{len(self.columns) + 1}"
        if name in self.columns:
            first, name = name, unique_name(name, self.columns)
            self.notes.append(
                f"Column {first} occurs twice; the second is {name} here."
            )
        if isinstance(values, np.ndarray):
            values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
        series = pl.Series(name, values)
        if missing is not None and missing.any():
            present = pl.Series(~np.ascontiguousarray(missing))
            series = series.to_frame().select(pl.when(present).then(pl.col(name)))[name]
        self.columns[name] = series
        if unit is not None and str(unit).strip():
            self.units[name] = str(unit).strip()

    def skip(self, name: str, reason: str) -> None:
        self.notes.append(f"Column {name} was left out: {reason}.")

    def table(self) -> Table:
        if not self.columns:
            raise ValueError("it has no column that holds one value a row")
        return Table(pl.DataFrame(self.columns), self.units, {}, tuple(self.notes))


def unique_name(name: str, taken) -> str:
    """Return ``name_2``, ``name_3``, ...: the first that is not in ``taken``."""
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"


def _text(values: NDArray) -> list[str | None]:
    """Strings without padding; bytes that are no UTF-8 are taken as Latin-1."""
    if values.dtype.kind == "S":
        return [_decode(v.split(b"\0")[0]).strip() for v in values.tolist()]
    return [
        v if v is None else (_decode(v) if isinstance(v, bytes) else str(v)).strip()
        for v in values.tolist()
    ]


def _decode(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
