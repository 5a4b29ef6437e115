"""What is known of the night sky before a spectrum is taken: lines, bands, surveys' own.

Lists of airglow lines (a short one comes with the package), tables of telluric
transmission, and the sky and telluric images that APOGEE's visits carry. From any of
these `steadystar.models.sky` makes a prior.
"""

__all__ = ["airglow_lines", "read_airglow", "read_apogee_sky", "read_transmission"]

from collections.abc import Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.spectra import Spectra
from steadystar.survey.apogee import read_line_spread, read_sky
from steadystar.survey.files import load
from steadystar.survey.fitsfile import DamagedFits, parse
from steadystar.survey.observation import ReadOptions, UnreadableFile

_DEFAULTS = ReadOptions()
_LISTS = "Give a text table whose lines begin with wavelength and strength."
# APOGEE's own list: number, detector, pixel, wavelength, strength, ...
_APOGEE_COLUMNS, _APOGEE_WAVE = 11, 3
_MASKED_ERROR = 1e6
"""APOGEE writes errors of ten million and more where a pixel means nothing."""


def airglow_lines(low: float, high: float) -> pl.DataFrame:
    """Return the bundled airglow lines between two wavelengths (Angstrom in vacuum).

    Columns ``wave``, ``strength`` (photons, one arbitrary unit for all), ``emitter``
    ("OH" or "[O I]"). It covers 6280 to 6900 and 15100 to 17000 A, down to 1/200 and
    1/1000 of the brightest OH line there.

    Raises:
        ValueError: the list has no line between the two.

    Source: Rousselot et al. 2000, A&A 354, 1134, computed positions and strengths; the
    strengths are indicative. Of [O I] see the head of the file ``airglow.csv``.
    """
    text = (files("steadystar.survey") / "airglow.csv").read_text(encoding="utf-8")
    table = pl.read_csv(StringIO(text), comment_prefix="#")
    found = table.filter(pl.col("wave").is_between(low, high))
    if not len(found):
        raise ValueError(
            f"The bundled list has no airglow line from {low:.0f} to {high:.0f} A: it "
            "covers 6280 to 6900 and 15100 to 17000 A. Read a list of your own with "
            "`read_airglow`."
        )
    return found


def read_airglow(path: str | Path, options: ReadOptions = _DEFAULTS) -> pl.DataFrame:
    """Read a list of airglow lines: columns ``wave`` (vacuum Angstrom), ``strength``.

    Either two columns, wavelength and strength, as in the list of Rousselot et al.
    (2000), or APOGEE's table of eleven columns, in which blends are one line. Lines
    that begin with ``#`` are comments. Sorted by wavelength.

    Raises:
        UnreadableFile: it holds no such table; a number is missing or not positive.
    """
    content = load(path, options.max_bytes).decode("utf-8", errors="replace")
    rows = [
        line.split()
        for line in content.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not rows:
        raise UnreadableFile(path, "it holds no line", _LISTS)
    first = _APOGEE_WAVE if len(rows[0]) >= _APOGEE_COLUMNS else 0
    try:
        values = np.array([row[first : first + 2] for row in rows], np.float64)
    except ValueError as error:
        raise UnreadableFile(path, "it is no table of numbers", _LISTS) from error
    if values.ndim != 2 or values.shape[1] != 2:
        raise UnreadableFile(path, "it has one column only", _LISTS)
    bad = ~(np.isfinite(values).all(axis=1) & (values[:, 0] > 0) & (values[:, 1] >= 0))
    if bad.any():
        reason = f"{bad.sum()} of its {len(bad)} lines are not positive numbers"
        raise UnreadableFile(path, reason, _LISTS)
    return pl.DataFrame(values, schema=["wave", "strength"], orient="row").sort("wave")


def read_transmission(
    path: str | Path, options: ReadOptions = _DEFAULTS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read a table of telluric transmission as APOGEE's pipeline uses it.

    A FITS image whose first axis is wavelength (``CRVAL1``, ``CDELT1``, vacuum Angstrom)
    and whose others are airmass and the amount of the absorber.

    Returns:
        Wavelengths ``(point,)`` and transmissions ``(sample, point)``, one sample for
        each airmass and amount.

    Raises:
        UnreadableFile: it is no such image; a transmission is not between 0 and 1.
    """
    units, ending = parse(load(path, options.max_bytes))
    if not units:
        raise UnreadableFile(path, ending, "Fetch the file again.")
    header = units[0].header
    remedy = "Give an image with CRVAL1, CDELT1 and transmissions along its first axis."
    try:
        image = np.atleast_2d(units[0].image().astype(np.float64))
        start, step = float(header["CRVAL1"]), float(header["CDELT1"])
    except (DamagedFits, KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(path, f"it has no such image ({error})", remedy) from error
    samples = image.reshape(-1, image.shape[-1])
    if not (start > 0 and step > 0 and samples.min() >= 0 and samples.max() <= 1.001):
        reason = "its wavelengths do not increase or its values are no transmissions"
        raise UnreadableFile(path, reason, remedy)
    wave = start + step * np.arange(samples.shape[1], dtype=np.float64)
    return wave, samples


def read_apogee_sky(
    paths: Sequence[str | Path], options: ReadOptions = _DEFAULTS
) -> tuple[Spectra, Spectra]:
    """Read what APOGEE took off its visits: the sky, and the telluric absorption.

    Returns:
        Sky spectra in the unit of the visits' flux, and ``transmission - 1``; one row a
        file, in order, in the observatory's frame, with the visits' resolution.

    Raises:
        UnreadableFile: one of them is no apVisit file.
    """
    if not paths:
        raise ValueError("There is no file to read: pass the paths of apVisit files.")
    skies, tellurics = [], []
    for path in paths:
        held = read_sky(path, options)
        resolution = float(np.nanmedian(read_line_spread(path, options).resolution))
        for into, values, errors in (
            (skies, held.sky, held.sky_err),
            (tellurics, held.telluric - 1, held.telluric_err),
        ):
            good = (errors > 0) & (errors < _MASKED_ERROR) & np.isfinite(values)
            # Where nothing was recorded the transmission is zero.
            good &= held.telluric > 0
            ivar = np.where(good, 1 / np.where(good, errors, 1) ** 2, 0)
            into.append(Spectra.from_arrays(held.wave, values, ivar, resolution))
    return Spectra.concatenate(skies), Spectra.concatenate(tellurics)
