"""Model spectra from a folder of FITS files, one file a model.

Labels come from the header (``TEFF, LOGG, FEH``, or PHOENIX's ``PHXTEFF, PHXLOGG,
PHXM_H``) or from the file name (``...FEH+0.00..TEFF+5750_LOGG+4.50...``, or PHOENIX's
``lte05700-4.50-0.0...``). Wavelengths come from a column ``wave`` or ``wavelength``, from
the header's ``CRVAL1`` and ``CDELT1`` (linear, or ln with ``CTYPE1 = 'AWAV-LOG'`` as
PHOENIX writes), or from PHOENIX's separate ``WAVE_*.fits``. Between models the nearest in
scaled labels is taken: a folder need not be a complete grid.
"""

__all__ = ["TemplateFolder", "upper_envelope"]

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, percentile_filter

from steadystar.data.air import air_to_vacuum
from steadystar.data.numbers import Numbers
from steadystar.models.library import Domain, ModelFlux, ModelsNotFound

_HEADERS = (("TEFF", "LOGG", "FEH"), ("PHXTEFF", "PHXLOGG", "PHXM_H"))
_NUMBER = r"([+-]?\d+(?:\.\d+)?)"
_NAMED = [re.compile(name + _NUMBER, re.IGNORECASE) for name in ("TEFF", "LOGG", "FEH")]
_PHOENIX = re.compile(r"lte(\d+)-(\d\.\d+)([+-]\d\.\d+)")

# How far apart models are that differ by as much in their lines, roughly.
_SCALE = np.array([250.0, 0.5, 0.5])


@dataclass(frozen=True)
class TemplateFolder:
    """Spectra of a folder on common wavelengths; a star gets the nearest model."""

    name: str
    wave: NDArray[np.float64]
    labels: NDArray[np.float64]
    fluxes: NDArray[np.float64]
    continua: NDArray[np.float64]

    @classmethod
    def open(
        cls, folder: Path | str, low: float, high: float, *, air: bool
    ) -> "TemplateFolder":
        """Read all models of ``folder`` from ``low`` to ``high`` Angstrom (vacuum).

        ``air`` says whether the files' wavelengths are in air. The first file's
        wavelengths are kept and the others interpolated to them.

        Raises:
            ModelsNotFound: no file holds a model with labels in that range.
            ValueError: a file has labels, but no spectrum that can be read.
        """
        folder = Path(folder)
        wave, labels, fluxes, continua = None, [], [], []
        paths = sorted(
            p for p in folder.glob("*.fits*") if not p.name.startswith("WAVE")
        )
        for path in paths:
            found = _read(path)
            if found is None:
                continue
            own_wave, flux, own_labels = found
            own_wave = air_to_vacuum(own_wave) if air else own_wave
            if own_wave[0] > low or own_wave[-1] < high:
                continue
            if wave is None:
                wave = own_wave[(own_wave >= low) & (own_wave <= high)]
            continuum = upper_envelope(own_wave, flux)
            labels.append(own_labels)
            fluxes.append(np.interp(wave, own_wave, flux / continuum))
            continua.append(np.interp(wave, own_wave, continuum))
        if wave is None:
            raise ModelsNotFound(
                f"None of the {len(paths)} FITS files in {folder} is a model spectrum "
                f"with known labels from {low:g} to {high:g} A. Name the labels in the "
                "header (TEFF, LOGG, FEH), or choose another range."
            )
        return cls(
            name=f"templates in {folder.name}",
            wave=wave,
            labels=np.array(labels),
            fluxes=np.array(fluxes),
            continua=np.array(continua),
        )

    @property
    def domain(self) -> Domain:
        """The box of the labels of all models."""
        return Domain.between(self.labels.min(axis=0), self.labels.max(axis=0))

    def __call__(self, labels: Numbers) -> ModelFlux:
        """Return the nearest models to ``labels``; see `ModelSpectra`.

        Raises:
            ValueError: labels lie outside the box of the folder's models.
        """
        labels = np.asarray(labels, float)
        if not self.domain.contains(labels).all():
            raise ValueError(
                f"Some labels lie outside the {self.name} ({self.domain}): choose "
                "labels inside, or another source."
            )
        distance = np.linalg.norm(
            (labels[..., None, :] - self.labels) / _SCALE, axis=-1
        )
        nearest = np.argmin(distance, axis=-1)
        flux = self.fluxes[nearest]
        inside = np.clip(flux, 0.0, 1.0)
        return ModelFlux(inside, self.continua[nearest], inside != flux)


