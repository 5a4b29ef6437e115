"""Our stars in other catalogs: the counterpart of each, one to one.

A star's counterpart is the nearest within 3.7 arcsec (Zong et al. 2020, table 3), and one
to one: a star of the catalog belongs to the nearest of ours (`neighbors`). Proper motions
are followed where the catalog has them. The stars get ``NAME_id``, ``NAME_separation``
and, for each column that is brought along, ``NAME_column``; a star without a counterpart
keeps its row, and how many there are is said.
"""

__all__ = [
    "RADIUS_ARCSEC",
    "CrossMatch",
    "CrossMatchOptions",
    "cross_match",
    "cross_match_all",
]

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Annotated, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data import schema
from steadystar.data.match import nearest
from steadystar.data.schema import Column
from steadystar.survey.columns import CatalogError
from steadystar.survey.neighbors import Neighbors, mutual_neighbors
from steadystar.survey.star_catalogs import StarCatalog, open_catalog

RADIUS_ARCSEC = 3.7
"""Largest distance of a counterpart (Zong et al. 2020)."""

_JD_J2000, _YEAR = 2_451_545.0, 365.25
_SAMPLE = 50_000
_CLEARLY = 10
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class CrossMatchOptions:
    """Catalogs in which the stars are looked up."""

    catalogs: Annotated[
        dict[str, str],
        'Files of catalogs by the name that their columns get: { kic = "kic.fits" } gives '
        "kic_id and kic_separation. Parquet, FITS, VOTable, ECSV, CSV.",
    ] = field(default_factory=dict)
    radius_arcsec: Annotated[
        float, "Largest distance of a counterpart, arcsec (Zong 2020: 3.7)."
    ] = RADIUS_ARCSEC
    bring: Annotated[
        dict[str, tuple[str, ...]],
        'Columns to bring along, by catalog: { kic = ["kepmag"] } gives kic_kepmag.',
    ] = field(default_factory=dict)
    names: Annotated[
        dict[str, str],
        "By catalog, which column is what where usual names do not tell, with a unit in "
        'brackets: { kic = "id=KIC,ra=RA[h],pmra=pmRA[arcsec/yr]" }.',
    ] = field(default_factory=dict)
    epochs: Annotated[
        dict[str, float],
        "By catalog, the year of its positions where no column says it; else Gaia's by "
        "release, or 2000.",
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.radius_arcsec < 3600:
            raise CatalogError(
                f"radius_arcsec = {self.radius_arcsec} is no matching radius: give "
                "arcseconds between 0 and 3600."
            )
        for name in self.catalogs:
            _require_name(name)
        for what in ("bring", "names", "epochs"):
            odd = sorted(set(getattr(self, what)) - set(self.catalogs))
            if odd:
                raise CatalogError(
                    f"{what} speaks of {', '.join(odd)}, but catalogs names no file for "
                    f"it: add it there, or take it out of {what}."
                )


@dataclass(frozen=True)
class CrossMatch:
    """Stars with their counterparts.

    ``stars``: the table given, with the new columns behind. ``columns``: what these are,
    with their units, for `export`. ``matched``: stars with a counterpart, by catalog.
    ``notes``: sentences for people.
    """

    stars: pl.DataFrame
    columns: tuple[Column, ...] = ()
    matched: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def cross_match(
    stars: pl.DataFrame,
    catalog: str | PathLike[str] | pl.DataFrame,
    name: str = "catalog",
    *,
    radius_arcsec: float = RADIUS_ARCSEC,
    bring: Sequence[str] = (),
    names: Mapping[str, str] | str | None = None,
    epoch: float | None = None,
    observed: pl.Series | NDArray[Any] | float | None = None,
) -> CrossMatch:
    """Find the counterpart of every star in a catalog.

    Arguments:
        stars: with ``ra, dec`` (degrees, ICRS).
        catalog: a file or a table; columns are recognized by their usual names.
        name: what the new columns begin with, as ``kic``.
        radius_arcsec: largest distance.
        bring: columns of the catalog to bring along.
        names: which column is what, where usual names do not tell (`open_catalog`).
        epoch: year of the catalog's positions, where no column says it.
        observed: mean time of our observations, BJD, ``(star,)`` or one; None: the
            column ``bjd`` of ``stars``, else 2000 (stars that move are then searched
            between 2000 and the catalog's epoch).

    Row order is kept. Columns of an earlier match of this name are replaced.

    Raises:
        CatalogError: a column is missing, hours and degrees cannot be told apart, or
            names clash.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    _require_name(name)
    options = CrossMatchOptions(radius_arcsec=radius_arcsec)
    ra, dec = _positions(stars)
    found = open_catalog(catalog, names, bring, epoch)
    found = _in_degrees(found, ra, dec, options.radius_arcsec)
    motion = None
    if found.pmra is not None and found.pmdec is not None:
        motion = found.pmra, found.pmdec
    pairs = mutual_neighbors(
        (ra, dec),
        (found.ra, found.dec),
        options.radius_arcsec,
        motion,
        found.epoch,
        _years(stars, observed),
    )
    table, columns = _with_counterparts(stars, found, pairs, name)
    placed = int((np.isfinite(ra) & np.isfinite(dec)).sum())
    said = _said(found, pairs, name, placed, options.radius_arcsec)
    notes = (said, *(f"{name}: {note}" for note in found.notes))
    return CrossMatch(table, columns, {name: int((pairs.index >= 0).sum())}, notes)


def cross_match_all(
    stars: pl.DataFrame,
    options: CrossMatchOptions,
    visits: pl.DataFrame | None = None,
) -> CrossMatch:
    """Find the stars in every catalog of ``options``, one after the other.

    ``visits`` (``star_id, bjd``) tell when each star was observed, in the mean.

    Raises:
        CatalogError: see `cross_match`.
        steadystar.data.tables.TableError: a file is missing, damaged or no table.
    """
    out = CrossMatch(stars)
    observed = None if visits is None else _mean_times(stars, visits)
    for name, path in options.catalogs.items():
        one = cross_match(
            out.stars,
            path,
            name,
            radius_arcsec=options.radius_arcsec,
            bring=options.bring.get(name, ()),
            names=options.names.get(name),
            epoch=options.epochs.get(name),
            observed=observed,
        )
        twice = {c.name for c in out.columns} & {c.name for c in one.columns}
        if twice:
            raise CatalogError(
                f"{min(twice)} of {name} is a column of another catalog already: give "
                "one of them another name."
            )
        out = CrossMatch(
            one.stars,
            (*out.columns, *one.columns),
            {**out.matched, **one.matched},
            (*out.notes, *one.notes),
        )
    return out


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} cannot begin the name of a column: give a catalog a name of lower "
            "case letters, digits and underscores, such as kic or gaia_dr3."
        )


def _positions(stars: pl.DataFrame):
    absent = [name for name in ("ra", "dec") if name not in stars.columns]
    if absent:
        raise CatalogError(
            f"The table of stars has no column {', '.join(absent)}: a match asks for "
            "positions in degrees."
        )
    ra, dec = (
        stars[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        for name in ("ra", "dec")
    )
    good = np.isfinite(ra) & (np.abs(dec) <= 90)
    return np.where(good, ra, np.nan), np.where(good, dec, np.nan)


def _years(stars: pl.DataFrame, observed) -> NDArray[np.float64]:
    """Return the year in which each star was observed; 2000 where nothing tells."""
    if observed is None and "bjd" in stars.columns:
        observed = stars["bjd"]
    if observed is None:
        return np.full(len(stars), 2000.0)
    if isinstance(observed, pl.Series):
        observed = observed.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    bjd = np.broadcast_to(np.asarray(observed, np.float64), len(stars))
    known = (bjd > 2_300_000) & (bjd < 2_600_000)
    year = 2000.0 + (np.where(known, bjd, _JD_J2000) - _JD_J2000) / _YEAR
    latest = year[known].max() if known.any() else 2000.0
    return np.where(known, year, latest)


def _mean_times(stars: pl.DataFrame, visits: pl.DataFrame) -> pl.Series:
    times = visits.filter(pl.col("bjd").is_finite()).group_by("star_id")
    mean = times.agg(_mean=pl.col("bjd").mean())
    joined = stars.select("star_id").join(
        mean, on="star_id", how="left", maintain_order="left"
    )
    return joined["_mean"]


def _in_degrees(catalog: StarCatalog, ra, dec, radius: float) -> StarCatalog:
    """Settle whether right ascensions below 24 are hours: by which has our stars."""
    if not catalog.unsure_hours:
        return catalog
    step = max(1, len(ra) // _SAMPLE)
    counts = {}
    for unit, factor in (("deg", 1.0), ("h", 15.0)):
        index, _ = nearest(
            ra[::step], dec[::step], catalog.ra * factor, catalog.dec, radius
        )
        counts[unit] = int((index >= 0).sum())
    best, other = sorted(counts, key=lambda unit: -counts[unit])
    if counts[best] == 0 or counts[best] < _CLEARLY * counts[other]:
        raise CatalogError(
            f"The right ascensions of {catalog.origin} are between 0 and 24, and nothing "
            f"says whether they are hours or degrees: as degrees {counts['deg']} of our "
            f"stars are among them, as hours {counts['h']}. Say it, as in ra=RA[h] or "
            "ra=RA[deg]."
        )
    hours = "hours" if best == "h" else "degrees"
    said = (
        f"Its right ascensions are between 0 and 24 without a unit: they were taken as "
        f"{hours}, for so {counts[best]} of our stars are among them, else {counts[other]}."
    )
    factor = 15.0 if best == "h" else 1.0
    return replace(catalog, ra=catalog.ra * factor, notes=(*catalog.notes, said))


def _with_counterparts(
    stars: pl.DataFrame, catalog: StarCatalog, pairs: Neighbors, name: str
) -> tuple[pl.DataFrame, tuple[Column, ...]]:
    """Return the stars with the columns of their counterparts, and what these are."""
    row = pl.Series(pairs.index).replace(-1, None)
    made = [
        catalog.ids.gather(row).alias(f"{name}_id"),
        pl.Series(f"{name}_separation", pairs.separation),
    ]
    columns = [
        Column(
            f"{name}_id",
            catalog.ids.dtype,
            "",
            "meta.id.cross",
            f"Name in {name}",
            True,
        ),
        Column(
            f"{name}_separation",
            pl.Float64,
            "arcsec",
            "pos.angDistance",
            f"Distance of the star in {name}",
            True,
        ),
    ]
    for theirs in catalog.brought.columns:
        values = catalog.brought[theirs].gather(row)
        if values.dtype.is_float():
            values = values.fill_null(np.nan)
        label = f"{name}_{theirs.strip().lower()}"
        unit = catalog.units.get(theirs, "")
        made.append(values.alias(label))
        columns.append(
            Column(label, values.dtype, unit, "", f"{theirs}, as {name} has it", True)
        )
    labels = [column.name for column in columns]
    taken = {c.name for table in ("stars", "labels") for c in schema.TABLES[table]}
    clash = [n for n in labels if labels.count(n) > 1 or n in taken]
    if clash:
        raise CatalogError(
            f"{clash[0]} would be the name of two columns: give the catalog another name "
            f"than {name}, or bring the column along under another one."
        )
    old = [column for column in stars.columns if column in labels]
    return stars.drop(old).with_columns(made), tuple(columns)


def _said(
    catalog: StarCatalog, pairs: Neighbors, name: str, placed: int, radius: float
) -> str:
    matched, size = int((pairs.index >= 0).sum()), len(pairs.index)
    parts = [
        f"{name}: {matched} of {size} stars have a counterpart within {radius:g} arcsec"
    ]
    outdone = int(pairs.outdone.sum())
    if outdone:
        parts.append(
            f"{outdone} have none because it is nearer to another of our stars"
        )
    alone = placed - matched - outdone
    if alone:
        parts.append(f"{alone} have none near")
    if size - placed:
        parts.append(f"{size - placed} have no position")
    lost = int((~(np.isfinite(catalog.ra) & np.isfinite(catalog.dec))).sum())
    if lost:
        parts.append(
            f"{lost} of {len(catalog.ra)} stars of the catalog have no position"
        )
    if pairs.repeated:
        parts.append(
            f"{pairs.repeated} rows of the catalog repeat the position of an earlier one "
            "and were left aside"
        )
    return "; ".join(parts) + "."
