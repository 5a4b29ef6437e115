"""Which star of one catalog is which of the other: by identifier, then by position.

Both are one to one. Identifiers are compared in a common spelling, and not believed
where the positions are a minute of arc apart. By position two stars belong together if
neither has a nearer one in the other catalog (`mutual_neighbors`).
"""

__all__ = ["Pairing", "pair_stars"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import KDTree

from steadystar.data.match import chord, unit_vectors
from steadystar.survey.neighbors import J2000, mutual_neighbors

COINCIDENCE_ARCSEC = 60.0
"""Names that agree while positions are farther apart are a coincidence."""

Rows = NDArray[np.intp]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Pairing:
    """Rows of both catalogs that are one star, in order of A's rows.

    ``by`` is "identifier" or "position", ``separation`` in arcsec (NaN if unknown),
    ``ambiguous``: another star of either catalog is within the radius.
    ``strangers`` are rows of A whose identifier is also in B, but elsewhere on the sky.
    """

    a: Rows
    b: Rows
    by: list[str]
    separation: Vector
    ambiguous: NDArray[np.bool_]
    strangers: Rows


def pair_stars(
    a: pl.DataFrame, b: pl.DataFrame, radius_arcsec: float, how: str = "auto"
) -> Pairing:
    """Pair the rows of two catalogs (`Catalog.frame`).

    ``how``: "auto" (identifiers, then positions), "identifier", or "position".
    """
    partner = np.full(len(a), -1, np.intp)
    taken = np.zeros(len(b), bool)
    strangers = np.zeros(0, np.intp)
    if how != "position":
        one, other, strangers = _same_identifiers(a, b)
        partner[one], taken[other] = other, True
    named = partner >= 0
    if how != "identifier":
        free_a, free_b = np.flatnonzero(~named), np.flatnonzero(~taken)
        one, other = _by_position(a[free_a], b[free_b], radius_arcsec)
        partner[free_a[one]] = free_b[other]
    rows = np.flatnonzero(partner >= 0)
    found = partner[rows]
    return Pairing(
        rows,
        found,
        ["identifier" if n else "position" for n in named[rows].tolist()],
        _apart(a, b, rows, found),
        _crowded(a, b, rows, radius_arcsec) | _crowded(b, a, found, radius_arcsec),
        strangers,
    )


def _same_identifiers(a: pl.DataFrame, b: pl.DataFrame) -> tuple[Rows, Rows, Rows]:
    """Rows of equal identifiers; then those of A that are elsewhere on the sky in B."""
    keys = [t.select("key").with_row_index("row").drop_nulls() for t in (a, b)]
    joined = (
        keys[0].join(keys[1], on="key", suffix="_b", maintain_order="left").sort("row")
    )
    one = joined["row"].to_numpy().astype(np.intp)
    other = joined["row_b"].to_numpy().astype(np.intp)
    strange = _apart(a, b, one, other) > COINCIDENCE_ARCSEC
    return one[~strange], other[~strange], one[strange]


def _by_position(
    a: pl.DataFrame, b: pl.DataFrame, radius_arcsec: float
) -> tuple[Rows, Rows]:
    """Rows of mutually nearest stars. Where a table has proper motions, they are followed.

    B's are preferred; years that are not known are 2000.
    """
    moving = [bool(t["pmra"].is_finite().any()) for t in (a, b)]
    swapped = moving[0] and not moving[1]
    one, other = (b, a) if swapped else (a, b)
    motion = None
    if any(moving):
        motion = other["pmra"].to_numpy(), other["pmdec"].to_numpy()
    year, epoch = (t["epoch"].fill_nan(J2000).to_numpy() for t in (one, other))
    found = mutual_neighbors(
        _sky(one), _sky(other), radius_arcsec, motion, epoch, year
    ).index
    rows = np.flatnonzero(found >= 0)
    partner = found[rows]
    if swapped:
        order = np.argsort(partner)
        return partner[order], rows[order]
    return rows, partner


def _sky(table: pl.DataFrame, rows: Rows | slice = slice(None)):
    return table["ra"].to_numpy()[rows], table["dec"].to_numpy()[rows]


def _apart(a: pl.DataFrame, b: pl.DataFrame, one: Rows, other: Rows) -> Vector:
    """Separation of rows, arcsec; NaN where a position is unknown."""
    first, second = unit_vectors(*_sky(a, one)), unit_vectors(*_sky(b, other))
    half = np.linalg.norm(first - second, axis=-1) / 2
    return np.degrees(2 * np.arcsin(np.minimum(half, 1.0))) * 3600


def _crowded(
    a: pl.DataFrame, b: pl.DataFrame, rows: Rows, radius: float
) -> NDArray[np.bool_]:
    """Whether more than one star of ``b`` is within the radius of rows of ``a``."""
    points = unit_vectors(*_sky(a, rows))
    crowd = unit_vectors(*_sky(b))
    crowd = crowd[np.isfinite(crowd).all(axis=1)]
    known = np.isfinite(points).all(axis=1)
    out = np.zeros(len(rows), bool)
    if len(crowd) > 1 and known.any():
        distance, _ = KDTree(crowd).query(points[known], k=2)
        out[known] = distance[:, 1] <= float(chord(radius)) * (1 + 1e-9)
    return out