def upper_envelope(
    wave: Numbers, flux: Numbers, width: float = 100.0
) -> NDArray[np.float64]:
    """Return the continuum of a noiseless spectrum.

    The 98th percentile within ``width`` Angstrom, smoothed: exact where an interval of
    that width has continuum anywhere, too low inside broader bands.
    """
    wave, flux = np.asarray(wave, float), np.asarray(flux, float)
    pixels = max(3, round(width / float(np.median(np.diff(wave)))))
    # A filter over every point would take minutes for PHOENIX; a hundred positions a
    # width are enough.
    thin = max(1, pixels // 100)
    high = percentile_filter(flux[::thin], 98, size=max(3, pixels // thin))
    smooth = gaussian_filter1d(high, max(1.0, pixels / thin / 4))
    return np.interp(wave, wave[::thin], smooth)


def _read(path: Path) -> tuple[NDArray, NDArray, tuple[float, ...]] | None:
    """Return wavelengths, flux and labels of a file, None if it has no labels."""
    with fits.open(path) as hdus:
        labels = _labels(path, hdus)
        if labels is None:
            return None
        for hdu in hdus:
            found = _spectrum(path, hdu)
            if found is not None:
                wave, flux = found
                good = np.isfinite(wave) & np.isfinite(flux) & (wave > 0)
                order = np.argsort(wave[good], kind="stable")
                return wave[good][order], flux[good][order], labels
    raise ValueError(
        f"{path} names labels {labels}, but holds no spectrum: give columns wave and "
        "flux, or an image with CRVAL1 and CDELT1."
    )


def _labels(path: Path, hdus: fits.HDUList) -> tuple[float, ...] | None:
    headers: list[Any] = [hdu.header for hdu in cast("list[Any]", hdus)]
    for keys in _HEADERS:
        for header in headers:
            if all(isinstance(header.get(key), int | float) for key in keys):
                return tuple(float(header[key]) for key in keys)
    found = [pattern.search(path.name) for pattern in _NAMED]
    if all(found):
        return tuple(float(match.group(1)) for match in found if match)
    phoenix = _PHOENIX.search(path.name)
    return tuple(map(float, phoenix.groups())) if phoenix else None


def _spectrum(path: Path, hdu: Any) -> tuple[NDArray, NDArray] | None:
    if isinstance(hdu, fits.BinTableHDU):
        names = {str(name).lower(): name for name in cast("Any", hdu.columns).names}
        wave = names.get("wave") or names.get("wavelength")
        if wave and "flux" in names:
            return (
                np.asarray(hdu.data[wave], np.float64).ravel(),
                np.asarray(hdu.data[names["flux"]], np.float64).ravel(),
            )
        return None
    if hdu.data is None or hdu.data.ndim != 1:
        return None
    flux, header = np.asarray(hdu.data, np.float64), hdu.header
    separate = sorted(path.parent.glob("WAVE*.fits*"))
    if "CRVAL1" in header and "CDELT1" in header:
        pixel = np.arange(len(flux)) + 1 - header.get("CRPIX1", 1.0)
        wave = header["CRVAL1"] + header["CDELT1"] * pixel
        logarithmic = str(header.get("CTYPE1", "")).upper().endswith("-LOG")
        return (np.exp(wave) if logarithmic else wave), flux
    if separate:
        wave = np.asarray(fits.getdata(separate[0]), np.float64).ravel()
        return (wave, flux) if len(wave) == len(flux) else None
    return None
