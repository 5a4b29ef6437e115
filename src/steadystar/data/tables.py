"""Tables in and out of files.

`read_table` takes Parquet, FITS, VOTable, ECSV, CSV and whitespace-separated text, also
compressed, and recognizes them by content: the name of the file is never trusted.
`open_table` gives the same table with its units, its metadata and notes on what could
not be carried over. `write_parquet` is the only way in which a Parquet table leaves the
package: under a temporary name first, then renamed, and equal tables give equal bytes.
"""

__all__ = [
    "Table",
    "TableError",
    "open_table",
    "read_metadata",
    "read_table",
    "write_parquet",
]

import logging
import os
import secrets
import struct
import zlib
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io.fits.verify import VerifyError

from steadystar.data.tablefiles import Table, parse

_logger = logging.getLogger(__name__)

_ROW_GROUP = 1 << 20

# What the parsers of damaged files are known to raise. VOTable's own errors are
# ValueErrors, pyarrow's are ValueErrors, OSErrors and NotImplementedErrors.
_DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    LZMAError,
    zlib.error,
    struct.error,
    VerifyError,
    pl.exceptions.PolarsError,
)


class TableError(ValueError):
    """A file that is not a table, or a damaged one: culprit, reason, remedy."""

    def __init__(self, path: str | os.PathLike[str], reason: str, remedy: str) -> None:
        self.path, self.reason, self.remedy = os.fspath(path), reason, remedy
        super().__init__(f"{self.path} cannot be read as a table: {reason}; {remedy}.")


def read_table(
    path: str | os.PathLike[str], extension: str | int | None = None
) -> pl.DataFrame:
    """Read a table from a file of any known format, recognized by its content.

    Arguments:
        path: Parquet, FITS (the first table extension), VOTable, ECSV, CSV with
            commas, semicolons, tabs, bars or blanks; also inside gzip, bzip2 or xz.
        extension: name or number of a FITS extension, if not the first table.

    Columns that hold arrays in each cell (FITS, VOTable, ECSV) are left out; a warning
    in the log names them, and `open_table` returns these notes.

    Raises:
        TableError: the file is missing, damaged or no table.
    """
    table = open_table(path, extension)
    for note in table.notes:
        _logger.warning("%s: %s", os.fspath(path), note)
    return table.frame


def open_table(
    path: str | os.PathLike[str], extension: str | int | None = None
) -> Table:
    """Read a table as `read_table` does, with its units, metadata and notes.

    Raises:
        TableError: the file is missing, damaged or no table.
    """
    file = _existing(path)
    try:
        return parse(file, extension)
    except _DAMAGED as error:
        raise TableError(path, _one_line(error), _REMEDY) from error


def write_parquet(
    frame: pl.DataFrame,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write ``frame`` as Parquet, whole or not at all.

    The file appears under ``path`` only when it is complete. Equal tables with equal
    ``metadata`` give equal bytes (for one version of pyarrow): there is no time stamp.
    """
    target = Path(path)
    table = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.replace_schema_metadata(
        {key: str(value) for key, value in sorted((metadata or {}).items())}
    )
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        pq.write_table(table, temporary, compression="zstd", row_group_size=_ROW_GROUP)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the metadata that `write_parquet` put into a file.

    Raises:
        TableError: the file is missing or is not Parquet.
    """
    file = _existing(path)
    try:
        stored = pq.read_schema(file).metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise TableError(path, _one_line(error), "give a Parquet file") from error
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in stored.items()
        if key not in (b"ARROW:schema", b"pandas")
    }


_REMEDY = (
    "give a whole file of a known format (Parquet, FITS, VOTable, ECSV, CSV), for "
    "example by downloading or writing it again"
)


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    try:
        if file.is_dir():
            raise TableError(path, "it is a folder", "give one file inside it")
        if not file.exists():
            raise TableError(path, "there is no such file", "check its name and folder")
        if not file.is_file():
            raise TableError(path, "it is no regular file", "give a file")
        if file.stat().st_size == 0:
            raise TableError(path, "the file is empty", _REMEDY)
    except OSError as error:
        raise TableError(path, _one_line(error), "check its name and rights") from error
    return file


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split()).rstrip(".;: ")
    return (words[:200] + "...") if len(words) > 200 else words or type(error).__name__
