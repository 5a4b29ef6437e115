"""Catalogs of stars that others made, under our names: KIC, EPIC, Gaia, any other.

A catalog has a name and a position a star; perhaps proper motions and the epoch of its
positions; and columns that somebody wants to have beside our stars. What is what is told
by the usual names of columns, or by the user (``"id=ID,ra=RAdeg,pmra=pm[arcsec/yr]"``).
Units that the file states are honored. Where neither file nor user says them, nothing is
guessed that would pass unseen: right ascensions that may be hours or degrees are settled
by which of them has our stars (`crossmatch`), and proper motions that may be arcsec or mas
a year stay out, with a note.
"""

__all__ = ["StarCatalog", "open_catalog"]

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath

import numpy as np
import polars as pl
from astropy import units
from numpy.typing import NDArray

from steadystar.data.tables import Table, open_table
from steadystar.survey.columns import CatalogError, named, parse_columns
from steadystar.survey.units import UnitError, degrees_of, split_unit

Vector = NDArray[np.float64]

_NAMES: dict[str, tuple[str, ...]] = {
    "id": (
        *("kic", "kepid", "kic_id", "kicid", "kic_kepler_id", "kepler_id"),
        *(
            "epic",
            "epicid",
            "epic_id",
            "epic_number",
            "k2_id",
            "tic",
            "tic_id",
            "ticid",
        ),
        *("source_id", "gaia_source_id", "gaia_id", "source", "gaiadr3", "gaiaedr3"),
        *("gaiadr2", "dr3name", "dr2name", "designation", "apogee_id", "sdss_id"),
        *("star_id", "targetid", "hip", "hd", "tyc", "2mass", "name", "main_id", "id"),
        *("object", "star", "target"),
    ),
    "ra": (
        *("ra", "raj2000", "ra_icrs", "_raj2000", "_ra_icrs", "_ra", "ra_deg", "radeg"),
        *("kic_ra", "k2_ra", "ra_j2000", "ra2000", "degree_ra", "ra_gaia", "alpha"),
        *("right_ascension", "raep2000", "ra (j2000)", "r.a."),
    ),
    "dec": (
        *("dec", "dej2000", "decj2000", "de_icrs", "_dej2000", "_de_icrs", "_de", "de"),
        *("dec_deg", "dedeg", "kic_dec", "k2_dec", "kic_degree_dec", "dec_j2000"),
        *("dec2000", "degree_dec", "dec_gaia", "delta", "declination", "deep2000"),
        *("dec (j2000)", "decl."),
    ),
    "pmra": ("pmra", "pm_ra", "pmra_cosdec", "kic_pmra", "k2_pmra", "pmracosdec"),
    "pmdec": ("pmdec", "pm_dec", "pmde", "kic_pmdec", "k2_pmdec"),
    "epoch": ("ref_epoch", "epoch", "refepoch", "pos_epoch"),
}
"""Our names, and what others call them in lower case, the likeliest first."""

_GAIA = {"gaiadr1": 2015.0, "gaiadr2": 2015.5, "gaiaedr3": 2016.0, "gaiadr3": 2016.0}
_OF_GAIA = (*("source_id", "gaia_source_id", "gaia_id"), *_GAIA, "dr2name", "dr3name")
_FASTEST = 20_000.0
"""mas a year: twice the motion of Barnard's star; beyond are the -9999 of catalogs."""

_J2000 = 2000.0


