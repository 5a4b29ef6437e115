"""The bytes of a file, decompressed, never more than asked for.

Readers get bytes instead of paths. So a compressed bomb, a device that never ends or
an address that looks like a file name can do no harm, and nothing is mapped into
memory that another program may truncate.
"""

__all__ = ["describe_content", "load", "peek"]

import zlib
from pathlib import Path

from steadystar.survey.observation import UnreadableFile

_GZIP = b"\x1f\x8b"
_MEMBERS = 64
"""Parts that one gzip file may have; each costs a copy of what follows it."""

_KINDS = (
    (b"SIMPLE  =", "a FITS file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"#ASDF", "an ASDF file"),
    (b"PK\x03\x04", "a zip archive (or .npz, .xlsx)"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x1f\x9d", "compressed with compress (.Z)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"<?xml", "an XML document (perhaps a VOTable)"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
)


def load(path: str | Path, max_bytes: int) -> bytes:
    """Return the content of ``path``, gunzipped if it is gzipped, whatever its name.

    Raises:
        UnreadableFile: it is no regular file, cannot be opened, is larger than
            ``max_bytes`` (after decompression), or is a damaged or truncated gzip.
    """
    content = _read(path, max_bytes + 1)
    if len(content) > max_bytes:
        raise _too_large(path, max_bytes)
    return _gunzip(path, content, max_bytes) if content[:2] == _GZIP else content


def peek(path: str | Path, size: int = 5760) -> bytes:
    """Return the first bytes of what `load` would return: at most ``size``.

    Raises:
        UnreadableFile: as for `load`, as far as the beginning shows it.
    """
    # Deflate can take two bytes for one, and begins with a name and a table.
    content = _read(path, 2 * size + 2048)
    if content[:2] != _GZIP:
        return content[:size]
    try:
        return zlib.decompressobj(31).decompress(content, size)
    except zlib.error as error:
        raise _damaged_gzip(path, str(error)) from error


def describe_content(head: bytes) -> str:
    """Say in a few words what a file that begins with ``head`` looks like."""
    if not head:
        return "empty"
    for magic, name in _KINDS:
        if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(magic):
            return name
    if b"\0" in head:
        return "binary, of unknown kind"
    return "text"


def _read(path: str | Path, size: int) -> bytes:
    path = Path(path)
    try:
        if path.is_dir():
            raise UnreadableFile(path, "it is a directory", "Name the files in it.")
        if path.exists() and not path.is_file():
            raise UnreadableFile(
                path, "it is a device, socket or pipe", "Name a regular file."
            )
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise UnreadableFile(
            path,
            error.strerror or type(error).__name__,
            "Check the name and the permissions.",
        ) from error
    except ValueError as error:
        # A NUL in the name.
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(repr(str(path)), str(error), "Check the name.") from error


def _gunzip(path: str | Path, content: bytes, max_bytes: int) -> bytes:
    parts, total = [], 0
    for _ in range(_MEMBERS):
        member = zlib.decompressobj(31)
        try:
            part = member.decompress(content, max_bytes - total + 1)
        except zlib.error as error:
            raise _damaged_gzip(path, str(error)) from error
        parts.append(part)
        total += len(part)
        if total > max_bytes:
            raise _too_large(path, max_bytes)
        if not member.eof:
            # Even the bytes before the end are unchecked: the checksum comes last.
            raise _damaged_gzip(path, "it ends early")
        content = member.unused_data.lstrip(b"\0")
        if not content:
            return b"".join(parts)
    raise _damaged_gzip(path, f"it has more than {_MEMBERS} parts")


def _damaged_gzip(path: str | Path, why: str) -> UnreadableFile:
    return UnreadableFile(
        path, f"the gzip stream is damaged ({why})", "Fetch the file again."
    )


def _too_large(path: str | Path, max_bytes: int) -> UnreadableFile:
    return UnreadableFile(
        path,
        f"it holds more than {max_bytes / 1e6:.0f} MB (after decompression)",
        "Raise `max_megabytes` if it is meant to be so large.",
    )
