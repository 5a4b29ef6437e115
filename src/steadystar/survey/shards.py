"""Our own spectra on disk: Parquet, a row a spectrum.

A shard holds the columns of the table of visits, then ``resolution`` and the lists
``wave`` (float64: what was restored beyond float32 must not be lost), ``flux`` and
``ivar`` (float32). DuckDB, polars and pandas read it as any other table. Its metadata
say which frame the wavelengths are in and hold a digest of all values, so that damage
never passes unseen. What is read equals what was written, bit for bit; equal spectra
give equal bytes (for one version of pyarrow).
"""

__all__ = ["ShardReader", "read_shard", "write_shard"]

import hashlib
import io
import json
import secrets
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

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

_VERSION = "1"
_LISTS = ("wave", "flux", "ivar")
_ELEMENTS = [f"{name}.list.element" for name in _LISTS]
_RESERVED = ("resolution", *_LISTS)
_ROW_GROUP = 512
_MAX_BYTES = 4_000_000_000
_REMEDY = "Delete it and run again, so that it is written anew."

# What pyarrow and polars raise on damaged Parquet, found by flipping and cutting bytes
# (tests/survey/test_damage.py): their own errors, and what Python raises while numbers
# of the damaged footer are converted. OSError is also pyarrow's word for "corrupt".
_DAMAGE = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
)


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
    table = visits.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    table = table.append_column("resolution", pa.array(spectra.resolution))
    for name, values in _pixels(spectra).items():
        table = table.append_column(name, _lists(values))
    metadata = {
        "steadystar.shard": _VERSION,
        "steadystar.frame": spectra.frame,
        "steadystar.wave": "each" if spectra.wave.ndim == 2 else "shared",
        "steadystar.pixels": str(spectra.flux.shape[1]),
        "steadystar.digest": _digest(visits, spectra),
    }
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        pq.write_table(
            table.replace_schema_metadata(metadata),
            temporary,
            compression="zstd",
            row_group_size=_ROW_GROUP,
            use_dictionary=visits.columns,  # pyright: ignore[reportArgumentType]
            use_byte_stream_split=_ELEMENTS,  # pyright: ignore[reportArgumentType]
            write_page_checksum=True,
        )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def read_shard(path: str | PathLike[str]) -> tuple[pl.DataFrame, Spectra]:
    """Read back what `write_shard` wrote.

    Raises:
        UnreadableFile: it is no shard, or a damaged one.
    """
    content = load(Path(path), _MAX_BYTES)
    try:
        file = pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True)
        metadata = _metadata(file)
        if metadata.get("steadystar.shard") != _VERSION:
            raise UnreadableFile(
                path, "it is Parquet, but no shard of spectra", "Name another file."
            )
        if _uncompressed(file) > _MAX_BYTES:
            raise ValueError("its claimed size is absurd")
        visits, spectra = _assemble(file.read(), metadata)
        digest = _digest(visits, spectra)
    except UnreadableFile:
        raise
    except _DAMAGE as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableFile(path, f"the shard is damaged ({why})", _REMEDY) from error
    if digest != metadata.get("steadystar.digest"):
        raise UnreadableFile(
            path, "the shard's values do not match its digest", _REMEDY
        )
    return visits, spectra


@dataclass(frozen=True)
class ShardReader:
    """Shards, wherever a file of spectra may stand."""

    name: str = "shard"
    description: str = "spectra in steadystar's own Parquet shards"

    def matches(self, path: str | Path) -> bool:
        """Whether the file is Parquet."""
        return peek(path, 4) == b"PAR1"

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read a shard; of the options only ``star_id`` has a meaning here.

        Raises:
            UnreadableFile: it is no shard, or a damaged one.
        """
        visits, spectra = read_shard(path)
        if options.star_id:
            visits = visits.with_columns(star_id=pl.lit(options.star_id))
        return Observation(visits, spectra, rejected_rows())


def _pixels(spectra: Spectra) -> dict[str, NDArray]:
    return dict(zip(_LISTS, (spectra.wave_2d, spectra.flux, spectra.ivar), strict=True))


def _lists(values: NDArray) -> pa.ListArray:
    rows, size = values.shape
    offsets = np.arange(rows + 1, dtype=np.int64) * size
    if rows * size < 2**31:
        kind, offsets = pa.ListArray, offsets.astype(np.int32)
    else:
        kind = pa.LargeListArray
    return kind.from_arrays(pa.array(offsets), pa.array(values.ravel()))


def _metadata(file: pq.ParquetFile) -> dict[str, str]:
    stored = file.schema_arrow.metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items()}


def _uncompressed(file: pq.ParquetFile) -> int:
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    return sum(
        group.column(i).total_uncompressed_size
        for group in groups
        for i in range(group.num_columns)
    )


def _assemble(
    table: pa.Table, metadata: dict[str, str]
) -> tuple[pl.DataFrame, Spectra]:
    size = int(metadata["steadystar.pixels"])
    arrays = [_matrix(table.column(name), len(table), size) for name in _LISTS]
    wave, flux, ivar = arrays
    if metadata["steadystar.wave"] == "shared":
        wave = wave[0] if len(wave) else np.linspace(1.0, 2.0, size)
    frame = metadata["steadystar.frame"]
    if frame not in ("observatory", "barycenter"):
        raise ValueError(f"its frame is {frame!r}")
    resolution = table.column("resolution").to_numpy()
    spectra = Spectra(wave, flux, ivar, resolution, frame)
    visits = pl.DataFrame(table.drop_columns(list(_RESERVED)))
    return visits, spectra


def _matrix(column: pa.ChunkedArray, rows: int, size: int) -> NDArray:
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    if not chunks:
        dtype = column.type.value_type.to_pandas_dtype()
        return np.empty((0, size), dtype)
    return np.concatenate(chunks).reshape(rows, size)


def _digest(visits: pl.DataFrame, spectra: Spectra) -> str:
    """Return a hash of all values and names, the same on every machine."""
    digest = hashlib.blake2b(digest_size=16)
    for name in visits.columns:
        values = json.dumps(visits[name].to_list(), default=str)
        digest.update(f"{name}\n{values}\n".encode())
    for array in (spectra.wave, spectra.flux, spectra.ivar, spectra.resolution):
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    digest.update(spectra.frame.encode())
    return digest.hexdigest()
