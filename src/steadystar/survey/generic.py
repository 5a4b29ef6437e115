"""Spectra of no known survey: 1D FITS images, FITS tables, text files.

What such files have in common is a list of wavelengths, a list of fluxes, perhaps
errors, and a few facts in a header. Wavelengths become vacuum Angstrom here, once
(Ciddor 1996, see `steadystar.data.air`). Where a file gives no
errors, they are estimated from the scatter of neighboring pixels, and the spectrum is
marked so.
"""

__all__ = ["Arrays", "FitsReader", "TextReader", "estimate_ivar", "generic_observation"]

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.data.air import air_to_vacuum
from steadystar.data.status import Status
from steadystar.survey.files import load, peek
from steadystar.survey.fitsfile import DamagedFits, Unit, parse
from steadystar.survey.header import Facts, number, text
from steadystar.survey.observation import (
    Observation,
    ReadOptions,
    Recorded,
    UnreadableFile,
    observe,
)
from steadystar.survey.textfile import parse_text

_WAVE = ("WAVE", "WAVELENGTH", "LAMBDA", "LAM", "WL", "WAVELEN", "WVL", "SPECTRAL_AXIS")
_AIR_WAVE = ("WAVE_AIR", "WAVELENGTH_AIR", "LAMBDA_AIR", "AIR_WAVE", "AWAV")
_LOG_WAVE = ("LOGLAM", "LOGLAMBDA", "LOGWAVE", "LOG_WAVE")
_FLUX = ("FLUX", "FLUX_REDUCED", "SPEC", "SPECTRUM", "INTENSITY", "COUNTS", "F_LAMBDA")
_ERROR = ("ERR", "ERROR", "FLUX_ERR", "FLUXERR", "FLUX_ERROR", "ERR_FLUX", "SIGMA")
_IVAR_OF: dict[str, Callable[[NDArray], NDArray]] = {
    **dict.fromkeys(("IVAR", "INVVAR", "INVERSE_VARIANCE"), lambda ivar: ivar),
    **dict.fromkeys(("VAR", "VARIANCE"), lambda variance: 1 / variance),
    **dict.fromkeys(_ERROR, lambda sigma: sigma**-2.0),
    **dict.fromkeys(("UNC", "UNCERTAINTY", "NOISE", "STD"), lambda sigma: sigma**-2.0),
}
_ANGSTROM = {
    1.0: ("", "a", "å", "ang", "angstrom", "angstroms", "0.1nm"),
    1e1: ("nm", "nanometer", "nanometers"),
    1e4: ("um", "µm", "μm", "micron", "microns", "micrometer"),
    1e7: ("mm",),
    1e8: ("cm",),
    1e10: ("m",),
}
_ANGSTROM_OF = {unit: factor for factor, units in _ANGSTROM.items() for unit in units}
_REMEDY = (
    "Give it as a table with columns wave (vacuum Angstrom), flux and ivar, or write "
    "a reader for it."
)
_FETCH = "Fetch the file again."
_BLOCK_PIXELS = 200
_FEWEST_PIXELS, _MOST_PIXELS = 10, 2_000_000

Arrays = tuple[NDArray, NDArray, NDArray | None, bool | None]
"""Wavelengths (Angstrom), flux, ivar if there is one, whether in air if it is said."""


class _NoSpectrum(ValueError):
    """The numbers are there, but they are no spectrum; the message says why."""


