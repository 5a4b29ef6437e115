"""One file for a value made of tables, arrays and text: a zip without time stamps."""

__all__ = ["pack", "unpack"]

import io
import json
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError

_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(
    path: Path,
    kind: str,
    meta: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    arrays: Mapping[str, NDArray],
) -> None:
    """Write a value of a ``kind`` to ``path``, whole or not at all."""
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
    path: Path, kind: str
) -> tuple[dict[str, Any], dict[str, pl.DataFrame], dict[str, NDArray]]:
    """Read what `pack` wrote.

    Raises:
        CalibrationError: the file is missing, damaged or of another kind.
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
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        pl.exceptions.PolarsError,
    ) as error:
        raise CalibrationError(
            f"{path} holds no {kind}: {' '.join(str(error).split())[:200]}. Give a file "
            "that was saved as such."
        ) from error
    return meta, tables, arrays
