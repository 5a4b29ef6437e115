"""Who is nearest to whom on the sky, one to one, while stars move.

A star of ours and a star of a catalog belong to each other if neither has a nearer one
within the radius. Stars near the Sun move by more than the radius in the years between a
catalog and an observation, and tables rarely say of which year their positions are: that
of a fiber may be where the star was seen or where an input catalog had it in 2000. So the
distance is taken from the *path* of a catalog star, from 2000 or the epoch of its
position, whichever is earlier, to the time of our observation. For stars that hardly move
this is the distance of two positions.

Positions are unit vectors, so that neither poles nor 0h are special places; all pairs
within the radius come from a tree, in classes of similar motion.
"""

__all__ = ["Neighbors", "mutual_neighbors"]

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from steadystar.data.match import chord, unit_vectors

Vector = NDArray[np.float64]

J2000 = 2000.0
_ARCSEC = np.pi / 180 / 3600
_CLASSES = (0.3, 3.0, 30.0, 300.0)
"""arcsec: half the lengths of paths up to which catalog stars are searched together."""

_FIRST_LOOK = 3
_ROUNDING = 1e-6  # arcsec


@dataclass(frozen=True)
class Neighbors:
    """For every star of ours its counterpart; arrays ``(star,)``.

    ``index``: row in the catalog, -1 if none; ``separation``: arcsec, NaN if none;
    ``outdone``: whether there was a counterpart within the radius that is nearer to
    another star of ours, or to one at the very same place that came first.
    ``repeated``: rows of the catalog that repeat the position of an earlier one.
    """

    index: NDArray[np.intp]
    separation: Vector
    outdone: NDArray[np.bool_]
    repeated: int


def mutual_neighbors(
    position: tuple[Vector, Vector],
    catalog: tuple[Vector, Vector],
    radius_arcsec: float,
    motion: tuple[Vector, Vector] | None = None,
    epoch: Vector | float = J2000,
    observed: Vector | float = J2000,
) -> Neighbors:
    """Match positions one to one with those of a catalog.

    Arguments:
        position: right ascension and declination of our stars, degrees, ``(star,)``; NaN
            where unknown.
        catalog: the same of the catalog, ``(row,)``.
        radius_arcsec: largest distance.
        motion: proper motions, mas a year, to the east (with cos dec) and to the north,
            ``(row,)``; NaN is none. None: nothing moves.
        epoch: years of the positions of the catalog, ``(row,)`` or one.
        observed: years in which our stars were observed, ``(star,)`` or one.
    """
    ours, ours_first = _places(*position)
    theirs, theirs_first = _places(*catalog)
    size = len(position[0])
    index, separation = np.full(size, -1, np.intp), np.full(size, np.nan)
    outdone = np.zeros(size, bool)
    repeated = int(np.isfinite(theirs_first).sum() - len(theirs))
    if not (len(ours) and len(theirs)):
        return Neighbors(index, separation, outdone, repeated)
    year = np.broadcast_to(np.asarray(observed, float), size)[ours]
    start, end, east_north = _paths(catalog, theirs, motion, epoch, float(year.max()))
    points = unit_vectors(position[0][ours], position[1][ours])
    star, row = _pairs(points, start, end, radius_arcsec)
    away = _distances(points, year, star, row, start, east_north)
    near = away <= radius_arcsec + _ROUNDING
    star, row, away = star[near], row[near], away[near]
    nearest_row = _nearest(star, row, away, len(ours))
    nearest_star = _nearest(row, star, away, len(theirs))
    pair = np.flatnonzero((nearest_row[star] == row) & (nearest_star[row] == star))
    index[ours[star[pair]]] = theirs[row[pair]]
    separation[ours[star[pair]]] = away[pair]
    outdone[ours[nearest_row >= 0]] = True
    # Those in the same place as another share its luck, but for the counterpart.
    same = np.isfinite(ours_first)
    outdone[same] = outdone[ours_first[same].astype(np.intp)]
    return Neighbors(index, separation, outdone & (index < 0), repeated)


def _places(ra: Vector, dec: Vector) -> tuple[NDArray[np.intp], Vector]:
    """Return the rows with different positions, and for each row the first like it.

    The latter is NaN where the position is unknown.
    """
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    key = np.mod(ra[known], 360) + 1j * dec[known]
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    like = np.full(len(ra), np.nan)
    like[known] = known[first[place]]
    return np.sort(known[first]), like


