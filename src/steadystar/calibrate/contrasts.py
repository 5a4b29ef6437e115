"""Do two telescopes agree? Differences between the mean offsets of sets of groups."""

__all__ = ["contrasts"]

from collections.abc import Callable
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
    covariance: Callable[[NDArray[np.intp]], NDArray[np.float64]],
) -> pl.DataFrame:
    """Compare every two values of ``column`` within each component of a family.

    Arguments:
        family: its name; ``table``: its offsets.
        column: of the family.
        covariance: of offsets, by their rows in ``table``; km^2/s^2.

    Returns the columns that `ZeroPoints.compare` describes, a row a pair.
    """
    known = table.with_row_index("_row").filter(pl.col("offset").is_finite())
    out = []
    for (component,), part in known.group_by("component", maintain_order=True):
        values = part[column].unique().sort().to_list()
        if len(values) < 2:
            continue
        matrix = covariance(part["_row"].to_numpy().astype(np.intp))
        offset = part["offset"].to_numpy()
        members = [(part[column] == value).to_numpy() for value in values]
        for (i, a), (j, b) in combinations(enumerate(members), 2):
            step = a / a.sum() - b / b.sum()
            variance = float(step @ matrix @ step)
            out.append(
                {
                    "family": family,
                    "component": component,
                    "first": str(values[i]),
                    "second": str(values[j]),
                    "difference": float(step @ offset),
                    "difference_err": float(np.sqrt(max(variance, 0.0))),
                    "n_first": int(a.sum()),
                    "n_second": int(b.sum()),
                }
            )
    return pl.DataFrame(out, schema=_COMPARED)
