"""The zero point of Gaia's parallaxes: what is subtracted from the published value.

- ``dr3``: Lindegren et al. (2021, A&A 649, A4), by magnitude, color and ecliptic latitude,
  as the package ``gaiadr3-zeropoint`` computes it. It asks for
  ``g, astrometric_params_solved, nu_eff_used_in_astrometry, pseudocolour, ecl_lat``. The
  latitude follows from ``ra, dec``, and wavenumber and pseudocolor (the wavenumber that
  solutions with six parameters found for themselves) nearly from BP - RP:
  1.76 - (1.61/pi) arctan(0.531 (BP - RP)) per micron (Lindegren et al. 2021, A&A 649, A2).
  A row for which this fails gets -0.021 mas, the median of quasars in A4.
- ``dr2``: -0.05 mas for G < 14, -0.029 mas for G > 16, linear between (Lindegren 2018 and
  Zinn et al. 2019, as put together by Fouesneau et al. 2022, A&A 662, A125, table 2). The
  paper on hot stars used Leung & Bovy (2019), whose relation is a neural network; their
  constant is -0.052 mas.
- a number: a constant, mas; or a file with columns ``g`` and ``parallax_offset``,
  interpolated.
"""

__all__ = ["ParallaxOffsets", "parallax_offsets"]

import warnings
from dataclasses import dataclass
from os import PathLike, fspath

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.tables import TableError, read_table
from steadystar.survey.columns import CatalogError, numbers

Vector = NDArray[np.float64]

OF_QUASARS = -0.021
"""mas, median of quasars in Gaia EDR3 (Lindegren et al. 2021, A&A 649, A4)."""

OF_DR2_QUASARS = -0.029
"""mas, Gaia DR2 (Lindegren et al. 2018, A&A 616, A2)."""

_DR2 = ((14.0, 16.0), (-0.05, OF_DR2_QUASARS))
_OBLIQUITY = np.radians(23.4392911)
_FIVE, _SIX = 31, 95


@dataclass(frozen=True, eq=False)
class ParallaxOffsets:
    """Offsets in mas, ``(star,)``, and sentences on how they were found."""

    offset: Vector
    notes: tuple[str, ...] = ()


def parallax_offsets(
    table: pl.DataFrame, source: str | float | PathLike[str] = "dr3"
) -> ParallaxOffsets:
    """Return the zero point of every parallax: corrected = parallax - offset.

    ``table`` is as `steadystar.survey.photometry.read_photometry` gives it. ``source`` is
    ``"dr3"``, ``"dr2"``, a number (mas), or a file of ``g`` and ``parallax_offset``. The
    offset is NaN where the table has no parallax.

    Raises:
        CatalogError: the source is none of these, or its table lacks a column.
        steadystar.data.tables.TableError: its file is missing, damaged or no table.
    """
    absent = ~np.isfinite(numbers(table, "parallax"))
    found = _by_source(table, source)
    return ParallaxOffsets(np.where(absent, np.nan, found.offset), found.notes)


def _by_source(table: pl.DataFrame, source) -> ParallaxOffsets:
    if source == "dr3":
        return _dr3(table)
    g = numbers(table, "g")
    if source == "dr2":
        offset = np.where(np.isfinite(g), np.interp(g, *_DR2), OF_DR2_QUASARS)
        notes = _count(~np.isfinite(g), f"no G magnitude: {OF_DR2_QUASARS} mas")
        return ParallaxOffsets(offset, notes)
    try:
        constant = float(source)
    except (TypeError, ValueError):
        return _from_table(g, source)
    if not -5 < constant < 5:
        raise CatalogError(
            f"A parallax offset of {constant} mas is not believable: give mas, such as "
            "-0.03."
        )
    return ParallaxOffsets(np.full(len(table), constant))


