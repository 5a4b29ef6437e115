"""One file for a value made of tables, arrays and text: a zip without time stamps."""

__all__ = ["below", "pack", "restore", "unpack"]

import io
import json
import secrets
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

Value = TypeVar("Value")

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(
    path: Path,
    kind: str,
    meta: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    arrays: Mapping[str, NDArray],
) -> None:
    """Write a value of a ``kind`` to ``path``, whole or not at all.

    The same value gives the same bytes every time.
    """
    parts = {"meta.json": json.dumps({"kind": kind, **meta}, indent=1).encode()}
    for name, table in tables.items():
        buffer = io.BytesIO()
        table.rechunk().write_ipc(buffer)
        parts[f"{name}.arrow"] = buffer.getvalue()
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        parts[f"{name}.npy"] = buffer.getvalue()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with zipfile.ZipFile(temporary, "w") as file:
            for name, content in sorted(parts.items()):
                file.writestr(zipfile.ZipInfo(name, _EPOCH), content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def unpack(
    path: Path, kind: str, refusal: type[ValueError] = ValueError
) -> tuple[dict[str, Any], dict[str, pl.DataFrame], dict[str, NDArray]]:
    """Read what `pack` wrote: facts, tables and arrays by name.

    Raises:
        ValueError: the file is missing, damaged or of another kind; of the type
            ``refusal``.
    """
    return restore(path, kind, lambda *parts: parts, refusal)


def restore(
    path: Path,
    kind: str,
    make: Callable[
        [dict[str, Any], dict[str, pl.DataFrame], dict[str, NDArray]], Value
    ],
    refusal: type[ValueError] = ValueError,
) -> Value:
    """Read what `pack` wrote, and make the value of facts, tables and arrays by name.

    Raises:
        ValueError: the file is missing, damaged or of another kind, or lacks what
            ``make`` needs; of the type ``refusal``.
    """
    try:
        with zipfile.ZipFile(path) as file:
            parts = {name: file.read(name) for name in file.namelist()}
        meta = json.loads(parts["meta.json"])
        if meta.pop("kind") != kind:
            raise ValueError("it holds something else")
        tables = {
            name.removesuffix(".arrow"): pl.read_ipc(io.BytesIO(content))
            for name, content in parts.items()
            if name.endswith(".arrow")
        }
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(content), allow_pickle=False)
            for name, content in parts.items()
            if name.endswith(".npy")
        }
        return make(meta, tables, arrays)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        pl.exceptions.PolarsError,
    ) as error:
        raise refusal(
            f"{path} holds no {kind}: {' '.join(str(error).split())[:200]}. Give a file "
            "that was saved as such."
        ) from error


def below(parts: Mapping[str, Value], start: str) -> dict[str, Value]:
    """Return the parts whose names begin with ``start``, by the rest of their names."""
    return {k.removeprefix(start): v for k, v in parts.items() if k.startswith(start)}
