"""Every table, and every column of it, once: name, dtype, unit, UCD and meaning.

Readers, the pipeline, the catalogs, the report and the generated reference all take
their columns from here. A table may carry more columns than its schema lists (those a
user brought along); it never lacks one that is not optional: what is unknown is null or
NaN.

UCDs follow the IVOA vocabulary UCD1+ 1.5; units are in the form that
`astropy.units.Unit` reads.
"""

__all__ = [
    "COMPARE",
    "LABELS",
    "LABEL_NAMES",
    "OFFSETS",
    "REJECTED",
    "RELATIVE",
    "STANDARDS",
    "STARS",
    "TABLES",
    "VELOCITIES",
    "VISITS",
    "Column",
    "columns",
    "conform",
    "describe",
    "empty",
]

import polars as pl

from steadystar.data.column import FLOAT, Column
from steadystar.data.hot_columns import BUDGET, COMPOSITES, DISTANCES, HOT
from steadystar.data.label_columns import LABEL_NAMES, LABELS
from steadystar.data.star_columns import COMPARE, STANDARDS, STARS
from steadystar.data.variable_columns import (
    ORBIT_MODES,
    ORBIT_SAMPLES,
    ORBITS,
    PERIODS,
    VARIABLES,
)
from steadystar.data.visit_columns import (
    OFFSETS,
    REJECTED,
    RELATIVE,
    VELOCITIES,
    VISITS,
)

TABLES: dict[str, tuple[Column, ...]] = {
    "visits": VISITS,
    "velocities": VELOCITIES,
    "offsets": OFFSETS,
    "stars": STARS,
    "labels": LABELS,
    "rejected": REJECTED,
    "relative": RELATIVE,
    "standards": STANDARDS,
    "compare": COMPARE,
    "distances": DISTANCES,
    "hot": HOT,
    "budget": BUDGET,
    "composites": COMPOSITES,
    "variables": VARIABLES,
    "periods": PERIODS,
    "orbits": ORBITS,
    "orbit-samples": ORBIT_SAMPLES,
    "orbit-modes": ORBIT_MODES,
}


def columns(table: str) -> dict[str, Column]:
    """Return the columns of ``table`` by name, in order."""
    return {column.name: column for column in TABLES[table]}


def describe(name: str) -> Column | None:
    """Return the column called ``name`` from whichever table has it, else None."""
    for table in TABLES.values():
        for column in table:
            if column.name == name:
                return column
    return None


def empty(table: str) -> pl.DataFrame:
    """Return ``table`` without rows, and without its optional columns."""
    return pl.DataFrame(
        schema={c.name: c.dtype for c in TABLES[table] if not c.optional}
    )


def conform(
    frame: pl.DataFrame, table: str, *, keep_dtype: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Give ``frame`` all columns of ``table``, in order and in their dtypes.

    Optional columns are not added where they are missing.

    Missing columns are added (NaN for floats, null for the rest). Columns that the
    schema does not know follow after, as they are; those in ``keep_dtype`` are not
    cast (a user's group columns keep theirs).

    Raises:
        ValueError: a column cannot be cast; the message names it.
    """
    known = columns(table)
    out = []
    for column in known.values():
        if column.name not in frame.columns:
            if column.optional:
                continue
            value = float("nan") if column.dtype == FLOAT else None
            out.append(pl.lit(value, dtype=column.dtype).alias(column.name))
        elif column.name in keep_dtype:
            out.append(pl.col(column.name))
        else:
            expression = pl.col(column.name).cast(column.dtype, strict=True)
            if column.dtype == FLOAT:
                expression = expression.fill_null(float("nan"))
            out.append(expression)
    try:
        return frame.select(*out, *[n for n in frame.columns if n not in known])
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"A column of the {table} table has values of the wrong kind: {error}. "
            "Convert it, or leave it out."
        ) from error