@dataclass(frozen=True)
class FitsReader:
    """One-dimensional spectra in FITS images and tables."""

    name: str = "fits"
    description: str = (
        "FITS files with a one-dimensional image, or a table of wavelengths and fluxes"
    )

    def matches(self, path: str | Path) -> bool:
        """Whether the file is FITS and has such a unit, or is damaged FITS."""
        if not peek(path, 9).startswith(b"SIMPLE  ="):
            return False
        units, ending = parse(load(path, ReadOptions().max_bytes))
        return bool(ending) or any(_holds_spectrum(unit) for unit in units)

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read the first unit that holds a spectrum.

        Raises:
            UnreadableFile: there is none, or its numbers make no spectrum.
        """
        content = load(path, options.max_bytes)
        units, ending = parse(content)
        found = [unit for unit in units if _holds_spectrum(unit)]
        if not found:
            reason = ending or "none of its extensions holds a spectrum"
            raise UnreadableFile(path, reason, _FETCH if ending else _REMEDY)
        unit = found[0]
        header = {**units[0].header, **unit.header}
        try:
            arrays = _table(unit) if unit.is_table else _image(unit, header, units)
        except (DamagedFits, _NoSpectrum) as error:
            raise UnreadableFile(
                path, f"extension {unit.name or units.index(unit)}: {error}", _REMEDY
            ) from error
        troubles = [ending] if ending else []
        return generic_observation(
            path, self.name, header, arrays, options, content, troubles
        )


@dataclass(frozen=True)
class TextReader:
    """Spectra in columns of text."""

    name: str = "text"
    description: str = (
        "text files (CSV, ECSV, columns of numbers) of wavelengths, fluxes and errors"
    )

    def matches(self, path: str | Path) -> bool:
        """Whether the file begins like a table of numbers in text."""
        head = peek(path, 1 << 16)
        if b"\0" in head:
            return False
        return parse_text(head.decode("utf-8-sig", "replace"), cut=True) is not None

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read columns by name if they have names, else as wave, flux, error.

        Raises:
            UnreadableFile: there are no such columns, or they make no spectrum.
        """
        content = load(path, options.max_bytes)
        table = parse_text(content.decode("utf-8-sig", "replace"))
        if table is None:
            raise UnreadableFile(path, "it holds no columns of numbers", _REMEDY)
        names = list(table.columns) if table.named else ["WAVE", "FLUX", "ERR"]
        columns = dict(zip(names, table.columns.values(), strict=False))
        try:
            arrays = _columns(columns, table.units)
        except _NoSpectrum as error:
            raise UnreadableFile(path, str(error), _REMEDY) from error
        troubles = [
            f"line {line} has more or fewer fields than the others"
            for line in table.odd_lines
        ]
        wave, flux, ivar, air = arrays
        known = np.isfinite(wave)
        if not known.all():
            troubles.append(f"{(~known).sum()} lines have no wavelength")
            ivar = None if ivar is None else ivar[known]
            arrays = wave[known], flux[known], ivar, air
        return generic_observation(
            path, self.name, table.header, arrays, options, content, troubles
        )


def generic_observation(
    path: str | Path,
    reader: str,
    header: Mapping[str, Any],
    arrays: Arrays,
    options: ReadOptions,
    content: bytes,
    troubles: Sequence[str] = (),
) -> Observation:
    """Make an observation of one spectrum and its header.

    Arguments:
        content: the bytes of the file, which name the visit.
        troubles: why parts of the file could not be read.

    Raises:
        UnreadableFile: it has too few pixels, or its wavelengths are not monotonic.
    """
    wave, flux, ivar, air = arrays
    facts = Facts.of(header, options)
    if len(flux) > _MOST_PIXELS:
        raise UnreadableFile(path, f"it has {len(flux)} pixels", _REMEDY)
    wave, flux = np.asarray(wave, np.float64), np.asarray(flux, np.float64)
    if not wave.ndim == flux.ndim == 1 or len(wave) != len(flux):
        reason = f"it has {wave.size} wavelengths for {flux.size} fluxes"
        raise UnreadableFile(path, reason, _REMEDY)
    if len(flux) < _FEWEST_PIXELS:
        raise UnreadableFile(path, f"it has only {len(flux)} pixels", _REMEDY)
    status = Status.GOOD
    if ivar is None or not (ivar > 0).any():
        status |= Status.NO_ERROR
        ivar = estimate_ivar(flux)
    if facts.air if options.wavelengths != "auto" or air is None else air:
        wave = _in_vacuum(wave)
    row = facts.row(options) | {
        # The checksum tells files of one name apart, and knows a file seen twice.
        "visit_id": f"{_stem(path)}-{zlib.crc32(content):08x}",
        "survey": reader,
        "exposure_id": _exposure(facts, header),
        "lamp": text(header, "LAMP", "LAMPLIST", "ARCLAMP") or None,
        "path": str(path),
        "status": int(status),
    }
    rejected = [(str(path), reader, trouble, _FETCH) for trouble in troubles]
    spectrum = Recorded(row, wave, flux, ivar, facts.resolution)
    observation = observe([spectrum], facts.frame, rejected)
    if observation.visits["status"][0] & Status.BAD_WAVELENGTHS:
        raise UnreadableFile(
            path,
            f"its wavelengths (from {wave[0]:.6g} to {wave[-1]:.6g} Angstrom) are not "
            "finite, plausible and monotonic",
            "Sort the pixels, or split overlapping orders into files of their own.",
        )
    return observation


