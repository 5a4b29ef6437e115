"""Which star is which standard: by name, else the nearest on the sky, one to one.

Names are compared in a common spelling (`standard_list.normal_name`). A name that agrees
while the positions are a minute of arc apart is a coincidence, and is not believed.

Standards are near, and many move by more than the radius in the years between two
catalogs. Where the list gives proper motions, a star matches that lies within the radius
of any place where the standard was between the epoch of the list (or 2000, whichever is
first) and the last visit: catalogs rarely say of which year their positions are.
"""

__all__ = ["Match", "match_standards"]

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.spatial import KDTree

from steadystar.calibrate.standard_list import normal_name
from steadystar.calibrate.visitsums import Vector
from steadystar.data.match import chord, nearest, unit_vectors

COINCIDENCE_ARCSEC = 60.0
"""A star with 1 arcsec a year, of which there are 500, moves by this in a lifetime."""

_J2000, _JD_J2000, _YEAR = 2000.0, 2_451_545.0, 365.25
_ANYWHERE = 180 * 3600.0


@dataclass(frozen=True)
class Match:
    """For every star its ``standard`` (-1: none), ``by`` name or position, and how far.

    ``separation`` in arcsec (NaN if a position is unknown); ``closest`` is the least
    distance between any star and any standard, and ``which`` are these two.
    """

    standard: NDArray[np.intp]
    by: list[str | None]
    separation: Vector
    closest: float
    which: tuple[int, int]
    notes: tuple[str, ...]


def match_standards(
    stars: pl.DataFrame, standards: pl.DataFrame, radius_arcsec: float
) -> Match:
    """Match ``stars`` (star_id, ra, dec, bjd) with ``standards`` (`standard_list`)."""
    size = len(stars)
    standard = np.full(size, -1, np.intp)
    separation = np.full(size, np.nan)
    by: list[str | None] = [None] * size
    taken = np.zeros(len(standards), bool)
    star, found = _same_names(stars, standards)
    away = _separation(stars, standards, star, found)
    strange = away > COINCIDENCE_ARCSEC
    names = stars["star_id"].cast(pl.String).to_list()
    strangers = [
        f"{names[i]} ({a:.0f} arcsec apart)"
        for i, a in zip(star[strange].tolist(), away[strange].tolist(), strict=True)
    ]
    near = _near(stars, standards, radius_arcsec)
    order = np.lexsort((near[1], near[0], near[2]))
    candidates = (
        ("name", star[~strange], found[~strange], away[~strange]),
        ("position", *(values[order] for values in near)),
    )
    for how, *pairs in candidates:
        for i, j, a in zip(*(values.tolist() for values in pairs), strict=True):
            if standard[i] < 0 and not taken[j]:
                standard[i], by[i], separation[i], taken[j] = j, how, a, True
    notes = ()
    if strangers:
        more = f"; and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        said = "The same name, but another place on the sky, so not believed: "
        notes = (f"{said}{'; '.join(strangers[:5])}{more}.",)
    return Match(standard, by, separation, *_closest(stars, standards), notes)


def _same_names(stars: pl.DataFrame, standards: pl.DataFrame):
    """Return the pairs of a star and a standard whose names agree."""
    place = {n: i for i, n in enumerate(standards["star_id"].to_list()) if n}
    names = stars["star_id"].cast(pl.String).to_list()
    found = [place.get(normal_name(n), -1) if n else -1 for n in names]
    pairs = np.array(found, np.intp)
    star = np.flatnonzero(pairs >= 0)
    return star, pairs[star]


def _near(stars: pl.DataFrame, standards: pl.DataFrame, radius: float):
    """Return all pairs within ``radius`` arcsec, and how far apart they are."""
    here = np.flatnonzero(_placed(stars))
    there = np.flatnonzero(_placed(standards))
    if not (len(here) and len(there)):
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    tree = KDTree(unit_vectors(*_position(stars, here)))
    motion, epoch = _motion(standards)
    last = np.maximum(float(np.max(_years(stars))), epoch)
    reach = np.hypot(*motion) * (last - np.minimum(epoch, _J2000))
    found = tree.query_ball_point(
        unit_vectors(*_position(standards, there)), chord(radius + reach[there] + 0.01)
    )
    standard = np.repeat(there, [len(one) for one in found])
    star = here[np.concatenate([np.array(one, np.intp) for one in found])]
    away = _separation(stars, standards, star, standard)
    near = away <= radius
    return star[near], standard[near], away[near]


def _separation(stars, standards, star, standard) -> Vector:
    """Least distances of stars from the paths of standards, arcsec; NaN if unknown."""
    ra, dec = _position(stars, star)
    ra_of, dec_of = _position(standards, standard)
    east = (ra - ra_of + 180) % 360 - 180
    place = np.stack([east * np.cos(np.radians(dec_of)), dec - dec_of]) * 3600
    motion, epoch = _motion(standards)
    motion, epoch = motion[:, standard], epoch[standard]
    first = np.minimum(epoch, _J2000) - epoch
    last = np.maximum(_years(stars)[star], epoch) - epoch
    square = np.maximum(np.sum(motion**2, axis=0), 1e-30)
    when = np.clip(np.sum(place * motion, axis=0) / square, first, last)
    return np.hypot(*(place - when * motion))


def _position(table: pl.DataFrame, rows) -> tuple[Vector, Vector]:
    return table["ra"].to_numpy()[rows], table["dec"].to_numpy()[rows]


def _placed(table: pl.DataFrame) -> NDArray[np.bool_]:
    return np.isfinite(table["ra"].to_numpy()) & np.isfinite(table["dec"].to_numpy())


def _motion(standards: pl.DataFrame) -> tuple[NDArray[np.float64], Vector]:
    """Return proper motions, arcsec a year ``(2, standard)``, and epochs."""
    motion = np.stack([standards[n].to_numpy() / 1000 for n in ("pmra", "pmdec")])
    epoch = standards["epoch"].to_numpy()
    return np.nan_to_num(motion), np.where(np.isfinite(epoch), epoch, _J2000)


def _years(stars: pl.DataFrame) -> Vector:
    """Return the year of each star's visits; where unknown, that of the latest."""
    year = _J2000 + (stars["bjd"].to_numpy() - _JD_J2000) / _YEAR
    known = np.isfinite(year)
    return np.where(known, year, year[known].max() if known.any() else _J2000)


def _closest(stars: pl.DataFrame, standards: pl.DataFrame):
    """Return the least distance of a star and a standard, arcsec, and which they are."""
    index, away = nearest(
        *_position(stars, slice(None)), *_position(standards, slice(None)), _ANYWHERE
    )
    if not np.isfinite(away).any():
        return float("inf"), (-1, -1)
    star = int(np.argmin(away))
    return float(away[star]), (star, int(index[star]))
