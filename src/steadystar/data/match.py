"""Which spectra are of the same star: by position, with identifiers that stay.

A star is a group of positions within a radius (3 arcsec unless told otherwise), linked
on the unit sphere, so that the poles and 0h are no special places. A known star keeps
its identifier when nights are added: new positions join the nearest known star within
the radius before they form groups of their own.
"""

__all__ = [
    "RADIUS_ARCSEC",
    "assign_stars",
    "chord",
    "name_from_position",
    "nearest",
    "unit_vectors",
]

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from steadystar.data.numbers import Numbers

RADIUS_ARCSEC = 3.0
"""Half of LAMOST's fiber is 1.65 arcsec; designations of one star differ by 0.3."""


def unit_vectors(ra: Numbers, dec: Numbers) -> NDArray[np.float64]:
    """Return directions (degrees) as vectors of length one, ``(n, 3)``."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack(
        [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1
    )


def chord(arcsec: Numbers) -> NDArray[np.float64] | np.float64:
    """Return the distance of two unit vectors that are ``arcsec`` apart."""
    return 2 * np.sin(np.radians(np.asarray(arcsec, float) / 3600) / 2)


def name_from_position(ra: float, dec: float) -> str:
    """Return the IAU-style name ``Jhhmmss.ss+ddmmss.s`` (truncated, as the IAU asks)."""
    hundredths = int(np.floor((ra % 360) / 15 * 360_000 + 1e-6)) % 8_640_000
    tenths = int(np.floor(abs(dec) * 36_000 + 1e-6))
    h, m, s = hundredths // 360_000, hundredths // 6_000 % 60, hundredths % 6_000
    d, dm, ds = tenths // 36_000, tenths // 600 % 60, tenths % 600
    sign = "-" if dec < 0 else "+"
    return (
        f"J{h:02d}{m:02d}{s // 100:02d}.{s % 100:02d}"
        f"{sign}{d:02d}{dm:02d}{ds // 10:02d}.{ds % 10}"
    )


def nearest(
    ra: Numbers,
    dec: Numbers,
    ra_of: Numbers,
    dec_of: Numbers,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Find the nearest of ``(ra_of, dec_of)`` for every ``(ra, dec)``, all in degrees.

    Returns its index, -1 where none is within ``radius_arcsec``, and the separation in
    arcsec (infinite where none).
    """
    points = np.atleast_2d(unit_vectors(ra, dec))
    index = np.full(len(points), -1, np.intp)
    separation = np.full(len(points), np.inf)
    finite = np.isfinite(points).all(axis=1)
    catalog = np.atleast_2d(unit_vectors(ra_of, dec_of))
    placed = np.flatnonzero(np.isfinite(catalog).all(axis=1))
    if len(placed) and finite.any():
        distance, found = KDTree(catalog[placed]).query(
            points[finite],
            distance_upper_bound=float(chord(radius_arcsec)) * (1 + 1e-9),
        )
        found, hit = np.asarray(found), np.isfinite(distance)
        rows = np.flatnonzero(finite)[hit]
        index[rows] = placed[found[hit]]
        separation[rows] = np.degrees(2 * np.arcsin(distance[hit] / 2)) * 3600
    return index, separation


def assign_stars(
    visits: pl.DataFrame,
    known: pl.DataFrame | None = None,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> pl.DataFrame:
    """Fill ``star_id`` of visits that have none.

    ``known`` (``star_id, ra, dec``) are the stars of earlier runs. A visit without a
    position becomes a star of its own, named after its ``visit_id``: it is never
    merged with another by accident. Row order is kept.
    """
    given = visits["star_id"].is_not_null() & (visits["star_id"] != "")
    ids = visits["star_id"].to_list()
    ra, dec = visits["ra"].to_numpy(), visits["dec"].to_numpy()
    placed = np.isfinite(ra) & np.isfinite(dec)
    open_rows = np.flatnonzero(~given.to_numpy())

    free = open_rows[placed[open_rows]]
    if known is not None and len(known) and len(free):
        index, _ = nearest(
            ra[free],
            dec[free],
            known["ra"].to_numpy(),
            known["dec"].to_numpy(),
            radius_arcsec,
        )
        names = known["star_id"].to_list()
        for row, star in zip(free[index >= 0], index[index >= 0], strict=True):
            ids[row] = names[star]
        free = free[index < 0]

    for group in _groups(ra[free], dec[free], radius_arcsec):
        # The first visit by name gives the position, whatever the order of the files.
        first = min(free[group], key=lambda row: visits["visit_id"][int(row)])
        name = name_from_position(float(ra[first]), float(dec[first]))
        for row in free[group]:
            ids[row] = name
    for row in open_rows[~placed[open_rows]]:
        ids[row] = f"unplaced {visits['visit_id'][int(row)]}"
    return visits.with_columns(pl.Series("star_id", ids, dtype=pl.String))


def _groups(ra, dec, radius_arcsec: float) -> list[NDArray[np.intp]]:
    """Connected groups of positions, each as indices in increasing order."""
    if not len(ra):
        return []
    tree = KDTree(unit_vectors(ra, dec))
    pairs = tree.query_pairs(chord(radius_arcsec) * (1 + 1e-9), output_type="ndarray")
    links = coo_matrix(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(ra),) * 2
    )
    _, label = connected_components(links, directed=False)
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
