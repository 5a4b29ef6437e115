"""Stars that APOGEE visits again and again: apVisit files, and the truth.

A small field for tutorials and tests. Starlight goes through the machinery of
`simulate.instrument` at a Gaussian resolution; what the survey does to it before it
writes a visit (two dithers interleaved, sky subtracted, telluric absorption divided out)
is there as what it leaves behind: noise that is larger under sky and telluric lines,
residuals beyond that noise at sky lines, and the bits of the mask that say so.

``odd_lines`` are lines that no model has. A late M dwarf, whose water and FeH the bundled
models do not know, is such a star.
"""

__all__ = ["FieldStar", "simulate_visits"]

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from steadystar.data.constants import C_KMS
from steadystar.models.library import bundled
from steadystar.simulate.apogee_files import Visit, detector_wavelengths, write_visit
from steadystar.simulate.instrument import FineSpectrum
from steadystar.simulate.sky import Site, barycentric

APO = Site(longitude=-105.82, latitude=32.78, height=2788.0, utc_offset=-7.0)
"""Apache Point Observatory."""

_RESOLUTION = 23_500.0
_EXPOSURE = 4000.0
_MJD0 = datetime(1858, 11, 17)
_BADPIX, _SIG_SKYLINE, _SIG_TELLURIC = 1, 1 << 12, 1 << 13
# Some of the strongest OH lines of the H band, vacuum Angstrom (Rousselot et al. 2000),
# and centers of bands of CO2 and water vapor, rounded.
_SKY_LINES = (15_187.1, 15_241.0, 15_287.8, 15_332.4, 15_432.2, 15_501.0, 15_546.1)
_SKY_LINES += (15_597.6, 15_702.5, 15_972.6, 16_030.8, 16_079.8, 16_128.6, 16_194.6)
_SKY_LINES += (16_235.4, 16_317.2, 16_388.5, 16_502.4, 16_692.4, 16_840.5, 16_903.7)
_BANDS = ((15_200.0, 60.0, 0.05), (15_740.0, 40.0, 0.15), (16_060.0, 50.0, 0.12))


@dataclass(frozen=True)
class FieldStar:
    """A star of constant velocity ``rv`` (km/s).

    ``labels``: effective temperature (K), log g, [Fe/H] of the model; ``odd_lines``:
    lines in the band that no model has, 0.1 deep on the average. ``snr`` is per pixel.
    ``header_error`` is the standard deviation of the velocities in the headers, km/s.
    """

    name: str
    ra: float
    dec: float
    labels: tuple[float, float, float]
    rv: float
    vsini: float = 3.0
    snr: float = 80.0
    odd_lines: int = 0
    header_error: float = 0.3


def simulate_visits(
    directory: Path | str, star: FieldStar, nights: Sequence[int], *, seed: int = 1
) -> pl.DataFrame:
    """Write an apVisit file for each night, and return the truth.

    Arguments:
        directory: it is made if it is not there.
        nights: modified Julian days.
        seed: of everything that is random.

    Returns:
        One row a visit: ``path, star_id, night, fiber_id, bary_corr, rv_true, rv_header``.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, int(1e4 * star.ra)])
    spectrum = _fine_spectrum(star, rng)
    light = spectrum.broadened(_RESOLUTION, star.vsini)
    rows = []
    for night in nights:
        start = _MJD0 + timedelta(days=int(night), hours=float(rng.uniform(3, 10)))
        middle = (start - _MJD0) / timedelta(days=1) + _EXPOSURE / 2 / 86_400
        bary = float(barycentric(middle, star.ra, star.dec, APO)[1])
        observed = C_KMS * ((1 + star.rv / C_KMS) / (1 + bary / C_KMS) - 1)
        told = star.rv + star.header_error * float(rng.normal())
        visit = _visit(star, spectrum, light, observed, start, int(night), rng)
        visit = Visit(**visit, velocity=told - bary, bary_corr=bary)
        rows.append(
            {
                "path": str(write_visit(directory, visit)),
                "star_id": star.name,
                "night": int(night),
                "fiber_id": visit.fiber_id,
                "bary_corr": bary,
                "rv_true": star.rv,
                "rv_header": told,
            }
        )
    return pl.DataFrame(rows)


def _fine_spectrum(star: FieldStar, rng: np.random.Generator) -> FineSpectrum:
    """Return the star's model, with its odd lines if it has any."""
    models = bundled("h-band")
    flux = models(star.labels).flux
    log_wave = np.log(models.wave)
    depth = np.zeros_like(flux)
    centers = rng.uniform(log_wave[0], log_wave[-1], star.odd_lines)
    strengths = rng.exponential(0.1, star.odd_lines).clip(0, 0.6)
    width = 4.0 / C_KMS
    for center, strength in zip(centers, strengths, strict=True):
        near = slice(
            *np.searchsorted(log_wave, [center - 6 * width, center + 6 * width])
        )
        depth[near] += strength * np.exp(
            -(((log_wave[near] - center) / width) ** 2) / 2
        )
    return FineSpectrum(models.wave, flux * np.exp(-depth))


