"""A fiber spectrograph: how starlight becomes pixels.

Starlight at rest lives on a grid that is uniform in ``ln(wavelength)``. There rotation
and the line spread are products with their Fourier transforms, which are known in
closed form, and a velocity is a shift by ``ln(1 + rv/c)``. A pixel records the integral
of the light between its two edges; the integral is taken from the cumulative light, so
no interpolated flux and no resampling kernel is shared with the code that measures.

The shapes (number of pixels, dispersion, vignetting, noise) are those of LAMOST's
medium-resolution spectrographs, fitted to public spectra.
"""

__all__ = [
    "ARMS",
    "BLUE",
    "GAIN",
    "RED",
    "Arm",
    "FineSpectrum",
    "gaussian_transform",
    "log_edges",
    "pixel_average",
    "rotation_transform",
]

from dataclasses import dataclass

import numpy as np
from numpy.fft import irfft, rfft, rfftfreq
from numpy.typing import NDArray
from scipy.special import j1

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA
from steadystar.data.numbers import Numbers


@dataclass(frozen=True)
class Arm:
    """One arm of a spectrograph.

    ``models``: the bundled model spectra that cover it. ``resolution``: nominal
    resolving power. ``dispersion``: wavelength in Angstrom, in the frame of the
    observatory, as a polynomial in pixel position scaled to -1 (first pixel) to 1
    (last). ``vignetting``: ln of the relative throughput, a polynomial in the same
    variable. ``shifts``: how far the arms of spectrographs lie from that, lowest and
    highest, in Angstrom. ``efficiency``: counts in the middle of the arm from a star of magnitude
    11.4 in 1200 s, if it had the photon flux that it has in the blue. ``background``:
    variance in counts^2 without light. ``sky_lines``: vacuum wavelength (Angstrom) and
    counts in 1200 s of the strongest airglow.
    """

    name: str
    letter: str
    models: str
    pixels: int
    resolution: float
    dispersion: tuple[float, ...]
    vignetting: tuple[float, ...]
    shifts: tuple[float, float]
    efficiency: float
    background: float
    sky_lines: tuple[tuple[float, float], ...]


BLUE = Arm(
    name="blue",
    letter="B",
    models="lamost-mrs-blue",
    pixels=4136,
    resolution=7500.0,
    dispersion=(5156.31, 249.06, -12.25, -4.29, 1.00, -0.69),
    vignetting=(0.0, -0.15, -1.15, 0.17, 0.17),
    shifts=(-6.0, 1.0),
    efficiency=3500.0,
    background=600.0,
    sky_lines=((5199.3, 600.0), (5201.7, 500.0)),
)
RED = Arm(
    name="red",
    letter="R",
    models="lamost-mrs-red",
    pixels=4136,
    resolution=7500.0,
    dispersion=(6606.36, -286.28, -16.26, 4.18, 0.18, -0.09),
    vignetting=(0.0, -0.05, -0.55, -0.03, -0.08),
    shifts=(-35.0, 0.0),
    efficiency=6300.0,
    background=900.0,
    # [O I], then OH; wavelengths from Osterbrock et al. (1996), converted to vacuum.
    sky_lines=(
        (6302.05, 9000.0),
        (6365.54, 3000.0),
        (6500.53, 700.0),
        (6534.85, 900.0),
        (6555.42, 700.0),
        (6566.34, 400.0),
        (6831.15, 1200.0),
        (6865.85, 2500.0),
    ),
)
ARMS = (BLUE, RED)
"""The arms in the order of their extensions in a file."""

GAIN = 1.3
"""Variance per count of light, in the real inverse variances about 1.1 to 2.1."""


def log_edges(arm: Arm, shift: float = 0.0) -> NDArray[np.float64]:
    """Return ln of the pixel edges' wavelength at the observatory, ``(pixel + 1,)``.

    ``shift`` (Angstrom) moves the whole arm: no two fibers are extracted alike.
    """
    x = (np.arange(arm.pixels + 1) - 0.5) * 2 / (arm.pixels - 1) - 1
    return np.log(np.polynomial.polynomial.polyval(x, arm.dispersion) + shift)


