"""Do two telescopes agree? Differences between the mean offsets of sets of groups."""

__all__ = ["WORTH_SAYING", "contrasts", "difference_in_words"]

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

WORTH_SAYING = ("telescope", "survey")
"""Columns whose values people want to see compared without asking."""

_COMPARED = {
    "family": pl.String,
    "component": pl.Int64,
    "first": pl.String,
    "second": pl.String,
    "difference": pl.Float64,
    "difference_err": pl.Float64,
    "n_first": pl.Int64,
    "n_second": pl.Int64,
}


def contrasts(
    family: str,
    table: pl.DataFrame,
    column: str,
    variance: Callable[[NDArray[np.intp], NDArray[np.float64]], float],
) -> pl.DataFrame:
    """Compare every two values of ``column`` within each component of a family.

    Arguments:
        family: its name; ``table``: its offsets.
        column: of the family.
        variance: of the sum of offsets, by their rows in ``table`` and weights; km^2/s^2.

    Returns the columns that `ZeroPoints.compare` describes, a row a pair.
    """
    known = table.with_row_index("_row").filter(pl.col("offset").is_finite())
    out = []
    for (component,), part in known.group_by("component", maintain_order=True):
        values = part[column].unique().sort().to_list()
        if len(values) < 2:
            continue
        rows = part["_row"].to_numpy().astype(np.intp)
        offset = part["offset"].to_numpy()
        members = [(part[column] == value).to_numpy() for value in values]
        for (i, a), (j, b) in combinations(enumerate(members), 2):
            step = a / a.sum() - b / b.sum()
            out.append(
                {
                    "family": family,
                    "component": component,
                    "first": str(values[i]),
                    "second": str(values[j]),
                    "difference": float(step @ offset),
                    "difference_err": float(np.sqrt(variance(rows, step))),
                    "n_first": int(a.sum()),
                    "n_second": int(b.sum()),
                }
            )
    return pl.DataFrame(out, schema=_COMPARED)


def difference_in_words(column: str, row: dict[str, Any]) -> str:
    """Say what one row of `contrasts` says."""
    more = "more" if row["difference"] >= 0 else "less"
    digits = max(0, min(3, 1 - int(np.floor(np.log10(1000 * row["difference_err"])))))
    size, error = 1000 * abs(row["difference"]), 1000 * row["difference_err"]
    return (
        f"{column} {row['first']} reads {size:.{digits}f} +- {error:.{digits}f} m/s {more} "
        f"than {row['second']}: the difference of the mean offsets of {row['family']} "
        f"({row['n_first']} and {row['n_second']} groups), all their covariance in the "
        "error."
    )
