"""Magnitudes and astrometry that others published, under our names.

A table of Gaia, 2MASS, SDSS, Pan-STARRS1 or APASS, or several of them joined, becomes one
with the bands of `steadystar.models.passbands`, each with its error (``ks, ks_err``), and
``gaia_id, ra, dec, parallax, parallax_error, pmra, ...``. Its other columns are kept
behind. Names are recognized (`photometry_names`) or told: ``columns="ks=KMAG"``.

What is no magnitude becomes missing, and how often is said: NaN, -9999, 99, anything
outside -5 to 30; 2MASS's upper limits and unmeasured values (ph_qual U, X, F). Errors of
Gaia's magnitudes come from the signal-to-noise ratio of the flux with the error of the
zero point. A band without any errors gets an assumed one, and a note says so.
"""

__all__ = [
    "Photometry",
    "match_photometry",
    "open_photometry",
    "read_photometry",
]

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.tables import open_table
from steadystar.survey.columns import CatalogError, named, numbers, parse_columns, text
from steadystar.survey.photometry_match import match_photometry
from steadystar.survey.photometry_names import (
    ASTROMETRY,
    ERRORS,
    GAIA_FLUX,
    MAGNITUDES,
    ZERO_POINT_ERR,
)

_logger = logging.getLogger(__name__)

ASSUMED_ERR = 0.03
"""mag, where a table has magnitudes and no errors."""

_BY_QUALITY = {"A": 0.03, "B": 0.13, "C": 0.18, "D": 0.3, "E": 0.3}
"""mag: 2MASS's letters stand for errors up to 0.11, 0.16, 0.22 and beyond (Cutri et al.
2003); most stars of class A are far better than its limit."""

_NO_MAGNITUDE = ("U", "X", "F", "N")
_BRIGHTEST, _FAINTEST, _LARGEST_ERR = -5.0, 30.0, 2.0
_PER_NOISE = 2.5 / np.log(10)
_DIGITS = re.compile(r"(?:gaia\s*e?dr\d\s*)?(\d{4,20})", re.IGNORECASE)
_COMPANY = ("g", "r", "i", "z", "u", "y")


@dataclass(frozen=True)
class Photometry:
    """A table under our names, and sentences on what was found on the way."""

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()


def read_photometry(
    path: str | PathLike[str] | pl.DataFrame,
    columns: Mapping[str, str] | str | None = None,
) -> pl.DataFrame:
    """Read a table as `open_photometry` does; its notes go to the log."""
    table = open_photometry(path, columns)
    origin = "the table" if isinstance(path, pl.DataFrame) else fspath(path)
    for note in table.notes:
        _logger.warning("%s: %s", origin, note)
    return table.frame


def open_photometry(
    path: str | PathLike[str] | pl.DataFrame,
    columns: Mapping[str, str] | str | None = None,
) -> Photometry:
    """Read a table of magnitudes and astrometry of any format.

    Arguments:
        path: Parquet, FITS, VOTable, ECSV, CSV, text, or a table.
        columns: our names -> theirs, where theirs are not recognized, as a mapping or as
            text: ``"ks=KMAG,ks_err=EK,g_sdss=gmag"``.

    Rows and order are kept. Magnitudes and errors are float64, missing ones null.

    Raises:
        CatalogError: no band is recognized, or a column that was named is not there.
        steadystar.data.tables.TableError: the file is missing, damaged or no table.
    """
    if isinstance(path, pl.DataFrame):
        frame, notes, origin = path, [], "The table"
    else:
        table = open_table(path).flat()
        frame, notes, origin = table.frame, list(table.notes), fspath(path)
    found = _recognized(frame, columns, origin)
    bands = [band for band in MAGNITUDES if band in found]
    if not bands:
        raise CatalogError(
            f"{origin} has no magnitudes that are known; it has {named(frame.columns)}. "
            "Say which column is what, as in ks=KMAG,ks_err=EK."
        )
    ours: dict[str, pl.Series] = {}
    quality = text(frame, found.get("ph_qual", ""))
    for band in bands:
        value, error = _magnitude(frame, found, band, quality, notes)
        ours[band] = pl.Series(band, value, nan_to_null=True)
        ours[f"{band}_err"] = pl.Series(f"{band}_err", error, nan_to_null=True)
    for name in (name for name in ASTROMETRY if name in found):
        ours[name] = _other(frame, found[name], name, notes)
    kept = [c for c in frame.columns if c not in found.values() and c not in ours]
    out = pl.DataFrame([*ours.values(), *frame.select(kept).get_columns()])
    return Photometry(out, (*notes, *_said(out, bands)))


