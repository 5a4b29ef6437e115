"""Whatever the loaders of specutils recognize, as a last resort.

specutils knows many surveys' files, but its loaders trust what they read: a header that
claims two thousand million columns makes astropy ask for the memory. So only FITS files
whose structure is sound (see `steadystar.survey.fitsfile`) and whose size is bounded get
there, without memory mapping, and their warnings and errors end here. It is imported
when it is needed: that takes seconds.
"""

__all__ = ["SpecutilsReader"]

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from steadystar.survey.files import load, peek
from steadystar.survey.fitsfile import DamagedFits, Unit, parse
from steadystar.survey.generic import Arrays, generic_observation
from steadystar.survey.observation import Observation, ReadOptions, UnreadableFile

_REMEDY = (
    "Give it as a table with columns wave (vacuum Angstrom), flux and ivar, or write "
    "a reader for it."
)

# What the loaders raise on files that are not what they take them for. Of 1200 damaged
# files (SDSS, APOGEE, cubes, tables) most ended in IORegistryError (no loader), OSError
# and ValueError, some in TypeError, KeyError, AttributeError, AssertionError and
# VerifyError; the others here are their kin for numbers that are too large.
_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)


_LIMITS = {
    **dict.fromkeys(("NAXIS", "WCSAXES"), 9),
    **dict.fromkeys(("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER"), 9),
    "TFIELDS": 999,
}
"""Numbers of a header that say how much memory is asked for, beside the data's size."""


@dataclass(frozen=True)
class SpecutilsReader:
    """FITS spectra of other surveys, by way of specutils."""

    name: str = "specutils"
    description: str = "FITS files that one of the loaders of specutils recognizes"

    def matches(self, path: str | Path) -> bool:
        """Whether the file is FITS; which kind, specutils finds out."""
        return peek(path, 9).startswith(b"SIMPLE  =")

    def read(self, path: str | Path, options: ReadOptions) -> Observation:
        """Read one spectrum.

        Raises:
            UnreadableFile: no loader recognizes the file, or the one that does fails.
        """
        content = load(path, options.max_bytes)
        units, ending = parse(content)
        trouble = ending or next(filter(None, map(_trouble, units)), "")
        if trouble:
            raise UnreadableFile(path, trouble, _REMEDY)
        spectrum = _read_spectrum(path, content)
        header = {}
        for unit in reversed(units):
            header |= unit.header
        return generic_observation(
            path, self.name, header, _arrays(path, spectrum), options, content
        )


def _trouble(unit: Unit) -> str:
    """Say why a unit must not be given to a library that believes it; empty if it may."""
    where = f"extension {unit.name}" if unit.name else "an extension"
    if unit.header.get("ZIMAGE") is True:
        return f"{where} is a compressed image"
    for key, limit in _LIMITS.items():
        value = unit.header.get(key, 0)
        if isinstance(value, int | float) and not 0 <= value <= limit:
            return f"in {where} {key} is {value}"
    if unit.is_table:
        try:
            kinds = {kind for kind, *_ in unit.columns.values()}
        except DamagedFits as error:
            return f"{where}: {error}"
        if kinds & {"P", "Q"}:
            return f"{where} has columns of variable length"
    return ""


def _read_spectrum(path: str | Path, content: bytes) -> Any:
    from astropy.io import fits, registry
    from astropy.utils.exceptions import AstropyWarning
    from specutils import Spectrum

    damage = (*_DAMAGE, registry.IORegistryError, fits.VerifyError)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        # A copy: decompressed, and under a name that is no address.
        copy = Path(folder) / "spectrum.fits"
        copy.write_bytes(content)
        try:
            with fits.conf.set_temp("use_memmap", False):
                return Spectrum.read(str(copy))
        except damage as error:
            why = " ".join(str(error).split()).split(" Format ", 1)[0][:160]
            raise UnreadableFile(
                path,
                f"specutils cannot read it ({type(error).__name__}: {why})",
                _REMEDY,
            ) from error


def _arrays(path: str | Path, spectrum: Any) -> Arrays:
    import astropy.units as u

    with np.errstate(all="ignore"):
        try:
            wave = spectrum.spectral_axis.to_value(u.AA, u.spectral())
        except u.UnitsError as error:
            raise UnreadableFile(
                path, f"its axis is not of light: {error}", _REMEDY
            ) from error
        flux = np.asarray(spectrum.flux.value, np.float64)
        ivar = _ivar(spectrum)
    if flux.ndim == 2 and len(flux) == 1:
        flux = flux[0]
        ivar = ivar[0] if ivar is not None else None
    if flux.ndim != 1:
        raise UnreadableFile(path, f"it holds {flux.shape[0]} spectra", _REMEDY)
    return np.asarray(wave, np.float64), flux, ivar, None


def _ivar(spectrum: Any) -> NDArray[np.float64] | None:
    from astropy.nddata import InverseVariance

    if spectrum.uncertainty is None:
        return None
    ivar = spectrum.uncertainty.represent_as(InverseVariance).array
    ivar = np.array(ivar, np.float64)
    if spectrum.mask is not None:
        ivar = np.where(np.asarray(spectrum.mask, bool), 0.0, ivar)
    return ivar