@dataclass(frozen=True)
class _Motion:
    """Velocities of catalog stars, radians a year ``(row, 3)``, and when they begin."""

    velocity: Vector
    begin: Vector
    epoch: Vector


def _paths(catalog, rows, motion, epoch, last: float):
    """Return where the paths begin and end, ``(row, 3)`` each, and their motion."""
    ra, dec = catalog[0][rows], catalog[1][rows]
    here = unit_vectors(ra, dec)
    epoch = np.broadcast_to(np.asarray(epoch, float), len(catalog[0]))[rows]
    epoch = np.where(np.isfinite(epoch), epoch, J2000)
    if motion is None:
        none = np.zeros(len(rows))
        return here, here, _Motion(np.zeros((0, 3)), none, none)
    east, north = (np.nan_to_num(one[rows]) * _ARCSEC / 1000 for one in motion)
    a, d = np.radians(ra), np.radians(dec)
    to_east = np.stack([-np.sin(a), np.cos(a), np.zeros(len(a))], axis=-1)
    to_north = np.stack(
        [-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1
    )
    velocity = east[:, None] * to_east + north[:, None] * to_north
    begin = np.minimum(J2000, epoch)
    end = np.maximum(last, epoch)
    start = _unit(here + (begin - epoch)[:, None] * velocity)
    stop = _unit(here + (end - epoch)[:, None] * velocity)
    return start, stop, _Motion(velocity, begin, epoch)


def _unit(vectors: Vector) -> Vector:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _pairs(points: Vector, start: Vector, end: Vector, radius: float):
    """Return all pairs (star, row) that may be within ``radius`` of each other."""
    tree = KDTree(points, balanced_tree=False, compact_nodes=False)
    middle = _unit(start + end)
    half = np.linalg.norm(end - start, axis=1) / 2 / _ARCSEC
    edges = (*_CLASSES, np.inf)
    stars, rows, done = [], [], np.full(len(half), False)
    for edge in edges:
        mine = np.flatnonzero(~done & (half <= edge))
        done[mine] = True
        if len(mine):
            reach = chord(radius + float(half[mine].max()) * 1.001 + 2 * _ROUNDING)
            row, star = _within(tree, middle[mine], float(reach))
            stars.append(star)
            rows.append(mine[row])
    return np.concatenate(stars), np.concatenate(rows)


def _within(tree: KDTree, places: Vector, reach: float):
    """Return all pairs of a place and a point of the tree within ``reach``."""
    found_place, found_point = [], []
    open_ = np.arange(len(places))
    k = _FIRST_LOOK
    while len(open_):
        _, point = tree.query(
            places[open_], k=k, distance_upper_bound=reach, workers=-1
        )
        point = np.asarray(point)
        hit = point < tree.n
        # Where all k are hits there may be more: these are asked again.
        full = hit[:, -1] & (k < tree.n)
        place, column = np.nonzero(hit & ~full[:, None])
        found_place.append(open_[place])
        found_point.append(point[place, column])
        open_, k = open_[full], 4 * k
    return np.concatenate(found_place), np.concatenate(found_point)


def _distances(points, year, star, row, start, motion: _Motion) -> Vector:
    """Return how far stars are from the paths of catalog stars, arcsec, ``(pair,)``."""
    place, at = points[star], start[row]
    if len(motion.velocity):
        velocity = motion.velocity[row]
        square = np.maximum(np.sum(velocity**2, axis=1), 1e-300)
        span = np.maximum(year[star], motion.epoch[row]) - motion.begin[row]
        when = np.sum((place - at) * velocity, axis=1) / square
        at = _unit(at + np.clip(when, 0.0, span)[:, None] * velocity)
    half = np.linalg.norm(place - at, axis=1) / 2
    return 2 * np.arcsin(np.minimum(half, 1.0)) / _ARCSEC


def _nearest(of: NDArray, other: NDArray, away: Vector, size: int) -> NDArray[np.intp]:
    """Return the nearest ``other`` of each, -1 if none; of equals the first."""
    order = np.lexsort((other, away, of))
    first = order[np.flatnonzero(np.diff(of[order], prepend=-1))]
    out = np.full(size, -1, np.intp)
    out[of[first]] = other[first]
    return out
