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
    "BLUE",
    "RED",
    "Arm",
    "FineSpectrum",
    "gaussian_transform",
    "pixel_average",
    "pixel_edges",
    "rotation_transform",
]

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.special import j1

from steadystar.data.constants import C_KMS

FWHM_PER_SIGMA = 2.354820045030949  # 2 sqrt(2 ln 2)


@dataclass(frozen=True)
class Arm:
    """One arm of a spectrograph.

    ``dispersion``: wavelength in Angstrom, in the frame of the observatory, as a
    polynomial in pixel position scaled to -1 (first pixel) to 1 (last). ``vignetting``:
    relative throughput as the logarithm of a polynomial in the same variable.
    ``counts``: of a star of magnitude 11.4 in 1200 s at the middle of the arm, if its
    spectrum is flat. ``sky_lines``: strong airglow lines, vacuum Angstrom.
    """

    name: str
    letter: str
    models: str
    pixels: int
    resolution: float
    dispersion: tuple[float, ...]
    vignetting: tuple[float, ...]
    counts: float
    background: float
    sky_lines: tuple[float, ...]


BLUE = Arm(
    name="blue",
    letter="B",
    models="lamost-mrs-blue",
    pixels=4136,
    resolution=7500.0,
    dispersion=(5156.31, 249.06, -12.25, -4.29, 1.00, -0.69),
    vignetting=(0.0, 0.02, -1.0, -0.03, 0.15),
    counts=5500.0,
    background=1500.0,
    sky_lines=(5198.9, 5201.7),
)
RED = Arm(
    name="red",
    letter="R",
    models="lamost-mrs-red",
    pixels=4136,
    resolution=7500.0,
    dispersion=(6606.36, -286.28, -16.26, 4.18, 0.18, -0.09),
    vignetting=(0.0, 0.05, -0.75, 0.0, 0.1),
    counts=12000.0,
    background=2500.0,
    sky_lines=(6302.05, 6365.54, 6500.5, 6534.8, 6555.3, 6865.7),
)


def pixel_edges(arm: Arm) -> NDArray[np.float64]:
    """Return the wavelengths of the pixel edges at the observatory, ``(pixel + 1,)``."""
    x = (np.arange(arm.pixels + 1) - 0.5) * 2 / (arm.pixels - 1) - 1
    return np.polynomial.polynomial.polyval(x, arm.dispersion)


def gaussian_transform(frequency: ArrayLike, sigma: float) -> NDArray[np.float64]:
    """Fourier transform of a Gaussian of unit area and width ``sigma``."""
    return np.exp(-2 * (np.pi * sigma * np.asarray(frequency, float)) ** 2)


def rotation_transform(
    frequency: ArrayLike, vsini: float, epsilon: float = 0.6
) -> NDArray[np.float64]:
    """Fourier transform of the profile of a rotating, limb-darkened disk.

    The profile is Gray's (2008, equation 18.14) with linear limb darkening ``epsilon``;
    its transform follows from those of ``sqrt(1 - x^2)`` and ``1 - x^2``.
    ``frequency`` is in cycles per unit of ``vsini``.
    """
    u = 2 * np.pi * vsini * np.abs(np.asarray(frequency, float))
    safe = np.where(u < 1e-2, 1.0, u)
    disk = np.where(u < 1e-2, 0.5 - u**2 / 16, j1(safe) / safe)
    dark = np.where(
        u < 1e-2, 1 / 3 - u**2 / 30, (np.sin(safe) - safe * np.cos(safe)) / safe**3
    )
    return 2 * ((1 - epsilon) * disk + epsilon * dark) / (1 - epsilon / 3)


class FineSpectrum:
    """A normalized spectrum at rest, ready to be broadened many times.

    ``wave`` (vacuum Angstrom) and ``flux`` may have any spacing; between points the
    spectrum is taken as linear. ``step`` is that of the uniform grid, in km/s.
    """

    def __init__(self, wave: ArrayLike, flux: ArrayLike, step: float = 2.0) -> None:
        log_wave = np.log(np.asarray(wave, float))
        self.step = step / C_KMS
        self.start = float(log_wave[0])
        self.size = int((log_wave[-1] - log_wave[0]) / self.step)
        # Padding with a straight line between the ends keeps the period continuous.
        self.padded = next_fast_len(self.size + 1024, real=True)
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
        self, broadened: NDArray[np.float64], log_edges: NDArray[np.float64], rv: float
    ) -> NDArray[np.float64]:
        """Return what pixels with edges at ``log_edges`` (ln Angstrom) record."""
        position = (log_edges - np.log1p(rv / C_KMS) - self.start) / self.step
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
