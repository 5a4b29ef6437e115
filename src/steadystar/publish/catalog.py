"""Tables as files that other astronomers can use.

``export`` writes one table in one format. Names, units, UCDs and meanings come from
`data.schema`; where a table comes from (version, configuration, inputs) is the caller's
``provenance`` and goes into the file itself wherever the format has room for it. The
same table gives the same bytes, and a file is complete or not there.
"""

__all__ = ["FORMATS", "constant_candidates", "export", "relative_catalog"]

import csv
import io
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import polars as pl

from steadystar.data.schema import TABLES
from steadystar.data.tables import write_parquet
from steadystar.publish.files import write_bytes
from steadystar.publish.fits_table import fits_bytes
from steadystar.publish.plain import plain_columns
from steadystar.publish.relative_catalog import constant_candidates, relative_catalog
from steadystar.publish.votable import votable_bytes

FORMATS = {"parquet": ".parquet", "fits": ".fits", "votable": ".vot", "csv": ".csv"}
"""The formats that `export` writes, and the suffix of each."""


def export(
    frame: pl.DataFrame,
    path: Path,
    *,
    format: str | None = None,
    table: str = "velocities",
    provenance: Mapping[str, str] | None = None,
) -> Path:
    """Write ``frame`` to ``path`` and return the path.

    Arguments:
        frame: any table; columns that `data.schema` does not know go without unit.
        path: the file to write.
        format: one of `FORMATS`; None takes it from the suffix of ``path``.
        table: the name of the table in `data.schema`, which tells columns of the same
            name apart and becomes the name of the table in the file.
        provenance: what the file should say about where it comes from, in order.

    Parquet carries units, UCDs and meanings as JSON under the metadata key ``columns``;
    CSV has no room for them: they go into a second file, ``NAME-columns.csv``.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    if chosen == "parquet":
        described = json.dumps(_described(frame, table))
        write_parquet(frame, path, {**facts, "columns": described})
    elif chosen == "fits":
        write_bytes(path, fits_bytes(plain_columns(frame, table), table, facts))
    elif chosen == "votable":
        write_bytes(path, votable_bytes(plain_columns(frame, table), table, facts))
    else:
        write_bytes(path, _csv(frame))
        beside = path.with_name(f"{path.stem}-columns.csv")
        write_bytes(beside, _column_list(frame, table))
    return path


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


def _described(frame: pl.DataFrame, table: str) -> list[dict[str, str]]:
    """Name, unit, UCD and meaning of every column."""
    return [
        {
            "column": column.name,
            "unit": column.unit,
            "ucd": column.ucd,
            "meaning": column.meaning,
        }
        for column in plain_columns(frame.head(0), table)
    ]


def _column_list(frame: pl.DataFrame, table: str) -> bytes:
    out = io.StringIO()
    fields = ["column", "unit", "ucd", "meaning"]
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_described(frame, table))
    return out.getvalue().encode("utf-8")
