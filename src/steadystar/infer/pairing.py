"""Which star of one catalog is which of the other: by identifier, then by position.

Both are one to one. Identifiers are compared in a common spelling, and not believed
where the positions are a minute of arc apart. Positions are matched nearest first: the
closest pair of all, then the closest of what remains. That is the same as repeating
"who is nearest to whom, mutually" until nobody is left, which `nearest` does quickly,
and it does not depend on the order of rows or of catalogs.
"""

__all__ = ["Pairing", "pair_stars"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import KDTree

from steadystar.data.match import chord, nearest, unit_vectors

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
        one, other = _nearest_first(
            *_sky(a, free_a), *_sky(b, free_b), radius_arcsec=radius_arcsec
        )
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
    joined = keys[0].join(keys[1], on="key", suffix="_b").sort("row")
    one = joined["row"].to_numpy().astype(np.intp)
    other = joined["row_b"].to_numpy().astype(np.intp)
    strange = _apart(a, b, one, other) > COINCIDENCE_ARCSEC
    return one[~strange], other[~strange], one[strange]


def _nearest_first(
    ra: Vector, dec: Vector, ra_b: Vector, dec_b: Vector, *, radius_arcsec
):
    """Return rows of pairs, each within the radius; the closest pairs go first."""
    left, right = np.arange(len(ra)), np.arange(len(ra_b))
    pairs: list[tuple[Rows, Rows]] = []
    while len(left) and len(right):
        forth, away = nearest(
            ra[left], dec[left], ra_b[right], dec_b[right], radius_arcsec
        )
        # Only those who have somebody within the radius can ever be matched.
        some = forth >= 0
        left, forth, away = left[some], forth[some], away[some]
        if not len(left):
            break
        # Of equal distances the first in the sky counts, whatever the order of rows.
        order = np.lexsort((dec[left], ra[left], away, forth))
        best = order[np.unique(forth[order], return_index=True)[1]]
        back, _ = nearest(
            ra_b[right[forth[best]]],
            dec_b[right[forth[best]]],
            ra[left],
            dec[left],
            radius_arcsec,
        )
        mutual = _same_place(ra[left], dec[left], back, best)
        mutual[np.argmin(away[best])] = True  # of equal distances, any
        one, other = left[best[mutual]], right[forth[best[mutual]]]
        pairs.append((one, other))
        left = np.setdiff1d(left, one, assume_unique=True)
        right = np.setdiff1d(right, other, assume_unique=True)
    if not pairs:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    one, other = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    order = np.argsort(one)
    return one[order], other[order]


def _same_place(ra: Vector, dec: Vector, one: Rows, other: Rows) -> NDArray[np.bool_]:
    """Whether rows are the same, or lie at the same place."""
    return (one == other) | ((ra[one] == ra[other]) & (dec[one] == dec[other]))


def _sky(table: pl.DataFrame, rows: Rows) -> tuple[Vector, Vector]:
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
    crowd = unit_vectors(*_sky(b, np.arange(len(b))))
    crowd = crowd[np.isfinite(crowd).all(axis=1)]
    known = np.isfinite(points).all(axis=1)
    out = np.zeros(len(rows), bool)
    if len(crowd) > 1 and known.any():
        distance, _ = KDTree(crowd).query(points[known], k=2)
        out[known] = distance[:, 1] <= float(chord(radius)) * (1 + 1e-9)
    return out
