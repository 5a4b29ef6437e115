"""Catalogs of stars, whoever made them, under our names and in our units.

A catalog has a row a star: an identifier or a position, and quantities with errors.
`read_catalog` reads a file, or the directory of a run; `catalog_of` takes a table in
memory. Columns are found by their usual names, or as told (``"teff=T_APOGEE[K]"``); the
tables of visits of surveys that are known go through `open_velocity_table`. Several rows
of one star become one: means weighted by the errors, and the scatter of their velocities.
"""

__all__ = ["Catalog", "catalog_of", "read_catalog"]

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from astropy import units

from steadystar.data.tables import open_table
from steadystar.infer.catalog_names import (
    ERRORS,
    IDENTIFIERS,
    LIMITS,
    NAMES,
    UNITS,
    error_names,
)
from steadystar.infer.catalog_rows import Numbers, numbers_of, one_row_each
from steadystar.survey.catalogs import open_velocity_table
from steadystar.survey.columns import CatalogError, named, parse_columns
from steadystar.survey.surveys import SURVEYS
from steadystar.survey.units import UnitError, degrees_of, split_unit, velocity_factor

_MOTION = ("pmra", "pmdec", "epoch")
_PLACES = ("star_id", "ra", "dec", "n_visits", "rv_scatter", *_MOTION)
QUANTITIES = ("rv", "teff", "logg", "feh", "vsini")
_MANY = 5
_ANY = (-np.inf, np.inf)
_FASTEST = 1000.0
"""km/s. Where half of the velocities are beyond, they are in m/s."""


@dataclass(frozen=True, eq=False)
class Catalog:
    """One row a star: ``star_id`` (text or null), ``ra, dec`` (degrees), ``n_visits``,
    ``rv_scatter``, ``pmra, pmdec`` (mas a year), ``epoch`` (year), then each quantity and its error, NaN where there is none.

    ``columns``: our names, and which columns of the table they were; ``units`` those of
    the quantities, where known; ``row`` the first row of each star in the table.
    """

    name: str
    frame: pl.DataFrame
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    n_rows: int = 0

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what can be compared."""
        known = {f"{name}_err" for name in self.frame.columns} | set(_PLACES)
        return tuple(n for n in self.columns if n not in known)


def read_catalog(
    path: str | PathLike[str],
    columns: Mapping[str, str] | str | None = None,
    also: Sequence[str] = (),
    key: str | None = None,
) -> Catalog:
    """Read a catalog from a file, or from the directory of a run.

    Arguments:
        path: Parquet, FITS, VOTable, ECSV or CSV; or what ``-o`` was of ``run`` or
            ``calibrate``, whose stars.parquet is meant.
        columns: our names of the table's columns, ``{"teff": "T[K]"}`` or ``"teff=T"``.
        also: other columns of numbers that are wanted, where the table has them.
        key: the column that identifies stars, instead of a usual one.

    Raises:
        CatalogError: a column or unit is not what was said, or there are no rows.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    file, notes = Path(path), []
    if file.is_dir():
        file, notes = _stars_of(file)
    table = open_table(file).flat()
    frame, known = table.frame, dict(table.units)
    name = Path(path).name or str(path)
    foreign = [s for s in SURVEYS.values() if s.name != "steadystar"]
    if any(survey.recognizes(frame) for survey in foreign):
        visits = open_velocity_table(file)
        notes += visits.notes
        frame = visits.frame.drop("rv", "rv_err", strict=False)
        frame = frame.rename({"rv_raw": "rv", "rv_raw_err": "rv_err"})
        known |= {"rv": "km/s", "rv_err": "km/s", "ra": "deg", "dec": "deg"}
    made = catalog_of(frame, name, columns, also, key=key, units=known)
    said = _without_arrays([*notes, *table.notes])
    return replace(made, notes=(*said, *made.notes))