def gaussian_transform(frequency: Numbers, sigma: float) -> NDArray[np.float64]:
    """Fourier transform of a Gaussian of unit area and width ``sigma``."""
    return np.asarray(np.exp(-2 * (np.pi * sigma * np.asarray(frequency, float)) ** 2))


def rotation_transform(
    frequency: Numbers, vsini: Numbers, epsilon: float = 0.6
) -> NDArray[np.float64]:
    """Fourier transform of the profile of a rotating, limb-darkened disk.

    The profile is Gray's (2008, equation 18.14) with linear limb darkening ``epsilon``;
    its transform follows from those of ``sqrt(1 - x^2)`` and ``1 - x^2``.
    ``frequency`` is in cycles per unit of ``vsini``; the two broadcast.
    """
    u = 2 * np.pi * np.asarray(vsini, float) * np.abs(np.asarray(frequency, float))
    safe = np.where(u < 1e-2, 1.0, u)
    disk = np.where(u < 1e-2, 0.5 - u**2 / 16, j1(safe) / safe)
    dark = np.where(
        u < 1e-2, 1 / 3 - u**2 / 30, (np.sin(safe) - safe * np.cos(safe)) / safe**3
    )
    return np.asarray(2 * ((1 - epsilon) * disk + epsilon * dark) / (1 - epsilon / 3))


class FineSpectrum:
    """A normalized spectrum at rest, ready to be broadened many times.

    ``wave`` (vacuum Angstrom) and ``flux`` may have any spacing; between points the
    spectrum is taken as linear. ``step`` is that of the uniform grid, in km/s.
    """

    def __init__(self, wave: Numbers, flux: Numbers, step: float = 2.0) -> None:
        log_wave = np.log(np.asarray(wave, float))
        self.step = step / C_KMS
        self.start = float(log_wave[0])
        self.size = int((log_wave[-1] - log_wave[0]) / self.step)
        # Padding with a straight line between the ends keeps the period continuous.
        self.padded = 1 << (self.size + 1023).bit_length()
        ends = np.interp(
            self.start + self.step * np.arange(self.size), log_wave, np.asarray(flux)
        )
        bridge = np.linspace(ends[-1], ends[0], self.padded - self.size)
        self.transform = rfft(np.concatenate([ends, bridge]))
        self.frequency = rfftfreq(self.padded, step)

    def broadened(
        self, resolution: float, vsini: float, epsilon: float = 0.6
    ) -> NDArray[np.float64]:
        """Return the spectrum rotating at ``vsini`` (km/s) and seen at ``resolution``."""
        sigma = C_KMS / resolution / FWHM_PER_SIGMA
        product = self.transform * gaussian_transform(self.frequency, sigma)
        if vsini > 0:
            product = product * rotation_transform(self.frequency, vsini, epsilon)
        return irfft(product, self.padded)[: self.size]

    def pixels(
        self, broadened: NDArray[np.float64], edges: NDArray[np.float64], rv: float
    ) -> NDArray[np.float64]:
        """Return what pixels with ``edges`` (ln Angstrom) record."""
        position = (edges - np.log1p(rv / C_KMS) - self.start) / self.step
        if position.min() < 0 or position.max() > self.size - 1:
            raise ValueError(
                f"At {rv:.1f} km/s the model spectrum does not cover the arm: use a "
                "smaller velocity, or models over a wider range."
            )
        return pixel_average(broadened, position)


def pixel_average(
    values: NDArray[np.float64], position: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average ``values``, on a uniform grid, between successive ``position``.

    The cumulative integral is that of a cubic through four points a step, and is
    interpolated by cubic Hermite polynomials: its slopes are ``values`` themselves.
    """
    steps = (values[1:] + values[:-1]) / 2
    steps[1:-1] += (steps[1:-1] - (values[3:] + values[:-3]) / 2) / 12
    total = np.concatenate([[0.0], np.cumsum(steps)])
    index = np.minimum(position.astype(np.intp), len(values) - 2)
    t = position - index
    left, right = total[index], total[index + 1]
    rise = right - left
    slope, slope_right = values[index], values[index + 1]
    cubic = slope + slope_right - 2 * rise
    at = left + t * (slope + t * ((rise - slope - cubic) + t * cubic))
    return np.diff(at) / np.diff(position)