def _visit(star, spectrum, light, observed, start, night, rng) -> dict:
    """Return what a visit's file holds, but for the survey's velocity."""
    # Fibers lie up to half an Angstrom apart on the detectors.
    wave = detector_wavelengths() + rng.uniform(-0.5, 0.5)
    seen = np.stack([_pixels(spectrum, light, chip, observed) for chip in wave])
    x = (wave - 16_000.0) / 1000.0
    bend = rng.uniform(-0.1, 0.1, 2)
    continuum = 1000.0 * (1 - 0.15 * x + bend[0] * x + bend[1] * x**2)
    telluric = _telluric(wave, rng.uniform(0.7, 1.3))
    lines = np.array(_SKY_LINES)
    strength = rng.exponential(1.0, len(lines))
    profile = np.exp(-(((wave[..., None] - lines) / 0.3) ** 2) / 2)
    sky = 20.0 + 8000.0 * profile @ strength
    typical = 1000.0 / star.snr
    error = np.hypot(typical, np.sqrt(sky - 20.0) * typical / 30.0) / telluric
    mask = np.where(sky > 200.0, _SIG_SKYLINE, 0) | np.where(
        telluric < 0.95, _SIG_TELLURIC, 0
    )
    excess = np.where(mask & _SIG_SKYLINE, 2.2, 1.0)
    flux = continuum * seen + error * excess * rng.normal(size=wave.shape)
    bad = rng.uniform(size=wave.shape) < 0.005
    return {
        "star": star.name,
        "ra": star.ra,
        "dec": star.dec,
        "plate": "9999",
        "night": night,
        "fiber_id": int(rng.integers(1, 301)),
        "start": start,
        "exptime": _EXPOSURE,
        "wave": wave,
        "flux": np.where(bad, 0.0, flux),
        "error": np.where(bad, 1e10, error),
        "mask": (mask | np.where(bad, _BADPIX, 0)).astype(np.int16),
        "sky": sky,
        "sky_error": np.full(wave.shape, 2.0),
        "telluric": telluric,
        "telluric_error": np.full(wave.shape, 0.01),
        "snr": star.snr,
    }


def _pixels(spectrum: FineSpectrum, light, chip: NDArray, rv: float) -> NDArray:
    """Return what the pixels of one detector record; they fall in wavelength."""
    rising = np.log(chip[::-1])
    middle = (rising[1:] + rising[:-1]) / 2
    ends = 2 * rising[0] - middle[0], 2 * rising[-1] - middle[-1]
    edges = np.concatenate([[ends[0]], middle, [ends[1]]])
    return spectrum.pixels(light, edges, rv)[::-1]


def _telluric(wave: NDArray, strength: float) -> NDArray[np.float64]:
    """Return the transmission of the air: bands of narrow lines."""
    absorbed = np.zeros(wave.shape)
    for center, width, depth in _BANDS:
        lines = center + 2.3 * np.arange(-25, 26)
        heights = depth * np.exp(-(((lines - center) / width) ** 2) / 2)
        profile = np.exp(-(((wave[..., None] - lines) / 0.3) ** 2) / 2)
        absorbed += profile @ heights
    return np.exp(-strength * absorbed)