def _without_arrays(notes: Sequence[str]) -> list[str]:
    """Say in one sentence which columns were left out."""
    out = [note for note in notes if "left out: " not in note]
    if lost := len(notes) - len(out):
        columns = "column was" if lost == 1 else "columns were"
        out.append(f"{lost} {columns} left out: their cells hold arrays.")
    return out


def _stars_of(folder: Path) -> tuple[Path, list[str]]:
    """Return the stars of a run, and a sentence where their velocities are relative."""
    for place in (folder, folder / "run"):
        if not (place / "stars.parquet").is_file():
            continue
        visits = place / "velocities.parquet"
        notes = []
        if visits.is_file():
            reference = pl.scan_parquet(visits)
            if "reference_visit_id" in reference.collect_schema():
                absolute = reference.filter(pl.col("reference_visit_id").is_null())
                if "rv_raw" in reference.collect_schema():
                    # A spectrum that gave no velocity has no reference either.
                    absolute = absolute.filter(pl.col("rv_raw").is_finite())
                if not absolute.select(pl.len()).collect().item():
                    notes.append(
                        f"The velocities of {folder.name} are relative, each star's with "
                        "a zero of its own: their difference from others means nothing."
                    )
        return place / "stars.parquet", notes
    raise CatalogError(
        f"{folder} is a folder without stars.parquet: name a table, or what -o was of "
        "steadystar run or calibrate."
    )


def catalog_of(
    frame: pl.DataFrame,
    name: str = "the table",
    columns: Mapping[str, str] | str | None = None,
    also: Sequence[str] = (),
    *,
    key: str | None = None,
    units: Mapping[str, str] | None = None,
) -> Catalog:
    """Return a table in memory as a `Catalog`; arguments as of `read_catalog`.

    ``units``: of the table's columns, where they are known.

    Raises:
        CatalogError: a column or unit is not what was said, or there are no rows.
    """
    if not len(frame):
        raise CatalogError(
            f"{name} has columns but no rows: check that it was written to its end."
        )
    notes: list[str] = []
    frame = _absolute(frame, name, notes)
    mapping = (
        parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    )
    if key is not None and "star_id" not in mapping:
        mapping["star_id"] = key
    found, said = _found(frame, mapping, also, name)
    known = {ours: said.get(ours) or (units or {}).get(c) for ours, c in found.items()}
    for ours, theirs in found.items():
        known[ours] = known[ours] or split_unit(theirs)[1]
    made: dict[str, pl.Series] = {"star_id": _identifiers(frame, found, name, notes)}
    for ours in ("ra", "dec"):
        made[ours] = _angle(frame, found, ours, known.get(ours), name, notes)
    _placed(made, name, notes)
    told = {*mapping, *also}
    kept = {n: c for n, c in found.items() if n in made}
    for ours, theirs in found.items():
        if ours not in made:
            values = _numbers(frame[theirs], ours, found, known, told, (name, notes))
            if values is not None:
                made[ours], kept[ours] = pl.Series(ours, values), theirs
    for ours in [n for n in kept if _is_error(n, found) and n[:-4] not in made]:
        # Errors of nothing.
        del made[ours], kept[ours]
    for ours in ("n_visits", "rv_scatter", *_MOTION):
        made.setdefault(ours, pl.Series(ours, np.full(len(frame), np.nan)))
    for ours in [n for n in kept if n not in _PLACES and not _is_error(n, found)]:
        made.setdefault(f"{ours}_err", pl.Series(np.full(len(frame), np.nan)))
    table = pl.DataFrame(made).with_columns(
        pl.Series("row", np.arange(len(frame), dtype=np.int64))
    )
    rows, sentence = one_row_each(table, name)
    notes += sentence
    stated = {n: UNITS.get(n) or known.get(n) or "" for n in kept}
    return Catalog(name, rows, kept, stated, tuple(notes), len(frame))