def _from_table(g: Vector, path) -> ParallaxOffsets:
    try:
        relation = read_table(path)
    except TableError as error:
        raise CatalogError(
            f"{fspath(path)} gives no parallax offset: {error.reason}; say dr3, dr2, a "
            "number of mas, or a file with columns g and parallax_offset."
        ) from error
    x, y = numbers(relation, "g"), numbers(relation, "parallax_offset")
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise CatalogError(
            f"{fspath(path)} gives no parallax offset: it needs numbers in the columns g "
            "(mag) and parallax_offset (mas)."
        )
    order = np.argsort(x[known])
    x, y = x[known][order], y[known][order]
    middle = float(np.median(y))
    offset = np.where(np.isfinite(g), np.interp(g, x, y), middle)
    notes = _count(
        ~np.isfinite(g), f"no G magnitude: the table's median, {middle:g} mas"
    )
    return ParallaxOffsets(offset, notes)


def _dr3(table: pl.DataFrame) -> ParallaxOffsets:
    notes: list[str] = []
    offset = np.full(len(table), np.nan)
    try:
        from zero_point import zpt
    except ImportError:
        notes.append(
            "The package gaiadr3-zeropoint is not installed, so that the zero point of "
            f"parallaxes is a constant, {OF_QUASARS} mas: run `pip install "
            "gaiadr3-zeropoint`."
        )
        return ParallaxOffsets(np.full(len(table), OF_QUASARS), tuple(notes))
    zpt.load_tables()
    g, solved = numbers(table, "g"), numbers(table, "astrometric_params_solved")
    latitude = _ecliptic_latitude(table)
    wavenumber, pseudo = _colors(table, notes)
    if "astrometric_params_solved" not in table.columns:
        solved = np.where(np.isfinite(wavenumber), _FIVE, np.nan)
        notes.append(
            "There is no column astrometric_params_solved: all parallaxes are taken for "
            "solutions with five parameters."
        )
    five = (solved == _FIVE) & np.isfinite(wavenumber)
    six = (solved == _SIX) & np.isfinite(pseudo)
    ready = (five | six) & np.isfinite(g) & np.isfinite(latitude)
    if ready.any():
        with warnings.catch_warnings():
            # The package warns of bright stars (G < 6), to which it gives the limit's.
            warnings.simplefilter("ignore")
            offset[ready] = zpt.get_zpt(
                g[ready],
                wavenumber[ready],
                pseudo[ready],
                latitude[ready],
                solved[ready],
            )
    failed = ~np.isfinite(offset)
    offset[failed] = OF_QUASARS
    failed &= np.isfinite(numbers(table, "parallax"))
    notes += _count(
        failed,
        "no G magnitude, color or position to compute it from, or a solution without "
        f"them: {OF_QUASARS} mas, the median of quasars",
    )
    bright = ready & (g < 6)
    notes += _count(bright, "G < 6, beyond the relation: that at G = 6")
    return ParallaxOffsets(offset, tuple(notes))


def _count(rows, reason: str) -> tuple[str, ...]:
    if not rows.any():
        return ()
    return (
        f"The zero point of {int(rows.sum())} parallaxes was taken otherwise ({reason}).",
    )


def _colors(table: pl.DataFrame, notes: list[str]) -> tuple[Vector, Vector]:
    """Return the effective wavenumber and the pseudocolor, from BP - RP if need be."""
    color = numbers(table, "bp") - numbers(table, "rp")
    solved = numbers(table, "astrometric_params_solved")
    of_color = 1.76 - 1.61 / np.pi * np.arctan(0.531 * color)
    out = []
    for name, parameters in (
        ("nu_eff_used_in_astrometry", _FIVE),
        ("pseudocolour", _SIX),
    ):
        given = numbers(table, name)
        derived = ~np.isfinite(given) & np.isfinite(color)
        derived &= (solved == parameters) | (
            ~np.isfinite(solved) & (parameters == _FIVE)
        )
        if derived.any():
            notes.append(
                f"{name} of {int(derived.sum())} stars was computed from BP - RP, for the "
                "parallax zero point; give that column for the very one."
            )
        out.append(np.where(derived, of_color, given))
    return out[0], out[1]


def _ecliptic_latitude(table: pl.DataFrame) -> Vector:
    given = numbers(table, "ecl_lat")
    ra, dec = np.radians(numbers(table, "ra")), np.radians(numbers(table, "dec"))
    height = np.cos(_OBLIQUITY) * np.sin(dec)
    height = height - np.sin(_OBLIQUITY) * np.cos(dec) * np.sin(ra)
    return np.where(np.isfinite(given), given, np.degrees(np.arcsin(height)))
