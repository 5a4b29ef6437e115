"""Our own spectra on disk: Parquet, a row a spectrum.

A shard holds the columns of the table of visits, then ``resolution`` and the lists
``wave`` (float64: what was restored beyond float32 must not be lost), ``flux`` and
``ivar`` (float32). DuckDB, polars and pandas read it as any other table. What is read
equals what was written, bit for bit; equal spectra give equal bytes (for one version
of pyarrow).

Parquet libraries trust a file's footer: with some bits of it flipped, they end the
whole process. So a shard is sealed. Between its data and its footer, where Parquet does
not look, stands a hash of all other bytes, and nothing is parsed unless it is right.
"""

__all__ = [
    "SPECTRA_PER_SHARD",
    "ShardReader",
    "number_of_shards",
    "read_shard",
    "read_shard_visits",
    "shard_of",
    "write_shard",
]

import hashlib
import io
import secrets
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal, cast

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from steadystar.data.spectra import Spectra
from steadystar.survey.files import load, peek
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    UnreadableFile,
    rejected_rows,
)

SPECTRA_PER_SHARD = 500
"""About 30 MB of LAMOST medium-resolution spectra: enough to share among workers, and
never more part files than a survey has files of one star."""

_VERSION = "1"
_LISTS = ("wave", "flux", "ivar")
_ELEMENTS = [f"{name}.list.element" for name in _LISTS]
_RESERVED = ("resolution", *_LISTS)
_ROW_GROUP = 512
_MAX_BYTES = 4_000_000_000
_MAGIC, _SEAL, _HASH = b"PAR1", b"STEADYSTAR-SEAL1", 32
_REMEDY = "Delete it and run again, so that it is written anew."


def shard_of(star_id: str, shards: int) -> int:
    """Return which of ``shards`` (a power of two) holds the spectra of a star."""
    return zlib.crc32(star_id.encode()) % shards


