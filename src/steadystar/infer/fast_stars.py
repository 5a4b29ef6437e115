"""Candidates for high velocity: who is fast, and whether that can be believed.

A velocity above the limit (300 km/s in Zong et al. 2020, section 3.1) is a candidate. It
is solid if it is above by three errors, was seen at least twice with little scatter, and
the other catalog does not disagree.
"""

__all__ = ["fast_stars"]

import numpy as np
import polars as pl

from steadystar.infer.catalog import Catalog
from steadystar.infer.pairing import Pairing

_SIGMA, _AGREES = 3.0, 5.0
_FLOOR = 5.0
"""km/s. Two surveys of a star that does not vary agree at least so well."""
_LARGE = 30.0
"""km/s. An error, or a scatter of the visits, that says that something is wrong."""

_SCHEMA = {
    "star_id": pl.String,
    "row": pl.Int64,
    "ra": pl.Float64,
    "dec": pl.Float64,
    "rv": pl.Float64,
    "rv_err": pl.Float64,
    "n_visits": pl.Float64,
    "rv_scatter": pl.Float64,
    "rv_other": pl.Float64,
    "rv_other_err": pl.Float64,
    "solid": pl.Boolean,
    "doubts": pl.String,
}


def fast_stars(a: Catalog, b: Catalog, pairs: Pairing, limit: float) -> pl.DataFrame:
    """Return the stars of A faster than ``limit`` (km/s), the fastest first.

    ``solid`` says that nothing speaks against it, ``doubts`` what does.
    """
    if "rv" not in a.frame.columns:
        return pl.DataFrame(schema=_SCHEMA)
    frame = a.frame.select("star_id", "row", "ra", "dec", "n_visits", "rv_scatter")
    partner = np.full(len(frame), -1, np.intp)
    partner[pairs.a] = pairs.b
    other = {}
    for name in ("rv", "rv_err"):
        frame = frame.with_columns(a.frame[name])
        values = np.full(len(frame), np.nan)
        if name in b.frame.columns:
            values[pairs.a] = b.frame[name].to_numpy()[pairs.b]
        other[f"{name.replace('rv', 'rv_other')}"] = pl.Series(values)
    frame = frame.with_columns(**other)
    fast = frame.filter(pl.col("rv").is_finite() & (pl.col("rv").abs() > limit))
    fast = fast.sort(pl.col("rv").abs(), descending=True, maintain_order=True)
    doubts = [_doubts(row, limit) for row in fast.iter_rows(named=True)]
    return fast.with_columns(
        solid=pl.Series([not d for d in doubts], dtype=pl.Boolean),
        doubts=pl.Series(["; ".join(d) for d in doubts], dtype=pl.String),
    ).select(list(_SCHEMA))


def _doubts(row: dict, limit: float) -> list[str]:
    """What speaks against a candidate."""
    out = []
    error = row["rv_err"]
    if not np.isfinite(error):
        out.append("no error")
    elif error > _LARGE:
        out.append(f"error of {error:.0f} km/s")
    elif abs(row["rv"]) - _SIGMA * error < limit:
        out.append(f"less than {_SIGMA:.0f} errors above the limit")
    if row["n_visits"] < 2:
        out.append("one visit")
    if row["rv_scatter"] > _LARGE:
        out.append(f"visits scatter by {row['rv_scatter']:.0f} km/s")
    apart = abs(row["rv"] - row["rv_other"])
    both = np.hypot(np.nan_to_num(error), np.nan_to_num(row["rv_other_err"]))
    if apart > _AGREES * np.hypot(both, _FLOOR):
        out.append(f"the other catalog says {row['rv_other']:.0f} km/s")
    return out