def _recognized(frame: pl.DataFrame, columns, origin: str) -> dict[str, str]:
    """Return our names -> those of the table."""
    told = parse_columns(columns) if isinstance(columns, str) else dict(columns or {})
    usual: dict[str, tuple[str, ...]] = {**MAGNITUDES, **ASTROMETRY}
    legal = {*usual, *(f"{band}_err" for band in MAGNITUDES)}
    for ours, theirs in told.items():
        if ours not in legal:
            raise CatalogError(
                f"{ours} cannot be named in {origin}: name any of {named(sorted(legal))}."
            )
        if theirs not in frame.columns:
            raise CatalogError(
                f"{origin} has no column {theirs!r}, which was named as {ours}; there "
                f"are: {named(frame.columns)}."
            )
    lower = {name.strip().casefold(): name for name in reversed(frame.columns)}
    # A bare g among r and i, and r itself, are SDSS's; with BP and RP g is Gaia's.
    optical = not {"bp", "g_bp", "phot_bp_mean_mag", "bpmag"} & set(lower)
    bare = {band: name for band in _COMPANY if (name := lower.get(band)) is not None}
    if optical and {"r", "i"} <= set(bare):
        usual["g"] = MAGNITUDES["g"]
        lower.pop("g", None)
    vizier = lower.get("gmag")
    if vizier is not None and "bpmag" in lower:
        usual["g"] = (*MAGNITUDES["g"], "gmag")
    found = dict(told)
    for ours, names in usual.items():
        hit = next((lower[n] for n in (ours, *names) if n in lower), None)
        if ours not in found and hit is not None:
            found[ours] = hit
    if optical and {"r", "i"} <= set(bare):
        for band in (b for b in bare if b != "y"):
            found.setdefault(f"{band}_sdss", bare[band])
    for band in [b for b in MAGNITUDES if b in found]:
        theirs = found[band].strip().casefold()
        guesses = (f"{band}_err", *ERRORS.get(band, ()), f"e_{theirs}")
        guesses += (f"{theirs}_err", f"{theirs}_error", f"{theirs}err", f"err_{theirs}")
        hit = next((lower[n] for n in guesses if n in lower), None)
        if f"{band}_err" not in found and hit is not None:
            found[f"{band}_err"] = hit
    return found


def _magnitude(frame, found, band: str, quality: pl.Series, notes: list[str]):
    """Return magnitudes and errors, NaN where there are none."""
    value = numbers(frame, found[band]).copy()
    odd = np.isfinite(value) & ((value < _BRIGHTEST) | (value > _FAINTEST))
    if odd.any():
        notes.append(
            f"{int(odd.sum())} values of {found[band]} are no magnitudes (such as "
            f"{value[odd][0]:g}) and count as missing."
        )
    value[odd] = np.nan
    letters = _letters(quality, band)
    limits = np.isin(letters, _NO_MAGNITUDE) & np.isfinite(value)
    if limits.any():
        notes.append(
            f"{int(limits.sum())} values of {found[band]} are upper limits or not "
            "measured, by 2MASS's quality flag (U, X, F), and count as missing."
        )
        value[limits] = np.nan
    error = _errors(frame, found, band, letters, notes)
    wrong = np.isfinite(error) & ((error <= 0) | (error > _LARGEST_ERR))
    error[wrong] = np.nan
    without = int((np.isfinite(value) & ~np.isfinite(error)).sum())
    if without:
        notes.append(
            f"{without} magnitudes in {found[band]} have no usable error beside them and "
            "will not be used for colors."
        )
    return np.where(np.isfinite(value), value, np.nan), error