def _absolute(frame: pl.DataFrame, name: str, notes: list[str]) -> pl.DataFrame:
    """Leave relative velocities out; refuse a table that has no others."""
    if "reference_visit_id" not in frame.columns:
        return frame
    absolute = frame.filter(pl.col("reference_visit_id").is_null())
    if not len(absolute):
        raise CatalogError(
            f"All velocities of {name} are relative, each star's with a zero of its own: "
            "give a table with absolute ones."
        )
    if lost := len(frame) - len(absolute):
        notes.append(
            f"{lost:,} relative velocities of {name} have zeros of their own: they are "
            "left out."
        )
    return absolute


def _numbers(column: pl.Series, ours: str, found, known, told, where):
    """Return the values of one column in our unit; None where it has none that help."""
    name, notes = where
    theirs = found[ours]
    factor = _factor(ours, theirs, known, name)
    if ours == "rv":
        _plausible(numbers_of(column, _ANY, factor).values, theirs, name)
    error = _is_error(ours, found)
    numbers = numbers_of(column, LIMITS.get(ours), factor, is_error=error)
    known_any = np.isfinite(numbers.values).any()
    if numbers.odd and ours in told and not known_any:
        raise CatalogError(
            f"Column {theirs} of {name}, named as {ours}, holds no number; it has "
            f"{numbers.example!r}: name the right one, as in {ours}=COLUMN."
        )
    _remark(notes, numbers, theirs, name)
    zeros = int((numbers.values == 0).sum())
    if ours == "rv" and zeros >= _MANY:
        notes.append(
            f"{zeros:,} velocities {theirs} of {name} are exactly 0, which may stand for "
            "none: they are taken as they are."
        )
    return None if ours in QUANTITIES and not known_any else numbers.values


def _found(frame, mapping, also, name) -> tuple[dict[str, str], dict[str, str | None]]:
    """Return our names -> the columns of ``frame``, and the units that were said."""
    found, said = {}, {}
    lower = {split_unit(n)[0].casefold(): n for n in reversed(frame.columns)}
    for ours, theirs in mapping.items():
        column = theirs
        if theirs not in frame.columns:
            column, said[ours] = split_unit(theirs)
        if column not in frame.columns:
            column = lower.get(column.casefold(), column)
        if column not in frame.columns:
            near = difflib.get_close_matches(column, frame.columns, n=1)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise CatalogError(
                f"{name} has no column {theirs!r}, which was named as {ours}. {hint}"
                f"There are: {named(frame.columns)}."
            )
        found[ours] = column
    for ours, usual in NAMES.items():
        hit = next((lower[n] for n in usual if n in lower), None)
        if ours not in found and hit is not None and hit not in found.values():
            found[ours] = hit
    for ours in also:
        if ours not in found and ours.casefold() in lower:
            found[ours] = lower[ours.casefold()]
    for ours in [n for n in found if n not in _PLACES and not n.endswith("_err")]:
        column = split_unit(found[ours])[0]
        usual = error_names(column)
        if column.casefold() in NAMES.get(ours, ()):
            usual += ERRORS.get(ours, ())
        hit = next((lower[n] for n in usual if n in lower), None)
        if hit is not None and hit not in found.values():
            found.setdefault(f"{ours}_err", hit)
    return found, said


def _is_error(ours: str, found: Mapping[str, str]) -> bool:
    return ours.endswith("_err") and ours.removesuffix("_err") in found


