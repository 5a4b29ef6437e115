"""Columns in the few kinds that every catalog format knows: text, int, float, boolean.

A polars table may hold more kinds (dates, categories, lists, 8-bit integers). Before a
table goes to FITS or to VOTable each of its columns becomes a `PlainColumn`: values
without gaps, beside a mask that says which of them are null. What has no counterpart
(lists, structures) is written as JSON text, so that nothing is dropped.
"""

__all__ = ["PlainColumn", "explained", "labels", "plain_columns"]

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema

Kind = Literal["text", "int", "float", "bool"]

_INT64_MAX = np.iinfo(np.int64).max


@dataclass(frozen=True)
class PlainColumn:
    """One column of a catalog.

    ``values``: shape ``(row,)``, of ``str`` objects, int64, float32 or float64, or bool.
    ``null``: shape ``(row,)``, true where the table has no value (``values`` then hold
    an empty text, 0, NaN or False). ``unit``, ``ucd`` and ``meaning`` are those of the
    schema, empty for a column that the schema does not know.
    """

    name: str
    kind: Kind
    values: NDArray[Any]
    null: NDArray[np.bool_]
    unit: str
    ucd: str
    meaning: str


def plain_columns(
    frame: pl.DataFrame, table: str, more: Sequence[schema.Column] = ()
) -> list[PlainColumn]:
    """Return every column of ``frame`` as a plain column, described as in ``table``.

    ``more`` describes columns that the schema does not know.
    """
    known = {column.name: column for column in more} | schema.columns(table)
    return [
        _plain(series, known.get(series.name) or schema.describe(series.name))
        for series in frame
    ]


def _plain(series: pl.Series, column: schema.Column | None) -> PlainColumn:
    null = series.is_null().to_numpy()
    kind, values = _values(series)
    return PlainColumn(
        name=series.name,
        kind=kind,
        values=values,
        null=null,
        unit=column.unit if column else "",
        ucd=column.ucd if column else "",
        meaning=column.meaning if column else "",
    )


def _values(series: pl.Series) -> tuple[Kind, NDArray[Any]]:
    dtype = series.dtype
    if dtype == pl.Boolean:
        return "bool", series.fill_null(False).to_numpy().astype(bool)
    if dtype == pl.Float32:
        return "float", series.fill_null(np.nan).to_numpy().astype(np.float32)
    if dtype.is_float() or dtype.is_decimal():
        real = series.cast(pl.Float64).fill_null(np.nan)
        return "float", real.to_numpy().astype(np.float64)
    if dtype.is_integer() and _fits_int64(series):
        return "int", series.cast(pl.Int64).fill_null(0).to_numpy().astype(np.int64)
    return "text", np.array([_text(value) for value in series.to_list()], dtype=object)


def _fits_int64(series: pl.Series) -> bool:
    high = series.max()
    return not isinstance(high, int) or high <= _INT64_MAX


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, sort_keys=True)
    return str(value)


def labels(columns: list[PlainColumn]) -> list[str]:
    """Names that FITS and VOTable both take: letters, digits, ``_``, case aside distinct.

    A name that is none keeps what it can and tells its own in `explained`.
    """
    seen: set[str] = set()
    names = []
    for column in columns:
        stem = re.sub(r"[^A-Za-z0-9_]", "_", column.name)[:60] or "column"
        if not stem[0].isalpha():
            stem = f"c{stem}"
        label, copy = stem, 1
        while label.lower() in seen:
            copy += 1
            label = f"{stem}_{copy}"
        seen.add(label.lower())
        names.append(label)
    return names


def explained(column: PlainColumn, label: str) -> str:
    """Return the meaning of a column that a catalog calls ``label``."""
    if label == column.name:
        return column.meaning
    return f"{column.meaning} (called {column.name!r} in the table)".strip()