@dataclass(frozen=True)
class StarCatalog:
    """A catalog as a match needs it; arrays ``(row,)``.

    ``ra, dec``: degrees, NaN where unknown. ``unsure_hours``: nothing says whether the
    right ascensions, which are below 24, are hours or degrees; they stand as they are.
    ``pmra`` (with cos dec), ``pmdec``: mas a year, None where the catalog has none that
    can be used. ``epoch``: years. ``brought``: columns asked for, and ``units`` of these,
    ``""`` where none is known. ``notes``: sentences for people.
    """

    origin: str
    ids: pl.Series
    ra: Vector
    dec: Vector
    unsure_hours: bool
    pmra: Vector | None
    pmdec: Vector | None
    epoch: Vector
    brought: pl.DataFrame
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_catalog(
    catalog: str | PathLike[str] | pl.DataFrame,
    names: Mapping[str, str] | str | None = None,
    bring: Sequence[str] = (),
    epoch: float | None = None,
) -> StarCatalog:
    """Read a catalog of stars.

    Arguments:
        catalog: a file (Parquet, FITS, VOTable, ECSV, CSV, text) or a table.
        names: ours (id, ra, dec, pmra, pmdec, epoch) -> theirs, as a mapping or as text;
            a unit may follow in brackets. What it leaves out is found by usual names.
        bring: columns to have beside our stars, by their names in the catalog.
        epoch: year of the positions, where no column says it; None: Gaia's by release, or
            2000.

    Raises:
        CatalogError: no names or no positions of stars; a column or unit is not there.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    if isinstance(catalog, pl.DataFrame):
        table, origin = Table(catalog), "the catalog"
    else:
        table, origin = open_table(catalog), fspath(catalog)
    table = table.flat()
    frame, stated = table.frame, {**_described(table.metadata), **table.units}
    found, said = _found(frame, names, origin)
    unit = {
        ours: said.get(ours) or stated.get(theirs) or _unit_in(theirs)
        for ours, theirs in found.items()
    }
    ra, dec, unsure = _positions(frame, found, unit, origin)
    pmra, pmdec, moved = _motions(frame, found, unit, origin)
    when, dated = _epochs(frame, found, epoch, moving=pmra is not None)
    brought = _brought(frame, bring, origin)
    ids = frame[found["id"]]
    if ids.dtype == pl.String:
        ids = ids.str.strip_chars().replace("", None)
    return StarCatalog(
        *(origin, ids, ra, dec, unsure, pmra, pmdec, when, brought),
        {name: _legal(stated.get(name, "")) for name in brought.columns},
        (*moved, *dated),
    )


def _described(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the units by column that our own Parquet files carry."""
    try:
        listed = json.loads(metadata.get("columns", "[]"))
        return {row["column"]: row["unit"] for row in listed if row["unit"]}
    except (ValueError, TypeError, KeyError):
        return {}


def _unit_in(name: str) -> str | None:
    """Return the unit in the name of a column; ``RA (J2000)`` holds none."""
    unit = split_unit(name)[1]
    return None if unit in ("J2000", "J2000.0", "2000", "ICRS") else unit


def _found(frame: pl.DataFrame, names, origin: str):
    """Return our names -> those of the table, and the units that the user says."""
    told = parse_columns(names) if isinstance(names, str) else dict(names or {})
    odd = [name for name in told if name not in _NAMES]
    if odd:
        raise CatalogError(
            f"{', '.join(odd)} cannot be named in {origin}: name any of "
            f"{', '.join(_NAMES)}."
        )
    found, said = {}, {}
    for ours, theirs in told.items():
        found[ours] = theirs
        if theirs not in frame.columns:
            found[ours], unit = split_unit(theirs)
            said |= {ours: unit} if unit else {}
        if found[ours] not in frame.columns:
            raise CatalogError(
                f"{origin} has no column {theirs!r}, which was named as {ours}; there "
                f"are: {named(frame.columns)}."
            )
    lower = {split_unit(n)[0].casefold(): n for n in reversed(frame.columns)}
    lower |= {n.casefold(): n for n in reversed(frame.columns)}
    for ours, usual in _NAMES.items():
        hit = next((lower[name] for name in usual if name in lower), None)
        if ours not in found and hit is not None:
            found[ours] = hit
    lacking = [name for name in ("id", "ra", "dec") if name not in found]
    if lacking:
        raise CatalogError(
            f"{origin} has no column that is known as {' or '.join(lacking)} of its "
            f"stars; it has {named(frame.columns)}. Say which it is, as in "
            f"{lacking[0]}=COLUMN."
        )
    return found, said


def _positions(frame: pl.DataFrame, found, unit, origin: str):
    """Return right ascension and declination in degrees, and if the former is unsure."""
    try:
        ra = degrees_of(frame[found["ra"]], unit["ra"], hours=True)
        dec = degrees_of(frame[found["dec"]], unit["dec"], hours=False)
    except (UnitError, pl.exceptions.PolarsError) as error:
        raise CatalogError(
            f"The positions in {origin} cannot be read: {error}. Say what they are, as in "
            f"ra={found['ra']}[deg]."
        ) from error
    good = (ra >= -180) & (ra <= 360) & (np.abs(dec) <= 90)
    if len(ra) and np.isfinite(ra).any() and not good.any():
        raise CatalogError(
            f"No star of {origin} has a position on the sky: {found['ra']}, "
            f"{found['dec']} begin with {ra[0]:g}, {dec[0]:g}. Say the columns and their "
            "units, as in ra=RA[deg]."
        )
    ra, dec = np.where(good, ra, np.nan) % 360, np.where(good, dec, np.nan)
    given = frame[found["ra"]]
    # Degrees are plain numbers; what else a text holds was read as hours, min, s.
    text = given.dtype == pl.String and (
        given.cast(pl.Float64, strict=False).null_count() > given.null_count()
    )
    unsure = bool(not unit["ra"] and not text and good.any() and np.nanmax(ra) < 24)
    return ra, dec, unsure


