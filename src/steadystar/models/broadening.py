"""Model spectra as an instrument sees them: rotation, line spread, pixels.

Both profiles are convolutions in ``ln(wavelength)``, done in real space on a uniform
grid: the rotation profile of a limb-darkened disk (Gray 2008, equation 18.14) averaged
over each step, then a Gaussian of ``sigma = 1 / (R 2 sqrt(2 ln 2))``. Pixels average
what falls between their edges.
"""

__all__ = ["broaden", "rotation_profile"]

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter1d

from steadystar.data.constants import C_KMS, FWHM_PER_SIGMA, LIMB_DARKENING
from steadystar.data.numbers import Numbers


def rotation_profile(
    vsini: float, step: float, epsilon: float = LIMB_DARKENING
) -> NDArray:
    """Return the rotation profile on a grid of ``step``; both speeds in km/s.

    The number of points is odd, the middle one is at rest, and the sum is 1.
    """
    if not (vsini >= 0 and step > 0 and 0 <= epsilon <= 1):
        raise ValueError(
            f"vsini={vsini}, step={step}, epsilon={epsilon}: rotation needs a speed of "
            "at least 0, a positive step, and a limb darkening within 0 to 1."
        )
    reach = int(np.ceil(vsini / step + 0.5))
    edges = (np.arange(-reach, reach + 2) - 0.5) * step
    x = np.clip(edges / max(vsini, 1e-9 * step), -1, 1)
    # The profile's integral from -1 to x, from sqrt(1 - x^2) and (1 - x^2).
    disk = (x * np.sqrt(1 - x**2) + np.arcsin(x)) / 2
    dark = x - x**3 / 3
    total = (1 - epsilon) * 2 * disk + epsilon * np.pi / 2 * dark
    return np.diff(total) / (total[-1] - total[0])


def broaden(
    wave: Numbers,
    flux: Numbers,
    pixels: Numbers,
    *,
    resolution: float,
    vsini: float = 0.0,
    epsilon: float = LIMB_DARKENING,
    step: float = 1.0,
) -> NDArray[np.float64]:
    """Return ``flux`` as pixels centered on ``pixels`` record it.

    Arguments:
        wave: wavelengths of the model, Angstrom, increasing, ``(point,)``; flux is
            linear between them.
        flux: ``(..., point)``.
        pixels: wavelengths of the pixels, increasing, ``(pixel,)``; edges lie halfway.
        resolution: resolving power, ``lambda / FWHM``, infinite for none.
        vsini: speed of rotation at the equator times sin i, km/s.
        epsilon: linear limb darkening.
        step: of the grid on which the convolutions are done, km/s.

    Raises:
        ValueError: the model does not reach beyond the pixels, or a width is negative.
    """
    log_wave, log_pixels = np.log(np.asarray(wave, float)), np.log(np.asarray(pixels))
    if not resolution > 0:
        raise ValueError(f"The resolution is {resolution}: give lambda / FWHM > 0.")
    size = int((log_wave[-1] - log_wave[0]) * C_KMS / step)
    grid = log_wave[0] + np.arange(size) * (step / C_KMS)
    fine = _interpolate(grid, log_wave, np.asarray(flux, float))
    if vsini > 0:
        profile = rotation_profile(vsini, step, epsilon)
        fine = convolve1d(fine, profile, axis=-1, mode="nearest")
    if np.isfinite(resolution):
        sigma = C_KMS / resolution / FWHM_PER_SIGMA / step
        fine = gaussian_filter1d(fine, sigma, axis=-1, mode="nearest", truncate=6.0)

    middle = (log_pixels[1:] + log_pixels[:-1]) / 2
    first, last = 2 * log_pixels[0] - middle[0], 2 * log_pixels[-1] - middle[-1]
    edges = np.concatenate([[first], middle, [last]])
    if edges[0] < grid[0] or edges[-1] > grid[-1]:
        raise ValueError(
            f"The pixels span {np.exp(edges[0]):.2f} to {np.exp(edges[-1]):.2f} A, but "
            f"the model only {np.exp(grid[0]):.2f} to {np.exp(grid[-1]):.2f} A: use a "
            "wider model, or fewer pixels."
        )
    total = np.zeros(fine.shape)
    np.cumsum((fine[..., 1:] + fine[..., :-1]) / 2, axis=-1, out=total[..., 1:])
    below = np.minimum(((edges - grid[0]) * (C_KMS / step)).astype(np.intp), size - 2)
    part = (edges - grid[0]) * (C_KMS / step) - below
    left, right = fine[..., below], fine[..., below + 1]
    at = total[..., below] + part * (left + part * (right - left) / 2)
    return np.diff(at, axis=-1) / (np.diff(edges) * (C_KMS / step))


def _interpolate(at: NDArray, x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Interpolate linearly along the last axis."""
    index = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(x) - 2)
    part = (at - x[index]) / (x[index + 1] - x[index])
    return y[..., index] * (1 - part) + y[..., index + 1] * part
