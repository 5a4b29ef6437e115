"""Stars and their photometry: by Gaia's identifier, else by position.

Rows of ``stars`` may be spectra, several a star: every star is matched once, one to one
with the rows of photometry (`steadystar.survey.neighbors`), and all its rows get the
same. Proper motions are followed.
"""

__all__ = ["match_photometry", "matched_photometry"]

import logging

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.match import chord, unit_vectors
from steadystar.survey.columns import CatalogError, numbers, text
from steadystar.survey.neighbors import mutual_neighbors

_logger = logging.getLogger(__name__)

RADIUS_ARCSEC = 3.0
_GAIA_EPOCH, _J2000 = 2016.0, 2000.0


def match_photometry(
    stars: pl.DataFrame,
    photometry: pl.DataFrame,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> pl.DataFrame:
    """Match as `matched_photometry` does; its notes go to the log."""
    table, notes = matched_photometry(stars, photometry, radius_arcsec)
    for note in notes:
        _logger.warning("%s", note)
    return table


def matched_photometry(
    stars: pl.DataFrame,
    photometry: pl.DataFrame,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> tuple[pl.DataFrame, list[str]]:
    """Return the photometry of every row of ``stars``, and sentences on the match.

    Arguments:
        stars: with ``gaia_id`` or ``ra, dec`` (degrees) or both; ``star_id`` tells which
            rows are of one star, else equal positions do.
        photometry: as `steadystar.survey.photometry.read_photometry` gives it.
        radius_arcsec: largest distance of a match by position.

    The table has a row for each of ``stars``, in their order: all columns of
    ``photometry`` (null without a match) and ``photometry_separation``, arcsec, 0 for a
    match by identifier.

    Raises:
        CatalogError: no way to match, or the radius is none.
    """
    if not 0 < radius_arcsec < 3600:
        raise CatalogError(
            f"radius_arcsec = {radius_arcsec} is no matching radius: give arcseconds "
            "between 0 and 3600."
        )
    notes: list[str] = []
    best = _fullest_first(photometry)
    index = np.full(len(stars), -1, np.intp)
    separation = np.full(len(stars), np.nan)
    by_id = {"gaia_id"} <= set(stars.columns) & set(photometry.columns)
    if by_id:
        _by_id(stars, photometry, best, index, separation)
    positions = all({"ra", "dec"} <= set(t.columns) for t in (stars, photometry))
    if not (by_id or positions):
        raise CatalogError(
            "Stars and photometry share neither gaia_id nor positions (ra and dec in "
            "degrees): add one of them to both tables."
        )
    if positions:
        _by_position(stars, photometry, radius_arcsec, index, separation, notes)
    missing = int((index < 0).sum())
    if missing:
        notes.append(
            f"{missing} of {len(stars)} rows have no photometry by identifier or within "
            f"{radius_arcsec:g} arcsec."
        )
    away = pl.Series("photometry_separation", separation, nan_to_null=True)
    return _rows_at(photometry, index).with_columns(away), notes


def _rows_at(photometry: pl.DataFrame, index: NDArray[np.intp]) -> pl.DataFrame:
    """Return the rows of ``index``; nulls where it is negative."""
    if not len(photometry):
        return photometry.clear(len(index))
    hit = pl.Series(index >= 0)
    return photometry[np.maximum(index, 0)].select(
        pl.when(hit).then(pl.all()),
    )


def _fullest_first(photometry: pl.DataFrame) -> NDArray[np.intp]:
    """Return the rows in the order of how many values they have."""
    if not len(photometry):
        return np.zeros(0, np.intp)
    filled = photometry.select(
        pl.sum_horizontal(pl.all().is_not_null().cast(pl.Int32))
    ).to_series()
    return np.argsort(-filled.to_numpy(), kind="stable")


def _by_id(stars, photometry, best, index, separation) -> None:
    theirs = text(photometry, "gaia_id").to_list()
    row = {}
    for i in best:
        if theirs[i]:
            row.setdefault(theirs[i], i)
    for i, name in enumerate(text(stars, "gaia_id").to_list()):
        if name in row:
            index[i], separation[i] = row[name], 0.0


def _by_position(stars, photometry, radius, index, separation, notes) -> None:
    """Match what has no match yet, one to one among stars."""
    ra, dec = numbers(stars, "ra"), numbers(stars, "dec")
    rows = np.flatnonzero((index < 0) & np.isfinite(ra) & (np.abs(dec) <= 90))
    theirs = numbers(photometry, "ra"), numbers(photometry, "dec")
    free = np.isfinite(theirs[0]) & (np.abs(theirs[1]) <= 90)
    free[index[index >= 0]] = False
    if not (len(rows) and free.any()):
        return
    names = text(stars, "star_id")
    keys = [names[int(i)] or f"{ra[i]:.7f} {dec[i]:.7f}" for i in rows]
    _, first, star = np.unique(keys, return_index=True, return_inverse=True)
    motion = None
    if {"pmra", "pmdec"} <= set(photometry.columns):
        motion = numbers(photometry, "pmra")[free], numbers(photometry, "pmdec")[free]
    place = ra[rows[first]], dec[rows[first]]
    there = theirs[0][free], theirs[1][free]
    gaia = "gaia_id" in photometry.columns
    pairs = mutual_neighbors(
        place, there, radius, motion, _GAIA_EPOCH if gaia else _J2000
    )
    row = np.where(pairs.index >= 0, np.flatnonzero(free)[pairs.index], -1)
    index[rows], separation[rows] = row[star], pairs.separation[star]
    crowd = _crowded(place, there, radius)
    if crowd:
        notes.append(
            f"{crowd} stars have several rows of photometry within {radius:g} arcsec: the "
            "nearest was taken."
        )
    outdone = int(pairs.outdone.sum())
    if outdone:
        notes.append(
            f"{outdone} stars share their only photometry with a nearer star and have "
            "none."
        )


def _crowded(place, there, radius: float) -> int:
    from scipy.spatial import KDTree

    tree = KDTree(unit_vectors(*there))
    near = tree.query_ball_point(
        unit_vectors(*place), float(chord(radius)), return_length=True
    )
    return int((np.asarray(near) > 1).sum())