def _identifiers(frame, found, name, notes) -> pl.Series:
    """Identifiers as text; placeholders are no name."""
    empty = pl.Series("star_id", [None] * len(frame), dtype=pl.String)
    column = found.get("star_id")
    if column is None:
        return empty
    ids = frame[column]
    if ids.dtype.is_float():
        plain = ids.fill_nan(None).drop_nulls()
        if (plain != plain.floor()).any() or (plain.abs() > 2**53).any():
            notes.append(
                f"The identifiers {column} of {name} are numbers with decimals, or have "
                "lost digits: stars are matched by position."
            )
            return empty
        ids = ids.fill_nan(None).cast(pl.Int64)
    if ids.dtype.is_integer():
        prefix = split_unit(column)[0].upper()
        prefix = {"KEPID": "KIC"}.get(prefix, prefix)
        ids = ids.to_frame("id").select(pl.when(pl.col("id") > 0).then("id"))["id"]
        text = ids.cast(pl.String)
        if prefix in ("HD", "HIP", "HR", "KIC", "EPIC", "TIC"):
            # A bare number is a name only together with its catalog.
            text = prefix + text
        return text.alias("star_id")
    if ids.dtype not in (pl.String, pl.Categorical):
        raise CatalogError(
            f"Column {column} of {name} cannot identify stars, it holds {ids.dtype}: "
            f"name another, such as {', '.join(IDENTIFIERS[:4])}."
        )
    return ids.cast(pl.String).str.strip_chars().replace("", None).alias("star_id")


def _angle(frame, found, ours, unit, name, notes) -> pl.Series:
    column = found.get(ours)
    if column is None:
        return pl.Series(ours, np.full(len(frame), np.nan))
    try:
        degrees = degrees_of(frame[column], unit, hours=ours == "ra")
    except (UnitError, pl.exceptions.PolarsError) as error:
        raise CatalogError(
            f"Column {column} of {name} is in {error}: say its unit, as in "
            f"{ours}={column}[deg] or [h]."
        ) from error
    low, high = LIMITS[ours]
    inside = (degrees >= low) & (degrees <= high)
    if lost := int((~inside & np.isfinite(degrees)).sum()):
        notes.append(f"{lost:,} values of {column} of {name} are no angle in degrees.")
    return pl.Series(ours, np.where(inside, degrees, np.nan))


def _placed(made: dict[str, pl.Series], name: str, notes: list[str]) -> None:
    """Half a position is none, and the origin of the sky is a placeholder."""
    ra, dec = made["ra"].to_numpy(), made["dec"].to_numpy()
    zero = (ra == 0) & (dec == 0)
    if zero.any():
        notes.append(
            f"{int(zero.sum()):,} positions of {name} are 0, 0: taken as missing."
        )
    good = np.isfinite(ra) & np.isfinite(dec) & ~zero
    made["ra"] = pl.Series("ra", np.where(good, ra, np.nan))
    made["dec"] = pl.Series("dec", np.where(good, dec, np.nan))


def _factor(ours: str, theirs: str, known: Mapping[str, str | None], name: str):
    """Return what turns a column into our unit; an error has its quantity's if unsaid."""
    base = ours.removesuffix("_err")
    unit, wanted = known.get(ours) or known.get(base), UNITS.get(base)
    if not unit or wanted is None or wanted == "dex":
        return 1.0
    try:
        if wanted == "km/s":
            return velocity_factor(unit) or 1.0
        factor: Any = units.Unit(unit).to(units.Unit(wanted))
        return float(factor)
    except (ValueError, TypeError) as error:
        raise CatalogError(
            f"Column {theirs} of {name} is in {unit!r}, which cannot be turned into "
            f"{wanted}: say its unit, as in {ours}={theirs}[{wanted}]."
        ) from error


def _remark(notes: list[str], numbers: Numbers, theirs: str, name: str) -> None:
    if numbers.odd:
        notes.append(
            f"{numbers.odd:,} values of {theirs} of {name} are no numbers, such as "
            f"{numbers.example!r}: they are taken as missing."
        )


def _plausible(velocity: np.ndarray, column: str, name: str) -> None:
    """Refuse velocities that look like m/s."""
    speed = np.abs(velocity[np.isfinite(velocity)])
    if len(speed) and np.median(speed) > _FASTEST:
        raise CatalogError(
            f"Half of the velocities {column} of {name} are beyond {_FASTEST:.0f} km/s: "
            f"they look like m/s. Say so, as in rv={column}[m/s], or state the unit in "
            "the file."
        )