def _errors(frame, found, band: str, letters, notes: list[str]) -> NDArray[np.float64]:
    if f"{band}_err" in found:
        return numbers(frame, found[f"{band}_err"]).copy()
    lower = {name.strip().casefold(): name for name in reversed(frame.columns)}
    snr = _flux_snr(frame, lower, band)
    if snr is not None:
        noise = _PER_NOISE / np.where(snr > 0, snr, np.nan)
        return np.hypot(noise, ZERO_POINT_ERR[band])
    assumed = np.full(len(frame), ASSUMED_ERR)
    if (letters != "").any():
        for letter, error in _BY_QUALITY.items():
            assumed[letters == letter] = error
        notes.append(
            f"There are no errors of {found[band]}: {ASSUMED_ERR} mag are assumed, and "
            "more by 2MASS's quality flag (B, C, D); give "
            f"{band}_err."
        )
    else:
        notes.append(
            f"There are no errors of {found[band]}: {ASSUMED_ERR} mag are assumed; give "
            f"{band}_err."
        )
    return assumed


def _flux_snr(frame, lower, band: str) -> NDArray[np.float64] | None:
    if band not in GAIA_FLUX:
        return None
    stem = f"phot_{GAIA_FLUX[band]}_mean_flux"
    if f"{stem}_over_error" in lower:
        return numbers(frame, lower[f"{stem}_over_error"])
    if stem in lower and f"{stem}_error" in lower:
        flux, error = (
            numbers(frame, lower[stem]),
            numbers(frame, lower[f"{stem}_error"]),
        )
        return flux / np.where(error > 0, error, np.nan)
    return None


def _letters(quality: pl.Series, band: str) -> np.ndarray:
    """Return 2MASS's flag of a band, ``""`` where there is none."""
    place = {"j": 0, "h": 1, "ks": 2}.get(band)
    if place is None or quality.is_null().all():
        return np.full(len(quality), "", "U1")
    flag = quality.str.slice(place, 1).fill_null("").str.to_uppercase()
    return flag.to_numpy().astype("U1")


def _other(frame: pl.DataFrame, theirs: str, name: str, notes: list[str]) -> pl.Series:
    column = frame[theirs]
    if name == "ph_qual":
        return text(frame, theirs).alias(name)
    if name != "gaia_id":
        values = numbers(frame, theirs).copy()
        values[np.isin(values, (-9999.0, -999.0, 9999.0, 1e20))] = np.nan
        return pl.Series(name, values, nan_to_null=True)
    if column.dtype.is_float():
        notes.append(
            f"The identifiers in {theirs} are floating-point numbers, which cannot hold "
            "Gaia's 19 digits: they count as missing, and stars are matched by position. "
            "Write them as whole numbers or as text."
        )
        return pl.Series(name, [None] * len(frame), dtype=pl.String)
    words = text(frame, theirs).str.extract(_DIGITS.pattern.replace("(?:", "(?i:", 1))
    return words.alias(name)


def _said(frame: pl.DataFrame, bands) -> list[str]:
    """Return sentences on what is missing or doubled."""
    notes = []
    if "gaia_id" in frame.columns:
        ids = frame["gaia_id"].drop_nulls()
        twice = len(ids) - ids.n_unique()
        if twice:
            notes.append(
                f"{twice} rows repeat a gaia_id, such as "
                f"{ids.filter(ids.is_duplicated())[0]}: of each the row with most "
                "magnitudes is used in a match."
            )
    elif not {"ra", "dec"} <= set(frame.columns):
        notes.append(
            "There are neither Gaia identifiers nor positions: these rows can be matched "
            "with no other table."
        )
    if "ks" not in bands:
        notes.append("There is no Ks magnitude: distances by luminosity need it.")
    if not {"parallax", "parallax_error"} <= set(frame.columns):
        notes.append(
            "There are no parallaxes with errors: distances rest on luminosity alone, and "
            "pairs cannot be told by them."
        )
    return notes