def _motions(frame: pl.DataFrame, found, unit, origin: str):
    """Return proper motions in mas a year, or None, and notes."""
    if not {"pmra", "pmdec"} <= set(found):
        return None, None, ()
    out = []
    for ours in ("pmra", "pmdec"):
        try:
            value = frame[found[ours]].cast(pl.Float64, strict=False)
            factor = units.Unit(unit[ours] or "mas/yr").to("mas/yr")
        except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
            raise CatalogError(
                f"The proper motions {found[ours]} of {origin} cannot be read "
                f"({error}): say their unit, as in {ours}={found[ours]}[mas/yr]."
            ) from error
        motion = value.fill_null(np.nan).to_numpy() * factor
        out.append(np.where(np.abs(motion) < _FASTEST, motion, np.nan))
    total = np.hypot(*out)
    moves = total[np.isfinite(total) & (total > 0)]
    if not len(moves):
        return None, None, ()
    # Half of the stars of any survey move by more than 1 mas a year, and none in a
    # thousand by more than 1 arcsec.
    typical = float(np.median(moves))
    if not unit["pmra"] and typical < 0.5:
        said = (
            f"The proper motions of {origin} were left out: their median is "
            f"{typical:.2g}, which may be arcsec or mas a year. Say which, as in "
            f"pmra={found['pmra']}[arcsec/yr],pmdec={found['pmdec']}[arcsec/yr]."
        )
        return None, None, (said,)
    return out[0], out[1], ()


def _epochs(frame: pl.DataFrame, found, epoch: float | None, *, moving: bool):
    """Return the year of each position, and what was assumed of it."""
    usual, why = _usual_epoch(frame, found)
    if epoch is not None:
        usual, why = epoch, ""
    if "epoch" not in found:
        said = f"Its positions are taken as those of {usual:g}, {why}." if why else ""
        return np.full(len(frame), usual), (said,) if said and moving else ()
    year = frame[found["epoch"]].cast(pl.Float64, strict=False)
    year = year.fill_null(np.nan).to_numpy()
    good = (year > 1800) & (year < 2200)
    return np.where(good, year, usual), ()


def _usual_epoch(frame: pl.DataFrame, found) -> tuple[float, str]:
    """Return the year in which the positions of such a catalog are, and why."""
    name = found["id"].casefold()
    of_2000 = "2000" in found["ra"]
    if frame[found["id"]].dtype == pl.String and not of_2000:
        first = next((t for t in frame[found["id"]].head(100) if t), "")
        start = first.replace(" ", "").casefold()
        for release, year in _GAIA.items():
            if start.startswith(release):
                return year, f"as those of {first.rpartition(' ')[0]} are"
    if name in _OF_GAIA and not of_2000:
        return _GAIA.get(name, 2016.0), "as those of Gaia are, if they are of DR3"
    return _J2000, "for nothing says another year"


def _brought(frame: pl.DataFrame, bring: Sequence[str], origin: str) -> pl.DataFrame:
    lower = {name.casefold(): name for name in reversed(frame.columns)}
    lower |= {name: name for name in frame.columns}
    absent = [n for n in bring if n not in lower and n.casefold() not in lower]
    if absent:
        raise CatalogError(
            f"{origin} has no column {', '.join(absent)}, which was to be brought along; "
            f"it has {named(frame.columns)}."
        )
    theirs = [lower.get(name) or lower[name.casefold()] for name in bring]
    twice = [name for name in theirs if theirs.count(name) > 1]
    if twice:
        raise CatalogError(
            f"{twice[0]} of {origin} was to be brought along twice: name it once."
        )
    return frame.select(theirs)


def _legal(unit: str) -> str:
    """Return a unit in the form in which catalogs write it; "" where there is none."""
    try:
        parsed = units.Unit(unit)
        text = str(parsed.to_string("fits"))
        units.Unit(text, format="vounit")
    except (ValueError, TypeError, AttributeError):
        return ""
    return text
