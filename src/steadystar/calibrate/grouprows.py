"""Which row of a table of groups each visit belongs to."""

__all__ = ["rows_of_groups"]

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.calibrate.options import CalibrationError


def rows_of_groups(
    visits: pl.DataFrame, groups: pl.DataFrame, by: Sequence[str], what: str
) -> NDArray[np.intp]:
    """Return the row in ``groups`` of every visit, -1 if it has none, ``(visit,)``.

    Without columns ``by`` there is one group, of all visits. ``what`` was found for the
    groups, in words.

    Raises:
        CalibrationError: a column of ``by`` is missing or of another kind.
    """
    if not by:
        return np.zeros(len(visits), np.intp)
    absent = [name for name in by if name not in visits.columns]
    if absent:
        raise CalibrationError(
            f"The table has no column {', '.join(absent)}, by which {what} were found: "
            "add it, or find them anew for this table."
        )
    try:
        found = visits.select(by).join(
            groups.select(by).with_row_index("_row"),
            on=by,
            how="left",
            maintain_order="left",
        )["_row"]
    except pl.exceptions.PolarsError as error:
        raise CalibrationError(
            f"The columns {', '.join(by)} are of another kind than those of {what} "
            f"({', '.join(map(str, groups.select(by).dtypes))}): convert them."
        ) from error
    return found.cast(pl.Int64).fill_null(-1).to_numpy().astype(np.intp)