def number_of_shards(spectra: int) -> int:
    """Return how many shards a survey of so many spectra is divided into, if new."""
    return 1 << max(0, (spectra - 1) // SPECTRA_PER_SHARD).bit_length()


def write_shard(
    path: str | PathLike[str], visits: pl.DataFrame, spectra: Spectra
) -> None:
    """Write spectra and their visits, whole or not at all.

    Raises:
        ValueError: their numbers differ, a column has a reserved name, or they are too
            many for one shard.
    """
    if len(visits) != len(spectra):
        raise ValueError(
            f"There are {len(visits)} visits for {len(spectra)} spectra: give one row "
            "a spectrum."
        )
    taken = [name for name in _RESERVED if name in visits.columns]
    if taken:
        raise ValueError(
            f"The visits have columns {', '.join(taken)}, which a shard uses for the "
            "spectra: rename them."
        )
    if 16 * spectra.flux.size > _MAX_BYTES:
        raise ValueError(
            f"{len(spectra)} spectra are too many for one shard of "
            f"{_MAX_BYTES / 1e9:.0f} GB: divide them."
        )
    stream = io.BytesIO()
    pq.write_table(
        _arrow(visits, spectra),
        stream,
        compression="zstd",
        row_group_size=_ROW_GROUP,
        use_dictionary=visits.columns,  # pyright: ignore[reportArgumentType]
        use_byte_stream_split=_ELEMENTS,  # pyright: ignore[reportArgumentType]
    )
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.write_bytes(_sealed(stream.getvalue()))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_shard(path: str | PathLike[str]) -> tuple[pl.DataFrame, Spectra]:
    """Read back what `write_shard` wrote.

    Raises:
        UnreadableFile: it is no shard, or a damaged one.
    """
    table, metadata = _opened(path)
    size = int(metadata["steadystar.pixels"])
    wave, flux, ivar = (_matrix(table.column(name), size) for name in _LISTS)
    if metadata["steadystar.wave"] == "shared":
        wave = wave[0]
    frame = cast(Literal["observatory", "barycenter"], metadata["steadystar.frame"])
    resolution = table.column("resolution").to_numpy()
    spectra = Spectra(wave, flux, ivar, resolution, frame)
    return _visits(table), spectra


def read_shard_visits(path: str | PathLike[str]) -> tuple[pl.DataFrame, str]:
    """Read the visits of a shard and the frame of its wavelengths, but no pixel.

    Raises:
        UnreadableFile: it is no shard, or a damaged one.
    """
    table, metadata = _opened(path, pixels=False)
    return _visits(table), metadata["steadystar.frame"]


def _opened(
    path: str | PathLike[str], pixels: bool = True
) -> tuple[pa.Table, dict[str, str]]:
    content = load(Path(path), _MAX_BYTES)
    if not _seal_is_right(content):
        raise UnreadableFile(
            path, "it is no shard of spectra, or a damaged one", _REMEDY
        )
    file = pq.ParquetFile(io.BytesIO(content))
    schema = file.schema_arrow
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    if metadata.get("steadystar.shard") != _VERSION:
        raise UnreadableFile(
            path, "it was written by another version of steadystar", _REMEDY
        )
    names = [name for name in schema.names if pixels or name not in _RESERVED]
    return file.read(columns=names), metadata


def _visits(table: pa.Table) -> pl.DataFrame:
    held = [name for name in table.column_names if name not in _RESERVED]
    return pl.DataFrame(table.select(held))


@dataclass(frozen=True)
class ShardReader:
    """Shards, wherever a file of spectra may stand."""

    name: str = "shard"
    description: str = "spectra in steadystar's own Parquet shards"

    def matches(self, path: str | Path) -> bool:
        """Whether the file is Parquet."""
        return peek(path, 4) == _MAGIC

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read a shard; of the options only ``star_id`` has a meaning here.

        Raises:
            UnreadableFile: it is no shard, or a damaged one.
        """
        visits, spectra = read_shard(path)
        if options.star_id:
            visits = visits.with_columns(star_id=pl.lit(options.star_id))
        return Observation(visits, spectra, rejected_rows())


def _arrow(visits: pl.DataFrame, spectra: Spectra) -> pa.Table:
    table = visits.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.append_column("resolution", pa.array(spectra.resolution))
    pixels = (spectra.wave_2d, spectra.flux, spectra.ivar)
    for name, values in zip(_LISTS, pixels, strict=True):
        table = table.append_column(name, _lists(values))
    # Without a row there is nothing from which shared wavelengths could be read back.
    shared = spectra.wave.ndim == 1 and len(spectra) > 0
    metadata = {
        "steadystar.shard": _VERSION,
        "steadystar.frame": spectra.frame,
        "steadystar.wave": "shared" if shared else "each",
        "steadystar.pixels": str(spectra.flux.shape[1]),
    }
    return table.replace_schema_metadata(metadata)


def _lists(values: NDArray) -> pa.ListArray | pa.LargeListArray:
    rows, size = values.shape
    flat = pa.array(values.ravel())
    offsets = np.arange(rows + 1, dtype=np.int64) * size
    if rows * size < 2**31:
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), flat)
    return pa.LargeListArray.from_arrays(pa.array(offsets), flat)


def _matrix(column: pa.ChunkedArray, size: int) -> NDArray:
    dtype = column.type.value_type.to_pandas_dtype()
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate([np.empty(0, dtype), *chunks]).reshape(-1, size)


def _footer_start(content: bytes) -> int:
    """Return where the footer begins, negative if that makes no sense."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def _sealed(content: bytes) -> bytes:
    """Put the seal between the data and the footer, whose offsets stay true."""
    start = _footer_start(content)
    data, footer = content[:start], content[start:]
    return data + _SEAL + _hash(data, footer) + footer


def _seal_is_right(content: bytes) -> bool:
    start = _footer_start(content)
    seal = start - _HASH - len(_SEAL)
    if content[-4:] != _MAGIC or seal < len(_MAGIC):
        return False
    if content[seal : seal + len(_SEAL)] != _SEAL:
        return False
    view = memoryview(content)
    return content[start - _HASH : start] == _hash(view[:seal], view[start:])


def _hash(data: bytes | memoryview, footer: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(data, digest_size=_HASH)
    digest.update(footer)
    return digest.digest()
