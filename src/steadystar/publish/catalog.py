"""Tables as files that other astronomers can use.

``export`` writes one table in one format. Names, units, UCDs and meanings come from
`data.schema`; where a table comes from (version, configuration, inputs) is the caller's
``provenance`` and goes into the file itself wherever the format has room for it. The
same table gives the same bytes, and a file is complete or not there.
"""

__all__ = [
    "FORMATS",
    "columns_of",
    "constant_candidates",
    "described",
    "export",
    "relative_catalog",
]

import csv
import io
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import polars as pl

from steadystar.data.schema import TABLES, Column
from steadystar.data.tables import write_parquet
from steadystar.publish.files import write_bytes
from steadystar.publish.fits_table import fits_bytes
from steadystar.publish.plain import plain_columns
from steadystar.publish.relative_catalog import constant_candidates, relative_catalog
from steadystar.publish.votable import (
    astropy_header,
    votable_bytes,
    votable_header,
)

FORMATS = {"parquet": ".parquet", "fits": ".fits", "votable": ".vot", "csv": ".csv"}
"""The formats that `export` writes, and the suffix of each."""

_COLUMNS = "columns"
_VOTABLE = {
    "version": "IVOA.VOTable-Parquet.version",
    "content": "IVOA.VOTable-Parquet.content",
}
"""Where Parquet carries a VOTable without rows (IVOA note VOParquet 1.0)."""
_ASTROPY, _LENGTH = "table_meta_yaml", "table::len::"
_OURS = (_COLUMNS, *_VOTABLE.values(), _ASTROPY)


def export(
    frame: pl.DataFrame,
    path: Path | str,
    *,
    format: str | None = None,
    table: str = "velocities",
    provenance: Mapping[str, str] | None = None,
    columns: Sequence[Column] = (),
) -> Path:
    """Write ``frame`` to ``path`` and return the path.

    Arguments:
        frame: any table; columns that `data.schema` does not know go without unit.
        path: the file to write.
        format: one of `FORMATS`; None takes it from the suffix of ``path``.
        table: the name of the table in `data.schema`, which tells columns of the same
            name apart and becomes the name of the table in the file.
        provenance: what the file should say about where it comes from, in order.
        columns: what columns are that the schema does not know, such as those that a
            cross-match brought along (`survey.crossmatch.CrossMatch.columns`).

    Parquet carries units, UCDs and meanings in its metadata (`described`); CSV has no
    room for them: they go into a second file, ``NAME-columns.csv``.

    Raises:
        ValueError: the format or the table is not known, or the format cannot hold the
            table.
    """
    path = Path(path)
    chosen = format or _format_of(path)
    if chosen not in FORMATS:
        raise ValueError(
            f"Unknown catalog format {chosen!r}: choose one of {', '.join(FORMATS)}."
        )
    if table not in TABLES:
        raise ValueError(f"Unknown table {table!r}: choose one of {', '.join(TABLES)}.")
    facts = {"creator": f"steadystar {version('steadystar')}", **(provenance or {})}
    # A file's own words on its columns are no provenance of another.
    facts = {
        key: value
        for key, value in facts.items()
        if key not in _OURS and not key.startswith(_LENGTH)
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if chosen == "parquet":
        write_parquet(frame, path, facts | described(frame, table, facts, columns))
    elif chosen == "csv":
        write_bytes(path, _csv(frame))
        beside = path.with_name(f"{path.stem}-columns.csv")
        write_bytes(beside, _column_list(frame, table, columns))
    else:
        made = plain_columns(frame, table, columns)
        write = fits_bytes if chosen == "fits" else votable_bytes
        write_bytes(path, write(made, table, facts))
    return path


def described(
    frame: pl.DataFrame,
    table: str,
    provenance: Mapping[str, str] | None = None,
    columns: Sequence[Column] = (),
) -> dict[str, str]:
    """Return the metadata with which a Parquet file says what its columns are.

    Three times: as JSON under ``columns``, for people and for `columns_of`; as a VOTable
    without rows, from which TOPCAT takes units, UCDs and meanings; and as astropy writes
    it, with the lengths of texts, without which its reader fails on a text that is null.
    Arguments are those of `export`.
    """
    lengths = {
        f"{_LENGTH}{name}": str(max(1, _longest(frame[name])))
        for name, dtype in frame.schema.items()
        if dtype == pl.String
    }
    made = plain_columns(frame.head(0), table, columns)
    return {
        _COLUMNS: json.dumps(_listed(frame, table, columns)),
        _VOTABLE["version"]: "1.0",
        _VOTABLE["content"]: votable_header(made, table, provenance or {}),
        _ASTROPY: astropy_header(made),
        **lengths,
    }


def _longest(texts: pl.Series) -> int:
    """Return the length of the longest text; astropy spells a null one ``None``."""
    longest = texts.fill_null("None").str.len_chars().max()
    return longest if isinstance(longest, int) else 0


def columns_of(metadata: Mapping[str, str], frame: pl.DataFrame) -> list[Column]:
    """Return what ``metadata`` of a Parquet file (`described`) says of ``frame``.

    Columns of which it says nothing are left out; so are all if it is damaged.
    """
    try:
        listed = json.loads(metadata.get(_COLUMNS, "[]"))
        return [
            Column(
                row["column"],
                frame.schema[row["column"]],
                *(str(row[key]) for key in ("unit", "ucd", "meaning")),
                optional=True,
            )
            for row in listed
            if row["column"] in frame.columns and row["meaning"]
        ]
    except (ValueError, TypeError, KeyError):
        return []


def _format_of(path: Path) -> str:
    suffix = path.suffix.lower()
    for name, usual in FORMATS.items():
        if suffix == usual:
            return name
    more = {".fit": "fits", ".xml": "votable", ".pq": "parquet"}
    if suffix in more:
        return more[suffix]
    raise ValueError(
        f"The name {path.name!r} does not tell the format: end it in one of "
        f"{', '.join(FORMATS.values())}, or name the format."
    )


def _csv(frame: pl.DataFrame) -> bytes:
    """CSV with a header line; null is an empty cell, NaN is ``NaN``."""
    flat = frame.with_columns(
        pl.Series(column.name, column.values.tolist(), dtype=pl.String)
        for column in plain_columns(frame.select(_nested(frame)), "velocities")
    )
    return flat.write_csv(quote_style="necessary").encode("utf-8")


def _nested(frame: pl.DataFrame) -> list[str]:
    """Columns that a CSV cell cannot hold as they are."""
    return [
        name
        for name, dtype in frame.schema.items()
        if dtype.is_nested() or dtype in (pl.Binary, pl.Object)
    ]


def _listed(
    frame: pl.DataFrame, table: str, columns: Sequence[Column]
) -> list[dict[str, str]]:
    """Name, unit, UCD and meaning of every column."""
    return [
        {
            "column": column.name,
            "unit": column.unit,
            "ucd": column.ucd,
            "meaning": column.meaning,
        }
        for column in plain_columns(frame.head(0), table, columns)
    ]


def _column_list(frame: pl.DataFrame, table: str, columns: Sequence[Column]) -> bytes:
    out = io.StringIO()
    fields = ["column", "unit", "ucd", "meaning"]
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_listed(frame, table, columns))
    return out.getvalue().encode("utf-8")