def estimate_ivar(flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Estimate the inverse variance of each pixel from its neighbors, ``(pixel,)``.

    DER_SNR (Stoehr et al. 2008, ADASS XVII, 505): 1.482602/sqrt(6) times the median of
    ``|2 f[i] - f[i-2] - f[i+2]|``, here in blocks of 200 pixels, linear in between. Where
    pixels were resampled the noise of neighbors is correlated, and this is too small.
    Zero where there is no scatter at all, and where flux is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        second = np.abs(2 * flux[2:-2] - flux[:-4] - flux[4:])
    blocks = np.array_split(second, max(1, len(second) // _BLOCK_PIXELS))
    noise = np.full(len(blocks), np.nan)
    for index, block in enumerate(blocks):
        finite = block[np.isfinite(block)]
        if len(finite):
            noise[index] = 1.482602 / np.sqrt(6) * np.median(finite)
    known = noise > 0
    if not known.any():
        return np.zeros(len(flux))
    edges = np.cumsum([0, *(len(block) for block in blocks)]) + 2
    middles = (edges[:-1] + edges[1:]) / 2
    sigma = np.interp(np.arange(len(flux)), middles[known], noise[known])
    with np.errstate(over="ignore", divide="ignore"):
        ivar = sigma**-2.0
    return np.where(np.isfinite(flux) & np.isfinite(ivar), ivar, 0.0)


def _stem(path: str | Path) -> str:
    name = Path(path).name
    for suffix in (".gz", ".fits", ".fit", ".fts", ".csv", ".ecsv", ".txt", ".dat"):
        name = name.removesuffix(suffix)
    return name


def _exposure(facts: Facts, header: Mapping[str, Any]) -> str | None:
    when = text(header, "DATE-OBS")
    if not when and np.isfinite(facts.middle):
        when = f"{facts.middle:.6f}"
    return f"{facts.telescope} {when}".strip() or None


def _in_vacuum(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    # The formula has poles in the far ultraviolet, where air is opaque.
    sane = (wave > 1000) & (wave < 1e7)
    return np.where(sane, air_to_vacuum(np.where(sane, wave, 5000.0)), wave)


def _holds_spectrum(unit: Unit) -> bool:
    if unit.is_table:
        try:
            names = unit.columns
        except DamagedFits:
            return False
        waves = (*_WAVE, *_AIR_WAVE, *_LOG_WAVE)
        return any(n in names for n in waves) and any(n in names for n in _FLUX)
    shape = unit.axes
    has_scale = any(key in unit.header for key in ("CRVAL1", "COEFF0"))
    # The spectrum runs along the first axis; others may be there if they have length 1.
    return bool(shape) and max(shape) == shape[0] == math.prod(shape) and has_scale


def _table(unit: Unit) -> Arrays:
    columns, units = {}, {}
    wanted = {*_WAVE, *_AIR_WAVE, *_LOG_WAVE, *_FLUX, *_IVAR_OF}
    for name, (_, _, _, index) in unit.columns.items():
        if name not in wanted:
            continue
        values = unit.column(name)
        if values.ndim == 2:
            if len(values) != 1:
                raise _NoSpectrum(f"its table has {len(values)} spectra in its rows")
            values = values[0]
        if values.dtype.kind not in "fiub":
            raise _NoSpectrum(f"column {name} is not of numbers")
        columns[name] = values.astype(np.float64)
        units[name] = text(unit.header, f"TUNIT{index}")
    return _columns(columns, units)


def _columns(columns: Mapping[str, NDArray], units: Mapping[str, str]) -> Arrays:
    """Pick wavelengths, flux and errors by their names."""
    wave_name = next(
        (n for n in (*_WAVE, *_AIR_WAVE, *_LOG_WAVE) if n in columns), None
    )
    flux_name = next((n for n in _FLUX if n in columns), None)
    if wave_name is None or flux_name is None:
        missing = "wavelengths" if wave_name is None else "fluxes"
        raise _NoSpectrum(
            f"there is no column of {missing} among {', '.join(columns) or 'none'}"
        )
    wave = columns[wave_name]
    with np.errstate(all="ignore"):
        if wave_name in _LOG_WAVE:
            wave = 10.0**wave
        else:
            wave = wave * _angstroms(units.get(wave_name, ""))
        ivar = None
        for name, convert in _IVAR_OF.items():
            if name in columns:
                ivar = convert(np.asarray(columns[name], np.float64))
                break
    return wave, columns[flux_name], ivar, True if wave_name in _AIR_WAVE else None


def _image(unit: Unit, header: Mapping[str, Any], units: Sequence[Unit]) -> Arrays:
    flux = unit.image().ravel()
    wave = _wave_from_header(header, len(flux))
    for other in units:
        convert = _IVAR_OF.get(other.name.upper())
        if convert is None or other.is_table:
            continue
        noise = other.image().ravel()
        if len(noise) == len(flux):
            with np.errstate(all="ignore"):
                return wave, flux, convert(noise.astype(np.float64)), None
    return wave, flux, None, None


def _wave_from_header(header: Mapping[str, Any], size: int) -> NDArray[np.floating]:
    """Wavelengths of an image: linear, or logarithmic in one of four dialects."""
    kind = text(header, "CTYPE1").upper()
    if kind.startswith(("FREQ", "ENER", "VELO", "VRAD", "VOPT", "WAVN", "PIXEL")):
        raise _NoSpectrum(f"its axis is of the kind {kind}, not wavelengths")
    first = number(header, "CRVAL1")
    step = number(header, "CDELT1", "CD1_1")
    reference = number(header, "CRPIX1")
    pixel = np.arange(size) + 1 - (reference if np.isfinite(reference) else 1.0)
    log10 = np.isfinite(number(header, "COEFF0", "COEFF1"))
    if log10:
        first, step = number(header, "COEFF0"), number(header, "COEFF1")
        pixel = np.arange(size)
    if not (np.isfinite(first) and np.isfinite(step)) or step == 0:
        raise _NoSpectrum("its header does not say which wavelengths (CRVAL1, CDELT1)")
    with np.errstate(all="ignore"):
        scale = first + step * pixel
        if log10:
            return 10.0**scale
        if kind.startswith(("WAVE-LOG", "AWAV-LOG")):
            # FITS paper III, equation 5.
            return first * np.exp(step * pixel / first) * _angstroms(_unit(header))
        if number(header, "DC-FLAG") == 1 or "LOG" in kind:
            # log10 of 500 A is 2.7, of 100 micron 6; ln of 500 A is 6.2.
            return 10.0**scale if scale[-1] < 6.1 else np.exp(scale)
        return scale * _angstroms(_unit(header))


def _unit(header: Mapping[str, Any]) -> str:
    return text(header, "CUNIT1")


def _angstroms(unit: str) -> float:
    try:
        return _ANGSTROM_OF[unit.strip().casefold()]
    except KeyError:
        raise _NoSpectrum(
            f"its wavelengths are in {unit!r}, which is unknown"
        ) from None
